"""The study on a Ray cluster: two nodes with one core of this machine each, compared with one such node."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd

from bench.table import Line, Same, Say, compare
from study.config import ParamsError
from study.params import Params, load_params
from study.paths import PARAMS
from study.runs.executors import RAY
from study.runs.runner import run, runs_of
from study.runs.store import Store


@contextmanager
def nodes(number: int) -> Iterator[None]:
    """A cluster on this machine for a while, each node bound to a core of its own."""
    import ray
    from ray.cluster_utils import Cluster

    cores, before = sorted(os.sched_getaffinity(0)), dict(os.environ)
    os.environ |= {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}  # it is this machine's own
    cluster = Cluster()
    try:
        for core in cores[:number]:
            os.sched_setaffinity(0, {core})
            cluster.add_node(num_cpus=1, include_dashboard=False)
        os.sched_setaffinity(0, cores)
        os.environ |= {"EXECUTOR": RAY, "RAY_ADDRESS": cluster.address}
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()
        os.sched_setaffinity(0, cores)
        os.environ.clear()
        os.environ |= before


def rows_on(number: int, params: Params) -> pd.DataFrame:
    """The rows of a study that so many nodes run from scratch."""
    with nodes(number), tempfile.TemporaryDirectory() as folder:
        return run(params, Store(Path(folder)), say=lambda line: None)


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """The core study's first seed, on two nodes and on one.

    Raises:
        ParamsError: if ray is not installed, or there is one core only.
    """
    if importlib.util.find_spec("ray") is None:
        raise ParamsError("ONLY = 'cluster': ray is not installed; `make setup EXECUTOR=ray`")
    if len(os.sched_getaffinity(0)) < 2:
        raise ParamsError("ONLY = 'cluster': two nodes take two cores, and here is one")
    whole = load_params(PARAMS / "default.yaml")
    params = whole.model_copy(update={"seeds": whole.seeds[:1]})
    with tempfile.TemporaryDirectory() as folder:
        units = len(runs_of(params, Store(Path(folder))))
    line = compare(
        f"the core study, one seed ({units} units), on two Ray nodes of one core",
        "one such node",
        1 / 0.6,
        partial(rows_on, 2, params),
        partial(rows_on, 1, params),
        Same("tables of rows that differ"),
        lambda ours, theirs: float(not ours.equals(theirs)),
        rounds,
        note="wall time from nothing, the nodes started before; each node bound to a core",
        say=say,
    )
    return [line._replace(cpu_ratio=float("nan"))]  # the work is done in other processes
