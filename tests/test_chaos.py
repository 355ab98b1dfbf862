"""Torn files and a kill on the smallest study there is, and the checks themselves; `make chaos` makes all faults."""

import importlib
import json
import re
import shutil
import signal
import time

import pandas as pd
import pytest
from pytest import TestReport

from chaos import soak
from chaos.check import Reference, finished
from chaos.compare import compare
from chaos.conftest import counts_of, fault_of, wanted
from chaos.damage import DAMAGES, RESULTS
from chaos.scratch import INJECTED, Done, Scratch
from study.config import ParamsError
from study.runs.store import key_in


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A study of one page and two arms without training, undisturbed."""
    return Reference.run(Scratch.make(tmp_path_factory.mktemp("scratch"), ["02_in_context"], ("base", "icl")))


def other(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows but for the last digit of one number."""
    values = [list(log_probs) for log_probs in rows["option_log_probs"]]
    values[0][0] *= 1 + 1e-15
    return rows.assign(option_log_probs=values)


@pytest.mark.nightly
def test_a_study_that_was_torn_and_then_killed_goes_on_to_the_same_rows(reference):
    study = reference.copied_study("torn")
    (rows, stamp), before = (next(study.results.glob(RESULTS[kind])) for kind in ("rows", "stamp")), finished(study)
    DAMAGES["half"](rows)
    DAMAGES["empty"](stamp)
    del before[key_in(rows.parent.name)]
    assert not study.store.has(key_in(rows.parent.name)) and reference.amiss(study, before) == []
    running = study.start()
    while running.goes_on() and not running.processes("worker"):
        time.sleep(0.05)
    assert running.kill("parent") and running.wait().status == -signal.SIGKILL
    assert running.orphans() == [] and reference.amiss(study, before) == []
    assert study.finish().status == 0
    shutil.rmtree(study.results / "damaged")  # the torn unit, set aside
    assert reference.unlike(study) == []


@pytest.mark.nightly
def test_what_is_not_as_it_was_is_seen(reference):
    study = reference.copied_study("seen")
    assert reference.unlike(study) == []
    first, second, third = sorted(reference.rows)[:3]
    before = dict.fromkeys(reference.rows, "other bytes")
    changed = other(study.store.rows(first))
    record = study.store.record(first)
    shutil.rmtree(study.store.path(first))
    study.store.write(first, changed, record)
    shutil.rmtree(study.store.path(second))
    (study.results / "02_in_context" / "odd.csv").write_text("1\n")
    labels = reference.labels
    amiss = reference.unlike(study)
    assert f"{labels[first]} is marked finished with other rows" in amiss
    assert f"{labels[second]} is not finished" in amiss
    assert "02_in_context is not up to date: 1 of its runs are missing" in amiss
    assert "02_in_context/odd.csv is left over" in amiss
    found = reference.amiss(study, before)
    assert f"{labels[second]} was finished and is lost" in found
    assert f"{labels[third]} was finished and is changed" in found


def test_an_error_without_a_sentence_is_seen():
    clear = Done(1, "", "error: No space left on device; free some and run again\n", 1.0)
    assert clear.unclear("No space") == []
    assert "no error that says 'memory'" in clear.unclear("memory")[0]
    torn_apart = Done(1, "", "Traceback (most recent call last):\nOSError: No space left on device\n", 1.0)
    assert len(torn_apart.unclear("No space")) == 2
    assert clear._replace(status=0).unclear("No space") == ["exit status 0 instead of an error"]


def test_units_are_compared_by_their_names_and_all_digits(published, tmp_path, capsys):
    _, results = published
    copy = tmp_path / "trials"
    shutil.copytree(results / "runs", copy)
    number = len(list(copy.iterdir()))
    assert compare(str(copy), str(results / "runs")) == 0
    assert f"{number} of {number} units equal row for row, 0 unequal" in capsys.readouterr().out
    folder, gone, *_ = sorted(copy.iterdir())
    other(pd.read_parquet(folder / "rows.parquet")).to_parquet(folder / "rows.parquet")
    label = json.loads((folder / "record.json").read_text())["label"]
    shutil.rmtree(gone)
    assert compare(str(copy), str(results / "runs")) == 1
    out = capsys.readouterr().out
    assert f"other rows: {label} (" in out and out.count("missing: ") == 1
    assert f"{number - 2} of {number} units equal row for row, 2 unequal" in out


def test_what_cannot_be_soaked_or_compared_is_named(capsys):
    assert soak.main(["--study", "nosuch"]) == 1
    assert "error: STUDY = 'nosuch': no params/nosuch.yaml" in capsys.readouterr().err
    with pytest.raises(ParamsError, match="FOLDER = 'nowhere': no such folder"):
        compare("nowhere", "nowhere")


def test_faults_are_chosen_by_name_and_the_short_form_leaves_out_what_takes_long():
    faults = {"kills": False, "torn results": False, "torn model": True}
    assert wanted(faults, "", False) == set(faults) and wanted(faults, "", True) == {"kills", "torn results"}
    assert wanted(faults, "torn, kills", True) == set(faults)  # what is named is made
    assert wanted(faults, "torn-model", True) == {"torn model"} and fault_of("test_torn_model[half-a]") == "torn model"
    with pytest.raises(pytest.UsageError, match="ONLY = 'kil': no such fault; there are: kills, torn results, torn"):
        wanted(faults, "kil", False)


def test_faults_are_counted_one_by_one():
    def counted(outcome, *states):
        report = TestReport("a::b", ("a", 1, "b"), {}, outcome, None, "call", user_properties=[(s, "") for s in states])
        return dict(counts_of(report))

    assert counted("passed") == {"survived": 1} and counted("passed", "survived", "survived") == {"survived": 2}
    assert counted("failed", "survived", "failed") == {"survived": 1, "failed": 1}
    assert counted("failed", "survived") == {"survived": 1, "failed": 1} and counted("skipped") == {"skipped": 1}


def test_what_is_injected_changes_functions_that_exist():
    changed = []
    for module in INJECTED.glob("[a-z]*.py"):
        source = module.read_text()
        for name in re.findall(r'^after\("([\w.]+)"', source, re.MULTILINE):
            parts = re.findall(r"(?:work|finetune)\.(\w+) =|= (?:work|finetune)\.(\w+)", source)
            changed += [hasattr(importlib.import_module(name), one or other) for one, other in parts]
    assert len(changed) > 5 and all(changed)
