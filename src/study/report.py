"""Tables that notebooks show: checks of the data, examples, and results in a reader's shape."""

from collections import Counter

import numpy as np
import pandas as pd

from study.experiment import Experiment
from study.prompts import context_prompt
from study.stats import wilson_interval
from study.words import STUDY, lexicon_of
from study.world import Split, Statement, World

OFFENCES = [
    "words of another lexicon",
    "tested statements in documents",
    "entailed distractors",
    "answer at one position",
]


def check_data(experiment: Experiment) -> pd.DataFrame:
    """Offences against soundness, counted by world and seed; every one should be zero.

    The position of the true option is an offence if its count at one place lies beyond a 99.9 % interval
    around an even spread.
    """
    lines = []
    for name in experiment.params.world_names:
        for seed in experiment.params.seeds:
            material = experiment.material(name, seed)
            world, questions = material.world, material.questions
            entities = {entity for fact in world.facts for entity in (fact.subject, fact.object)}
            stated = {document.text for document in material.documents}
            asked_unseen = [q for q in questions if q.split is not Split.TRAINED]
            lines.append(
                {
                    "world": name,
                    "seed": seed,
                    "facts": len(world.facts),
                    "documents": len(material.documents),
                    "questions": len(questions),
                    OFFENCES[0]: sum(lexicon_of(entity) != STUDY.name for entity in entities),
                    OFFENCES[1]: sum(q.item_id in stated for q in asked_unseen),
                    OFFENCES[2]: sum(_entailed_options(world, q.query, q.options) != 1 for q in questions),
                    OFFENCES[3]: _crowded_positions([(q.answer, len(q.options)) for q in questions]),
                }
            )
    return pd.DataFrame(lines)


def _entailed_options(world: World, query: str, options: tuple[str, ...]) -> int:
    statements = [world.parse((query + option).strip()) for option in options]
    return sum(statement is not None and statement.fact in world.closure for statement in statements)


def _crowded_positions(answers: list[tuple[int, int]]) -> int:
    crowded = 0
    for size in {size for _, size in answers}:
        places = Counter(place for place, n in answers if n == size)
        for place in range(size):
            low, high = wilson_interval(places[place], sum(places.values()), 0.999)
            crowded += not low <= 1 / size <= high
    return crowded


def derivations(experiment: Experiment) -> pd.DataFrame:
    """One example of each way in which something follows, by world."""
    lines = []
    for name in experiment.params.world_names:
        world = experiment.material(name, experiment.params.seeds[0]).world
        ways = Counter((d.rule, d.hops) for d in world.closure.values())
        for fact, derivation in world.closure.items():
            way = (derivation.rule, derivation.hops)
            if way in ways:
                lines.append(
                    {
                        "world": name,
                        "rule": derivation.rule,
                        "hops": derivation.hops,
                        "facts": ways.pop(way),
                        "example": world.render(Statement(fact, 0)),
                        "follows from": " ".join(sorted(world.render(Statement(f, 0)) for f in derivation.supports)),
                    }
                )
    return pd.DataFrame(lines)


def example_questions(experiment: Experiment) -> pd.DataFrame:
    """One question of each world and split of the first seed."""
    lines = []
    for name in experiment.params.world_names:
        questions = experiment.material(name, experiment.params.seeds[0]).questions
        for question in {q.split: q for q in reversed(questions)}.values():
            lines.append(
                {
                    "world": name,
                    "split": str(question.split),
                    "query": question.query,
                    "true option": question.options[question.answer].strip(),
                    "other options": " ".join(
                        o.strip() for o in question.options if o != question.options[question.answer]
                    ),
                    "rests on": " ".join(question.supports),
                }
            )
    return pd.DataFrame(lines)


