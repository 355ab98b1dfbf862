"""Accuracies and differences with intervals: seeds are the replicates.

The estimate of a seed is the mean over its panels (a dataset and a split each) of the mean over the panel's questions;
an estimate is the mean over seeds. Intervals are t intervals over seeds: each seed draws its own facts, so the spread
of seeds holds that of facts. Where seeds share their facts, as of documents that are given, the spread of facts is
added (a crossed design, Owen 2007), with Satterthwaite's degrees of freedom. Of one seed alone, the spread of facts is
all there is: its interval tells nothing of other trainings. Differences are paired by question.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from study.params import Statistics

ROUNDING = 1e-9  # differences of accuracies below it are none
POWER = 0.8  # of the smallest detectable difference
PANEL = ["world", "split"]


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
    """A difference of two accuracies.

    Attributes:
        value: of the one minus the other.
        error: its standard error; 0 if no seed and no fact differs from another.
        df: degrees of freedom of the error.
        by_seed: the difference in each seed, (seeds,).
        items: of the one.
        facts, seeds: of both together.
    """

    value: float
    error: float
    df: float
    by_seed: np.ndarray
    items: int
    facts: int
    seeds: int

    @property
    def spread(self) -> float:
        """Standard deviation of the seeds, 0 if it is rounding's alone; nan of one seed."""
        found = float(self.by_seed.std(ddof=1)) if len(self.by_seed) > 1 else math.nan
        return 0.0 if found < ROUNDING else found

    def interval(self, confidence: float) -> tuple[float, float]:
        """The t interval, as far as accuracies go.

        If all facts are alike, the exact form of the rule of three (Hanley & Lippman-Hand 1983): how far off the mean
        could be with so many facts and none that differs, were they independent and off by at most one.
        """
        tail = (1 - confidence) / 2
        half = self.error * stats.t.isf(tail, self.df) if self.error else self.hidden(tail)
        return max(-1.0, self.value - half), min(1.0, self.value + half)

    def hidden(self, tail: float) -> float:
        """How far off facts all alike may leave the mean, at this one-sided level."""
        return float(1 - tail ** (1 / self.facts))

    def p_above(self, bound: float) -> float:
        """One-sided p-value of "the difference is not above a bound"."""
        distance = self.value - bound
        if self.error:
            return float(stats.t.sf(distance / self.error, self.df))
        return (1 - min(1.0, max(0.0, distance))) ** self.facts  # that facts all alike hide a mean so far off

    def p_below(self, bound: float) -> float:
        """One-sided p-value of "the difference is not below a bound"."""
        return self._replace(value=-self.value).p_above(-bound)

    def smallest_detectable(self, confidence: float) -> float:
        """The difference that a two-sided test at this confidence would have found in four of five such studies."""
        tails = ((1 - confidence) / 2, 1 - POWER)
        if not self.error:
            return self.hidden(tails[0])
        return float(sum(stats.t.isf(tail, self.df) for tail in tails) * self.error)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.sort(p_values) * np.arange(len(p_values), 0, -1)).clip(max=1)
    return [float(p) for p in adjusted]


def contrast(one: pd.DataFrame, other: pd.DataFrame) -> Contrast:
    """Mean `value` of one set of rows minus that of another.

    Args:
        one: a row for each item, with columns seed, cluster and value, and perhaps world and split.
        other: likewise; the two may share items, or facts, or neither. Panels that one of them lacks do not count.

    Raises:
        ValueError: if they share no panel.
    """
    names = ["seed", *(name for name in PANEL if name in one), "cluster"]
    keys = {name: pd.factorize(pd.concat([one[name], other[name]]), sort=True)[0] for name in names}
    side = np.repeat([0, 1], [len(one), len(other)])
    panels, panel = np.unique([keys[name] for name in names[:-1]], axis=1, return_inverse=True)
    # A cell is a fact in a panel; sums and counts of both sides, (2, cells) and (2, panels).
    (panel_of, cluster), cell = np.unique([panel, keys["cluster"]], axis=1, return_inverse=True)
    value = pd.concat([one["value"], other["value"]]).to_numpy(float)
    sums, counts = (_binned(side, cell, len(panel_of), weights) for weights in (value, np.ones_like(value)))
    totals, sizes = (_binned([[0], [1]], panel_of, len(panels[0]), both) for both in (sums, counts))
    shared: np.ndarray = np.all(sizes > 0, axis=0)
    if not shared.any():
        raise ValueError(f"{len(one)} and {len(other)} items share no seed with a dataset and split; none to compare")
    means = totals / np.maximum(sizes, 1)
    seeds, seed = np.unique(panels[0][shared], return_inverse=True)
    in_seed = np.bincount(seed)
    by_seed = np.bincount(seed, (means[0] - means[1])[shared]) / in_seed
    # How much each fact moves the estimate of its seed.
    here = shared[panel_of]
    panel_of, cluster, sums, counts = panel_of[here], cluster[here], sums[:, here], counts[:, here]
    moves = np.subtract(*(sums - counts * means[:, panel_of]) / sizes[:, panel_of])
    seed_of = np.searchsorted(seeds, panels[0][panel_of])
    world = panels[names.index("world")][panel_of] if "world" in names else np.zeros_like(cluster)
    facts, fact = np.unique([world, cluster], axis=1, return_inverse=True)  # one may have questions of several splits
    moved = np.full((len(facts[0]), len(seeds)), np.nan)
    moved[fact, seed_of] = 0.0
    np.add.at(moved, (fact, seed_of), moves / in_seed[seed_of])
    return Contrast(float(by_seed.mean()), *spread(by_seed, moved), by_seed, int(counts[0].sum()), *moved.shape)


