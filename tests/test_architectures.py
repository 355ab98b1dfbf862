"""The study for GPUs, small, on a model of each family as a user would bring it."""

import shutil

import pandas as pd
import pytest

from architectures import ARMS, study_of, tried
from conftest import FAMILIES
from study.lm.loading import load
from study.runs.run import FINISHED
from study.runs.runner import evaluation_runs_of, run
from study.runs.store import Store

pytestmark = pytest.mark.usefixtures("in_this_process")


# Those that differ most: learned positions, norms of heads, windows, experts.
BY_DAY = ("gpt2", "qwen3", "mistral", "mixtral")


@pytest.fixture(params=[name if name in BY_DAY else pytest.param(name, marks=pytest.mark.nightly) for name in FAMILIES])
def family(request) -> str:
    """The name of each family in turn, of most by night."""
    return request.param


def test_a_study_runs_on_every_family_and_goes_on_where_it_stopped(family, family_folder, tmp_path):
    study, store = study_of(family_folder(family)), Store(tmp_path / "runs")
    rows = run(study, store, say=lambda line: None)
    trials = {trial.arm: trial for trial in evaluation_runs_of(study, store)}
    records = {arm: store.record(trial.key) for arm, trial in trials.items()}
    assert set(rows["arm"]) == set(ARMS) and {record["status"] for record in records.values()} == {FINISHED}
    assert rows["option_log_probs"].map(lambda values: all(value < 0 for value in values)).all()
    trained = {arm: record["training"]["trained_parameters"] for arm, record in records.items() if "training" in record}
    assert 0 < trained["ft"] == trained["ft augmented"] == trained["hybrid"]
    parameters = {record["parameters"] for record in records.values()}  # an adapter's are not the model's
    assert {trained["ft full"]} == parameters == {load(study.model)[0].num_parameters()}
    shutil.rmtree(store.path(trials["ft"].key))
    before = {file: file.stat().st_mtime_ns for file in store.folder.glob("*/*")}
    said: list[str] = []
    pd.testing.assert_frame_equal(rows, run(study, store, say=said.append))
    assert [line for line in said if " / ft " in line] == said[-1:]
    assert before.items() < {file: file.stat().st_mtime_ns for file in store.folder.glob("*/*")}.items()
    assert len(list(store.folder.glob("*/record.json"))) == len(before) // 2 + 1


# Windows that count what is packed, experts and routers with an adapter, no numbers to forecast with, an encoder.
@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("gpt_neo", "right"),
        pytest.param("phimoe", "right", marks=pytest.mark.nightly),
        pytest.param("modernbert-decoder", "right", marks=pytest.mark.nightly),
        ("cpmant", "refused"),
        ("reformer", "refused"),
    ],
)
def test_an_architecture_is_right_or_refused(name, state):
    outcome = tried(name)
    assert outcome.state == state, outcome.why
