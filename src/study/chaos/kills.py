"""Processes that are killed or asked to end, at random moments."""

import shutil
import signal
import time
from collections.abc import Iterator
from random import Random

from study.chaos.check import Reference, finished
from study.chaos.fault import Chaos, Outcome
from study.chaos.scratch import Done, Running, Study

EVERY = "all processes"
VICTIMS = ("parent", "worker", "kernel", EVERY)
# What an error names when these were killed; a kernel that is being started looks like a worker.
SAYS = {"kernel": "[Kk]ernel", "worker": "process|[Kk]ernel"}
INTERRUPTED, TERMINATED = 130, 143


def strike(running: Running, victim: str, moment: float, signum: signal.Signals = signal.SIGKILL) -> bool:
    """Wait for a moment, and until there is such a process, and send it a signal; whether it was sent.

    Args:
        running: whose process it is.
        victim: one of `VICTIMS`.
        moment: seconds from the run's beginning on.
        signum: the signal.
    """
    while running.goes_on() and time.monotonic() - running.started < moment:
        time.sleep(0.02)
    while running.goes_on():
        if running.kill("" if victim == EVERY else victim, signum):
            return True
        time.sleep(0.02)
    return False


def kills(chaos: Chaos) -> Iterator[Outcome]:
    """SIGKILL of the parent, a worker, the kernel or all: several in one study, each at any moment of a run."""
    number = len(VICTIMS) if chaos.quick else chaos.faults
    struck = 0
    while struck < number:
        study, found = chaos.scratch.study("kills"), []
        ended = False
        while not ended and struck < number:
            victim = VICTIMS[struck % len(VICTIMS)]
            sent, ended, amiss = _kill(study, victim, chaos.reference, chaos.random)
            if sent:
                struck += 1
                found.append((f"SIGKILL of {victim}", amiss))
        done = study.finish()
        unlike = resumed(chaos, study, done)
        yield from (Outcome(name, amiss + unlike) for name, amiss in found)


def _kill(study: Study, victim: str, reference: Reference, random: Random) -> tuple[bool, bool, list[str]]:
    """One kill in a run; whether there was anyone to kill, whether the study is whole now, and what is amiss."""
    running = study.start()
    moment = random.uniform(0, reference.seconds)
    while running.goes_on() and time.monotonic() - running.started < moment:
        time.sleep(0.02)
    before = finished(study)
    sent = strike(running, victim, moment)
    done = running.wait()
    amiss = [f"{name} lives on" for name in running.orphans()] + reference.amiss(study, before)
    if sent and victim in SAYS and done.status:  # most often another worker takes the job
        amiss += done.unclear(SAYS[victim])
    return sent, done.status == 0, amiss


def signals(chaos: Chaos) -> Iterator[Outcome]:
    """SIGINT, as by Ctrl-C, and SIGTERM, as by a scheduler: what is finished is kept, and nobody lives on."""
    for signum, status, says in (
        (signal.SIGINT, INTERRUPTED, "finished trials are kept"),
        (signal.SIGTERM, TERMINATED, "finished trials are kept"),
    ):
        for _ in range(1 if chaos.quick else 4):
            study = chaos.scratch.study("signals")
            moment = chaos.random.uniform(0.1, 0.9) * chaos.reference.seconds
            running = study.start()
            strike(running, "parent", moment, signum)
            done = running.wait()
            amiss = [f"{name} lives on" for name in running.orphans()] + chaos.reference.amiss(study)
            if done.status != 0:
                amiss += done.unclear(says)
                amiss += [f"exit status {done.status}, not {status}"] if done.status != status else []
            yield Outcome(signum.name, amiss + resumed(chaos, study, study.finish()))


def resumed(chaos: Chaos, study: Study, done: Done) -> list[str]:
    """What is amiss in a study that was let finish; its folder is removed if nothing is."""
    amiss = [f"resumed, it ends with status {done.status}: {done.err.strip()[-500:]!r}"] if done.status else []
    amiss += chaos.reference.unlike(study)
    if not amiss:
        shutil.rmtree(study.results)
    return amiss
