"""What a bundled model can do, each skill beside its target: `make base-report SIZE=default`.

All on fresh worlds of words that neither pretraining nor the study uses.
"""

import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.arms import Source
from study.base_model.make import publish, write_card
from study.base_model.skill import skill_rows
from study.data.questions import make_documents
from study.datasets import WORLDS
from study.evidence.stats import accuracy
from study.figures import captions
from study.figures import curves as figures
from study.lm.loading import load
from study.params import BUNDLED, STUDIED, Model, Params, Statistics
from study.runs.augment import UNPARSEABLE, augment, closure_facts, generator_with
from study.worlds.words import VALIDATION
from study.worlds.world import Split, Status, World

FACTS = (4, 8, 16, 32, 64, 100, 150)
MOST_FACTS = 300  # of isolated facts, each stated once: what fits into the model's positions
STUDY_FACTS = 32  # about as many as the worlds of the study have
ISOLATED = "reversals"
INSTANCES = 6  # fresh worlds of each kind and size
ACCURACY = "in-context accuracy"
JUDGED = {"precision": Status.ENTAILED, "contradicted": Status.CONTRADICTED}  # measures of what was written


class Target(NamedTuple):
    """What a skill should reach; `world` is one of them, or "all" for those of the study."""

    skill: str
    world: str
    split: str
    facts: int
    target: float


KEYS = ("skill", "world", "split", "facts")
TARGETS = (
    Target(ACCURACY, ISOLATED, Split.REVERSAL, 100, 0.98),
    Target(ACCURACY, ISOLATED, Split.REVERSAL, MOST_FACTS, 0.90),
    Target(ACCURACY, "family", Split.REVERSAL, STUDY_FACTS, 0.98),
    Target(ACCURACY, "family", Split.TWO_HOPS, STUDY_FACTS, 0.90),
    Target(ACCURACY, "family", Split.MORE_HOPS, STUDY_FACTS, 0.70),
    Target(ACCURACY, "semantic", Split.TWO_HOPS, STUDY_FACTS, 0.90),
    Target(ACCURACY, "syllogisms", Split.TWO_HOPS, STUDY_FACTS, 0.90),
    Target(ACCURACY, "process", Split.ONE_STEP, STUDY_FACTS, 0.85),
    Target("local precision", "all", "", STUDY_FACTS, 0.97),
    Target("local recall", "all", Split.REVERSAL, STUDY_FACTS, 0.95),
    Target("global precision", "all", "", STUDY_FACTS, 0.90),
    Target("global recall", "all", Split.TWO_HOPS, STUDY_FACTS, 0.70),
)


def accuracy_table(rows: pd.DataFrame, by: list[str], statistics: Statistics) -> pd.DataFrame:
    """Accuracy with interval, chance and counts by some columns; worlds are drawn again as seeds are in the study."""
    estimates = {key: accuracy(part, statistics) for key, part in rows.groupby(by, sort=False)}
    table = pd.DataFrame(estimates.values(), index=pd.MultiIndex.from_tuples(estimates, names=by))
    return table.rename(columns={"facts": "clusters", "seeds": "worlds"}).reset_index()


def measured_rows(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, instances: int) -> pd.DataFrame:
    """Every answer: all worlds of the study at each number of facts, isolated facts at the most besides."""
    parts = [
        skill_rows(model, tokenizer, STUDIED, facts, instances, per_split=16, copies=2 if facts <= STUDY_FACTS else 1)
        for facts in FACTS
    ]
    parts.append(skill_rows(model, tokenizer, [ISOLATED], MOST_FACTS, instances, per_split=32, copies=1))
    return pd.concat(parts, ignore_index=True)


def calibration_table(rows: pd.DataFrame, bins: int = 5) -> pd.DataFrame:
    """Confidence against accuracy, in equal bins of confidence."""
    bin_ = np.minimum((rows["confidence"] * bins).astype(int), bins - 1)
    table = rows.groupby(bin_).agg(
        confidence=("confidence", "mean"), accuracy=("correct", "mean"), items=("correct", "size")
    )
    table.index = pd.Index([f"{k / bins:.1f} to {(k + 1) / bins:.1f}" for k in table.index], name="confidence in")
    return table.reset_index()


