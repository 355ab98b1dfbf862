"""Where jobs are performed: on this machine, or on a Ray cluster, with the same rows.

A job is the runs that one process performs together. The process is forked from one that has imported everything: it
starts warm, leaves nothing to the next, and can be killed without harm to others.

    make reproduce EXECUTOR=ray     # on the cluster that `ray start` joined this machine to, or on this machine alone
"""

import logging
import math
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from study.config import ParamsError
from study.params import Model, Params
from study.paths import is_file
from study.runs.run import Run
from study.runs.store import Files, Store

Job = Sequence[Run]
Submit = Callable[[Job], "Future[dict[str, str]]"]
LOCAL, RAY = "local", "ray"
RETRIES = 3  # of a job whose node or process was lost
# The fork server has a socket in the folder for temporary files, and its whole path has at most 108 characters.
LONGEST, SHORT = 60, "/tmp"  # noqa: S108
# Where a container's limit is told, by either version of control groups.
CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
DYING_SECONDS = 1.0  # that a killed process may take to end
SMALL = 50_000_000  # weights up to which the memory of a machine is no limit
PROCESS_BYTES = 1_500_000_000  # a process with torch, and the activations of a small model
# Times the bytes of the weights: gradients, two moments and activations; of an adapter's model activations alone, and
# the weights themselves, which processes share; on a GPU a copy to load from.
ON_CPU, WITH_ADAPTER, ON_GPU = 6, 2, 2


class Needs(NamedTuple):
    """Resources of one job."""

    cpus: int
    gpus: int
    memory_bytes: int


class About(NamedTuple):
    """The size of a model: its number of weights, their bytes, and whether some method trains all of them."""

    parameters: int
    weight_bytes: int
    trained: bool


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen() -> str:
    """The executor that the environment variable EXECUTOR names.

    Raises:
        ParamsError: if there is none of that name.
    """
    name = os.environ.get("EXECUTOR") or LOCAL
    if name not in EXECUTORS:
        raise ParamsError(f"EXECUTOR = {name!r}: no such executor; there are: {', '.join(EXECUTORS)}")
    return name


def submitting(params: Params, store: Store) -> AbstractContextManager[Submit]:
    """A function that submits a job of this study, which writes to the store, and returns its future.

    The future's result says why runs failed, by label; it raises `BrokenProcessPool` if the process was killed.
    """
    return EXECUTORS[chosen()](params, store)


def machine_memory() -> int:
    """Bytes of memory that processes of this machine, or of its container, may take."""
    limits = [int(file.read_text()) for file in CGROUP if is_file(file) and file.read_text().strip().isdigit()]
    return min([int(psutil.virtual_memory().total), *limits])


def needs(gpus: int, about: About, cores: int, memory: int) -> Needs:
    """Resources of a job on machines of so many cores and bytes.

    Without a GPU it has as large a share of the cores as of the memory, a thread for each: two jobs of one thread do
    half as much again as one job of two threads, or more. They must not depend on what is left to do: sums over other
    numbers of threads differ in their last bits.
    """
    if gpus:
        return Needs(cores, gpus, ON_GPU * about.weight_bytes + PROCESS_BYTES)
    taken = (ON_CPU if about.trained else WITH_ADAPTER) * about.weight_bytes + PROCESS_BYTES
    share = 1 if about.parameters <= SMALL else min(cores, math.ceil(cores * taken / memory))
    return Needs(share, 0, taken)


