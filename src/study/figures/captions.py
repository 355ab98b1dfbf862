"""What each figure shows, in words, for who cannot see it: the axes, the groups, and means of the numbers drawn."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from study.evidence.cost import STATED, UNCACHED, BreakEven
from study.figures import style
from study.figures.curves import ON_THE_WAY


def _listed(names: Iterable[object]) -> str:
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last


def _means(table: pd.DataFrame, by: str, column: str, form: str = ".2f") -> str:
    """The mean of each group in the order they appear: "icl 0.83, ft 0.21"."""
    means = table.groupby(by, sort=False)[column].mean()
    return ", ".join(f"{name} {value:{form}}" for name, value in means.items())


def _deduced(table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The part of a table about what documents do not state, with its name; all of it if there is no such part."""
    part = table[~table["split"].isin(STATED)]
    return ("what documents do not state", part) if len(part) else ("all splits", table)


def headline(table: pd.DataFrame) -> str:
    """Of `comparisons.headline_figure`."""
    said = [
        f"{question}: " + ", ".join(f"{line.method} {100 * line.value:.0f}" for line in part.itertuples())
        for question, part in table.groupby("question", sort=False)
    ]
    return (
        f"Accuracy in % of each method (bars, with intervals) on each kind of question (panels), for a model of "
        f"{style.million(table['parameters'].max())} million parameters. {'; '.join(said)}. "
        f"Chance is {100 * table['chance'].mean():.0f} on average."
    )


def accuracy(table: pd.DataFrame) -> str:
    """Of `comparisons.accuracy_by_arm`."""
    of, part = _deduced(table)
    return (
        f"Accuracy of each arm with its interval, chance dotted: a row of panels for each world "
        f"({_listed(dict.fromkeys(table['world']))}), a panel for each split. Means over the panels of {of}: "
        f"{_means(part, 'arm', 'value')}; chance {part['chance'].mean():.2f}."
    )


def differences(table: pd.DataFrame) -> str:
    """Of `comparisons.differences_figure`."""
    of, part = _deduced(table)
    clear = part.assign(above=part["low"] > 0, below=part["high"] < 0).groupby("difference", sort=False)
    counts = [
        f"{name} {pair['value'].mean():+.2f} (above zero in {pair['above'].sum()}, below in {pair['below'].sum()})"
        for name, pair in clear
    ]
    return (
        f"Paired differences of accuracy between two arms with their intervals: a row of panels for each world "
        f"({_listed(dict.fromkeys(table['world']))}), a panel for each split. Means over the "
        f"{len(part[['world', 'split']].drop_duplicates())} panels of {of}, and how many intervals leave out zero: "
        f"{'; '.join(counts)}."
    )


def effects(effects: pd.DataFrame, claims: pd.DataFrame) -> str:
    """Of `comparisons.effects_figure`."""
    verdicts = claims.groupby("verdict", sort=False)["number"]
    said = "; ".join(f"{verdict}: {_listed(numbers)}" for verdict, numbers in verdicts)
    return (
        f"The {len(effects)} effects behind the claims, in their order, each a paired difference with its interval and "
        f"the bounds claimed. Claims by verdict: {said}."
    )


def coverage(table: pd.DataFrame, other: str) -> str:
    """Of `comparisons.coverage_figure`."""
    groups, parts = [], dict(iter(table.groupby(["text has the answer", "text has a false one"])))
    for group, name in {
        (True, False): "has the answer alone",
        (True, True): "has the answer and a false one",
        (False, False): "has neither",
        (False, True): "has a false one alone",
    }.items():
        if (part := parts.get(group)) is not None:
            here, beside = (np.average(part[c], weights=part["items"]) for c in ("value", f"accuracy of {other}"))
            groups.append(f"{name} {here:.2f} ({other} {beside:.2f})")
    return (
        f"Accuracy of {_listed(dict.fromkeys(table['arm']))} by what their text says of a question, a panel for each "
        f"split, beside {other} on the same questions. Over all, where the text {', '.join(groups)}."
    )


def curves(table: pd.DataFrame) -> str:
    """Of `curves.learning_curves`."""
    ends = table[(table["trained"] == 1) & table["split"].isin(ON_THE_WAY)]
    said = [f"{split} {_means(part, 'arm', 'accuracy')}" for split, part in ends.groupby("split", sort=False)]
    return (
        f"Accuracy against the share of the training, a column of panels for each world "
        f"({_listed(dict.fromkeys(table['world']))}), a line for each arm. Means at the end: {'; '.join(said)}."
    )


