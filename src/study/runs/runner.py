"""Perform the runs of a study, wave by wave, and report each in a line."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

import pandas as pd

from study.arms import Arm
from study.data.questions import Question, Splitting
from study.lm.hub import identity, verified_folder
from study.params import Choice, Params
from study.paths import shown
from study.runs.executors import Job, Submit, submitting
from study.runs.run import DIVERGED, EvaluationRun, GenerationRun, Run
from study.runs.selection import chosen, selection_runs, tuning_of
from study.runs.store import Store, content_hash
from study.worlds.world import Split

COLUMNS = ("world", "arm", "seed", "retention", *Question._fields, "option_log_probs", "correct", "chance", "covered")
TRIES = 3  # of a job whose process was killed


def evaluation_runs_of(params: Params, store: Store, arms: Sequence[str] | None = None) -> list[EvaluationRun]:
    """Every evaluation of a study, or of some of its arms, in a fixed order.

    One whose learning rate is still to be chosen has none, and so is never finished.
    """
    return _trials(params, chosen(params, store), arms)


def _trials(params: Params, choices: dict[str, Choice], arms: Sequence[str] | None) -> list[EvaluationRun]:
    model_sha256 = identity(params.model)
    return [
        EvaluationRun(world, seed, params, model_sha256, arm, *as_chosen(params.arms[arm], choices.get(arm), world))
        for world in params.world_names
        for seed in params.seeds
        for arm in params.arms_in(world)
        if arms is None or arm in arms
    ]


def as_chosen(arm: Arm, choice: Choice | None, world: str) -> tuple[Arm, float | None]:
    """An arm on a dataset with the splitting and learning rate that were chosen for it."""
    rate = choice.rate if choice else None
    if arm.splitting is not Splitting.BEST:
        return arm, rate
    whole = choice.whole if choice else {}
    splitting = Splitting.WHOLE if world in whole else Splitting.SENTENCES
    return arm.model_copy(update={"splitting": splitting}), whole.get(world, rate)


def sharing(params: Params, arms: Sequence[str] | None) -> list[str]:
    """Some arms, and those that share the training of one of them."""
    if arms is None:
        return list(params.arms)
    trainings = [tuning_of(params.arms[label]) for label in arms if params.arms[label].train]
    return [label for label, arm in params.arms.items() if label in arms or tuning_of(arm) in trainings]


def waves_of(params: Params, store: Store, arms: Sequence[str] | None = None) -> Iterator[list[Run]]:
    """Runs in waves: generation, selection of learning rates, evaluations."""
    needed = None if arms is None else [*arms, *(params.arms[arm].rate_of or arm for arm in arms)]
    selecting = {trial.key: trial for trials in selection_runs(params, needed).values() for trial in trials}
    trials = _trials(params, {}, arms)  # the text that they train on does not depend on learning rates
    generations = [generation for trial in (*selecting.values(), *trials) for generation in trial.generation_runs]
    yield list({generation.key: generation for generation in generations}.values())
    yield list(selecting.values())
    yield [*evaluation_runs_of(params, store, sharing(params, arms))]


def runs_of(params: Params, store: Store) -> list[Run]:
    """Every run of a study and of its model-size comparison."""
    return [run for study in (params, *params.other_models) for wave in waves_of(study, store) for run in wave]


def run(
    params: Params, store: Store, arms: Sequence[str] | None = None, say: Callable[[str], None] = print
) -> pd.DataFrame:
    """Perform a study's unfinished runs and return the rows of all evaluations.

    A run that fails does not stop the others; finished ones stay.

    Raises:
        RuntimeError: naming the runs that failed, after all others have ended.
    """
    for wave in waves_of(params, store, arms):
        _run_wave(wave, store, params, say)
    return rows_of(evaluation_runs_of(params, store, arms), store)


def rows_of(trials: Sequence[EvaluationRun], store: Store) -> pd.DataFrame:
    """The rows of finished evaluations, with the arm's name; a diverged one has none, and columns stay."""
    parts = [store.rows(trial.key).assign(arm=trial.arm) for trial in trials if store.has(trial.key)]
    parts = [part for part in parts if len(part.columns) > 1]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def generation_runs_of(params: Params, store: Store) -> list[GenerationRun]:
    """The finished generation runs of a study."""
    runs = {run.key: run for trial in evaluation_runs_of(params, store) for run in trial.generation_runs}
    return [run for run in runs.values() if store.has(run.key)]