def question_counts(experiment: Experiment) -> pd.DataFrame:
    """Questions, facts they hang on, and chance, by world and split over all seeds."""
    lines = []
    for name in experiment.params.world_names:
        for seed in experiment.params.seeds:
            for q in experiment.material(name, seed).questions:
                lines.append((name, str(q.split), f"{seed}/{q.cluster}", 1 / len(q.options)))
    table = pd.DataFrame(lines, columns=["world", "split", "fact", "chance"]).groupby(["world", "split"], sort=False)
    return table.agg(questions=("fact", "size"), facts=("fact", "nunique"), chance=("chance", "mean")).reset_index()


def example_prompt(experiment: Experiment) -> str:
    """The end of the first world's context with one reversal and its options."""
    material = experiment.material(experiment.params.world_names[0], experiment.params.seeds[0])
    question = next(q for q in material.questions if q.split is Split.REVERSAL)
    texts = [document.text for document in material.documents]
    context = context_prompt([f"[{len(texts) - 4} documents more]", *texts[-4:]])
    return f"{context} {question.query}\n" + "\n".join(f"   {option.strip()}" for option in question.options)


def against_chance(experiment: Experiment, rows: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Accuracy of one arm with its interval, and whether that holds chance."""
    if arm not in set(rows["arm"]):
        return pd.DataFrame({"note": [f"the arm {arm!r} is not in this study"]})
    table = experiment.accuracy(rows[rows["arm"] == arm])
    table["holds chance"] = (table["low"] <= table["chance"]) & (table["chance"] <= table["high"])
    return table.round(3)


def example_inferences(experiment: Experiment) -> pd.DataFrame:
    """Generated sentences of each world and source, some of each standing."""
    inferences = experiment.inferences()
    if inferences.empty:
        return inferences
    chosen = inferences.groupby(["world", "source", "status"], sort=False).head(3)
    columns = ["world", "source", "status", "document", "sentence", "split"]
    return chosen.sort_values(["world", "source", "status"])[columns].fillna("").set_index(columns[:3])


def mean_quality(experiment: Experiment) -> pd.DataFrame:
    """Quality of the generated text, averaged over seeds."""
    quality = experiment.augmentation_quality()
    if quality.empty:
        return quality
    return quality.drop(columns="seed").groupby(["world", "source"], sort=False).mean().round(3)


def same_questions(experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Questions answered by each arm, by world and seed; the arms of one line must agree.

    Raises:
        ValueError: if two finished arms did not answer the same questions.
    """
    key = ["world", "seed"]
    items = rows.groupby([*key, "arm"])["item_id"].agg(lambda ids: hash_of(ids)).unstack()
    for place, line in items.iterrows():
        if len(set(line.dropna())) > 1:
            raise ValueError(f"the arms of {place} did not answer the same questions")
    counts = rows.groupby([*key, "arm"]).size().unstack().reindex(columns=list(experiment.params.arms))
    return counts.astype("Int64")


def hash_of(items: pd.Series) -> str:
    """A name for a set of items, whatever their order."""
    return "\n".join(sorted(items))


def shown_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """Claims as a reader wants them: what, where, the difference with its interval, the verdict."""
    if claims.empty:
        return claims
    table = claims.copy()
    table["difference"] = [
        "" if np.isnan(value) else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
        for value, low, high in zip(table["value"], table["low"], table["high"], strict=True)
    ]
    table["compared"] = table["arm"] + " - " + table["other"]
    return table[["name", "world", "split", "compared", "difference", "facts", "verdict"]]


def wide_accuracy(experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with interval, arms as columns."""
    table = experiment.accuracy(rows)
    table["text"] = [
        f"{v:.2f} [{lo:.2f}, {hi:.2f}]" for v, lo, hi in zip(table["value"], table["low"], table["high"], strict=True)
    ]
    wide = table.pivot_table("text", ["world", "split"], "arm", aggfunc="first", sort=False)
    wide["chance"] = table.groupby(["world", "split"])["chance"].first().round(3)
    return wide[[*(arm for arm in experiment.params.arms if arm in wide), "chance"]]
