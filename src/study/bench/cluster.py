"""The study on a Ray cluster: as many nodes as this machine has cores, one core each, against one such node."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd

from study.bench.table import Line, Same, Say, compare
from study.config import ParamsError
from study.params import Params, load_params
from study.paths import PARAMS
from study.runs.executors import RAY
from study.runs.runner import run, runs_of
from study.runs.store import Store

TARGET = 1 / 0.6  # times as fast as one node, for two


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
    """The rows of a study that so many nodes run from nothing."""
    with nodes(number), tempfile.TemporaryDirectory() as folder:
        return run(params, Store(Path(folder)), say=lambda line: None)


def cluster_line(rounds: int, say: Say) -> Line:
    """The published study's first seed at one learning rate, on two nodes and on one.

    Raises:
        ParamsError: if ray is not installed, or there is one core only.
    """
    if importlib.util.find_spec("ray") is None:
        raise ParamsError("ONLY = 'cluster': ray is not installed; `make setup EXECUTOR=ray`")
    if len(os.sched_getaffinity(0)) < 2:
        raise ParamsError("ONLY = 'cluster': two nodes take two cores, and here is one")
    whole = load_params(PARAMS / "default.yaml")
    tuning = whole.finetuning.model_copy(update={"learning_rates": (3e-3,)})
    params = whole.model_copy(
        update={"seeds": whole.seeds[:1], "finetuning": tuning, "model_sizes": type(whole.model_sizes)()}
    )

    def unlike(ours: pd.DataFrame, theirs: pd.DataFrame, same: Same) -> None:
        same.add(0 if ours.equals(theirs) else 1)

    with tempfile.TemporaryDirectory() as folder:
        units = len(runs_of(params, Store(Path(folder))))
    return compare(
        f"the default study, one seed at one learning rate ({units} units), on two Ray nodes of one core",
        "one such node",
        TARGET,
        partial(rows_on, 2, params),
        partial(rows_on, 1, params),
        Same("tables of rows that differ", 0),
        unlike,
        rounds,
        note="wall time from nothing, the nodes started before; each node bound to a core",
        say=say,
    )._replace(cpu_ratio=float("nan"))
