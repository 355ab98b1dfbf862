"""Processes that are killed or asked to end, at random moments."""

import os
import signal
import time

import pytest

from chaos.check import finished
from chaos.conftest import QUICK
from chaos.scratch import VICTIMS, strike

pytestmark = pytest.mark.chaos
# What an error names when these were killed; a kernel that is being started looks like a worker.
SAYS = {"kernel": "[Kk]ernel", "worker": "process|[Kk]ernel"}
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def number() -> int:
    """How many processes are killed."""
    text = os.environ.get("FAULTS") or "100"
    if not text.isdigit():
        raise pytest.UsageError(f"FAULTS = {text!r}: not a number; give how many processes to kill, as FAULTS=100")
    return 1 if QUICK else int(text)


@pytest.mark.parametrize("first", range(0, number(), len(VICTIMS)))
def test_kills(first, reference, random, all_survived):
    """SIGKILL of the parent, a worker, the kernel or all: several in one study, each at any moment of a run."""
    victims, outcomes = [*VICTIMS[: number() - first]], []
    while victims:
        study, struck, ended = reference.new_study("kills"), [], False
        while victims and not ended:
            sent, ended, amiss = killed(study, victims[0], reference, random)
            if sent:
                struck.append((f"SIGKILL of {victims.pop(0)}", amiss))
        unlike = reference.resumed(study)
        outcomes += [(name, amiss + unlike) for name, amiss in struck]
    all_survived(outcomes)


def killed(study, victim, reference, random):
    """One kill in a run; whether there was anyone to kill, whether the study is finished now, and what is amiss."""
    running = study.start()
    moment = random.uniform(0, reference.seconds)
    while running.goes_on() and time.monotonic() - running.started < moment:
        time.sleep(0.02)
    before = finished(study)
    sent = strike(running, victim, moment)
    done = running.wait()
    amiss = running.orphans() + reference.amiss(study, before)
    if sent and victim in SAYS and done.status:  # most often another worker takes the job
        amiss += done.unclear(SAYS[victim])
    return sent, done.status == 0, amiss


@pytest.mark.long
@pytest.mark.parametrize("number", range(1 if QUICK else 4))
@pytest.mark.parametrize("signum", STATUS)
def test_signals(signum, number, reference, random):
    """SIGINT, as by Ctrl-C, and SIGTERM, as by a scheduler: what is finished is kept, and nobody lives on."""
    study = reference.new_study("signals")
    running = study.start()
    strike(running, "parent", random.uniform(0.1, 0.9) * reference.seconds, signum)
    done = running.wait()
    amiss = running.orphans() + reference.amiss(study)
    if done.status:
        amiss += done.unclear("finished runs are kept")
        amiss += [f"exit status {done.status}, not {STATUS[signum]}"] if done.status != STATUS[signum] else []
    assert amiss + reference.resumed(study) == []