MANY = 0.5  # share of generated sentences that only repeat what they were given, worth a word


def _jobs(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that one process performs together, the longest first: evaluations of one training; a generation alone."""
    jobs: dict[str, list[Run]] = {}
    for run in runs:
        shared = isinstance(run, EvaluationRun) and content_hash([run.world, run.seed, run.training])
        jobs.setdefault(shared or run.key, []).append(run)
    return sorted(jobs.values(), key=lambda job: -len(job[0].spec.train) if isinstance(job[0], EvaluationRun) else 0)


def _run_wave(runs: Sequence[Run], store: Store, params: Params, say: Callable[[str], None]) -> None:
    waiting = {run.key: run for run in runs if not store.has(run.key)}
    if len(waiting) < len(runs):
        say(f"{len(runs) - len(waiting)} of {len(runs)} runs cached")
    if not waiting:
        return
    for run in (run for run in waiting.values() if store.damaged(run.key)):
        say(f"{run.label}: its files in {shown(store.path(run.key))} are damaged; it is repeated")
    verified_folder(params.model)  # once for all the processes that load it
    failed, count, started = [], 0, time.monotonic()
    with submitting(params, store) as submit:
        for job, why in _done(submit, _jobs(list(waiting.values()))):
            for run in job:
                count += 1
                ending = "FAILED" if run.label in why else _ending(store, run)
                spent = time.monotonic() - started
                left = spent / count * (len(waiting) - count) / 60
                said = f", about {left:.0f} min left" if left >= 1 else ""
                say(f"{count:3d}/{len(waiting)}  {spent:6.0f} s{said}  {run.label}  {ending}")
            failed += [f"{label}: {reason}" for label, reason in why.items()]
    if failed:
        heading = f"{len(failed)} of {len(waiting)} runs failed; the others are stored:"
        raise RuntimeError("\n  ".join([heading, *failed]))


def _done(submit: Submit, jobs: Sequence[Job]) -> Iterator[tuple[Job, dict[str, str]]]:
    """Jobs as they end, and why runs of them failed, by label; a job whose process was killed is repeated."""
    futures: dict[Future[dict[str, str]], tuple[Job, int]] = {submit(job): (job, 1) for job in jobs}
    while futures:
        for future in wait(futures, return_when=FIRST_COMPLETED).done:
            job, tries = futures.pop(future)
            error = future.exception()
            if isinstance(error, BrokenProcessPool) and tries < TRIES:
                futures[submit(job)] = job, tries + 1
            elif isinstance(error, BrokenProcessPool):
                killed = f"its process was killed, {tries} times; most often memory had run out"
                yield job, {run.label: killed for run in job}
            else:
                yield job, {u.label: f"{type(error).__name__}: {error}" for u in job} if error else future.result()


def _ending(store: Store, run: Run) -> str:
    record = store.record(run.key)
    if record["status"] == DIVERGED:
        return f"DIVERGED: {record['error']}"
    if isinstance(run, GenerationRun):
        quality = record["quality"]
        judged = not math.isnan(quality["precision"])  # of users' own documents the truth is not known
        said = f"{quality['sentences']} sentences" + (f", precision {quality['precision']:.2f}" if judged else "")
        if not quality["sentences"]:
            return f"{said}: what trains on them trains on documents alone"
        repeated = quality["repeated"]
        return said + (f"; {repeated:.0%} only repeat what they were given" if repeated > MANY else "")
    right = store.rows(run.key).groupby("split")["correct"].mean()
    shown = [str(split) for split in (Split.STATED, Split.REVERSAL, Split.TWO_HOPS) if split in right]
    return "  ".join(f"{split} {right[split]:.2f}" for split in shown)
