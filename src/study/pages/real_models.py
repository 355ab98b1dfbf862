"""What pretrained models did: the accuracies published beside those of the bundled model."""

import pandas as pd

from study.evidence.cost import STATED
from study.pages.experiment import Experiment
from study.pages.page import real_tables
from study.params import load_params
from study.paths import PARAMS, RESULTS
from study.runs import runner

DEVELOPMENT = RESULTS / "development" / "qwen" / "accuracy.csv"  # the same models on the development seed
BESIDE = ("icl", "retrieved", "ft", "ft reversed", "ft local", "ft augmented strict")  # arms shown of several models
FEWEST_ITEMS = 8  # the interval of fewer says nothing


def real_models() -> pd.DataFrame:
    """Accuracies of pretrained models on fresh seeds.

    Returns:
        columns model, parameters (as its makers count them), world, split, arm, and those of `stats.Estimate`; no row
        if none is published.
    """
    seen = pd.read_csv(DEVELOPMENT)
    sizes = seen.groupby("model")["parameters"].first()  # a GGUF file may hold the embedding twice
    parts = []
    for study, some in real_tables().items():
        model = load_params(PARAMS / f"{study}.yaml").model.name
        table = pd.concat(map(pd.read_csv, some)).drop_duplicates(["world", "split", "arm"])  # controls show ft again
        parts.append(table.assign(model=model, parameters=sizes[model]))
    return pd.concat(parts, ignore_index=True) if parts else seen.head(0)


def beside(experiment: Experiment) -> pd.DataFrame:
    """Accuracy of main arms on this study's model and on published real ones, for what both were asked.

    Facts as stated and rephrased are left out. Nothing, if no dataset is shared.
    """
    finished = experiment.finished([arm for arm in BESIDE if arm in experiment.params.arms])
    if not finished:
        return pd.DataFrame()
    own = experiment.accuracy(runner.rows_of([run for run, _ in finished], experiment.store))
    parameters = max(record.get("parameters", 0) for _, record in finished)
    own = own.assign(model=experiment.params.model.name, parameters=parameters)
    real = real_models()
    real = real[real["arm"].isin(BESIDE) & (real["model"] != experiment.params.model.name)]
    own, real = (table[~table["split"].isin(STATED) & (table["items"] >= FEWEST_ITEMS)] for table in (own, real))
    place = ["world", "split"]
    shared = own[place].drop_duplicates().merge(real[place].drop_duplicates())
    return pd.concat([own, real]).merge(shared)


def beside_in_percent(experiment: Experiment) -> pd.DataFrame:
    """Accuracy of main arms, in percent, on this study's model and on real ones, with chance."""
    table = beside(experiment)
    if table.empty:
        return table
    place = ["world", "split", "parameters"]
    shown = table.assign(value=[f"{value:.0%}" for value in table["value"]])
    shown = shown.pivot_table("value", place, "arm", aggfunc="first", sort=False).sort_index().fillna("")
    shown["chance"] = [f"{value:.0%}" for value in table.groupby(place)["chance"].mean()]
    return shown.reset_index().assign(parameters=lambda lines: [f"{size / 1e6:,.0f} M" for size in lines["parameters"]])
