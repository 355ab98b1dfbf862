"""How many seeds would settle each claim, were effects and spreads what these rows show."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from study.evidence.claims import CONTRADICTED, SUPPORTED, Claim
from study.params import Statistics

WANTED = 0.9  # power
MOST = 200  # seeds


def power(distance: float, spread: float, seeds: int, level: float) -> float:
    """Probability that a one-sided t test over so many seeds finds a mean so far beyond its bound (Cohen 1988).

    Args:
        distance: of the true mean from the bound.
        spread: standard deviation of seeds.
        seeds: that are run.
        level: of the test.
    """
    df = seeds - 1
    return float(stats.nct.sf(stats.t.isf(level, df), df, distance * math.sqrt(seeds) / spread))


def seeds_needed(distance: float, spread: float, level: float) -> float:
    """The fewest seeds that find it nine times of ten; infinite beyond 200."""
    return next((n for n in range(2, MOST + 1) if power(distance, spread, n, level) >= WANTED), math.inf)


def claims_power(claims: Sequence[Claim], effects: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each tested claim: the verdict that its effects speak for, and the seeds that would find it.

    The seeds are those of the weakest effect that the verdict needs, at the level that `claims.judge` asks of it; an
    effect in which seeds do not differ is not the weakest, and one of a seed alone says nothing of seeds.

    Returns:
        columns number, claim, speaks for, seeds needed.
    """
    level, lines = _strictest(statistics, effects), []
    for claim in claims:
        part = effects[effects["number"] == claim.number]
        if part.empty:
            continue
        inside, needed = part.apply(_distance_inside, axis=1) > 0, claim.at_least or len(part)
        held = inside.sum() >= needed
        count = needed if held else len(part) - needed + 1
        seeds = [_seeds(line, level / (len(part) - count + 1)) for line in part[inside == held].to_dict("records")]
        lines.append(
            {
                "number": claim.number,
                "claim": claim.claim,
                "speaks for": SUPPORTED if held else CONTRADICTED,
                "seeds needed": pd.Series(seeds).sort_values(na_position="first").iloc[count - 1],
            }
        )
    return pd.DataFrame(lines)


def _strictest(statistics: Statistics, effects: pd.DataFrame) -> float:
    """The strictest level that Holm's correction for their claims asks of a one-sided test."""
    return (1 - statistics.confidence) / 2 / len(set(effects["number"]))


def _distance_inside(effect: Mapping[Any, Any]) -> float:
    """How far an effect lies inside its nearest bound; below zero, how far outside."""
    room: list[float] = [sign * (effect["effect"] - effect[bound]) for bound, sign in (("above", 1), ("below", -1))]
    return min(distance for distance in room if not math.isnan(distance))


def _known(effect: Mapping[Any, Any]) -> bool:
    """Whether seeds of an effect have shown how much they differ."""
    return bool(effect["seeds"] > 1 and effect["spread"] > 0)


def _seeds(effect: Mapping[Any, Any], level: float) -> float:
    return seeds_needed(abs(_distance_inside(effect)), effect["spread"], level) if _known(effect) else math.nan
