"""What a machine does to a study: a clock that goes backwards, memory that runs out, weights that are NaN."""

import json
import os
import shutil
import time

import pytest

from chaos.check import failure, finished
from chaos.injected import ONCE
from chaos.scratch import strike
from study.runs.run import DIVERGED
from study.runs.store import key_in

pytestmark = [pytest.mark.chaos, pytest.mark.long]
DAY = 86_400


def once(study):
    """The variable that lets a fault happen in one process of a study only."""
    return {ONCE: str(study.scratch.folder / f"{study.name}.once")}


def test_clock(reference):
    """Half a study now, the other half while the clock runs backwards, among files that are a day in the future."""
    study = reference.new_study("clock")
    running = study.start()
    strike(running, "parent", reference.seconds / 2)
    running.wait()
    amiss, before = running.orphans(), finished(study)
    ahead = time.time() + DAY
    for file in [path for path in study.results.rglob("*") if path.is_file()]:
        os.utime(file, (ahead, ahead))
    amiss += failure(study.finish(inject="clock")) + reference.amiss(study, before)
    assert amiss + reference.unlike(study) == []


def failing(reference, inject, says):
    """A run in which units fail: the error says why, the others are stored; undisturbed it goes on."""
    study = reference.new_study(inject)
    running = study.start(inject=inject, **once(study))
    amiss = running.wait().unclear(says) + reference.amiss(study) + running.orphans()
    assert amiss + reference.resumed(study) == []


@pytest.mark.parametrize(
    ("inject", "says"),
    [
        pytest.param("memory", "[Mm]emory|killed|new thread", id="RLIMIT_AS in each job"),
        pytest.param("memory_error", "MemoryError: Unable to allocate", id="MemoryError in a training"),
        pytest.param("oom_killer", "killed.*memory had run out", id="jobs killed by the system"),
    ],
)
def test_memory(inject, says, reference):
    """Memory that runs out: in every job, in one training, or because the system kills."""
    failing(reference, inject, says)


def test_nan_weights(reference):
    """Weights that are NaN after a training make it fail."""
    failing(reference, "nan_weights", "scores that are no numbers")


def test_nan_loss(reference):
    """A training whose loss is NaN is recorded as diverged; once its record is removed it is run again."""
    study = reference.new_study("nan_loss")
    done = study.finish(inject="nan_loss", **once(study))
    records = {
        key_in(file.parent.name): json.loads(file.read_text()) for file in study.store.folder.glob("*/record.json")
    }
    diverged = {key: record["label"] for key, record in records.items() if record["status"] == DIVERGED}
    amiss = failure(done) + ([] if diverged else ["no training is recorded as diverged"])
    amiss += [] if "DIVERGED: step 1" in done.out else ["the run does not say that a training diverged"]
    status = study.finish(verb="status").out
    for key, label in diverged.items():
        amiss += [] if f"diverged: {label}" in status else [f"`status` does not name {label}"]
        shutil.rmtree(study.store.path(key))
    study.runs[-1].stamp.unlink(missing_ok=True)  # a page asks for its trials, and not for those that chose their rates
    # Rates are chosen again, and the trials of another rate, if one was taken, are no unit of the undisturbed study.
    for key in finished(study).keys() - reference.rows.keys():
        shutil.rmtree(study.store.path(key))
    assert amiss + reference.resumed(study) == []
