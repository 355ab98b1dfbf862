"""The figures and tables of each notebook, from stored results; the notebooks and `make figures` draw the same."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from study.arms import Source
from study.base_model.history import has_history, shipped_checks
from study.digest import sha256_of
from study.evidence.claims import claims_of, effect_table, judge
from study.evidence.cost import cost_accuracy as cost_accuracy_table
from study.evidence.headline import METHODS as HEADLINE
from study.evidence.headline import headline_table
from study.evidence.stats import difference_table, of_shared_worlds
from study.figures import captions, comparisons, pictures
from study.figures import curves as figures
from study.lm.hub import model_folder
from study.pages import text_and_accuracy
from study.pages.costs import cost_table
from study.pages.experiment import Experiment
from study.pages.model_sizes import model_size_table
from study.pages.notebook_arms import (
    augmented_arms,
    context_arms,
    control_arms,
    finetuned_arms,
    in_context_arms,
    main_arms,
    practical_arms,
    retention_arms,
)
from study.pages.real_models import beside
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
    ("ft augmented strict", "ft"),
    ("ft augmented", "icl"),
    ("ft augmented strict", "icl"),
    ("retrieved", "icl"),
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


def _draw(
    experiment: Experiment,
    name: str,
    table: pd.DataFrame,
    picture: Callable[..., Figure],
    caption: Callable[..., str],
    *other: str,
) -> None:
    """Publish a picture of arms, and perhaps of another one beside them; none of an empty table."""
    if len(table):
        figure = picture(table, experiment.params.arms, *other)
        experiment.publish(name, figure, table, caption(table, *other))


def headline(experiment: Experiment) -> None:
    """The main methods on the main kinds of questions."""
    arms = [arm for arm in HEADLINE if arm in experiment.params.arms]
    rows = experiment.rows(arms)
    table = headline_table(rows, experiment.params.statistics) if len(rows) else rows
    if len(table):
        table["parameters"] = max(record.get("parameters", 0) for _, record in experiment.finished(arms))
        _draw(experiment, "headline", table, comparisons.headline_figure, captions.headline)


def accuracy(experiment: Experiment, arms: list[str], name: str = "accuracy") -> None:
    """Accuracy of some arms by world and split."""
    table = experiment.accuracy(experiment.rows(arms))
    if name != "accuracy" and len(table) and len(set(table["arm"])) == 1:
        return  # it stands in the figure of the main arms, and there is nothing to compare it with
    _draw(experiment, name, table, comparisons.accuracy_by_arm, captions.accuracy)


def differences(experiment: Experiment) -> None:
    """Differences of pairs of arms by world and split, question by question."""
    rows = experiment.rows()
    table = difference_table(rows, PAIRS, experiment.params.statistics) if len(rows) else rows
    _draw(experiment, "differences", table, comparisons.differences_figure, captions.differences)


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
    """Training loss along the steps of some arms, at the end of each part of a training."""
    lines = []
    for trial, record in experiment.finished(arms):
        if record["status"] != DIVERGED and not trial.spec.retention:
            training, place = record["training"], {"world": trial.world, "arm": trial.arm, "seed": trial.seed}
            part = math.ceil(training["steps"] / len(training["losses"]))
            ends = [min(k * part, training["steps"]) for k, _ in enumerate(training["losses"], 1)]
            lines.append(pd.DataFrame({**place, "step": ends, "loss": training["losses"]}))
    table = pd.concat(lines, ignore_index=True) if lines else pd.DataFrame()
    _draw(experiment, "training_losses", table, figures.training_losses, captions.losses)


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
    declared = claims_of(experiment.params)
    effects = effect_table(declared, rows, experiment.params.statistics)
    verdicts = judge(declared, effects, experiment.params.statistics)
    if len(effects):
        figure = comparisons.effects_figure(effects, verdicts)
        experiment.publish("effects", figure, effects, captions.effects(effects, verdicts))
    return experiment.table("claims", verdicts), effects


def coverage(experiment: Experiment, other: str = "ft") -> None:
    """Accuracy on questions whose answer the arm's text has, and on those it misses, beside an arm without text."""
    params, table = experiment.params, text_and_accuracy.coverage(experiment, other)
    if len(table):
        table = table[table["arm"].isin([arm for arm in main_arms(params) if not params.arms[arm].context])]
    _draw(experiment, "coverage", table, comparisons.coverage_figure, captions.coverage, other)


