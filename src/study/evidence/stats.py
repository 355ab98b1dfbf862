"""Accuracy and differences with intervals that respect the clusters of questions.

Questions about one fact are not independent, nor are facts of one seed: the bootstrap draws seeds, then facts within
each seed (Davison & Hinkley 1997, section 3.8). If a dataset is the same in all seeds, a fact is drawn in every seed (a
crossed design, Owen 2007): three trainings on thirty facts are not ninety facts. Differences are paired: every draw has
the same facts on both sides.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.params import Statistics

POWER = 0.8  # of the smallest detectable difference


class Estimate(NamedTuple):
    """An accuracy with its interval, the mean accuracy of a guess, and the counts behind it."""

    value: float
    low: float
    high: float
    chance: float
    items: int
    facts: int
    seeds: int


class Contrast(NamedTuple):
    """A difference of two means with its bootstrap.

    Attributes:
        value: of the one minus the other.
        means: the same difference in each draw, (resamples,).
        items: of the one.
        facts, seeds: of both together.
    """

    value: float
    means: np.ndarray
    items: int
    facts: int
    seeds: int

    @property
    def alike(self) -> bool:
        """Whether all facts have the same difference, so that resampling them tells nothing."""
        return bool(np.ptp(self.means) < 1e-9)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Percentile interval.

        If all facts are alike, the exact form of the rule of three (Hanley & Lippman-Hand 1983): how far off the mean
        could be with so many facts and none that differs, were they independent and off by at most one.
        """
        tail = (1 - confidence) / 2
        if self.alike:
            unseen = 1 - tail ** (1 / self.facts)
            return self.value - unseen, self.value + unseen
        low, high = np.quantile(self.means, [tail, 1 - tail])
        return float(low), float(high)

    def p_above(self, bound: float) -> float:
        """One-sided p-value of "the difference is not above a bound": the share of draws that are not."""
        if self.alike:
            return self._unseen(self.value - bound)
        return float((1 + (self.means <= bound).sum()) / (1 + len(self.means)))

    def p_below(self, bound: float) -> float:
        """One-sided p-value of "the difference is not below a bound"."""
        if self.alike:
            return self._unseen(bound - self.value)
        return float((1 + (self.means >= bound).sum()) / (1 + len(self.means)))

    def _unseen(self, distance: float) -> float:
        """Probability that facts all alike hide a mean so far off; at least the resolution of the draws."""
        return max((1 - min(1.0, max(0.0, distance))) ** self.facts, 1 / (1 + len(self.means)))

    def smallest_detectable(self, confidence: float) -> float:
        """The difference that a two-sided test at this confidence would have found in four of five such studies."""
        if self.alike:
            return self.interval(confidence)[1] - self.value
        normal = NormalDist()
        return float((normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(POWER)) * self.means.std())


