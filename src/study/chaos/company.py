"""Others who work in the same place: two runs in one folder, two studies in one folder, nodes of a cluster."""

import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from study.chaos.check import finished
from study.chaos.fault import Chaos, Outcome
from study.chaos.kills import resumed
from study.chaos.scratch import MARK, Scratch, Study, kind_of, marked
from study.config import ParamsError
from study.runs.executors import RAY

IN_USE = "another run"


def two_runs(chaos: Chaos) -> Iterator[Outcome]:
    """Two runs of one study at once, begun together and one behind the other: one works, the other is told."""
    pauses = {"begun together": 0.0, "one behind the other": chaos.reference.seconds / 2}
    for name, pause in list(pauses.items())[: 1 if chaos.quick else 2]:
        study = chaos.scratch.study("two_runs")
        first = study.start()
        time.sleep(pause)
        ends = [running.wait() for running in (study.start(), first)]
        refused = [end for end in ends if end.status]
        amiss = [] if len(refused) == 1 else [f"{len(refused)} of 2 runs were refused"]
        for end in refused:
            amiss += end.unclear(IN_USE)
        yield Outcome(f"two runs, {name}", amiss + resumed(chaos, study, study.finish()))


def two_studies(chaos: Chaos) -> Iterator[Outcome]:
    """Another study in the folder of one that goes on, then alone, then the first again: each finds its own."""
    study = chaos.scratch.study("two_studies")
    mine = study.file.read_bytes()
    running = study.start()
    time.sleep(chaos.reference.seconds / 2)
    other = chaos.scratch.study("other", arms={"base": {}, "icl": {"context": "documents"}})
    theirs = other.file.read_bytes()
    study.file.write_bytes(theirs)
    amiss = study.finish().unclear(IN_USE)
    study.file.write_bytes(mine)
    end = running.wait()
    amiss += [f"the first study ends with status {end.status}: {end.err[-300:]!r}"] if end.status else []
    amiss += chaos.reference.unlike(study)
    before = finished(study)
    study.file.write_bytes(theirs)
    end = study.finish()
    amiss += [f"the other study ends with status {end.status}: {end.err[-300:]!r}"] if end.status else []
    study.file.write_bytes(mine)
    amiss += chaos.reference.amiss(study, before)
    yield Outcome("two studies in one folder", amiss + resumed(chaos, study, study.finish()))


class NoCluster(ParamsError):
    """Nodes that do not come up."""


class Nodes:
    """A Ray cluster on this machine, one core for each of its nodes, whose processes have the scratch project.

    Attributes:
        environment: of runs on it.
    """

    def __init__(self, scratch: Scratch, number: int):
        """Start it.

        Raises:
            NoCluster: if it does not come up, as on a machine that is busy with other things.
        """
        from ray.cluster_utils import Cluster

        self._mark = f"nodes-{scratch.folder}"
        # It is this machine's own for a while, and a token that somebody keeps for another cluster is not for it.
        ours = {MARK: self._mark, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        os.environ |= scratch.environment() | ours
        self._cluster = Cluster()
        try:
            for _ in range(number):
                self._cluster.add_node(num_cpus=1, include_dashboard=False)
        except Exception as error:
            self.end()
            raise NoCluster(
                f"EXECUTOR = 'ray': no cluster came up on this machine; leave it some rest: {error}"
            ) from error
        self.environment = {"EXECUTOR": RAY, "RAY_ADDRESS": str(self._cluster.address)}

    def lose(self, replaced: bool = True) -> bool:
        """Kill a node, with all that goes on there; another one takes its place, if so wished."""
        self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)
        if replaced:
            self._cluster.add_node(num_cpus=1)
        return True

    def kill_worker(self) -> bool:
        """Kill a process that does a job; whether there was one."""
        workers = [process for process in marked(self._mark) if kind_of(process) == "worker"]
        for process in workers[:1]:
            process.kill()
        return bool(workers)

    def end(self) -> None:
        """Shut it down, with whatever of it does not end by itself."""
        self._cluster.shutdown()
        for process in marked(self._mark):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def cluster(scratch: Scratch, number: int) -> Iterator[Nodes]:
    """A cluster for a while."""
    nodes = Nodes(scratch, number)
    try:
        yield nodes
    finally:
        nodes.end()


def node_lost(chaos: Chaos) -> Iterator[Outcome]:
    """A node of two is lost midway: its jobs are done by the other one."""
    if importlib.util.find_spec("ray") is None:
        yield Outcome("Ray node lost", [], "ray is not installed; `make setup EXECUTOR=ray`")
        return
    study = chaos.scratch.study("node_lost")
    try:
        yield _without_node(chaos, study)
    except NoCluster as error:
        yield Outcome("Ray node lost", [], str(error))


def _without_node(chaos: Chaos, study: Study) -> Outcome:
    with cluster(chaos.scratch, 2) as nodes:
        running = study.start(**nodes.environment)
        time.sleep(chaos.reference.seconds * chaos.random.uniform(0.3, 0.8))
        before = finished(study)
        nodes.lose(replaced=False)
        done = running.wait()
        amiss = [f"{name} lives on" for name in running.orphans()] + chaos.reference.amiss(study, before)
        amiss += [f"it ends with status {done.status}: {done.err[-500:]!r}"] if done.status else []
    return Outcome("Ray node lost", amiss + resumed(chaos, study, study.finish()))
