"""What each arm costs, once and for each question, and after how many questions one has paid for itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.evidence.stats import accuracy, contrast
from study.params import Statistics
from study.worlds.world import Split

COSTS = ["once", "query", "query, context read anew"]
STATED = (str(Split.STATED), str(Split.REPHRASED))  # splits that ask for what documents say; the others for deductions


class BreakEven(NamedTuple):
    """Questions after which one arm has cost less than another, with an interval; infinite if it never does."""

    questions: float
    low: float
    high: float


def cost_lines(
    place: dict[str, Any], record: dict[str, Any], generation_runs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The costs of one finished trial, from its record and those of the texts it was trained on.

    Operations in units of 10^9: *once*, for writing, tuning and reading the context; for each *query* behind a context
    that is kept, and behind one that is *read anew*. Seconds likewise.
    """
    training = record.get("training", {})
    written = sum(generation["flops"] for generation in generation_runs)
    return {
        **place,
        "writing": written / 1e9,
        "tuning": training.get("flops", 0.0) / 1e9,
        "context": record["context_flops"] / 1e9,
        "once": (written + training.get("flops", 0.0) + record["context_flops"]) / 1e9,
        "query": record["query_flops"] / 1e9,
        "query, context read anew": (record["context_flops"] + record["query_flops"]) / 1e9,
        "seconds once": training.get("seconds", 0.0) + sum(generation["seconds"] for generation in generation_runs),
        "seconds a query": record["scoring_seconds"] / record["questions"],
        "tokens learned": training.get("learned_tokens", 0),
        "peak GB": record["peak_memory_bytes"] / 1e9,
    }


def break_even(costs: pd.DataFrame, arm: str, other: str, statistics: Statistics, *, kept: bool = True) -> BreakEven:
    """Questions after which `arm`, which costs more once, has cost less than `other`.

    Args:
        costs: one row for each trial, as given by `cost_lines`.
        arm: the one that is to pay for itself.
        other: the one it is held against.
        statistics: resamples and seed; whole trials, paired by world and seed, are drawn again.
        kept: whether a context is kept between questions, or read anew for each.
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

    Not measurably worse: the interval of the paired difference to the arm with the highest accuracy holds zero. Of
    equal ones the first is taken. A context is kept between questions.
    """
    lines = []
    here = [arm for arm in arms if arm in set(rows["arm"])]
    for split, part in rows[rows["arm"].isin(here)].groupby("split", sort=False):
        accuracy = part.groupby("arm")["correct"].mean().reindex(here)
        values = part.assign(value=part["correct"].astype(float), cluster=part["world"] + "/" + part["cluster"])
        best = accuracy.idxmax()
        good = [
            arm
            for arm in accuracy.index[accuracy.notna()]
            if arm == best
            or contrast(values[values["arm"] == arm], values[values["arm"] == best], statistics).interval(
                statistics.confidence
            )[1]
            >= 0
        ]
        line = {
            "split": split,
            "best": best,
            "accuracy": accuracy[best],
            "as good": ", ".join(a for a in good if a != best),
        }
        lines.append({**line, **cheapest(costs, good, questions)})
    return pd.DataFrame(lines)


def cheapest(
    costs: pd.DataFrame, arms: Sequence[str], questions: Sequence[int], *, kept: bool = True
) -> dict[str, str]:
    """Which of some arms costs least for each number of questions, a context kept between them or read anew."""
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
    """Accuracy of arms on deductions beside what each question costs, what was spent before the first spread over all.

    Args:
        rows: of questions; those about what documents say are left out.
        costs: one row for each trial, as given by `cost_lines`.
        arms: those to compare.
        other: the arm that the others are held against: from how many questions on each costs less.
        questions: numbers of them.
        statistics: of the intervals.

    Returns:
        A row for each way of having a context, kept or read anew, arm and number of questions.
    """
    asked = rows[~rows["split"].isin(STATED)].assign(cluster=rows["world"] + "/" + rows["cluster"])
    means = (
        costs.assign(**{"without context": costs["writing"] + costs["tuning"]}).groupby("arm").mean(numeric_only=True)
    )
    lines = []
    for arm in (arm for arm in arms if arm in set(asked["arm"]) and arm in means.index):
        found, spent = accuracy(asked[asked["arm"] == arm], statistics)._asdict(), means.loc[arm]
        for kept, way, before, query in (
            (True, "kept", spent["once"], spent["query"]),
            (False, "read anew", spent["without context"], spent["query, context read anew"]),
        ):
            even = break_even(costs, arm, other, statistics, kept=kept)
            pays = {"pays from": even.questions, "pays low": even.low, "pays high": even.high}
            lines += [
                {"context": way, "arm": arm, "questions": n, "GFLOP a question": before / n + query, **pays, **found}
                for n in questions
            ]
    return pd.DataFrame(lines)
