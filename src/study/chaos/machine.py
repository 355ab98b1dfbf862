"""What a machine does to a study: a clock that goes backwards, memory that runs out, numbers that are none."""

import json
import os
import shutil
import time
from collections.abc import Iterator

from study.chaos.check import finished
from study.chaos.fault import Chaos, Outcome
from study.chaos.injected import ONCE
from study.chaos.kills import resumed, strike
from study.chaos.scratch import Study
from study.runs.run import DIVERGED

DAY = 86_400


def clock(chaos: Chaos) -> Iterator[Outcome]:
    """Half a study now, the other half while the clock runs backwards, among files that are a day in the future."""
    study = chaos.scratch.study("clock")
    running = study.start()
    strike(running, "parent", chaos.reference.seconds / 2)
    running.wait()
    amiss, before = [f"{name} lives on" for name in running.orphans()], finished(study)
    ahead = time.time() + DAY
    for file in [path for path in study.results.rglob("*") if path.is_file()]:
        os.utime(file, (ahead, ahead))
    done = study.finish(inject="clock")
    amiss += chaos.reference.amiss(study, before)
    yield Outcome("clock backwards, files of tomorrow", amiss + resumed(chaos, study, done))


def memory(chaos: Chaos) -> Iterator[Outcome]:
    """Memory that runs out: in every job, in one training, and by the hand of the system."""
    yield _failing(chaos, "memory", "out of memory: RLIMIT_AS in each job", "[Mm]emory|killed|new thread")
    yield _failing(chaos, "memory_error", "out of memory: MemoryError in a training", "MemoryError: Unable to allocate")
    yield _failing(chaos, "oom_killer", "out of memory: jobs killed by the system", "killed.*memory had run out")


def numbers(chaos: Chaos) -> Iterator[Outcome]:
    """Weights that are no numbers: after a training, which fails; within one, which is recorded as diverged."""
    yield _failing(chaos, "nan_weights", "NaN in weights behind a training", "scores that are no numbers")
    yield _diverging(chaos)


def _failing(chaos: Chaos, inject: str, name: str, says: str) -> Outcome:
    """A run in which units fail: the error says why, the others are stored; undisturbed it goes on."""
    study = chaos.scratch.study(inject)
    running = study.start(inject=inject, **{ONCE: str(chaos.scratch.folder / f"{study.name}.once")})
    done = running.wait()
    amiss = done.unclear(says) + chaos.reference.amiss(study) + [f"{name} lives on" for name in running.orphans()]
    return Outcome(name, amiss + resumed(chaos, study, study.finish()))


def _diverging(chaos: Chaos) -> Outcome:
    """A training that diverged counts as what it is; once its record is removed it is made again."""
    study = chaos.scratch.study("nan_loss")
    done = study.finish(inject="nan_loss", **{ONCE: str(chaos.scratch.folder / f"{study.name}.once")})
    diverged = _diverged(study)
    amiss = [] if diverged else ["no training is recorded as diverged"]
    amiss += [f"it ends with status {done.status}: {done.err[-500:]!r}"] if done.status else []
    amiss += [] if "DIVERGED: step 1" in done.out else ["the run does not say that a training diverged"]
    status = study.finish(verb="status").out
    for key in diverged:
        label = study.runs.store.record(key)["label"]
        amiss += [] if f"diverged: {label}" in status else [f"`status` does not name {label}"]
        shutil.rmtree(study.runs.store.folder / key)
    study.runs[-1].stamp.unlink(missing_ok=True)  # a page asks for its trials, and not for those that chose their rates
    # Rates are chosen anew, and the trials of another rate, if one was taken, are no unit of the undisturbed study.
    for key in finished(study).keys() - chaos.reference.rows.keys():
        shutil.rmtree(study.runs.store.folder / key)
    return Outcome("NaN within a training", amiss + resumed(chaos, study, study.finish()))


def _diverged(study: Study) -> list[str]:
    records = {file.parent.name: json.loads(file.read_text()) for file in study.runs.store.folder.glob("*/record.json")}
    return [key for key, record in records.items() if record["status"] == DIVERGED]
