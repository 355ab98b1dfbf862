"""What the arms of a study cost, as notebooks show it: from stored records."""

from collections.abc import Sequence

import pandas as pd

from study.evidence.cost import CACHING, break_even, cost_lines, recommended
from study.pages.experiment import Experiment
from study.runs import selection
from study.runs.run import FINISHED
from study.sums import added


def cost_table(experiment: Experiment, arms: Sequence[str] | None = None) -> pd.DataFrame:
    """What each finished trial cost, once and for each question."""
    return pd.DataFrame(
        cost_lines(
            {"world": trial.world, "seed": trial.seed, "arm": trial.arm},
            record,
            [experiment.store.record(generation.key) for generation in trial.generation_runs],
        )
        for trial, record in experiment.finished(arms)
        if record["status"] == FINISHED
    )


def search_costs(experiment: Experiment) -> pd.DataFrame:
    """What the search for its learning rate cost each arm that has one: GFLOP and seconds, generation included."""
    lines = []
    for arm, trials in selection.selection_runs(experiment.params).items():
        generations = {run.key: run for trial in trials for run in trial.generation_runs}
        records = [
            experiment.store.record(run.key)
            for run in (*trials, *generations.values())
            if experiment.store.has(run.key)
        ]
        spent = [record.get("training", record) for record in records]
        lines.append(
            {
                "arm": arm,
                "GFLOP": added(each.get("flops", 0.0) for each in spent) / 1e9,
                "seconds": added(each.get("seconds", 0.0) for each in spent),
            }
        )
    return pd.DataFrame(lines, columns=["arm", "GFLOP", "seconds"])


def break_evens(experiment: Experiment, arms: Sequence[str], other: str) -> pd.DataFrame:
    """Questions after which each arm has cost less than another one, with and without prompt caching."""
    costs, statistics = cost_table(experiment), experiment.params.statistics

    def pays(arm: str) -> dict[str, str]:
        return {way: break_even(costs, arm, other, statistics, cached=cached).said() for cached, way in CACHING.items()}

    return pd.DataFrame({"arm": arm, "against": other, **pays(arm)} for arm in arms if arm != other and len(costs))


def mean_costs(experiment: Experiment) -> pd.DataFrame:
    """What each arm costs, averaged over worlds and seeds."""
    costs = cost_table(experiment)
    if costs.empty:
        return costs
    table = costs.drop(columns=["world", "seed"]).groupby("arm", sort=False).mean()
    return table.reindex([arm for arm in experiment.params.arms if arm in table.index]).round(4)


def decisions(experiment: Experiment, arms: Sequence[str]) -> pd.DataFrame:
    """Which arm to use for which questions, and for how many, from the rows and the costs."""
    rows = experiment.rows()
    if rows.empty:
        return rows
    volumes = (1, 100, 10_000, 1_000_000)  # questions
    return recommended(rows, cost_table(experiment), arms, volumes, experiment.params.statistics).round(3)
