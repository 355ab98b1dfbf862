"""The same work wherever it is done: processes of this machine, nodes of a cluster."""

import json
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest

from conftest import one_process
from study.config import ParamsError
from study.pages.page import own_results
from study.paths import RESULTS
from study.runs import executors, perform, runner
from study.runs.executors import About, Needs, needs
from study.runs.run import FINISHED, EvaluationRun
from study.runs.runner import evaluation_runs_of, run
from study.runs.store import PUBLISHED, Store, key_in, store_of

GB = 1_000_000_000


@pytest.fixture
def small(params):
    """A study of two jobs: one that trains, on text that the model writes, and one that does not."""
    tuning = params.finetuning.model_copy(update={"learning_rates": (1e-3,)})
    arms = {arm: params.arms[arm] for arm in ("base", "icl", "ft local")}
    worlds = params.worlds.model_copy(update={"family": None})
    return params.model_copy(update={"arms": arms, "worlds": worlds, "finetuning": tuning})


def test_an_executor_that_is_not_there_is_refused(params, tmp_path, monkeypatch):
    monkeypatch.setenv("EXECUTOR", "slurm")
    with pytest.raises(ParamsError, match="EXECUTOR = 'slurm': no such executor; there are: local, ray"):
        run(params, Store(tmp_path), say=lambda line: None)
    monkeypatch.setenv("EXECUTOR", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ParamsError, match="ray is not installed; `make setup EXECUTOR=ray`"):
        run(params, Store(tmp_path), say=lambda line: None)


def test_what_a_job_takes_depends_on_the_methods_the_model_and_the_machine_only():
    def of(parameters, weights, cores, memory, gpus=0, trained=True):
        return needs(gpus, About(parameters, int(weights * GB), trained), cores, int(memory * GB))

    assert of(5_000_000, 0.02, cores=8, memory=4) == Needs(1, 0, 1.62 * GB)
    assert of(10**9, 4, cores=8, memory=32) == Needs(7, 0, 25.5 * GB)
    assert of(10**9, 4, cores=8, memory=16) == Needs(8, 0, 25.5 * GB)
    assert of(10**9, 2, cores=8, memory=24, trained=False) == Needs(2, 0, 5.5 * GB)
    assert of(15 * 10**8, 3.1, cores=2, memory=25, trained=False) == Needs(1, 0, 7.7 * GB)
    assert of(10**9, 2, cores=8, memory=32, gpus=1) == Needs(8, 1, 5.5 * GB)
    assert of(7 * 10**10, 140, cores=32, memory=512, gpus=4) == Needs(32, 4, 281.5 * GB)


def test_the_memory_of_a_container_is_its_limit(tmp_path, monkeypatch):
    total, limit = psutil.virtual_memory().total, tmp_path / "memory.max"
    monkeypatch.setattr(executors, "CGROUP", (limit, tmp_path / "none"))
    assert executors.machine_memory() == total
    limit.write_text("max\n")
    assert executors.machine_memory() == total
    limit.write_text(f"{GB}\n")
    assert executors.machine_memory() == GB


@pytest.mark.nightly
def test_jobs_share_a_machine_if_none_trains_all_weights(params, small, monkeypatch):
    monkeypatch.setattr(executors, "SMALL", 0)
    monkeypatch.setattr(executors, "available_cores", lambda: 4)
    monkeypatch.setattr(executors, "machine_memory", lambda: 4 * GB)
    adapted = small.model_copy(update={"finetuning": small.finetuning.model_copy(update={"method": "lora"})})
    assert [
        executors._about(study).trained for study in (small, adapted, adapted.model_copy(update={"arms": params.arms}))
    ] == [
        True,
        False,
        False,
    ]
    assert executors.at_once(small) == 2  # 1.5 of 4 GB each, and as many of the cores


def test_a_job_has_the_cores_of_the_smallest_node_that_can_take_it():
    nodes = [{"Alive": True, "Resources": resources} for resources in ({"CPU": 64.0, "GPU": 8.0}, {"CPU": 4.0}, {})]
    nodes.append({"Alive": False, "Resources": {"CPU": 1.0}})
    assert [executors._cores_for_each(nodes, gpus) for gpus in (0, 1, 4, 16)] == [4, 8, 32, 1]


def test_a_node_can_take_a_job_that_all_it_needs_is_there_for():
    resources = {"CPU": 4.0, "GPU": 1.0, "memory": 8.0 * GB}
    node = {"Alive": True, "Resources": resources}
    assert executors._can_take(node, Needs(4, 1, 8 * GB)) and not executors._can_take(node, Needs(1, 2, GB))
    assert not executors._can_take({**node, "Alive": False}, Needs(1, 0, GB))
    assert not executors._can_take({"Alive": True, "Resources": {"CPU": 4.0}}, Needs(1, 0, GB))