def calibration_error(rows: pd.DataFrame) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over ten bins (Guo et al. 2017)."""
    table = calibration_table(rows, bins=10)
    return float((table["items"] * (table["confidence"] - table["accuracy"]).abs()).sum() / table["items"].sum())


def generation_rows(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, instances: int) -> pd.DataFrame:
    """Every sentence that the model writes about worlds of the study's size, and every fact that it could write.

    Returns:
        A row for each measure of a sentence that can be read, and for the recall of each fact: columns source, world,
        seed (with the world's name: of another world it is another), measure, split (of recall), cluster (document or
        fact) and correct.
    """
    rows: list[tuple[Any, ...]] = []
    params = Params.parse({"prompts": {"style": BUNDLED}}, "report")  # its own language, wherever the model lies
    for name in STUDIED:
        for k in range(instances):
            rng = random.Random(f"generation/{name}/{k}")
            module: Any = WORLDS[name]
            shape = module.PRESETS["bundled"]
            world: World = module.build(rng, VALIDATION, shape)
            documents = make_documents(world, rng, shape.copies, shape.lead_ins)
            for source in (Source.LOCAL, Source.GLOBAL):
                generator = generator_with(model, tokenizer, params.augmentation, seed=k)
                written, *_ = augment(generator, world, documents, source, params, f"{name}/{k}")
                counted = [
                    (measure, "", i.document, i.status == status)
                    for measure, status in JUDGED.items()
                    for i in written
                    if i.status != UNPARSEABLE
                ]
                for split, facts in closure_facts(world, documents).items():
                    found = {i.fact for i in written if i.split is split}
                    counted += [("recall", str(split), fact, fact in found) for fact in sorted(facts)]
                rows += [(str(source), name, f"{name}/{k}", *line) for line in counted]
    return pd.DataFrame(rows, columns=["source", "world", "seed", "measure", "split", "cluster", "correct"])


def generation_table(rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """Precision, contradictions and recall of local and global text, over all worlds and by world.

    A world has lines if any sentence about it can be read.
    """
    parts = []
    for _, part in rows.groupby("source", sort=False):
        readable = part["world"].isin(part[part["measure"].isin(JUDGED)]["world"])
        parts += [part.assign(world="all"), part[readable]]
    table = pd.concat(parts).assign(chance=0.0)
    return accuracy_table(table, ["source", "world", "measure", "split"], statistics).drop(columns="chance")


def target_table(skills: pd.DataFrame, generation: pd.DataFrame) -> pd.DataFrame:
    """Each target beside what was measured; met if the mean reaches it."""
    of_text = generation.assign(skill=generation["source"] + " " + generation["measure"], facts=STUDY_FACTS)
    measured = pd.concat([skills.assign(skill=ACCURACY), of_text]).rename(columns={"value": "measured"})
    table = pd.DataFrame(TARGETS).merge(measured, "left", [*KEYS])
    table["met"] = table["measured"] >= table["target"]
    return table[[*KEYS, "measured", "low", "high", "target", "met"]]


def report(folder: Path) -> pd.DataFrame:
    """Measure the bundled model in a folder and write tables, figure and card there; the targets as a table."""
    statistics = Statistics()
    model, tokenizer = load(Model(name=str(folder), device="auto"))
    print("answers in context ...")
    rows = measured_rows(model, tokenizer, INSTANCES)
    skills = accuracy_table(rows, ["world", "split", "facts"], statistics)
    print("text of its own ...")
    generation = generation_table(generation_rows(model, tokenizer, max(1, INSTANCES // 3)), statistics)
    targets, calibration = target_table(skills, generation), calibration_table(rows)
    tables = {"skills": skills, "generation": generation, "targets": targets, "calibration": calibration}
    for name, table in tables.items():
        table.round(4).to_csv(folder / f"{name}.csv", index=False)
    card = as_markdown(targets, skills, calibration, calibration_error(rows))
    (folder / "skill_report.md").write_text(card, encoding="utf-8")
    write_card(folder)
    return targets


def shortfalls(targets: pd.DataFrame, skills: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The accuracies that are short, beside what may tell why: facts in context, and time.

    Args:
        targets: of `target_table`.
        skills: of `accuracy_table`, by world, split and facts.
        history: of `history.shipped_checks`.

    Returns:
        A line for each: its accuracy among the facts of the target and among the fewest that were asked about, and how
        far it rose from the first to the second half of the checks of the stage that read most tokens; NaN where that
        stage did not measure it.
    """
    short = targets[(targets["skill"] == ACCURACY) & ~targets["met"]]
    fewest = skills.sort_values("facts", kind="stable").drop_duplicates(["world", "split"])
    fewest = fewest.rename(columns={"facts": "fewest facts", "value": "measured there"})
    table = short[["world", "split", "target", "facts", "measured"]].merge(
        fewest[["world", "split", "fewest facts", "measured there"]], "left"
    )
    tokens = history.groupby("stage")["tokens"]
    longest = history[history["stage"] == (tokens.max() - tokens.min()).idxmax()].sort_values("tokens")
    rises = {
        skill: checks.iloc[-(len(checks) // 2) :].mean() - checks.iloc[: len(checks) // 2].mean()
        for skill, checks in longest.groupby("skill")["accuracy"]
    }
    return table.assign(**{"rose in training by": (table["world"] + "/" + table["split"]).map(rises)})


def verdict(targets: pd.DataFrame) -> str:
    """How many targets are met."""
    return f"{int(targets['met'].sum())} met, {int((~targets['met']).sum())} short"


def as_markdown(targets: pd.DataFrame, skills: pd.DataFrame, calibration: pd.DataFrame, error: float) -> str:
    """The report as a part of the model card."""
    wide = skills.pivot_table("value", ["world", "split"], "facts", sort=False).round(2)
    wide["chance"] = skills.groupby(["world", "split"])["chance"].mean().round(2)
    budget = Params().augmentation
    return f"""## What it can do

On fresh worlds of held-out words, held-out wordings, eight options. Intervals: 95 %, over worlds.
Text is sampled once from each sentence ({budget.local_tokens} tokens at most) or about each document
({budget.global_tokens} tokens at most). **{verdict(targets)}**.

{targets.round(2).to_markdown(index=False)}

In-context accuracy by number of facts in context:

{wide.reset_index().to_markdown(index=False)}

Confidence (the chosen option's share of the likelihood of all options) and accuracy; expected calibration error
{error:.3f}:

{calibration.round(2).to_markdown(index=False)}
"""


def facts_figure(folder: Path) -> None:
    """Accuracy against the number of facts in context."""
    table = pd.read_csv(folder / "skills.csv")
    publish(figures.skill_by_facts(table), folder / "skills_by_facts.png", captions.skill_by_facts(table))
