"""Run the units of a study, wave by wave, and say how it goes line by line."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

import pandas as pd

from study.lm.hub import identity, verified_folder
from study.params import Params
from study.paths import shown
from study.runs.executors import Job, Submit, submitting
from study.runs.run import DIVERGED, EvaluationRun, GenerationRun, Run
from study.runs.selection import chosen_rates, selection_runs, tuning_of
from study.runs.store import Store, content_hash
from study.worlds.world import Split

TRIES = 3  # of a job whose process was killed


def evaluation_runs_of(params: Params, store: Store, arms: Sequence[str] | None = None) -> list[EvaluationRun]:
    """Every trial of a study, or of some of its arms, in a fixed order.

    A trial whose learning rate is still to be chosen has none, and so is never among the finished ones.
    """
    return _trials(params, chosen_rates(params, store), arms)


def _trials(params: Params, rates: dict[str, float], arms: Sequence[str] | None) -> list[EvaluationRun]:
    model_sha256 = identity(params.model)
    return [
        EvaluationRun(world, seed, params, model_sha256, arm, params.arms[arm], rates.get(arm))
        for world in params.world_names
        for seed in params.seeds
        for arm in params.arms_in(world)
        if arms is None or arm in arms
    ]


def sharing(params: Params, arms: Sequence[str] | None) -> list[str]:
    """Some arms, and those that take the same training as one of them: it is made once and serves all."""
    if arms is None:
        return list(params.arms)
    trainings = [tuning_of(params.arms[label]) for label in arms if params.arms[label].train]
    return [label for label, arm in params.arms.items() if label in arms or tuning_of(arm) in trainings]


def waves_of(params: Params, store: Store, arms: Sequence[str] | None = None) -> Iterator[list[Run]]:
    """Units in waves: generated text, the choice of learning rates, parts of the trials with these, the trials."""
    selecting = {trial.key: trial for trials in selection_runs(params, arms).values() for trial in trials}
    trials = _trials(params, {}, arms)  # the text that they train on does not depend on learning rates
    generation_runs = {
        generation.key: generation for trial in (*selecting.values(), *trials) for generation in trial.generation_runs
    }
    yield list(generation_runs.values())
    yield list(selecting.values())
    chosen = evaluation_runs_of(params, store, sharing(params, arms))
    yield [shard for trial in chosen for shard in trial.shards]
    yield [*chosen]


def runs_of(params: Params, store: Store) -> list[Run]:
    """Every unit of a study and of its model-size comparison."""
    return [unit for study in (params, *params.other_models) for wave in waves_of(study, store) for unit in wave]


def run(
    params: Params, store: Store, arms: Sequence[str] | None = None, say: Callable[[str], None] = print
) -> pd.DataFrame:
    """Run what is not finished of a study's trials and return the rows of all of them.

    A unit that fails does not stop the others; what is finished stays.

    Raises:
        RuntimeError: naming the units that failed, after all others have run.
    """
    for wave in waves_of(params, store, arms):
        _run_wave(wave, store, params, say)
    return rows_of(evaluation_runs_of(params, store, arms), store)


def rows_of(trials: Sequence[EvaluationRun], store: Store) -> pd.DataFrame:
    """The rows of finished trials, each labelled with the arm's name; a diverged trial has none."""
    parts = [store.rows(trial.key).assign(arm=trial.arm) for trial in trials if store.has(trial.key)]
    parts = [part for part in parts if len(part.columns) > 1]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def generation_runs_of(params: Params, store: Store) -> list[GenerationRun]:
    """The finished texts that the model wrote for the trials of a study."""
    units = {unit.key: unit for trial in evaluation_runs_of(params, store) for unit in trial.generation_runs}
    return [unit for unit in units.values() if store.has(unit.key)]


def _jobs(units: Sequence[Run]) -> list[list[Run]]:
    """Units that one process does together, the longest first: trials of one training; a text alone."""
    jobs: dict[str, list[Run]] = {}
    for unit in units:
        name = unit.key
        if isinstance(unit, EvaluationRun):
            name = content_hash([unit.world, unit.seed, unit.training, unit.shard])
        jobs.setdefault(name, []).append(unit)
    return sorted(jobs.values(), key=lambda job: -len(job[0].spec.train) if isinstance(job[0], EvaluationRun) else 0)


def _run_wave(units: Sequence[Run], store: Store, params: Params, say: Callable[[str], None]) -> None:
    store.fetch(unit.key for unit in units)
    waiting = {unit.key: unit for unit in units if not store.has(unit.key)}
    if len(waiting) < len(units):
        say(f"{len(units) - len(waiting)} of {len(units)} finished before")
    if not waiting:
        return
    for unit in (unit for unit in waiting.values() if store.damaged(unit.key)):
        say(f"{unit.label}: its files in {shown(store.folder / unit.key)} are damaged, and it is made again")
    verified_folder(params.model)  # once for all the processes that load it
    failed, count, started = [], 0, time.monotonic()
    with submitting(params.model, store) as submit:
        for job, why in _done(submit, _jobs(list(waiting.values()))):
            store.fetch(unit.key for unit in job)
            for unit in job:
                count += 1
                ending = "FAILED" if unit.label in why else _ending(store, unit)
                say(f"{count:3d}/{len(waiting)}  {time.monotonic() - started:6.0f} s  {unit.label}  {ending}")
            failed += [f"{label}: {reason}" for label, reason in why.items()]
    if failed:
        raise RuntimeError(
            "\n  ".join([f"{len(failed)} of {len(waiting)} units failed; the others are stored:", *failed])
        )


def _done(submit: Submit, jobs: Sequence[Job]) -> Iterator[tuple[Job, dict[str, str]]]:
    """Jobs as they end, and why units of them failed, by label; a job whose process was killed is begun again."""
    futures: dict[Future[dict[str, str]], tuple[Job, int]] = {submit(job): (job, 1) for job in jobs}
    while futures:
        for future in wait(futures, return_when=FIRST_COMPLETED).done:
            job, tries = futures.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool) and tries < TRIES:
                futures[submit(job)] = job, tries + 1
            elif isinstance(error, BrokenProcessPool):
                killed = f"its process was killed, {tries} times; most often memory had run out"
                yield job, {unit.label: killed for unit in job}
            else:
                yield job, {u.label: f"{type(error).__name__}: {error}" for u in job} if error else future.result()


def _ending(store: Store, unit: Run) -> str:
    record = store.record(unit.key)
    if record["status"] == DIVERGED:
        return f"DIVERGED: {record['error']}"
    if isinstance(unit, GenerationRun):
        quality = record["quality"]
        judged = not math.isnan(quality["precision"])  # of people's own documents nobody knows what is true
        return f"{quality['sentences']} sentences" + (f", precision {quality['precision']:.2f}" if judged else "")
    right = store.rows(unit.key).groupby("split")["correct"].mean()
    shown = [str(split) for split in (Split.STATED, Split.REVERSAL, Split.TWO_HOPS) if split in right]
    return "  ".join(f"{split} {right[split]:.2f}" for split in shown)