def test_a_node_with_another_version_is_named_and_does_nothing(small, tmp_path):
    units = evaluation_runs_of(small, Store(tmp_path))
    with pytest.raises(RuntimeError, match=f"node {socket.gethostname()} has another version of the package"):
        executors._on_node(units, ["0" * 20] * len(units), Store(tmp_path), {}, 1)
    assert not list(tmp_path.iterdir())


def test_a_node_does_not_do_again_what_a_lost_one_had_finished(small, tmp_path, monkeypatch):
    store, done = Store(tmp_path), []
    first, *others = evaluation_runs_of(small, store)
    store.write(first.key, pd.DataFrame({"item_id": ["a"]}), {"status": FINISHED})
    monkeypatch.setattr(executors, "_in_process", lambda does, job, *given: done.extend(job) or {})
    job = [first, *others]
    failed, files = executors._on_node(job, [unit.key for unit in job], store, {}, 1)
    assert failed == {} and done == others and list(files) == [store.path(first.key).name]


@pytest.mark.nightly
def test_a_job_whose_process_is_killed_is_begun_again_and_takes_no_other_with_it(params, tmp_path, monkeypatch):
    few = params.model_copy(update={"arms": {arm: params.arms[arm] for arm in ("base", "irrelevant")}})
    store = Store(tmp_path / "runs")
    monkeypatch.setattr(executors, "_work", partial(_killed, tmp_path / "tries", "family"))
    with pytest.raises(RuntimeError, match="(?s)2 of 4 runs failed.*family / seed 0 / base: its process was killed, 3"):
        run(few, store, say=lambda line: None)
    assert (tmp_path / "tries").read_text() == "x" * runner.TRIES
    assert {unit.world for unit in evaluation_runs_of(few, store) if store.has(unit.key)} == {"reversals"}


def _killed(tries, world, job, store, threads):
    if job[0].world == world:
        with tries.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return perform.work(job, store, threads)


def _run_forever(params, folder):
    run(params, Store(folder), say=lambda line: None)


@pytest.mark.nightly
def test_a_killed_study_goes_on_from_what_is_finished(params, tmp_path):
    longer = params.model_copy(update={"finetuning": params.finetuning.model_copy(update={"fewest_steps": 300})})
    process = multiprocessing.get_context("spawn").Process(target=_run_forever, args=(longer, tmp_path / "runs"))
    process.start()
    store = Store(tmp_path / "runs")
    while not list(store.folder.glob("*/record.json")):
        assert process.is_alive()
        time.sleep(0.05)
    workers = [other for other in psutil.Process(process.pid).children(recursive=True) if other.is_running()]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert workers and psutil.wait_procs(workers, timeout=120)[1] == []  # nobody works on for nobody
    finished = {path.parent.name for path in store.folder.glob("*/record.json")}
    assert finished
    for name in finished:
        assert json.loads((store.folder / name / "record.json").read_text())["status"] == FINISHED
        assert store.rows(key_in(name)) is not None
    base = longer.model_copy(update={"arms": {"base": longer.arms["base"]}})
    assert len(run(base, store, say=lambda line: None)) > 0


@pytest.mark.nightly
def test_a_process_ends_with_who_asked_for_it_whatever_it_does():
    asking = multiprocessing.get_context("spawn").Process(target=executors._in_process, args=(time.sleep, 600))
    asking.start()
    asked: list[psutil.Process] = []
    while len(asked) < 2:  # the fork server, and what it forked
        assert asking.is_alive()
        asked = psutil.Process(asking.pid).children(recursive=True)
        time.sleep(0.1)
    time.sleep(1)
    os.kill(asking.pid, signal.SIGKILL)
    asking.join()
    assert psutil.wait_procs(asked, timeout=120)[1] == []


def _own_id() -> int:
    return os.getpid()


def test_a_process_of_its_own_gives_the_rows_of_this_one(params, tmp_path):
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    icl, ft, *_ = evaluation_runs_of(params, here, ["icl", "ft"])
    for unit in (icl, replace(ft, learning_rate=1e-3)):
        assert perform.work([unit], here, 1) == executors._in_process(executors._work, [unit], there, 1) == {}
        pd.testing.assert_frame_equal(here.rows(unit.key), there.rows(unit.key), check_exact=True)


@pytest.mark.nightly
def test_where_what_processes_are_forked_from_was_killed_another_one_is_begun():
    executors._in_process(_own_id)
    server = multiprocessing.forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGKILL)
    assert executors._in_process(_own_id) != os.getpid()
    assert multiprocessing.forkserver._forkserver._forkserver_pid != server