def wilson_interval(right: float, count: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of `right` successes in `count` independent trials."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = right / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.sort(p_values) * np.arange(len(p_values), 0, -1)).clip(max=1)
    return [float(p) for p in adjusted]


def contrast(one: pd.DataFrame, other: pd.DataFrame, statistics: Statistics) -> Contrast:
    """Mean `value` of one set of rows minus that of another.

    Args:
        one: a row for each item, with columns seed, cluster and value.
        other: likewise; the two may share items, or facts, or neither.
        statistics: resamples and seed of the generator.
    """
    rng = np.random.default_rng(statistics.seed)
    sides = [rows.groupby(["seed", "cluster"])["value"].agg(["sum", "count"]) for rows in (one, other)]
    table = pd.concat(sides, axis=1, keys=["one", "other"]).fillna(0.0).sort_index()
    drawn = _Draws(table)
    totals = drawn.totals(statistics.resamples, rng)
    # A draw in which one side has no item is replaced.
    while (empty := (totals[:, [1, 3]] == 0).any(axis=1)).any():
        totals[empty] = drawn.totals(int(empty.sum()), rng)
    means = totals[:, 0] / totals[:, 1] - totals[:, 2] / totals[:, 3]
    value = float(one["value"].mean() - other["value"].mean())
    return Contrast(value, means, len(one), drawn.facts, drawn.seeds)


class _Draws:
    """Draws of seeds and facts from a table with a row for each fact of each seed; a shared fact counts once."""

    def __init__(self, table: pd.DataFrame):
        shared = table.groupby(level="cluster").size()
        crossed = table.index.get_level_values("cluster").isin(shared.index[shared > 1])
        names = sorted(set(table.index.get_level_values("seed")))
        self.seeds, self.facts = len(names), len(shared)
        alone = dict(iter(table[~crossed].groupby(level="seed", sort=True)))
        width = table.shape[1]
        # Facts of one seed, (facts, columns) for each seed, and shared ones, (seeds, facts, columns).
        self.alone = [alone[name].to_numpy(float) if name in alone else np.zeros((0, width)) for name in names]
        everywhere = pd.MultiIndex.from_product([names, shared.index[shared > 1]])
        self.shared = table.reindex(everywhere, fill_value=0.0).to_numpy(float).reshape(len(names), -1, width)

    def totals(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Column sums (count, columns) of draws of seeds and, within each drawn seed, of its facts."""
        seeds = rng.integers(self.seeds, size=(count, self.seeds))
        totals = np.zeros((count, self.shared.shape[2]))
        for place in range(self.seeds):
            for seed, facts in enumerate(self.alone):
                here = seeds[:, place] == seed
                if len(facts):
                    totals[here] += _how_often(len(facts), int(here.sum()), rng) @ facts
        if self.shared.shape[1]:
            often = _how_often(self.shared.shape[1], count, rng)
            of_seed = np.stack([(seeds == seed).sum(axis=1) for seed in range(self.seeds)], axis=1)
            totals += np.einsum("ns,nf,sfc->nc", of_seed, often, self.shared, optimize=True)
        return totals


def _how_often(facts: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """How often each fact is drawn, (count, facts), in as many draws as there are facts."""
    return rng.multinomial(facts, np.full(facts, 1 / facts), count)


def bootstrap_means(values: pd.DataFrame, statistics: Statistics) -> np.ndarray:
    """Means of `value` in (resamples,) draws of facts, within draws of seeds where there are several."""
    return contrast(values, values.assign(value=0.0), statistics).means


def accuracy(rows: pd.DataFrame, statistics: Statistics) -> Estimate:
    """Mean accuracy of one arm on one split.

    If all answers are right or all wrong, the bootstrap has no width: the Wilson interval over facts replaces it.
    """
    values = rows.assign(value=rows["correct"].astype(float))
    found = contrast(values, values.assign(value=0.0), statistics)
    low, high = found.interval(statistics.confidence)
    if found.value in (0.0, 1.0):
        low, high = wilson_interval(found.value * found.facts, found.facts, statistics.confidence)
    return Estimate(found.value, low, high, float(rows["chance"].mean()), found.items, found.facts, found.seeds)


def accuracy_table(rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One row for each dataset, split and arm, in the order they first appear."""
    return pd.DataFrame(
        {"world": world, "split": split, "arm": arm, **accuracy(group, statistics)._asdict()}
        for (world, split, arm), group in rows.groupby(["world", "split", "arm"], sort=False)
    )


def difference_table(rows: pd.DataFrame, pairs: Sequence[tuple[str, str]], statistics: Statistics) -> pd.DataFrame:
    """Differences of two arms with intervals, one row for each dataset, split and pair with rows of both.

    Only seeds with rows of both count, so that both have the same questions.
    """
    values, lines = rows.assign(value=rows["correct"].astype(float)), []
    for (world, split), part in values.groupby(["world", "split"], sort=False):
        arms = dict(iter(part.groupby("arm")))
        for arm, other in pairs:
            if not {arm, other} <= set(arms):
                continue
            seeds = set(arms[arm]["seed"]) & set(arms[other]["seed"])
            one, two = (arms[name][arms[name]["seed"].isin(seeds)] for name in (arm, other))
            if len(one) != len(two):
                raise ValueError(f"{arm} - {other}: {len(one)} and {len(two)} answers; not the same questions")
            if seeds:
                found = contrast(one, two, statistics)
                low, high = found.interval(statistics.confidence)
                line = {"world": world, "split": split, "difference": f"{arm} - {other}", "arm": arm, "other": other}
                line |= {"value": found.value, "low": low, "high": high}
                lines.append({**line, "items": found.items, "facts": found.facts, "seeds": found.seeds})
    return pd.DataFrame(lines)
