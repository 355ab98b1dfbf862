"""The learning rate of each arm, chosen on the stated facts of seeds that the study does not test on."""

from collections.abc import Sequence

import pandas as pd

from study.lm.hub import identity
from study.params import Arm, Params
from study.runs.run import DIVERGED, EvaluationRun
from study.runs.store import Store
from study.sums import added
from study.worlds.world import Split


def selection_runs(params: Params, arms: Sequence[str] | None = None) -> dict[str, list[EvaluationRun]]:
    """For each arm that trains, the runs that choose its learning rate: without context, on the selection seeds.

    Arms with the same training share them.
    """
    finetuning, trials = params.finetuning, {}
    if len(finetuning.learning_rates) == 1:
        return {}
    model_sha256 = identity(params.model)
    for label, arm in params.arms.items():
        there = [world for world in params.world_names if label in params.arms_in(world)]
        if not arm.train or not there or (arms is not None and label not in arms):
            continue
        spec = tuning_of(arm).model_copy(update={"reseed": 0})
        trials[label] = [
            EvaluationRun(world, seed, params, model_sha256, f"{label} at {rate:g}", spec, rate)
            for world in [w for w in there if w in finetuning.selection_worlds] or there
            for seed in finetuning.selection_seeds
            for rate in finetuning.learning_rates
        ]
    return trials


def tuning_of(arm: Arm) -> Arm:
    """An arm without context, retention and curve."""
    return arm.model_copy(update={"context": None, "shots": None, "retention": False, "worlds": None, "curve": False})


def chosen_rates(params: Params, store: Store) -> dict[str, float]:
    """The learning rate of each arm that trains, once it is known.

    The one with the highest accuracy on the stated facts of the selection seeds; of equal ones, the one with the
    highest log-probability of true options. A rate that diverged is chosen only if all did.
    """
    if len(params.finetuning.learning_rates) == 1:
        return {label: params.finetuning.learning_rates[0] for label, arm in params.arms.items() if arm.train}
    chosen = {}
    for label, trials in selection_runs(params).items():
        if all(store.has(trial.key) for trial in trials):
            scores = selection_table(trials, store).groupby("learning rate")[["accuracy", "log-probability"]].mean()
            chosen[label] = float(max(scores.index, key=lambda rate: tuple(scores.loc[rate])))
    return chosen


def selection_table(trials: Sequence[EvaluationRun], store: Store) -> pd.DataFrame:
    """Accuracy and log-probability of true options on stated facts, a row for each run; a diverged one has 0."""

    def scores(trial: EvaluationRun) -> tuple[float, float]:
        if store.record(trial.key)["status"] == DIVERGED:
            return 0.0, float("-inf")
        rows = store.rows(trial.key)
        rows = rows[rows["split"] == Split.STATED]
        options = zip(rows["option_log_probs"], rows["answers"], strict=True)
        of_true = [max(log_probs[k] for k in answers) for log_probs, answers in options]
        return float(rows["correct"].mean()), added(of_true) / len(of_true)

    lines = [(trial.world, trial.seed, trial.learning_rate, *scores(trial)) for trial in trials]
    return pd.DataFrame(lines, columns=["world", "seed", "learning rate", "accuracy", "log-probability"])