@pytest.mark.parametrize("error", [EOFError("unexpected EOF"), BrokenPipeError(32, "Broken pipe")])
def test_a_process_that_cannot_be_forked_counts_as_killed(monkeypatch, error):
    tries = []

    def submit(*_: object) -> None:
        tries.append(1)
        raise error

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    monkeypatch.setattr(executors, "DYING_SECONDS", 0)
    with pytest.raises(BrokenProcessPool, match="was killed"):
        executors._in_process(_own_id)
    assert len(tries) == executors.RETRIES + 1


def test_a_question_to_a_process_that_is_killed_is_asked_again(monkeypatch):
    tries = []

    def killed_twice(*_: object) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise BrokenProcessPool("killed")
        return 7

    monkeypatch.setattr(executors, "_forked", killed_twice)
    monkeypatch.setattr(executors, "DYING_SECONDS", 0)
    with pytest.raises(BrokenProcessPool):  # work that was begun is not begun again
        executors._in_process(_own_id)
    tries.clear()
    monkeypatch.delitem(sys.modules, "torch")  # where it is, no process is needed
    assert executors._asked(_own_id) == 7


def test_machines_without_a_common_folder_send_what_they_finish(small, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "_in_process", lambda does, *given: does(*given))
    head, node = Store(tmp_path / "head"), Store(tmp_path / "node")
    unit = next(unit for unit in evaluation_runs_of(small, head, ["ft local"]))
    unit, texts = replace(unit, learning_rate=1e-3), unit.generation_runs
    perform.work(texts, head, 1)
    needed = head.files_of([*(text.key for text in texts), unit.key])
    failed, files = executors._on_node([unit], [unit.key], node, needed, 1)
    assert failed == {} and len(needed) == len(texts) == len(files) == 1
    head.take(files)
    for run_ in (*texts, unit):
        pd.testing.assert_frame_equal(head.rows(run_.key), node.rows(run_.key), check_exact=True)
    before = head.path(unit.key).stat().st_mtime_ns
    head.take({name: dict.fromkeys(contents, b"") for name, contents in files.items()})  # it has them
    assert head.path(unit.key).stat().st_mtime_ns == before


def test_a_study_runs_from_scratch_and_a_notebook_alone_takes_what_is_published(params):
    assert store_of(RESULTS / "mine").others == store_of(PUBLISHED).others == ()
    assert store_of(own_results("03_finetune", Path("mine.yaml"), params)).others == (PUBLISHED / "runs",)


def test_a_cluster_that_is_not_there_is_named(params, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is an extra: `make setup EXECUTOR=ray`")

    def nobody(**how):
        raise ConnectionError("Failed to connect to Ray cluster at 192.0.2.1:6379")

    monkeypatch.setattr(ray, "init", nobody)
    monkeypatch.setenv("EXECUTOR", "ray")
    with pytest.raises(
        ParamsError, match=r"(?s)EXECUTOR = 'ray': Failed to connect.*`ray status`.*RAY_AUTH_MODE=token"
    ):
        run(params, Store(tmp_path), say=lambda line: None)


@pytest.mark.nightly
def test_a_page_does_not_hold_what_ray_says_of_widgets(tmp_path):
    pytest.importorskip("ray", reason="ray is an extra: `make setup EXECUTOR=ray`")
    in_a_notebook = """
import importlib.util, IPython
from unittest.mock import MagicMock
from study.runs.executors import EXECUTORS, RAY

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "ipywidgets" else find(name, *rest)
IPython.get_ipython = type("ZMQInteractiveShell", (MagicMock,), {})
try:
    with EXECUTORS[RAY](None, None):
        pass
except Exception as error:
    print(error)
import ray
assert ray.widgets.util.in_notebook() and not ray.is_initialized()
"""
    told = {**os.environ, "RAY_ADDRESS": "no address"}
    done = subprocess.run(
        [sys.executable, "-c", in_a_notebook], capture_output=True, text=True, env=told, cwd=tmp_path, check=True
    )
    assert "no address" in done.stdout and not done.stderr


@pytest.mark.nightly
def test_ray_gives_the_rows_of_this_machine(small, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is an extra: `make setup EXECUTOR=ray`")
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    with one_process():
        rows = run(small, here, say=lambda line: None)
    monkeypatch.setenv("EXECUTOR", "ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.init(address="local", num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    try:
        pd.testing.assert_frame_equal(rows, run(small, there, say=lambda line: None), check_exact=True)
    finally:
        ray.shutdown()
    units = {unit.key for trial in evaluation_runs_of(small, there) for unit in (trial, *trial.generation_runs)}
    assert units == {key_in(path.name) for path in there.folder.iterdir()} and isinstance(
        next(iter(evaluation_runs_of(small, here))), EvaluationRun
    )