def model_sizes(table: pd.DataFrame) -> str:
    """Of `curves.model_sizes_figure`."""
    of, part = _deduced(table)
    panel, shown = ("split of each dataset", "points") if "world" in table else ("split", "a line")
    said = [
        f"{style.million(parameters)} million {_means(model, 'arm', 'value')}"
        for parameters, model in part.groupby("parameters")
    ]
    return (
        f"Accuracy against the number of parameters, a panel for each {panel}, {shown} for each arm. Means over the "
        f"panels of {of}: {'; '.join(said)}."
    )


def models_by_facts(table: pd.DataFrame) -> str:
    """Of `curves.models_by_facts`."""
    of, part = _deduced(table)
    said = [
        f"{model} with {facts} facts {_means(here, 'arm', 'value')}"
        for (model, facts), here in part.groupby(["model", "in the dataset"], sort=False)
    ]
    return (
        "Accuracy against the number of facts in the dataset, a column of panels for each model, smallest first, a row "
        f"for each split, a line for each arm. Means of {of}: {'; '.join(said)}."
    )


def costs(table: pd.DataFrame) -> str:
    """Of `curves.costs_figure`."""
    return (
        "Total GFLOP against the number of questions, both logarithmic, a line for each arm, with a cached prefix and "
        "without prompt caching. GFLOP before the first question: "
        f"{_means(table, 'arm', 'once', ',.0f')}; for each question: {_means(table, 'arm', 'query')}, without prompt "
        f"caching: {_means(table, 'arm', UNCACHED)}."
    )


def cost_accuracy(table: pd.DataFrame, other: str) -> str:
    """Of `comparisons.cost_accuracy`."""
    said = []
    for way, part in table[table["arm"] != other].drop_duplicates(["context", "arm"]).groupby("context", sort=False):
        pays = (
            f"{arm} {BreakEven(even).said('from {} on')}"
            for arm, even in zip(part["arm"], part["pays from"], strict=True)
        )
        said.append(f"with {way}: {', '.join(pays)}")
    arms = table.drop_duplicates("arm")
    return (
        f"Accuracy on inferences against GFLOP per question, a panel for each of "
        f"{_listed(f'{n:,}' for n in dict.fromkeys(table['questions']))} questions. Accuracies: "
        f"{_means(arms, 'arm', 'value')}. Cheaper than {other}, by questions, {'; '.join(said)}."
    )


def losses(table: pd.DataFrame) -> str:
    """Of `curves.training_losses`."""
    ends = table.loc[table.groupby(["world", "arm", "seed"], sort=False)["step"].idxmax()]
    return (
        f"Training loss against steps, a panel for each world ({_listed(dict.fromkeys(table['world']))}), a line "
        f"for each run. Mean last losses: {_means(ends, 'arm', 'loss')}."
    )


def augmentation(table: pd.DataFrame) -> str:
    """Of `curves.augmentation_figure`."""
    return (
        "Bars of the generated sentences by what the closure says of them, one for each world and source. Share that "
        f"it entails, by source: {_means(table, 'source', 'entailed')}; by world: {_means(table, 'world', 'entailed')}."
    )


def family(facts: pd.DataFrame) -> str:
    """Of `pictures.family_tree`."""
    kin = facts[facts["relation"] != "gender"]
    people = set(kin["subject"]) | set(kin["object"])
    return (
        f"A family tree of {len(people)} people, men and women distinguished, lines from each couple to its children."
    )


def hierarchy(facts: pd.DataFrame) -> str:
    """Of `pictures.hierarchy`."""
    links = (facts["relation"] == "is a").sum()
    return (
        f"A hierarchy of kinds joined by {links} links, each kind with what is stated of it, "
        f"{len(facts) - links} properties in all; kinds held out have none."
    )


def loss_history(table: pd.DataFrame) -> str:
    """Of `curves.loss_history`."""
    last = table.loc[table.groupby("seed")["tokens"].idxmax()]
    return (
        "Loss in nats per labelled token against tokens read in pretraining, a line for each seed. At the end: "
        f"{', '.join(f'seed {line.seed} {line.loss:.2f}' for line in last.itertuples())}."
    )


def skill_by_facts(table: pd.DataFrame) -> str:
    """Of `curves.skill_by_facts`."""
    return (
        "Accuracy in context against the number of facts there, a panel for each world, a line for each split. Means "
        f"over both: {_means(table.sort_values('facts').astype({'facts': str}), 'facts', 'value')}."
    )


def emergence(table: pd.DataFrame) -> str:
    """Of `curves.skill_history` with chance."""
    last = table[table["tokens"] == table["tokens"].max()]
    return (
        f"Accuracy in context against tokens read in pretraining, a panel for each split, a line for each world. After "
        f"{table['tokens'].max() / 1e6:.1f} million tokens, means over worlds: "
        f"{_means(last.assign(split=last['skill'].str.split('/').str[1]), 'split', 'accuracy')}."
    )
