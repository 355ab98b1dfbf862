"""The same arms on models of several sizes: the model-size comparison of a study."""

import pandas as pd

from study.evidence.stats import accuracy, contrast
from study.pages.experiment import Experiment
from study.pages.tables import with_intervals
from study.runs import runner
from study.runs.run import prepare


def run_model_sizes(experiment: Experiment) -> None:
    """Run what is not finished of the runs of the model-size comparison."""
    for params in experiment.params.other_models:
        experiment.run(params=params)


def model_size_table(experiment: Experiment) -> pd.DataFrame:
    """Accuracy of the compared arms on each model, worlds together, and their difference to plain fine-tuning.

    Where models are compared on several sizes of the datasets, each line has the number of facts "in the dataset".
    Nothing, if the study has no other model than its own.
    """
    lines, others, sized = [], experiment.params.other_models, experiment.params.model_sizes.sizes
    for params in others if sized else (experiment.params, *others) if others else ():
        trials = runner.evaluation_runs_of(params, experiment.store, experiment.params.model_sizes.arms)
        rows = runner.rows_of(trials, experiment.store)
        if rows.empty:
            continue
        parameters = max(
            experiment.store.record(t.key).get("parameters", 0) for t in trials if experiment.store.has(t.key)
        )
        rows = rows.assign(value=rows["correct"].astype(float))
        worlds = [prepare(params, name, params.seeds[0]).world for name in params.world_names if sized]
        facts = sum(len(world.facts) for world in worlds if world)
        for (split, arm), part in rows.groupby(["split", "arm"], sort=False):
            estimate = accuracy(part, experiment.params.statistics)._asdict()
            line = {"model": params.model.name, "parameters": parameters, "split": split, "arm": arm, **estimate}
            if sized:
                line["in the dataset"] = facts
            plain = rows[(rows["split"] == split) & (rows["arm"] == "ft")]
            if arm != "ft" and len(plain):
                gap = contrast(part, plain)
                low, high = gap.interval(experiment.params.statistics.confidence)
                line |= {"minus ft": gap.value, "gap low": low, "gap high": high}
            lines.append(line)
    return pd.DataFrame(lines)


def gaps(experiment: Experiment) -> pd.DataFrame:
    """How far the arms of the model-size comparison lie above plain fine-tuning, by split and model."""
    table = model_size_table(experiment)
    if table.empty or "minus ft" not in table:
        return pd.DataFrame()
    table = table[table["minus ft"].notna()]
    gap = with_intervals(table[["minus ft", "gap low", "gap high"]], "+.2f")
    table = table.assign(gap=gap, model=[f"{size / 1e6:.2f} M" for size in table["parameters"]])
    return table.pivot_table("gap", ["split", "arm"], "model", aggfunc="first", sort=False)