def _binned(rows: Any, columns: np.ndarray, width: int, weights: np.ndarray) -> np.ndarray:
    """Sums of weights in two rows of so many columns, (2, width)."""
    table = np.zeros((2, width))
    np.add.at(table, (rows, columns), weights)
    return table


def spread(by_seed: np.ndarray, moves: np.ndarray) -> tuple[float, float]:
    """Standard error of the mean of seeds, and its degrees of freedom.

    Args:
        by_seed: the estimate of each seed, (seeds,).
        moves: how much each fact moves it, (facts, seeds); nan where a seed lacks a fact.
    """
    facts, seeds = moves.shape
    crossed = (~np.isnan(moves)).sum() > 1.5 * facts  # most facts are those of several seeds
    among_seeds = by_seed.var(ddof=1) / seeds if seeds > 1 else 0.0
    among_facts = facts / max(1, facts - 1) * np.square(np.nansum(moves, axis=1) / seeds).sum()
    if among_seeds > ROUNDING**2 and not crossed:
        return math.sqrt(among_seeds), seeds - 1
    parts = [(v, n - 1) for v, n in ((among_seeds, seeds), (among_facts, facts)) if v > ROUNDING**2 and n > 1]
    if not parts:
        return 0.0, 0.0
    total = sum(v for v, _ in parts)
    return math.sqrt(total), total**2 / sum(v**2 / df for v, df in parts)


def independent(one: pd.DataFrame, other: pd.DataFrame) -> Contrast:
    """As `contrast`, of two sets that share nothing: seeds of the same number are others (Welch 1947)."""
    sides = [contrast(rows, rows.assign(value=0.0)) for rows in (one, other)]
    squares = [_certain(side) ** 2 for side in sides]
    total = sum(squares)
    df = total**2 / sum(s**2 / (side.df or side.facts) for s, side in zip(squares, sides, strict=True))
    facts, seeds = (min(getattr(side, name) for side in sides) for name in ("facts", "seeds"))
    value = sides[0].value - sides[1].value
    return Contrast(value, math.sqrt(total), df, np.array([value]), sides[0].items, facts, seeds)


def _certain(side: Contrast) -> float:
    """Its standard error; of facts all alike that of what they could hide."""
    return side.error or side.hidden(0.025) / 2


def of_shared_worlds(table: pd.DataFrame, arms: Collection[str]) -> pd.DataFrame:
    """The lines of some arms, of those datasets alone that every one of them that is in the table has.

    Means of other datasets cannot be compared.
    """
    if table.empty:
        return table
    here = table[table["arm"].isin(list(arms))]
    arms_of = here.groupby("world")["arm"].transform("nunique")
    return here[arms_of == here["arm"].nunique()]


def accuracy(rows: pd.DataFrame, statistics: Statistics) -> Estimate:
    """Mean accuracy of one arm, the mean over panels where there are several.

    If all answers are right or all wrong, there is no spread: the Wilson interval over facts replaces it.
    """
    values = rows.assign(value=rows["correct"].astype(float))
    found = contrast(values, values.assign(value=0.0))
    low, high = found.interval(statistics.confidence)
    if found.value in (0.0, 1.0):
        right = stats.binomtest(round(found.value * found.facts), found.facts)
        low, high = map(float, right.proportion_ci(statistics.confidence, "wilson"))
    chance = contrast(rows.assign(value=rows["chance"]), values.assign(value=0.0)).value
    counts = found.items, found.facts, found.seeds
    return Estimate(found.value, max(0.0, low), high, chance, *counts)


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
                found = contrast(one, two)
                low, high = found.interval(statistics.confidence)
                line = {"world": world, "split": split, "difference": f"{arm} - {other}", "arm": arm, "other": other}
                line |= {"value": found.value, "low": low, "high": high}
                lines.append({**line, "items": found.items, "facts": found.facts, "seeds": found.seeds})
    return pd.DataFrame(lines)
