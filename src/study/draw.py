"""The figures and tables of each notebook, from stored results; the notebooks and `make figures` draw the same."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from study import figures
from study.claims import effect_table, judge, load_claims
from study.experiment import (
    Experiment,
    arms_elsewhere,
    augmented_arms,
    control_arms,
    finetuned_arms,
    in_context_arms,
    main_arms,
    practical_arms,
)
from study.params import Params
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


def accuracy(experiment: Experiment, arms: list[str], name: str = "accuracy") -> None:
    """Accuracy of some arms by world and split."""
    rows = experiment.rows()
    rows = rows[rows["arm"].isin(arms)] if len(rows) else rows
    if len(rows):
        table = experiment.accuracy(rows)
        experiment.publish(name, figures.accuracy_by_arm(table, experiment.params.arms), table)


def losses(experiment: Experiment, arms: list[str]) -> None:
    """Training loss along the steps of some arms."""
    lines = [
        {"world": trial.world, "arm": trial.arm, "seed": trial.seed, "step": step, "loss": loss}
        for trial, record in experiment.finished(arms)
        if record["status"] != DIVERGED and not trial.spec.elsewhere
        for step, loss in _curve(record["training"])
    ]
    if lines:
        table = pd.DataFrame(lines)
        experiment.publish("training_losses", figures.training_losses(table, experiment.params.arms), table)


def _curve(training: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """The steps at which each part of a training ended, and its loss."""
    part = math.ceil(training["steps"] / len(training["losses"]))
    for k, loss in enumerate(training["losses"], 1):
        yield min(k * part, training["steps"]), loss


def augmentation(experiment: Experiment) -> None:
    """What the text that the model wrote is worth."""
    inferences = experiment.inferences()
    if len(inferences):
        experiment.publish("augmentation", figures.augmentation_figure(inferences), experiment.augmentation_quality())


def claims(experiment: Experiment) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The verdict on each claim that the finished trials can test, and the effects behind it."""
    rows = experiment.rows()
    if rows.empty:
        return pd.DataFrame(), pd.DataFrame()
    declared = load_claims()
    effects = effect_table(declared, rows, experiment.params.statistics)
    verdicts = judge(declared, effects, experiment.params.statistics)
    if len(effects):
        experiment.publish("effects", figures.effects_figure(effects, verdicts), effects)
    return experiment.table("claims", verdicts), effects


def coverage(experiment: Experiment, other: str = "ft") -> None:
    """Accuracy on questions whose answer the arm's text has, and on those it misses, beside an arm without text."""
    params, table = experiment.params, experiment.coverage(other)
    if len(table):
        table = table[table["arm"].isin([arm for arm in main_arms(params) if not params.arms[arm].context])]
    if len(table):
        experiment.publish("coverage", figures.coverage_figure(table, experiment.params.arms, other), table)


def curves(experiment: Experiment) -> None:
    """Accuracy along the training."""
    table = experiment.curves()
    if len(table):
        experiment.publish("learning_curves", figures.learning_curves(table, experiment.params.arms), table)


def ladder(experiment: Experiment) -> None:
    """Accuracy on models of several sizes, if the study has any besides its own."""
    table = experiment.ladder()
    if len(table):
        experiment.publish("ladder", figures.ladder_figure(table, experiment.params.arms), table)


def costs(experiment: Experiment, arms: list[str]) -> None:
    """What some arms cost in all, by the number of questions."""
    table = experiment.costs()
    table = table[table["arm"].isin(arms)] if len(table) else table
    if len(table):
        experiment.publish("costs", figures.costs_figure(table, experiment.params.arms), table)


def documents(experiment: Experiment) -> None:
    """Accuracy of all arms on somebody's own questions, and on the sentences of the documents."""
    accuracy(experiment, list(experiment.params.arms))


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
    params = experiment.params
    accuracy(experiment, main_arms(params))
    accuracy(experiment, ["ft", "ft augmented", *control_arms(params)], "controls")
    claims(experiment)


def of_mechanism(experiment: Experiment) -> None:
    """What notebook 06 draws."""
    coverage(experiment)
    curves(experiment)
    ladder(experiment)
    accuracy(experiment, arms_elsewhere(experiment.params), "retention")
    costs(experiment, practical_arms(experiment.params))


DRAWINGS: dict[str, Callable[[Experiment], None]] = {
    "01_generate_data": graphs,
    "02_in_context": lambda experiment: accuracy(experiment, in_context_arms(experiment.params)),
    "03_finetune": of_finetune,
    "04_augmented_finetune": of_augmented_finetune,
    "05_compare": of_compare,
    "06_mechanism_and_cost": of_mechanism,
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
