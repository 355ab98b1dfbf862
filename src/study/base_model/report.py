"""What a bundled model can do, each skill beside its target: `make base-report SIZE=default`.

All on fresh worlds of words that neither pretraining nor the study uses.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.base_model.make import saved, write_card
from study.base_model.skill import skill_rows
from study.data.questions import make_documents
from study.datasets import WORLDS
from study.evidence.stats import Estimate, accuracy
from study.figures import curves as figures
from study.lm.loading import load
from study.params import BUNDLED, STUDIED, Model, Params, Source, Statistics
from study.runs.augment import UNPARSEABLE, augment, closure_facts, generator_with
from study.worlds.words import VALIDATION
from study.worlds.world import Split, Status, World

FACTS = (4, 8, 16, 32, 64, 100, 150)
MOST_FACTS = 300  # of isolated facts, each stated once: what fits into the model's positions
STUDY_FACTS = 32  # about as many as the worlds of the study have
ISOLATED = "reversals"
ACCURACY = "in-context accuracy"


GENERATION = ("source", "world", "measure", "split")


class Target(NamedTuple):
    """What a skill should reach; `where` is a world, or "all" for those of the study."""

    skill: str
    where: str
    split: str
    facts: int
    value: float


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


def skill_table(rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """Accuracy with interval and chance by world, split and number of facts."""
    lines = []
    for (world, split, facts), part in rows.groupby(["world", "split", "facts"], sort=False):
        estimate = accuracy(part, statistics)
        where = {"world": world, "split": split, "facts": facts}
        lines.append({**where, **_named(estimate)})
    return pd.DataFrame(lines)


def _named(estimate: Estimate) -> dict[str, Any]:
    """An estimate with its counts under the names they have here: worlds are drawn anew as seeds are in the study."""
    names = {"facts": "clusters", "seeds": "worlds"}
    return {names.get(name, name): value for name, value in estimate._asdict().items()}


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
    grouped = rows.assign(bin=bin_).groupby("bin")
    table = grouped.agg(confidence=("confidence", "mean"), accuracy=("correct", "mean"), items=("correct", "size"))
    return table.set_axis([f"{k / bins:.1f} to {(k + 1) / bins:.1f}" for k in table.index]).rename_axis("confidence in")


def calibration_error(rows: pd.DataFrame) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over ten bins (Guo et al. 2017)."""
    table = calibration_table(rows, bins=10)
    return float((table["items"] * (table["confidence"] - table["accuracy"]).abs()).sum() / table["items"].sum())


