"""What each arm costs, once and for each question, and after how many questions two arms break even."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from study.evidence.stats import accuracy, contrast, of_shared_worlds
from study.params import Statistics
from study.sums import added
from study.worlds.world import Split

UNCACHED = "query without prompt caching"
COSTS = ["once", "query", UNCACHED]
CACHING = {True: "cached prefix", False: "no prompt caching"}  # ways to have a context
PAID = {True: ("once", "query"), False: ("without context", UNCACHED)}  # of each way: once, and for each question
STATED = (str(Split.STATED), str(Split.REPHRASED))  # splits about stated facts; the others need inference


class BreakEven(NamedTuple):
    """Questions from which on one arm has cost less than another, with an interval.

    Zero: from the first one on; infinite: from none; not a number: from none, but it costs less for a few.
    """

    questions: float
    low: float = math.nan
    high: float = math.nan

    def said(self, form: str = "{}") -> str:
        """The number with its interval, in a form of words; or `always`, `never`, `for few only`."""
        if np.isnan(self.questions):
            return "for few only"
        if not self.questions or np.isinf(self.questions):
            return "never" if self.questions else "always"
        interval = "" if np.isnan(self.low) else f" [{self.low:,.0f}, {self.high:,.0f}]"
        return form.format(f"{self.questions:,.0f}{interval}")


def cost_lines(
    place: dict[str, Any], record: dict[str, Any], generation_runs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The costs of one finished run, from its record and those of its generation runs.

    GFLOP: *once*, for generation, fine-tuning and the context; for each *query* with a cached prefix, and without
    prompt caching. Seconds: those of scoring are divided between the context and the questions as their GFLOP are.
    """
    context, queries = record["context_flops"], record["questions"] * record["query_flops"]
    share = context / (context + queries) if context else 0.0
    training = record.get("training", {})
    generated, tuning = sum(generation["flops"] for generation in generation_runs), training.get("flops", 0.0)
    return {
        **place,
        "writing": generated / 1e9,
        "tuning": tuning / 1e9,
        "context": record["context_flops"] / 1e9,
        "once": (generated + tuning + record["context_flops"]) / 1e9,
        "query": record["query_flops"] / 1e9,
        UNCACHED: (record["context_flops"] + record["query_flops"]) / 1e9,
        "seconds writing": added(generation["seconds"] for generation in generation_runs),
        "seconds tuning": training.get("seconds", 0.0),
        "seconds context": record["scoring_seconds"] * share,
        "seconds a query": record["scoring_seconds"] * (1 - share) / record["questions"],
        "tokens learned": training.get("learned_tokens", 0),
        "peak GB": record["peak_memory_bytes"] / 1e9,
    }


def both_ways(costs: pd.DataFrame) -> pd.DataFrame:
    """Costs, as given by `cost_lines`, with all columns of `PAID`."""
    return costs.assign(**{"without context": costs["writing"] + costs["tuning"]})


def break_even(costs: pd.DataFrame, arm: str, other: str, statistics: Statistics, *, cached: bool = True) -> BreakEven:
    """Questions from which on `arm` has cost less than `other`.

    The interval is Fieller's (1954), over whole runs, paired by dataset and seed; of one run there is none.

    Args:
        costs: one row for each run, as given by `cost_lines`.
        arm: the one that is to cost less.
        other: the one it is compared with.
        statistics: confidence.
        cached: whether the prefix is cached between questions.
    """
    table, paid = both_ways(costs), list(PAID[cached])
    sides = [table[table["arm"] == name].set_index(["world", "seed"])[paid] for name in (arm, other)]
    more = (sides[0] - sides[1]).dropna().to_numpy(float)
    first, each = more.mean(axis=0)
    if first <= 0:
        return BreakEven(0.0, 0.0, 0.0) if each <= 0 else BreakEven(math.nan)
    questions = float(-first / each) if each < 0 else math.inf
    if len(more) < 2:
        return BreakEven(questions)
    # Where the total difference, first + n each, does not differ from zero: a quadratic inequality in n.
    squared = stats.t.isf((1 - statistics.confidence) / 2, len(more) - 1) ** 2 / len(more)
    (v_first, both), (_, v_each) = np.cov(more, rowvar=False)
    a, b, c = each**2 - squared * v_each, first * each - squared * both, first**2 - squared * v_first
    root = math.sqrt(max(0.0, b * b - a * c))
    if each >= 0 or a <= 0:  # a question costs no less, or not certainly
        return BreakEven(questions, float((-b - root) / a) if a < 0 else questions, math.inf)
    return BreakEven(questions, max(0.0, float((-b - root) / a)), max(0.0, float((-b + root) / a)))


