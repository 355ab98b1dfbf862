"""The figures and tables of each notebook, from stored results; the notebooks and `make figures` draw the same."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from study.base_model.history import has_history, shipped_checks
from study.digest import sha256_of
from study.evidence.claims import effect_table, judge, load_claims
from study.evidence.cost import cost_accuracy as cost_accuracy_table
from study.evidence.stats import difference_table
from study.figures import captions, comparisons, pictures
from study.figures import curves as figures
from study.lm.hub import model_folder
from study.pages.experiment import Experiment
from study.pages.notebook_arms import (
    augmented_arms,
    control_arms,
    finetuned_arms,
    in_context_arms,
    main_arms,
    practical_arms,
    retention_arms,
)
from study.params import Params
from study.paths import shown
from study.runs.run import DIVERGED
from study.worlds.family import Families
from study.worlds.semantic import Semantic

PAIRS = (
    ("icl", "ft"),
    ("ft local", "ft"),
    ("ft global", "ft"),
    ("ft augmented", "ft"),
    ("ft augmented", "icl"),
    ("hybrid", "icl"),
)
VOLUMES = (100, 10_000, 1_000_000)  # questions


def graphs(experiment: Experiment) -> None:
    """The first family and the hierarchy of the first seed, where they are in the study; the facts behind them."""
    for name in experiment.params.world_names:
        world = experiment.material(name, experiment.params.seeds[0]).world
        facts = pd.DataFrame(world.facts if world else ())
        if isinstance(world, Families):
            here = facts[[world.family[fact.subject] == 0 for fact in world.facts]]
            experiment.publish("family_tree", pictures.family_tree(world, 0), here, captions.family(here))
        elif isinstance(world, Semantic):
            experiment.publish("hierarchy", pictures.hierarchy(world), facts, captions.hierarchy(facts))


def accuracy(experiment: Experiment, arms: list[str], name: str = "accuracy") -> None:
    """Accuracy of some arms by world and split."""
    rows = experiment.rows()
    rows = rows[rows["arm"].isin(arms)] if len(rows) else rows
    if len(rows):
        table = experiment.accuracy(rows)
        figure = comparisons.accuracy_by_arm(table, experiment.params.arms)
        experiment.publish(name, figure, table, captions.accuracy(table))


def differences(experiment: Experiment) -> None:
    """Differences of pairs of arms by world and split, question by question."""
    rows = experiment.rows()
    table = difference_table(rows, PAIRS, experiment.params.statistics) if len(rows) else rows
    if len(table):
        figure = comparisons.differences_figure(table, experiment.params.arms)
        experiment.publish("differences", figure, table, captions.differences(table))


def emergence(experiment: Experiment) -> None:
    """How the skills of the model under study came in its pretraining, if its folder tells.

    Chance is that among as many options as there were facts, eight at most, as in `skill.py`.
    """
    folder = model_folder(experiment.params.model, weights=False)
    if not has_history(folder):
        return
    table = shipped_checks(folder)
    table["chance"] = 1 / table["facts"].clip(upper=8)
    experiment.publish("emergence", figures.skill_history(table), table, captions.emergence(table))


def losses(experiment: Experiment, arms: list[str]) -> None:
    """Training loss along the steps of some arms."""
    lines = [
        {"world": trial.world, "arm": trial.arm, "seed": trial.seed, "step": step, "loss": loss}
        for trial, record in experiment.finished(arms)
        if record["status"] != DIVERGED and not trial.spec.retention
        for step, loss in _curve(record["training"])
    ]
    if lines:
        table = pd.DataFrame(lines)
        figure = figures.training_losses(table, experiment.params.arms)
        experiment.publish("training_losses", figure, table, captions.losses(table))


def _curve(training: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """The steps at which each part of a training ended, and its loss."""
    part = math.ceil(training["steps"] / len(training["losses"]))
    for k, loss in enumerate(training["losses"], 1):
        yield min(k * part, training["steps"]), loss


def augmentation(experiment: Experiment) -> None:
    """What the text that the model wrote is worth: shares by standing; precision and recall in a table beside it."""
    inferences = experiment.inferences()
    if len(inferences):
        groups = inferences.groupby(["world", "source"], sort=False)["status"]
        shares = groups.value_counts(normalize=True).unstack(fill_value=0.0)
        shares = shares.reindex(columns=list(figures.STANDINGS), fill_value=0.0)
        shares.insert(0, "sentences", groups.size())
        table = shares.reset_index()
        experiment.publish("augmentation", figures.augmentation_figure(table), table, captions.augmentation(table))
        experiment.table("augmentation_quality", experiment.augmentation_quality())


def claims(experiment: Experiment) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The verdict on each claim that the finished runs can test, and the effects behind it."""
    rows = experiment.rows()
    if rows.empty:
        return pd.DataFrame(), pd.DataFrame()
    declared = load_claims()
    effects = effect_table(declared, rows, experiment.params.statistics)
    verdicts = judge(declared, effects, experiment.params.statistics)
    if len(effects):
        figure = comparisons.effects_figure(effects, verdicts)
        experiment.publish("effects", figure, effects, captions.effects(effects, verdicts))
    return experiment.table("claims", verdicts), effects


