"""`make status` and `make plan` say at a glance what is finished, what diverged, what is to run and what failed."""

import json
import re

import pandas as pd
import pytest

from study import cli
from study.pages.notebook_arms import first_notebooks
from study.pages.terminal import FILE_WIDTH, show_table
from study.runs.runner import runs_of
from study.runs.store import Store


@pytest.fixture
def study(params, tmp_path, monkeypatch):
    """A tiny study in the place of all others: its params, and an empty results folder."""
    (tmp_path / "tiny.yaml").write_text(json.dumps(params.plain()))
    monkeypatch.setattr(cli, "PARAMS", tmp_path)
    monkeypatch.setattr(cli, "RESULTS", tmp_path / "results")
    return params, tmp_path / "results" / "tiny"


def row(printed, name):
    """The cells of a table's row."""
    return next(line.split() for line in printed.splitlines() if line.startswith(f"{name} "))


def finish(unit, results, status="finished"):
    Store(results / "runs").write(
        unit.key, pd.DataFrame({"none": []}), {"status": status, "error": "the loss is not a number"}
    )


def test_status_counts_what_is_finished_and_names_what_diverged(study, capsys):
    params, results = study
    units = runs_of(params, Store(results / "runs"))
    first = first_notebooks(units, params, [run.name for run in cli.study_runs("tiny")])
    in_context, finetuned = (
        [unit for unit, name in zip(units, first, strict=True) if name == notebook]
        for notebook in ("02_in_context", "03_finetune")
    )
    finish(finetuned[0], results)
    finish(in_context[0], results, "diverged")
    assert cli.main(["status", "--study", "tiny"]) == 0
    printed = capsys.readouterr().out
    assert " ".join(row(printed, "all")[1:5]) == f"0/{len(in_context)}, 1 diverged 1/{len(finetuned)}"
    assert row(printed, "all")[-1] == "diverged" and f"1/{len(units)}, 1 diverged" in printed
    assert f"diverged: {in_context[0].label}: the loss is not a number" in printed
    assert row(printed, "03_finetune") == "03_finetune not executed yet".split()


def test_status_tells_when_a_page_was_executed_and_where_a_failed_one_is(study, capsys):
    _, results = study
    (results / "failed").mkdir(parents=True)
    (results / "failed" / "04_augmented_finetune.ipynb").write_text("{}")
    (results / "stamps").mkdir()
    stamp = {"key": "", "files": {}, "runs": {}, "executed": "2026-01-01 00:00 UTC", "seconds": 7}
    (results / "stamps" / "03_finetune.json").write_text(json.dumps(stamp))
    assert cli.main(["status", "--study", "tiny"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"03_finetune +not executed yet +2026-01-01 00:00 UTC +7 s", printed)
    assert "04_augmented_finetune  failed; not executed yet" in printed
    assert f"is in {results}/failed/04_augmented_finetune.ipynb\n" in printed


def test_the_plan_groups_units_and_lists_them_when_asked(study, capsys):
    params, results = study
    units = runs_of(params, Store(results / "runs"))
    assert cli.main(["plan", "--study", "tiny"]) == 0
    short = capsys.readouterr().out
    assert not any(unit.label in short for unit in units)
    assert row(short, "all")[-1] == f"0/{len(units)}" and f"0 of {len(units)} runs are finished" in short
    assert "memory on cpu" in short and len(short.splitlines()) < 25
    assert cli.main(["plan", "--study", "tiny", "--verbose"]) == 0
    full = capsys.readouterr().out
    assert all(f"to run    {unit.key}  {unit.label}" in full for unit in units)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_keeps_to_the_width_and_loses_no_text(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    words = [f"word{k}" for k in range(40)]
    show_table(["name", "text"], [["a name", " ".join(words)], ["[red]b[/red]", ":smile:"]], whole=["name"])
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert re.findall(r"word\d+", printed) == words
    assert "[red]b[/red]" in printed and ":smile:" in printed and "\x1b" not in printed


def test_output_to_a_file_is_plain_and_of_one_width(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    show_table(["text"], [["word " * 100]])
    printed = capsys.readouterr().out
    assert FILE_WIDTH - 10 < max(map(len, printed.splitlines())) <= FILE_WIDTH and "\x1b" not in printed


def test_the_published_page_of_documents_is_up_to_date(capsys):
    assert cli.main(["status", "--study", "documents"]) == 0
    assert re.search(r"^07_your_documents +up to date ", capsys.readouterr().out, re.MULTILINE)
