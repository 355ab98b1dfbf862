"""The learning rate of each arm, chosen on the trained direction of seeds that the study does not test on."""

from collections.abc import Sequence

import pandas as pd

from study.lm.hub import identity
from study.params import Arm, Params
from study.runs.run import DIVERGED, EvaluationRun
from study.runs.store import Store
from study.worlds.world import Split


def selection_runs(params: Params, arms: Sequence[str] | None = None) -> dict[str, list[EvaluationRun]]:
    """For each arm that trains, the trials that choose its learning rate: without context, on the selection seeds.

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
    """What is left of an arm when it is asked nothing but the trial's own questions, and once."""
    return arm.model_copy(update={"context": None, "shots": None, "retention": False, "worlds": None, "curve": False})


def chosen_rates(params: Params, store: Store) -> dict[str, float]:
    """The learning rate of each arm that trains, once it is known.

    The one with the highest accuracy on the trained direction of the selection seeds; of equal ones, the one that
    holds the true options likeliest. A rate at which a training diverged is never chosen while another is left.
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
    """How each trial of a selection did on the trained direction; a diverged one is right in no question."""
    lines = []
    for trial in trials:
        line = {"world": trial.world, "seed": trial.seed, "learning rate": trial.learning_rate}
        if store.record(trial.key)["status"] == DIVERGED:
            lines.append({**line, "accuracy": 0.0, "log-probability": float("-inf")})
            continue
        rows = store.rows(trial.key)
        rows = rows[rows["split"] == Split.STATED]
        of_true = [
            max(log_probs[k] for k in answers)
            for log_probs, answers in zip(rows["option_log_probs"], rows["answers"], strict=True)
        ]
        mean = sum(of_true) / len(of_true)
        lines.append({**line, "accuracy": float(rows["correct"].mean()), "log-probability": mean})
    return pd.DataFrame(lines)