def coverage(experiment: Experiment, other: str = "ft") -> None:
    """Accuracy on questions whose answer the arm's text has, and on those it misses, beside an arm without text."""
    params, table = experiment.params, experiment.coverage(other)
    if len(table):
        table = table[table["arm"].isin([arm for arm in main_arms(params) if not params.arms[arm].context])]
    if len(table):
        figure = comparisons.coverage_figure(table, params.arms, other)
        experiment.publish("coverage", figure, table, captions.coverage(table, other))


def curves(experiment: Experiment) -> None:
    """Accuracy along the training."""
    table = experiment.curves()
    if len(table):
        figure = figures.learning_curves(table, experiment.params.arms)
        experiment.publish("learning_curves", figure, table, captions.curves(table))


def model_sizes(experiment: Experiment) -> None:
    """Accuracy on models of several sizes, if the study has any besides its own."""
    table = experiment.model_sizes()
    if len(table):
        figure = figures.model_sizes_figure(table, experiment.params.arms)
        experiment.publish("model_sizes", figure, table, captions.model_sizes(table))


def costs(experiment: Experiment, arms: list[str]) -> None:
    """What some arms cost in all, by the number of questions."""
    table = experiment.costs()
    table = table[table["arm"].isin(arms)] if len(table) else table
    if len(table):
        figure = figures.costs_figure(table, experiment.params.arms)
        experiment.publish("costs", figure, table, captions.costs(table))


def cost_accuracy(experiment: Experiment, arms: list[str], other: str = "icl") -> None:
    """Accuracy of some arms on deductions against what a question costs, and from how many on each pays."""
    rows, costs = experiment.rows(), experiment.costs()
    if not len(costs) or other not in set(costs["arm"]):
        return
    params = experiment.params
    table = cost_accuracy_table(rows, costs, arms, other, VOLUMES, params.statistics)
    if len(table):
        figure = comparisons.cost_accuracy(table, params.arms, other)
        experiment.publish("cost_accuracy", figure, table, captions.cost_accuracy(table, other))


def documents(experiment: Experiment) -> None:
    """Accuracy of all arms on somebody's own questions, and on the sentences of the documents."""
    accuracy(experiment, list(experiment.params.arms))


def of_in_context(experiment: Experiment) -> None:
    """What notebook 02 draws."""
    emergence(experiment)
    accuracy(experiment, in_context_arms(experiment.params))


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
    differences(experiment)
    claims(experiment)


def of_mechanism(experiment: Experiment) -> None:
    """What notebook 06 draws."""
    coverage(experiment)
    curves(experiment)
    model_sizes(experiment)
    accuracy(experiment, retention_arms(experiment.params), "retention")
    costs(experiment, practical_arms(experiment.params))
    cost_accuracy(experiment, practical_arms(experiment.params))


DRAWINGS: dict[str, Callable[[Experiment], None]] = {
    "01_generate_data": graphs,
    "02_in_context": of_in_context,
    "03_finetune": of_finetune,
    "04_augmented_finetune": of_augmented_finetune,
    "05_compare": of_compare,
    "06_mechanism_and_cost": of_mechanism,
}


def redraw(params: Params, results: Path) -> dict[str, bool]:
    """Draw every figure anew; for each file of the notebooks' figures and tables, whether it changed."""
    plt.switch_backend("Agg")
    changed: dict[str, bool] = {}
    for notebook, drawing in DRAWINGS.items():
        experiment = Experiment(params, results, notebook)
        before = _digests(experiment.output)
        drawing(experiment)
        changed |= {shown(path): digest != before.get(path) for path, digest in _digests(experiment.output).items()}
    return changed


def _digests(folder: Path) -> dict[Path, str]:
    return {path: sha256_of(path) for path in sorted(folder.glob("*.*"))}
