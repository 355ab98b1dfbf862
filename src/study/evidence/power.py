"""How many seeds would settle each claim, were effects and spreads what these rows show."""

import math

import pandas as pd
from scipy import stats

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


def power_table(effects: pd.DataFrame, statistics: Statistics, planned: int, claims: int | None = None) -> pd.DataFrame:
    """One line for each effect: which verdict its value speaks for, the power for it, and the seeds it needs.

    An effect of one seed alone, or without spread, says nothing of seeds and has none. The level is the strictest that
    Holm's correction asks for.

    Args:
        effects: of `claims.effect_table`.
        statistics: confidence.
        planned: seeds of the study to come.
        claims: that will be corrected for; by default those of the effects.
    """
    level = (1 - statistics.confidence) / 2 / (claims or effects["number"].nunique())
    lines = []
    for line in effects.to_dict("records"):
        room = [sign * (line["effect"] - line[bound]) for bound, sign in (("above", 1), ("below", -1))]
        inside = min(distance for distance in room if not math.isnan(distance))
        known = line["seeds"] > 1 and line["spread"] > 0
        lines.append(
            {
                "number": line["number"],
                "world": line["world"],
                "split": line["split"],
                "compared": line["compared"],
                "claimed": line["claimed"],
                "effect": line["effect"],
                "spread of seeds": line["spread"] if known else math.nan,
                "speaks for": "supported" if inside > 0 else "contradicted",
                f"power at {planned} seeds": power(abs(inside), line["spread"], planned, level) if known else math.nan,
                "seeds needed": seeds_needed(abs(inside), line["spread"], level) if known else math.nan,
            }
        )
    return pd.DataFrame(lines)
