"""Run units side by side, each in a process of its own, and say how it goes line by line."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import pandas as pd
import torch

from study.models import identity, pick_device
from study.params import Params
from study.store import Store
from study.trials import DIVERGED, Trial, Unit, Writing
from study.world import Split


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trials_of(params: Params, arms: Sequence[str] | None = None) -> list[Trial]:
    """Every trial of a study, or of some of its arms, in a fixed order."""
    model_sha256 = identity(params.model)
    return [
        Trial(world, seed, params, model_sha256, arm)
        for world in params.world_names
        for seed in params.seeds
        for arm in params.arms
        if arms is None or arm in arms
    ]


def units_of(trials: Sequence[Trial]) -> list[list[Unit]]:
    """Units in waves: what the trials need first, then the trials, the longest first."""
    writings = {writing.key: writing for trial in trials for writing in trial.writings}
    longest_first = sorted(trials, key=lambda trial: -len(trial.params.arms[trial.arm].train))
    return [list(writings.values()), list(longest_first)]


def run(
    params: Params, store: Store, arms: Sequence[str] | None = None, say: Callable[[str], None] = print
) -> pd.DataFrame:
    """Run what is not finished of a study's trials and return the rows of all of them.

    A unit that fails does not stop the others; what is finished stays.

    Raises:
        RuntimeError: naming the units that failed, after all others have run.
    """
    trials = trials_of(params, arms)
    for wave in units_of(trials):
        _run_wave(wave, store, params, say)
    return rows_of(trials, store)


def rows_of(trials: Sequence[Trial], store: Store) -> pd.DataFrame:
    """The rows of finished trials, each labelled with the arm's name; a diverged trial has none."""
    parts = [store.rows(trial.key).assign(arm=trial.arm) for trial in trials if store.has(trial.key)]
    parts = [part for part in parts if len(part.columns) > 1]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def writings_of(params: Params, store: Store) -> pd.DataFrame:
    """Every finished sentence that the model wrote for a study."""
    parts = [store.rows(unit.key) for unit in units_of(trials_of(params))[0] if store.has(unit.key)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _run_wave(units: Sequence[Unit], store: Store, params: Params, say: Callable[[str], None]) -> None:
    waiting = {unit.key: unit for unit in units if not store.has(unit.key)}
    if len(waiting) < len(units):
        say(f"{len(units) - len(waiting)} of {len(units)} finished before")
    if not waiting:
        return
    # One process holds a GPU; on a CPU each core takes a unit.
    workers = 1 if pick_device(params.model) != "cpu" else min(available_cores(), len(waiting))
    threads = max(1, available_cores() // workers)
    # A forked child starts warm, with torch imported and no thread begun, and leaves nothing to the next unit.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["study.trials"])
    failed = []
    started = time.monotonic()
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        futures = {pool.submit(_work, unit, store, threads): unit for unit in waiting.values()}
        for count, future in enumerate(as_completed(futures), 1):
            unit, error = futures[future], future.exception()
            if error:
                failed.append(f"{unit.label}: {type(error).__name__}: {error}")
            ending = "FAILED" if error else _ending(store, unit)
            say(f"{count:3d}/{len(waiting)}  {time.monotonic() - started:6.0f} s  {unit.label}  {ending}")
    if failed:
        raise RuntimeError(
            "\n  ".join([f"{len(failed)} of {len(waiting)} units failed; the others are stored:", *failed])
        )


def _ending(store: Store, unit: Unit) -> str:
    record = store.record(unit.key)
    if record["status"] == DIVERGED:
        return f"DIVERGED: {record['error']}"
    if isinstance(unit, Writing):
        return f"precision {record['quality']['precision']:.2f} of {record['quality']['sentences']} sentences"
    right = store.rows(unit.key).groupby("split")["correct"].mean()
    shown = [str(split) for split in (Split.TRAINED, Split.REVERSAL, Split.TWO_HOPS) if split in right]
    return "  ".join(f"{split} {right[split]:.2f}" for split in shown)


def _work(unit: Unit, store: Store, threads: int) -> None:
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(threads)
    unit.run(store)


def _end_with_parent(parent: int) -> None:
    """A worker whose study was killed ends too, instead of working on for nobody."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