def recommended(
    rows: pd.DataFrame, costs: pd.DataFrame, arms: Sequence[str], questions: Sequence[int], statistics: Statistics
) -> pd.DataFrame:
    """For each split and number of questions the cheapest arm that is as good as the best one.

    As good: the interval of the paired difference to the most accurate arm lies above minus the margin. Where the best
    arm is not above chance, or no arm is certainly as good and one is not certainly worse, none is recommended. The
    prefix is cached between questions. Datasets that some of the arms lack are left out.
    """
    lines = []
    here = [arm for arm in arms if arm in set(rows["arm"])]
    for split, asked in rows[rows["arm"].isin(here)].groupby("split", sort=False):
        part = of_shared_worlds(asked, here)
        if part.empty:
            continue
        of_arm = dict(iter(part.assign(value=part["correct"].astype(float)).groupby("arm")))
        found = {arm: accuracy(of_arm[arm], statistics) for arm in here if arm in of_arm}
        best = max(found, key=lambda arm: found[arm].value)
        line = {"split": split, "best": best, "accuracy": found[best].value}
        others = [arm for arm in found if arm != best]
        gaps = {arm: contrast(of_arm[arm], of_arm[best]).interval(statistics.confidence) for arm in others}
        good = [arm for arm, (low, _) in gaps.items() if low > -statistics.margin]
        why = "none is above chance" if found[best].low <= found[best].chance else ""
        if not good and any(high >= 0 for _, high in gaps.values()):
            why = why or "not certain"
        taken = dict.fromkeys(map(for_so_many, questions), why) if why else cheapest(costs, [best, *good], questions)
        lines.append({**line, "as good": "" if why else ", ".join(good), **taken})
    return pd.DataFrame(lines)


def for_so_many(questions: int) -> str:
    """The name of a column about a number of questions."""
    return f"for {questions:,} question{'s' * (questions != 1)}"


def cheapest(
    costs: pd.DataFrame, arms: Sequence[str], questions: Sequence[int], *, cached: bool = True
) -> dict[str, str]:
    """The arm that costs least for each number of questions, with a cached prefix or without prompt caching."""
    once, query = PAID[cached]
    means = both_ways(of_shared_worlds(costs, arms)).groupby("arm")[[once, query]].mean().reindex(list(arms))
    return {for_so_many(count): (means[once] + count * means[query]).idxmin() for count in questions}


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
    inferred = of_shared_worlds(rows[~rows["split"].isin(STATED)], arms)
    means = both_ways(of_shared_worlds(costs, arms)).groupby("arm").mean(numeric_only=True)
    lines = []
    for arm in (arm for arm in arms if arm in set(inferred["arm"]) and arm in means.index):
        found, spent = accuracy(inferred[inferred["arm"] == arm], statistics)._asdict(), means.loc[arm]
        for cached, (once, query) in PAID.items():
            even = break_even(costs, arm, other, statistics, cached=cached)
            pays = {"pays from": even.questions, "pays low": even.low, "pays high": even.high}
            lines += [
                {
                    "context": CACHING[cached],
                    "arm": arm,
                    "questions": n,
                    "GFLOP a question": spent[once] / n + spent[query],
                    **pays,
                    **found,
                }
                for n in questions
            ]
    return pd.DataFrame(lines)
