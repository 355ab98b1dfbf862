"""A Ray cluster on this machine whose nodes can be lost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from chaos.scratch import MARK, Scratch, kind_of, marked
from study.config import ParamsError
from study.runs.executors import RAY


class NoCluster(ParamsError):
    """Nodes that do not come up."""


class Nodes:
    """A Ray cluster on this machine with one core for each node, whose processes use the scratch project.

    Attributes:
        environment: of runs on it.
    """

    def __init__(self, scratch: Scratch, number: int):
        """Start it.

        Raises:
            NoCluster: if it does not come up, as on a machine that is busy with other things.
        """
        from ray.cluster_utils import Cluster

        self._mark, self._before = f"nodes-{scratch.folder}", dict(os.environ)
        # A token that the user keeps for another cluster is not for this one.
        own = {MARK: self._mark, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
        os.environ |= scratch.environment() | own
        self._cluster = Cluster()
        try:
            for _ in range(number):
                self._cluster.add_node(num_cpus=1, include_dashboard=False)
        except Exception as error:
            self.end()
            raise NoCluster(
                f"EXECUTOR = 'ray': no cluster came up on this machine; stop what else runs there: {error}"
            ) from error
        self.environment = {"EXECUTOR": RAY, "RAY_ADDRESS": str(self._cluster.address)}

    def lose(self, replaced: bool = True) -> bool:
        """Kill a node with all its processes; another one takes its place, if so wished."""
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
        """Shut it down, kill what does not end by itself, and restore the environment."""
        self._cluster.shutdown()
        for process in marked(self._mark):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        os.environ.clear()
        os.environ |= self._before


@contextmanager
def cluster(scratch: Scratch, number: int) -> Iterator[Nodes]:
    """A cluster for a while."""
    nodes = Nodes(scratch, number)
    try:
        yield nodes
    finally:
        nodes.end()
