"""`make status` and `make plan` say at a glance what is finished, what diverged, what is to run and what failed."""

import json
import re

import pandas as pd
import pytest

from study import cli
from study.params import Params
from study.runs.runner import runs_of
from study.runs.store import Store
from study.terminal import FILE_WIDTH, PARTS, part_of, show_table


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
    texts = [unit for unit in units if part_of(unit, params) == "texts"]
    in_context = [unit for unit in units if part_of(unit, params) == "02"]
    finish(texts[0], results)
    finish(in_context[0], results, "diverged")
    assert cli.main(["status", "--study", "tiny"]) == 0
    printed = capsys.readouterr().out
    assert row(printed, "all")[1] == f"1/{len(texts)}"
    assert f"0/{len(in_context)}, 1 diverged" in printed
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
    assert row(short, "all")[-1] == f"0/{len(units)}" and f"0 of {len(units)} units are finished" in short
    assert "memory on cpu" in short and len(short.splitlines()) < 25
    assert cli.main(["plan", "--study", "tiny", "--verbose"]) == 0
    full = capsys.readouterr().out
    assert all(f"to run    {unit.key}  {unit.label}" in full for unit in units)


def test_every_unit_has_a_part_and_the_ladder_is_one_of_its_own(params, model_folder):
    lower = {"name": str(model_folder), "device": "cpu", "dtype": "bfloat16"}
    ladder = {"models": [lower], "arms": ["icl", "ft"]}
    laddered = Params.parse({**params.plain(), "model_sizes": ladder}, "test")
    parts = {unit.label: part_of(unit, laddered) for unit in runs_of(params, Store(model_folder / "none"))}
    assert set(parts.values()) == set(PARTS) - {"06"}
    assert parts["family / seed 0 / ft"] == "03"
    assert parts["family / seed 0 / hybrid"] == "04" and parts["family / seed 0 / icl retention"] == "05"
    other_models = [
        unit for unit in runs_of(laddered, Store(model_folder / "none")) if unit.params.model != laddered.model
    ]
    assert other_models and {part_of(unit, laddered) for unit in other_models} == {"06"}


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