def at_once(params: Params) -> int:
    """Jobs of a study that this machine does at a time."""
    cores = available_cores()
    gpus = int(_asked(_device, params.model) != "cpu")
    return max(1, cores // needs(gpus, _asked(_about, params), cores, machine_memory()).cpus)


@contextmanager
def _locally(params: Params, store: Store) -> Iterator[Submit]:
    jobs = at_once(params)
    with ThreadPoolExecutor(jobs) as threads:
        try:
            yield lambda job: threads.submit(_in_process, _work, job, store, available_cores() // jobs)
        except BaseException:  # interrupted: nobody waits for the jobs
            threads.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.kill()
            raise


@contextmanager
def _on_ray(params: Params, store: Store) -> Iterator[Submit]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    # Keeps Ray's own messages out of notebooks.
    logging.getLogger("ray.widgets").setLevel(logging.ERROR)
    try:
        import ray
    except ModuleNotFoundError:
        raise ParamsError(
            "EXECUTOR = 'ray': ray is not installed; `make setup EXECUTOR=ray`, or leave EXECUTOR out"
        ) from None
    if not ray.is_initialized():
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
        try:
            ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False)
        except ConnectionError as error:
            raise ParamsError(
                f"EXECUTOR = 'ray': {error}; is it up (`ray status`), and if it asks for a token, is that in "
                "~/.ray/auth_token here and RAY_AUTH_MODE=token set?"
            ) from None
    on_gpu = params.model.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
    gpus = _gpus_of(params.model, ray.nodes()) if on_gpu else 0
    need = needs(gpus, _asked(_about, params), _cores_for_each(ray.nodes(), gpus), _least_memory(ray.nodes()))
    if not any(_can_take(node, need) for node in ray.nodes()):
        print(
            f"the cluster has no node yet with {need.cpus} CPU, {need.gpus} GPU and {need.memory_bytes / 1e9:.1f} GB "
            "of memory for a run; waiting for one to join (`ray status` shows it)"
        )
    task = ray.remote(_on_node).options(
        num_cpus=need.cpus, num_gpus=need.gpus, memory=need.memory_bytes, max_retries=RETRIES
    )

    def submit(job: Job) -> "Future[dict[str, str]]":
        needed = store.files_of(other.key for run in job for other in run.generation_runs)
        ended: Future[dict[str, str]] = Future()

        def bring(reply: "Future[tuple[dict[str, str], Files]]") -> None:
            try:
                failed, finished = reply.result()
                store.take(finished)
                ended.set_result(failed)
            except Exception as error:
                ended.set_exception(error)

        task.remote(job, [run.key for run in job], store, needed, need.cpus).future().add_done_callback(bring)
        return ended

    yield submit


EXECUTORS = {LOCAL: _locally, RAY: _on_ray}


def _gpus_of(model: Model, nodes: Sequence[dict[str, Any]]) -> int:
    """GPUs of one job: one, or all of the largest node if a model's layers are spread."""
    most = max((int(node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"]), default=1)
    return most if model.device_map else 1


def _cores_for_each(nodes: Sequence[dict[str, Any]], gpus: int) -> int:
    """Cores that a job may have on any node: all of the smallest one, or the share that goes with its GPUs."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    able = [r for r in alive if r.get("CPU", 0) >= 1 and r.get("GPU", 0) >= gpus]
    return max(1, min((int(r["CPU"] * gpus / r["GPU"] if gpus else r["CPU"]) for r in able), default=1))


def _least_memory(nodes: Sequence[dict[str, Any]]) -> int:
    """Bytes of the node with the least."""
    found = (int(node["Resources"].get("memory", 0)) for node in nodes if node["Alive"])
    return min((memory for memory in found if memory), default=1)


def _can_take(node: dict[str, Any], need: Needs) -> bool:
    there = node["Resources"] if node["Alive"] else {}
    return all(there.get(kind, 0) >= least for kind, least in zip(("CPU", "GPU", "memory"), need, strict=True))


def _on_node(job: Job, keys: Sequence[str], store: Store, needed: Files, threads: int) -> tuple[dict[str, str], Files]:
    """Perform a job on a node of the cluster, without the runs that a lost node had finished in a common folder.

    Args:
        job: the runs.
        keys: of them, where the study was started.
        store: at the same path as there; it may be another folder.
        needed: the runs that they depend on.
        threads: of the job.

    Returns:
        Why runs failed, by label, and the files of the others.

    Raises:
        RuntimeError: if the node has another version of the study, whose runs have other keys.
    """
    if [run.key for run in job] != list(keys):
        raise RuntimeError(
            f"the node {socket.gethostname()} has another version of the package, or of files that the params name; "
            "bring it up to date (`git pull && make setup`) and run again"
        )
    store.take(needed)
    left = [run for run in job if not store.has(run.key)]
    # A worker gets other GPUs for each job, but forks from a process with the environment of its first one.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    failed = _in_process(_work, left, store, threads, visible) if left else {}
    return failed, store.files_of(keys)


class _NotForked(BrokenProcessPool):
    """Nothing was begun: the process that others are forked from was killed."""


def _in_process(does: Callable[..., Any], *given: Any, again: type[BrokenProcessPool] = _NotForked) -> Any:
    """The value of a function in a process of its own; `again` is what is tried again.

    Raises:
        BrokenProcessPool: if the process was killed.
    """
    for _ in range(RETRIES):
        with suppress(again):
            return _forked(does, *given)
        time.sleep(DYING_SECONDS)  # the process that others are forked from is restarted once it is dead
    return _forked(does, *given)


def _asked(does: Callable[..., Any], *given: Any) -> Any:
    """The same for a function without effects, repeated if its process was killed; where torch is, without one."""
    return does(*given) if "torch" in sys.modules else _in_process(does, *given, again=BrokenProcessPool)


def _forked(does: Callable[..., Any], *given: Any) -> Any:
    context = multiprocessing.get_context("forkserver")
    # A worker of Ray is a script that imports ray, and a forked process reads the script of its parent again.
    context.set_forkserver_preload(["study.runs.perform", *(["ray"] if "ray" in sys.modules else [])])
    if len(tempfile.gettempdir()) > LONGEST:
        tempfile.tempdir = SHORT
    with ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            begun = pool.submit(does, *given)
        except (EOFError, ConnectionError) as error:
            raise _NotForked("the process that others are forked from was killed") from error
        return begun.result()


def _end_with_parent() -> None:
    """Have a process end with its parent; the fork server, which it is forked from, lives as long as it does."""

    def end(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    if parent := multiprocessing.parent_process():
        threading.Thread(target=end, args=(parent,), daemon=True).start()


# Torch is imported in that process only: reading results goes without.


def _device(model: Model) -> str:
    from study.lm.loading import pick_device

    return pick_device(model)


def _about(params: Params) -> About:
    from study.lm.loading import skeleton

    weights = list({id(weight): weight for weight in skeleton(params.model).parameters()}.values())
    trained = any((arm.method or params.finetuning.method) == "full" for arm in params.arms.values() if arm.train)
    return About(sum(w.numel() for w in weights), sum(w.numel() * w.itemsize for w in weights), trained)


def _work(job: Job, store: Store, threads: int, gpus: str | None = None) -> dict[str, str]:
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    from study.runs.perform import work

    return work(job, store, threads)
