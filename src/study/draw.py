"""The figures and tables of each notebook, from stored results; the notebooks and `make figures` draw the same."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from study import figures
from study.claims import CLAIMS
from study.experiment import Experiment, augmented_arms, finetuned_arms, in_context_arms
from study.params import Params
from study.stats import judge_claims
from study.trials import DIVERGED
from study.worlds.family import Families
from study.worlds.semantic import Semantic


def graphs(experiment: Experiment) -> None:
    """The first family and the hierarchy of the first seed, where they are in the study; the facts behind them."""
    for name in experiment.params.world_names:
        world = experiment.material(name, experiment.params.seeds[0]).world
        facts = pd.DataFrame(world.facts)
        if isinstance(world, Families):
            here = facts[[world.family[fact.subject] == 0 for fact in world.facts]]
            experiment.publish("family_tree", figures.family_tree(world, 0), here)
        elif isinstance(world, Semantic):
            experiment.publish("hierarchy", figures.hierarchy(world), facts)


def accuracy(experiment: Experiment, arms: list[str]) -> None:
    """Accuracy of some arms by world and split."""
    rows = experiment.rows()
    rows = rows[rows["arm"].isin(arms)] if len(rows) else rows
    if len(rows):
        table = experiment.accuracy(rows)
        experiment.publish("accuracy", figures.accuracy_by_arm(table, list(experiment.params.arms)), table)


def losses(experiment: Experiment, arms: list[str]) -> None:
    """Training loss by epoch of some arms."""
    lines = [
        {"world": trial.world, "arm": trial.arm, "seed": trial.seed, "epoch": epoch, "loss": loss}
        for trial, record in experiment.finished(arms)
        if record["status"] != DIVERGED
        for epoch, loss in enumerate(record["training"]["losses"], 1)
    ]
    if lines:
        table = pd.DataFrame(lines)
        experiment.publish("training_losses", figures.training_losses(table, list(experiment.params.arms)), table)


def augmentation(experiment: Experiment) -> None:
    """What the text that the model wrote is worth."""
    inferences = experiment.inferences()
    if len(inferences):
        experiment.publish("augmentation", figures.augmentation_figure(inferences), experiment.augmentation_quality())


def claims(experiment: Experiment) -> pd.DataFrame:
    """The verdict on each claim that the finished trials can test."""
    rows = experiment.rows()
    if rows.empty:
        return pd.DataFrame()
    table = judge_claims(CLAIMS, rows, experiment.params.statistics)
    if (table["verdict"] != "not tested").any():
        experiment.publish("claims", figures.claims_figure(table), table)
    return table


def of_finetune(experiment: Experiment) -> None:
    """What notebook 03 draws."""
    arms = finetuned_arms(experiment.params)
    losses(experiment, arms)
    accuracy(experiment, [*in_context_arms(experiment.params), *arms])


def of_augmented_finetune(experiment: Experiment) -> None:
    """What notebook 04 draws."""
    arms = augmented_arms(experiment.params)
    augmentation(experiment)
    accuracy(experiment, [*finetuned_arms(experiment.params), *arms])
    losses(experiment, arms)


def of_compare(experiment: Experiment) -> None:
    """What notebook 05 draws."""
    accuracy(experiment, list(experiment.params.arms))
    claims(experiment)


DRAWINGS: dict[str, Callable[[Experiment], None]] = {
    "01_generate_data": graphs,
    "02_in_context": lambda experiment: accuracy(experiment, in_context_arms(experiment.params)),
    "03_finetune": of_finetune,
    "04_augmented_finetune": of_augmented_finetune,
    "05_compare": of_compare,
}


def redraw(params: Params, results: Path) -> list[str]:
    """Draw every figure anew; the files drawn."""
    plt.switch_backend("Agg")
    files = []
    for notebook, drawing in DRAWINGS.items():
        experiment = Experiment(params, results, notebook)
        drawing(experiment)
        files += [file for file in experiment.files() if file.endswith(".png")]
    return files
