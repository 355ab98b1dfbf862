"""Others that work in the same place: two runs in one folder, two studies in one folder, nodes of a cluster."""

import time

import pytest

from chaos.check import failure, finished
from chaos.cluster import NoCluster, cluster
from chaos.conftest import QUICK

pytestmark = pytest.mark.chaos
IN_USE, CHANGED = "another run", "was changed while"
PAUSES = {"begun together": 0.0, "one after the other": 0.5}  # shares of what the undisturbed study takes


@pytest.mark.parametrize("pause", list(PAUSES)[: 1 if QUICK else 2])
def test_two_runs(pause, reference):
    """Two runs of one study at once: one works, the other is told."""
    study = reference.new_study("two_runs")
    first = study.start()
    time.sleep(PAUSES[pause] * reference.seconds)
    ends = [running.wait() for running in (study.start(), first)]
    refused = [end for end in ends if end.status]
    amiss = [] if len(refused) == 1 else [f"{len(refused)} of 2 runs were refused"]
    for end in refused:
        amiss += end.unclear(IN_USE)
    assert amiss + reference.resumed(study) == []


@pytest.mark.long
def test_two_studies(reference):
    """Another study in the folder of one that goes on, then alone, then the first again: each finds its own."""
    study = reference.new_study("two_studies")
    mine = study.file.read_bytes()
    running = study.start()
    time.sleep(reference.seconds / 2)
    theirs = reference.new_study("other", arms={"base": {}, "icl": {"context": "documents"}}).file.read_bytes()
    study.file.write_bytes(theirs)
    other = study.finish()
    study.file.write_bytes(mine)
    first = running.wait()
    if first.status:  # a page of it was being executed, and may have read either params; the other one had the folder
        amiss = first.unclear(CHANGED) + (other.unclear(IN_USE) if other.status else [])
        amiss += failure(study.finish(), "the first study, resumed,")
    else:
        amiss = other.unclear(IN_USE)
    amiss += reference.unlike(study)
    before = finished(study)
    study.file.write_bytes(theirs)
    amiss += failure(study.finish(), "the other study")
    study.file.write_bytes(mine)
    amiss += reference.amiss(study, before)
    assert amiss + reference.resumed(study) == []


@pytest.mark.long
def test_node_lost(reference, random):
    """A node of two is lost midway: its jobs are done by the other one."""
    pytest.importorskip("ray", reason="ray is not installed; `make setup EXECUTOR=ray`")
    study = reference.new_study("node_lost")
    try:
        with cluster(reference.study.scratch, 2) as nodes:
            running = study.start(**nodes.environment)
            time.sleep(reference.seconds * random.uniform(0.3, 0.8))
            before = finished(study)
            nodes.lose(replaced=False)
            done = running.wait()
            amiss = running.orphans() + reference.amiss(study, before) + failure(done)
    except NoCluster as error:
        pytest.skip(str(error))
    assert amiss + reference.resumed(study) == []
