"""What each arm costs, once and for each question, and after how many questions two arms break even."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.evidence.stats import accuracy, contrast
from study.params import Statistics
from study.sums import added
from study.worlds.world import Split

COSTS = ["once", "query", "query, context read anew"]
STATED = (str(Split.STATED), str(Split.REPHRASED))  # splits about stated facts; the others need inference


class BreakEven(NamedTuple):
    """Questions after which one arm has cost less than another, with an interval; infinite if it never does."""

    questions: float
    low: float
    high: float


def cost_lines(
    place: dict[str, Any], record: dict[str, Any], generation_runs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The costs of one finished run, from its record and those of its generation runs.

    GFLOP: *once*, for generation, fine-tuning and the context; for each *query* with a cached prefix, and without
    prompt caching (*read anew*). Seconds likewise.
    """
    training = record.get("training", {})
    generated, tuning = sum(generation["flops"] for generation in generation_runs), training.get("flops", 0.0)
    return {
        **place,
        "writing": generated / 1e9,
        "tuning": tuning / 1e9,
        "context": record["context_flops"] / 1e9,
        "once": (generated + tuning + record["context_flops"]) / 1e9,
        "query": record["query_flops"] / 1e9,
        "query, context read anew": (record["context_flops"] + record["query_flops"]) / 1e9,
        "seconds once": training.get("seconds", 0.0) + added(generation["seconds"] for generation in generation_runs),
        "seconds a query": record["scoring_seconds"] / record["questions"],
        "tokens learned": training.get("learned_tokens", 0),
        "peak GB": record["peak_memory_bytes"] / 1e9,
    }


def break_even(costs: pd.DataFrame, arm: str, other: str, statistics: Statistics, *, kept: bool = True) -> BreakEven:
    """Questions after which `arm`, which costs more once, has cost less than `other`.

    Args:
        costs: one row for each run, as given by `cost_lines`.
        arm: the one that costs more once.
        other: the one it is compared with.
        statistics: resamples and seed; whole runs, paired by dataset and seed, are resampled.
        kept: whether the prefix is cached between questions.
    """
    per_query = "query" if kept else "query, context read anew"
    once = "once" if kept else "without context"
    table = costs.assign(**{"without context": costs["writing"] + costs["tuning"]})
    sides = [table[table["arm"] == name].set_index(["world", "seed"])[[once, per_query]] for name in (arm, other)]
    more = (sides[0] - sides[1]).dropna().to_numpy(float)
    rng = np.random.default_rng(statistics.seed)
    draws = more[rng.integers(len(more), size=(statistics.resamples, len(more)))].mean(axis=1)
    means = np.vstack([more.mean(axis=0), draws])
    with np.errstate(divide="ignore", invalid="ignore"):
        questions = np.where(means[:, 0] <= 0, 0.0, np.where(means[:, 1] < 0, -means[:, 0] / means[:, 1], np.inf))
    tail = (1 - statistics.confidence) / 2
    low, high = np.quantile(questions[1:], [tail, 1 - tail], method="nearest")
    return BreakEven(float(questions[0]), float(low), float(high))


def recommended(
    rows: pd.DataFrame, costs: pd.DataFrame, arms: Sequence[str], questions: Sequence[int], statistics: Statistics
) -> pd.DataFrame:
    """For each split and number of questions the cheapest arm that is not measurably worse than the best one.

    Not measurably worse: the interval of the paired difference to the most accurate arm includes zero. Of equal arms
    the first is taken. The prefix is cached between questions.
    """
    lines = []
    here = [arm for arm in arms if arm in set(rows["arm"])]
    for split, part in rows[rows["arm"].isin(here)].groupby("split", sort=False):
        values = part.assign(value=part["correct"].astype(float), cluster=part["world"] + "/" + part["cluster"])
        of_arm = dict(iter(values.groupby("arm")))
        accuracy = part.groupby("arm")["correct"].mean().reindex(here).dropna()
        best = accuracy.idxmax()
        high = {
            arm: contrast(of_arm[arm], of_arm[best], statistics).interval(statistics.confidence)[1]
            for arm in accuracy.index
            if arm != best
        }
        good = [arm for arm in accuracy.index if arm == best or high[arm] >= 0]
        line = {"split": split, "best": best, "accuracy": accuracy[best]}
        lines.append({**line, "as good": ", ".join(a for a in good if a != best), **cheapest(costs, good, questions)})
    return pd.DataFrame(lines)


def cheapest(
    costs: pd.DataFrame, arms: Sequence[str], questions: Sequence[int], *, kept: bool = True
) -> dict[str, str]:
    """The arm that costs least for each number of questions, with a cached prefix (`kept`) or without."""
    per_query = "query" if kept else "query, context read anew"
    table = costs.assign(before=costs["once"] if kept else costs["writing"] + costs["tuning"])
    means = table.groupby("arm")[["before", per_query]].mean().reindex(list(arms))
    return {f"for {count:,} questions": (means["before"] + count * means[per_query]).idxmin() for count in questions}


def cost_accuracy(
    rows: pd.DataFrame,
    costs: pd.DataFrame,
    arms: Sequence[str],
    other: str,
    questions: Sequence[int],
    statistics: Statistics,
) -> pd.DataFrame:
    """Accuracy of arms on inferences, and GFLOP a question with the costs paid once spread over all questions.

    Args:
        rows: of questions; those about stated facts are left out.
        costs: one row for each run, as given by `cost_lines`.
        arms: those to compare.
        other: the baseline: from how many questions on each arm costs less.
        questions: numbers of them.
        statistics: of the intervals.

    Returns:
        A row for each way of having a context (cached prefix or no prompt caching), arm and number of questions.
    """
    inferred = rows[~rows["split"].isin(STATED)].assign(cluster=rows["world"] + "/" + rows["cluster"])
    without = costs["writing"] + costs["tuning"]
    means = costs.assign(**{"without context": without}).groupby("arm").mean(numeric_only=True)
    lines = []
    for arm in (arm for arm in arms if arm in set(inferred["arm"]) and arm in means.index):
        found, spent = accuracy(inferred[inferred["arm"] == arm], statistics)._asdict(), means.loc[arm]
        kept_costs = (True, "kept", spent["once"], spent["query"])
        anew_costs = (False, "read anew", spent["without context"], spent["query, context read anew"])
        for kept, way, before, query in (kept_costs, anew_costs):
            even = break_even(costs, arm, other, statistics, kept=kept)
            pays = {"pays from": even.questions, "pays low": even.low, "pays high": even.high}
            lines += [
                {"context": way, "arm": arm, "questions": n, "GFLOP a question": before / n + query, **pays, **found}
                for n in questions
            ]
    return pd.DataFrame(lines)