def generation_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, instances: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every sentence that the model writes about worlds of the study's size, and every fact that it could write.

    Returns:
        sentences: columns source, world, seed, cluster (the document) and status.
        possible: columns source, world, seed, split, cluster (the fact) and correct (whether it was written).
    """
    sentences: list[dict[str, Any]] = []
    possible: list[dict[str, Any]] = []
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
                where = {"source": str(source), "world": name, "seed": k}
                sentences += [{**where, "cluster": i.document, "status": i.status} for i in written]
                for split, facts in closure_facts(world, documents).items():
                    found = {i.fact for i in written if i.split is split}
                    possible += [
                        {**where, "split": str(split), "cluster": fact, "correct": fact in found}
                        for fact in sorted(facts)
                    ]
    return pd.DataFrame(sentences), pd.DataFrame(possible)


def generation_table(sentences: pd.DataFrame, possible: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """Precision, contradictions and recall of local and global text, by world and over all."""
    lines = []

    def add(source: str, world: str, measure: str, split: str, estimate: Estimate) -> None:
        lines.append({"source": source, "world": world, "measure": measure, "split": split, **_named(estimate)})

    for source in dict.fromkeys(sentences["source"]):
        parsed = sentences[(sentences["source"] == source) & (sentences["status"] != UNPARSEABLE)]
        could = possible[possible["source"] == source]
        for world in ("all", *dict.fromkeys(parsed["world"])):
            here = parsed if world == "all" else parsed[parsed["world"] == world]
            measures = (("precision", Status.ENTAILED), ("contradicted", Status.CONTRADICTED)) if len(here) else ()
            for measure, status in measures:
                add(source, world, measure, "", accuracy(_proportion(here, here["status"] == status), statistics))
            there = could if world == "all" else could[could["world"] == world]
            for split, part in there.groupby("split", sort=False):
                add(source, world, "recall", str(split), accuracy(_proportion(part, part["correct"]), statistics))
    return pd.DataFrame(lines, columns=[*GENERATION, *_named(Estimate(0, 0, 0, 0, 0, 0, 0))]).drop(columns="chance")


def _proportion(rows: pd.DataFrame, correct: pd.Series) -> pd.DataFrame:
    """Rows as `stats.accuracy` takes them; the same seed of another world is another seed."""
    return rows.assign(correct=correct, chance=0.0, seed=rows["world"] + "/" + rows["seed"].astype(str))


def target_table(skills: pd.DataFrame, generation: pd.DataFrame) -> pd.DataFrame:
    """Each target beside what was measured; met if the mean reaches it."""
    lines = []
    for target in TARGETS:
        if target.skill == ACCURACY:
            key = (skills["world"] == target.where) & (skills["facts"] == target.facts)
            found = skills[key & (skills["split"] == target.split)]
        else:
            source, measure = target.skill.split()
            key = (generation["source"] == source) & (generation["world"] == target.where)
            found = generation[key & (generation["measure"] == measure) & (generation["split"] == target.split)]
        row = found.iloc[0] if len(found) else {"value": float("nan"), "low": float("nan"), "high": float("nan")}
        lines.append(
            {
                "skill": target.skill,
                "world": target.where,
                "split": str(target.split),
                "facts": target.facts,
                "measured": row["value"],
                "low": row["low"],
                "high": row["high"],
                "target": target.value,
                "met": bool(row["value"] >= target.value),
            }
        )
    return pd.DataFrame(lines)


def report(folder: Path, instances: int = 6, say: Callable[[str], None] = print) -> pd.DataFrame:
    """Measure a bundled model and write tables, figure and card into its folder; the targets as a table.

    Args:
        folder: of the model.
        instances: fresh worlds of each kind and size.
        say: gets a line for each part.
    """
    statistics = Statistics()
    model, tokenizer = load(Model(name=str(folder), device="auto"))
    say("answers in context ...")
    rows = measured_rows(model, tokenizer, instances)
    skills = skill_table(rows, statistics)
    say("text of its own ...")
    sentences, possible = generation_rows(model, tokenizer, max(1, instances // 3))
    generation = generation_table(sentences, possible, statistics)
    calibration = calibration_table(rows)
    targets = target_table(skills, generation)
    for name, table in (("skills", skills), ("generation", generation), ("targets", targets)):
        table.round(4).to_csv(folder / f"{name}.csv", index=False)
    calibration.round(4).to_csv(folder / "calibration.csv")
    (folder / "skill_report.md").write_text(
        as_markdown(targets, skills, calibration, calibration_error(rows)), encoding="utf-8"
    )
    write_card(folder)
    return targets


def shortfalls(targets: pd.DataFrame, skills: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The accuracies that are short, beside what may tell why: facts in context, and time.

    Args:
        targets: of `target_table`.
        skills: of `skill_table`.
        history: of `emergence.shipped_checks`.

    Returns:
        A line for each: its accuracy among the facts of the target and among the fewest that were asked about, and how
        far it rose from the first to the second half of the checks of the stage that read most tokens; NaN where that
        stage did not measure it.
    """
    tokens = history.groupby("stage")["tokens"]
    longest = history[history["stage"] == (tokens.max() - tokens.min()).idxmax()]
    lines = []
    for target in targets[(targets["skill"] == ACCURACY) & ~targets["met"]].to_dict("records"):
        same = skills[(skills["world"] == target["world"]) & (skills["split"] == target["split"])]
        checks = longest[longest["skill"] == f"{target['world']}/{target['split']}"].sort_values("tokens")["accuracy"]
        half = len(checks) // 2
        lines.append(
            {name: target[name] for name in ("world", "split", "target", "facts", "measured")}
            | {"fewest facts": same["facts"].min(), "measured there": same.loc[same["facts"].idxmin(), "value"]}
            | {"rose in training by": checks.iloc[-half:].mean() - checks.iloc[:half].mean() if half else float("nan")}
        )
    return pd.DataFrame(lines)


def verdict(targets: pd.DataFrame) -> str:
    """How many targets are met."""
    return f"{int(targets['met'].sum())} met, {int((~targets['met']).sum())} short"


def as_markdown(targets: pd.DataFrame, skills: pd.DataFrame, calibration: pd.DataFrame, error: float) -> str:
    """The report as a part of the model card."""
    wide = skills.pivot_table("value", ["world", "split"], "facts", sort=False).round(2)
    wide["chance"] = skills.groupby(["world", "split"])["chance"].mean().round(2)
    budget = Params().augmentation
    return f"""## What it can do

On fresh worlds of held-out words, held-out wordings, eight options. Intervals: 95 %, bootstrap over worlds and facts.
Text is sampled once from each sentence ({budget.local_tokens} tokens at most) or about each document
({budget.global_tokens} tokens at most). **{verdict(targets)}**.

{targets.round(2).to_markdown(index=False)}

In-context accuracy by number of facts in context:

{wide.reset_index().to_markdown(index=False)}

Confidence (the chosen option's share of the likelihood of all options) and accuracy; expected calibration error
{error:.3f}:

{calibration.round(2).reset_index().to_markdown(index=False)}
"""


def facts_figure(folder: Path) -> None:
    """Accuracy against the number of facts in context."""
    saved(figures.skill_by_facts(pd.read_csv(folder / "skills.csv")), folder / "skills_by_facts.png")
