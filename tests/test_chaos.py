"""Torn files and a kill on the smallest study there is; `make chaos` meets all faults."""

import json
import shutil
import signal
import time
from random import Random

import pandas as pd
import pytest

from study import cli
from study.chaos.check import finished
from study.chaos.fault import Chaos
from study.chaos.run import FAULTS, LONG, undisturbed
from study.chaos.scratch import Done, Scratch
from study.chaos.soak import compare
from study.chaos.torn import DAMAGES, RESULTS


@pytest.fixture(scope="module")
def chaos(tmp_path_factory):
    """A study of one page and two arms without training, and how it is undisturbed."""
    scratch = Scratch.make(tmp_path_factory.mktemp("scratch"), ["02_in_context"], ("base", "icl"))
    return Chaos(scratch, undisturbed(scratch), Random(0), faults=1, quick=False)


def other(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows but for the last digit of one number."""
    values = [list(log_probs) for log_probs in rows["option_log_probs"]]
    values[0][0] *= 1 + 1e-15
    return rows.assign(option_log_probs=values)


def test_a_study_that_was_torn_and_then_killed_goes_on_to_the_same_rows(chaos):
    study, reference = chaos.scratch.study("torn", like=chaos.reference.study), chaos.reference
    (rows, stamp), before = (next(study.results.glob(RESULTS[kind])) for kind in ("rows", "stamp")), finished(study)
    DAMAGES["half"](rows)
    DAMAGES["empty"](stamp)
    del before[rows.parent.name]
    assert not study.runs.store.has(rows.parent.name) and reference.amiss(study, before) == []
    running = study.start()
    while running.goes_on() and not running.processes("worker"):
        time.sleep(0.05)
    assert running.kill("parent") and running.wait().status == -signal.SIGKILL
    assert running.orphans() == [] and reference.amiss(study, before) == []
    assert study.finish().status == 0
    shutil.rmtree(study.results / "damaged")  # the torn unit, set aside
    assert reference.unlike(study) == []


def test_what_is_not_as_it_was_is_seen(chaos):
    study = chaos.scratch.study("seen", like=chaos.reference.study)
    assert chaos.reference.unlike(study) == []
    first, second, third = sorted(chaos.reference.rows)[:3]
    before = dict.fromkeys(chaos.reference.rows, "other bytes")
    changed = other(study.runs.store.rows(first))
    record = study.runs.store.record(first)
    shutil.rmtree(study.runs.store.folder / first)
    study.runs.store.write(first, changed, record)
    shutil.rmtree(study.runs.store.folder / second)
    (study.results / "02_in_context" / "odd.csv").write_text("1\n")
    labels = chaos.reference.labels
    amiss = chaos.reference.unlike(study)
    assert f"{labels[first]} is marked finished with other rows" in amiss
    assert f"{labels[second]} is not finished" in amiss
    assert "02_in_context is not up to date: 1 of its trials are missing" in amiss
    assert "02_in_context/odd.csv is left over" in amiss
    found = chaos.reference.amiss(study, before)
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
    assert cli.main(["compare", str(copy), str(results / "runs")]) == 1
    out = capsys.readouterr().out
    assert f"other rows: {label} (" in out and out.count("missing: ") == 1
    assert f"{number - 2} of {number} units equal row for row, 2 unequal" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chaos", "--only", "kils"], "ONLY = 'kils': no such fault; there are: kills, signals, torn results"),
        (["soak", "--study", "nosuch"], "STUDY = 'nosuch': no params/nosuch.yaml"),
        (["compare", "nowhere", "nowhere"], "FOLDER = 'nowhere': no such folder"),
    ],
)
def test_what_cannot_be_disturbed_or_compared_is_named(arguments, message, capsys):
    assert cli.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_the_short_form_leaves_out_faults_there_are():
    assert set(LONG) < set(FAULTS)