def named_in_turn(experiment: Experiment) -> pd.DataFrame:
    """Accuracy on reversals by what the texts of main arms, and reversed texts, say of the two: a table alone."""
    arms, main = experiment.params.arms, main_arms(experiment.params)
    told = [name for name, arm in arms.items() if name in main or Source.REVERSED in arm.train]
    table = text_and_accuracy.named_in_turn(
        experiment, [name for name in told if arms[name].train and not arms[name].context]
    )
    return experiment.table("named_in_turn", table) if len(table) else table


def curves(experiment: Experiment) -> None:
    """Accuracy along the training."""
    _draw(experiment, "learning_curves", experiment.curves(), figures.learning_curves, captions.curves)


def model_sizes(experiment: Experiment) -> None:
    """Accuracy on models of several sizes, if the study has any besides its own."""
    figure, caption = figures.model_sizes_figure, captions.model_sizes
    if experiment.params.model_sizes.sizes:
        figure, caption = figures.models_by_facts, captions.models_by_facts
    _draw(experiment, "model_sizes", model_size_table(experiment), figure, caption)


def real_models(experiment: Experiment) -> None:
    """Accuracy on the study's model beside that on published real ones."""
    table = beside(experiment)
    _draw(experiment, "real_models", table, figures.model_sizes_figure, captions.model_sizes)


def costs(experiment: Experiment, arms: list[str]) -> None:
    """What some arms cost in all, by the number of questions."""
    table = of_shared_worlds(cost_table(experiment, arms), arms)
    _draw(experiment, "costs", table, figures.costs_figure, captions.costs)


def cost_accuracy(experiment: Experiment, arms: list[str], other: str = "icl") -> None:
    """Accuracy of some arms on deductions against what a question costs, and from how many on each pays."""
    rows, costs = experiment.rows(), cost_table(experiment)
    if len(costs) and other in set(costs["arm"]):
        table = cost_accuracy_table(rows, costs, arms, other, VOLUMES, experiment.params.statistics)
        _draw(experiment, "cost_accuracy", table, comparisons.cost_accuracy, captions.cost_accuracy, other)


def drawings(params: Params) -> dict[str, list[tuple[Any, ...]]]:
    """What each notebook draws, in turn: functions of this module, with what they take beside the experiment."""
    tuned, augmented, practical = finetuned_arms(params), augmented_arms(params), practical_arms(params)
    return {
        "01_generate_data": [(graphs,)],
        "02_in_context": [(emergence,), (accuracy, in_context_arms(params))],
        "03_finetune": [(losses, tuned), (accuracy, [*in_context_arms(params), *tuned])],
        "04_augmented_finetune": [(augmentation,), (accuracy, [*tuned, *augmented]), (losses, augmented)],
        "05_compare": [
            (headline,),
            (accuracy, main_arms(params)),
            (accuracy, ["ft", "ft augmented", *control_arms(params)], "controls"),
            (accuracy, ["icl", "hybrid", *context_arms(params)], "contexts"),
            (differences,),
            (claims,),
        ],
        "06_mechanism_and_cost": [
            (coverage,),
            (named_in_turn,),
            (curves,),
            (model_sizes,),
            (real_models,),
            (accuracy, retention_arms(params), "retention"),
            (costs, practical),
            (cost_accuracy, practical),
        ],
    }


def redraw(params: Params, results: Path) -> dict[str, bool]:
    """Draw every figure again; for each file of the notebooks' figures and tables, whether it changed."""
    changed: dict[str, bool] = {}
    for notebook, drawn in drawings(params).items():
        experiment = Experiment(params, results, notebook)
        before = _digests(experiment.output)
        for draw, *given in drawn:
            draw(experiment, *given)
        changed |= {shown(path): digest != before.get(path) for path, digest in _digests(experiment.output).items()}
    return changed


def _digests(folder: Path) -> dict[Path, str]:
    return {path: sha256_of(path) for path in sorted(folder.glob("*.*"))}
