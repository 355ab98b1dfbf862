"""Accuracy and differences with intervals that know which questions belong together.

Questions that hang on one fact are not independent, nor are facts of one seed: the bootstrap draws seeds, then
facts within each seed. Arms answered the same questions, so a difference is taken within each question.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.params import Statistics


class Estimate(NamedTuple):
    """A mean with its interval and what it rests on.

    Attributes:
        value: accuracy, or a difference of accuracies.
        low, high: bounds of the interval.
        chance: mean accuracy of a guess; 0 for a difference.
        items, facts, seeds: how many of each.
    """

    value: float
    low: float
    high: float
    chance: float
    items: int
    facts: int
    seeds: int


def wilson_interval(right: float, count: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of `right` successes in `count` independent trials."""
    from statistics import NormalDist

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = right / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def bootstrap_means(values: pd.DataFrame, statistics: Statistics) -> np.ndarray:
    """Means of `value` in (resamples,) draws of facts, within draws of seeds where there are several.

    Args:
        values: one row an item, with columns seed, cluster and value.
        statistics: resamples and seed of the generator.
    """
    rng = np.random.default_rng(statistics.seed)
    clusters = values.groupby(["seed", "cluster"], sort=True)["value"].agg(["sum", "count"]).reset_index()
    by_seed = [group[["sum", "count"]].to_numpy(float) for _, group in clusters.groupby("seed", sort=True)]
    means = np.empty(statistics.resamples)
    for k in range(statistics.resamples):
        total = np.zeros(2)
        for s in rng.integers(len(by_seed), size=len(by_seed)):
            group = by_seed[s]
            total += group[rng.integers(len(group), size=len(group))].sum(axis=0)
        means[k] = total[0] / total[1]
    return means


def _estimate(values: pd.DataFrame, chance: float, statistics: Statistics) -> Estimate:
    tail = (1 - statistics.confidence) / 2
    low, high = np.quantile(bootstrap_means(values, statistics), [tail, 1 - tail])
    return Estimate(
        value=float(values["value"].mean()),
        low=float(low),
        high=float(high),
        chance=chance,
        items=len(values),
        facts=values.groupby(["seed", "cluster"]).ngroups,
        seeds=values["seed"].nunique(),
    )


def accuracy(rows: pd.DataFrame, statistics: Statistics) -> Estimate:
    """Mean accuracy of one arm on one split.

    The bootstrap of all-right or all-wrong answers has no width; there the Wilson interval over facts stands in.
    """
    estimate = _estimate(rows.assign(value=rows["correct"].astype(float)), float(rows["chance"].mean()), statistics)
    if estimate.value in (0.0, 1.0):
        low, high = wilson_interval(estimate.value * estimate.facts, estimate.facts, statistics.confidence)
        estimate = estimate._replace(low=low, high=high)
    return estimate


def accuracy_table(rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One row for each world, split and arm, in the order they first appear."""
    table = [
        {"world": world, "split": split, "arm": arm, **accuracy(group, statistics)._asdict()}
        for (world, split, arm), group in rows.groupby(["world", "split", "arm"], sort=False)
    ]
    return pd.DataFrame(table)


def difference(rows: pd.DataFrame, arm: str, other: str, statistics: Statistics) -> Estimate:
    """Accuracy of `arm` minus that of `other`, paired by question.

    Raises:
        ValueError: if the two arms did not answer the same questions.
    """
    key = ["seed", "cluster", "item_id"]
    first, second = (rows[rows["arm"] == name].set_index(key)["correct"].astype(float) for name in (arm, other))
    if not first.index.sort_values().equals(second.index.sort_values()):
        raise ValueError(
            f"{arm!r} ({len(first)} items) and {other!r} ({len(second)} items) did not answer the same questions"
        )
    values = (first - second.reindex(first.index)).rename("value").reset_index()
    return _estimate(values, 0.0, statistics)


class Claim(NamedTuple):
    """A statement about two arms, declared before the result is seen: `arm` beats `other` on a split of a world."""

    name: str
    world: str
    split: str
    arm: str
    other: str


def verdict(estimate: Estimate) -> str:
    """What a paired interval says of "the first arm is better"."""
    if estimate.low > 0:
        return "supported"
    return "contradicted" if estimate.high < 0 else "undecided"


def judge_claims(claims: Sequence[Claim], rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """Each claim with its paired difference, interval and verdict; a claim without rows is "not tested"."""
    table = []
    for claim in claims:
        here = rows[(rows["world"] == claim.world) & (rows["split"] == claim.split)]
        line = claim._asdict()
        if {claim.arm, claim.other} <= set(here["arm"]):
            estimate = difference(here, claim.arm, claim.other, statistics)
            line |= {**estimate._asdict(), "verdict": verdict(estimate)}
            del line["chance"]
        else:
            line |= {"verdict": "not tested"}
        table.append(line)
    return pd.DataFrame(table)
