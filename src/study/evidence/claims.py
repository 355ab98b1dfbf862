"""The claims under test, declared in params/claims/ before the run, and what the rows say of them.

An effect is a difference of means with bounds. Its p-value is that of the nearest bound. A claim of n effects needs k
of them, all by default: it is supported if k lie inside their bounds, and contradicted if so many lie outside that k
cannot. Both are tests of a partial conjunction (Benjamini & Heller 2008): the u-th smallest p-value times n - u + 1.
Both are corrected for the number of claims (Holm). A claim that is neither is inconclusive.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from study.config import Strict, read_yaml
from study.datasets import WORLDS
from study.evidence.stats import Contrast, contrast, holm
from study.params import Params, Statistics
from study.worlds.world import Split

SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTED = "supported", "contradicted", "inconclusive", "not tested"
CHANCE = "chance"


class Rows(Strict):
    """The rows of one arm."""

    arm: str

    def __str__(self) -> str:
        return self.arm


class Effect(Strict):
    """A difference of accuracies and its claimed bounds."""

    of: Rows
    to: Rows | float | Literal["chance"] | dict[str, float] = Field(
        description="other rows, a number, chance, or a sum of arms and chance, each times a number"
    )
    above: float | None = None
    below: float | None = None
    worlds: tuple[str, ...] = Field(tuple(WORLDS), min_length=1)
    splits: tuple[Split, ...] = Field(min_length=1)
    pooled: bool = Field(False, description="one effect, the mean over datasets and splits, instead of one in each")
    untaught: bool = Field(False, description="questions about facts of the half that no inference was generated from")

    @model_validator(mode="after")
    def _can_be_tested(self) -> Self:
        if self.above is None and self.below is None:
            raise ValueError("an effect needs a bound; give above, below or both")
        if unknown := set(self.worlds) - set(WORLDS):
            raise ValueError(f"worlds: no world {sorted(unknown)}; there are: {', '.join(WORLDS)}")
        return self

    @property
    def compared(self) -> str:
        """The two sides as text."""
        if isinstance(self.to, dict):
            return " - ".join([str(self.of), *(f"{weight:g} x {arm}" for arm, weight in self.to.items())])
        return f"{self.of} - {self.to}"

    @property
    def arms(self) -> list[str]:
        """The arms compared."""
        others = [*self.to] if isinstance(self.to, dict) else [self.to.arm] if isinstance(self.to, Rows) else []
        return [self.of.arm, *(arm for arm in others if arm != CHANCE)]

    @property
    def bounds(self) -> str:
        """The claimed bounds as text."""
        low, high = (f"{bound:+g}" if bound else "0" for bound in (self.above or 0.0, self.below or 0.0))
        if self.above is None:
            return f"below {high}"
        return f"above {low}" if self.below is None else f"{low} to {high}"

    @property
    def places(self) -> tuple[str, str]:
        """Datasets and splits of a pooled effect as text."""
        everywhere = self.worlds == tuple(WORLDS)
        return "all datasets" if everywhere else ", ".join(self.worlds), ", ".join(self.splits)

    def _other(self, rows: pd.DataFrame, one: pd.DataFrame) -> pd.DataFrame:
        """The rows to compare with; none if an arm has none."""
        if isinstance(self.to, Rows):
            other = _of_arm(rows, self.to.arm)
            if len(one) and len(other):
                _must_match(one, other, self.compared)
            return other
        if not isinstance(self.to, dict):
            return one.assign(value=one["chance"] if self.to == CHANCE else self.to)
        total = pd.Series(0.0, one.index)
        for arm, weight in self.to.items():
            if arm == CHANCE:
                total += weight * one["chance"]
                continue
            other = _of_arm(rows, arm)
            if other.empty or one.empty:
                return other
            _must_match(one, other, self.compared)
            values = other.set_index(QUESTION)["value"].reindex(pd.MultiIndex.from_frame(one[QUESTION]))
            total += weight * values.to_numpy()
        return one.assign(value=total)

    def _shared(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of datasets and seeds that every arm compared has; none where a dataset of the pool lacks one."""
        rows = rows[rows["arm"].isin(self.arms)]
        counts = rows.groupby(["world", "seed"])["arm"].transform("nunique")
        shared = rows[counts == len(set(self.arms))]
        return shared.iloc[:0] if self.pooled and set(shared["world"]) < set(rows["world"]) else shared

    def contrasts(self, rows: pd.DataFrame) -> Iterator[tuple[str, str, Contrast]]:
        """Dataset, split and difference of each test that the rows allow, over the seeds that every arm has.

        A pooled effect needs every arm on every dataset that any of them has.

        Raises:
            ValueError: if two arms were evaluated on different questions.
        """
        here = rows[rows["world"].isin(self.worlds) & rows["split"].isin(self.splits)]
        if self.untaught:
            here = here[here["untaught"] == True]  # noqa: E712 (may be None)
        here = self._shared(here)
        groups = [(self.places, here)] if self.pooled else here.groupby(["world", "split"], sort=False)
        for (world, split), group in groups:
            one = _of_arm(group, self.of.arm)
            other = self._other(group, one)
            if len(one) and len(other):
                yield world, split, contrast(one, other)

    def p_values(self, found: Contrast) -> tuple[float, float]:
        """Of "it lies inside its bounds", and of "it lies outside one of them"."""
        above = [] if self.above is None else [(found.p_above(self.above), found.p_below(self.above))]
        below = [] if self.below is None else [(found.p_below(self.below), found.p_above(self.below))]
        inside, outside = zip(*above, *below, strict=True)
        return max(inside), min(1.0, min(outside) * len(outside))


QUESTION = ["world", "seed", "split", "item_id"]
NAMES = ["world", "split", "item_id", "arm", "cluster"]
BEHIND_EFFECTS = [*NAMES, "seed", "untaught", "chance", "correct"]


class Claim(Strict):
    """A statement that the study supports or contradicts."""

    number: int = Field(ge=1)
    claim: str
    origin: Literal["source", "ours"]
    supported_if: str = "every effect lies inside its bounds"
    contradicted_if: str
    known_before: str = Field("", description="what rows of development seeds had shown when it was declared")
    at_least: int | None = Field(None, ge=1, description="effects that must hold; all by default")
    effects: tuple[Effect, ...] = Field(min_length=1)


class Declared(Strict):
    """A file of claims.

    Attributes:
        claims: declared.
        development_seeds: seen before they were; no study that tests the claims may have them.
    """

    claims: tuple[Claim, ...]
    development_seeds: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _numbers_differ(self) -> Self:
        numbers = [claim.number for claim in self.claims]
        if twice := sorted({n for n in numbers if numbers.count(n) > 1}):
            raise ValueError(f"number: {twice} given twice; number each claim once")
        return self


def declared(path: Path) -> Declared:
    """A file of claims.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed.
    """
    return Declared.parse(read_yaml(path), str(path))


def claims_of(params: Params) -> tuple[Claim, ...]:
    """The claims that a study tests."""
    return declared(params.claims_file).claims


def _of_arm(rows: pd.DataFrame, arm: str) -> pd.DataFrame:
    here = rows[rows["arm"] == arm]
    return here.assign(value=here["correct"].astype(float))


def _must_match(one: pd.DataFrame, other: pd.DataFrame, compared: str) -> None:
    items = [pd.MultiIndex.from_frame(rows[QUESTION]).sort_values() for rows in (one, other)]
    if not items[0].equals(items[1]):
        raise ValueError(f"{compared}: {len(one)} and {len(other)} items; the two did not answer the same questions")


def effect_table(claims: Sequence[Claim], rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each test of each claim: the effect with its interval and p-values.

    A claim of which the rows cannot test an effect, or too few, has no line: a part of it is another claim.
    """

    def line(effect: Effect, found: Contrast) -> dict[str, Any]:
        low, high = found.interval(statistics.confidence)
        inside, outside = effect.p_values(found)
        above, below = (math.nan if bound is None else bound for bound in (effect.above, effect.below))
        claimed = {"claimed": effect.bounds, "above": above, "below": below}
        least = {"smallest detectable": found.smallest_detectable(statistics.confidence)}
        counts = {"items": found.items, "facts": found.facts, "seeds": found.seeds}
        tested = {"effect": found.value, "low": low, "high": high, **least, **counts, "p": inside, "p beyond": outside}
        return {"compared": effect.compared, **claimed, **tested, "spread": found.spread}

    # Rows are taken apart a hundred times: without what no effect needs, and words compared as numbers.
    rows = rows.drop(columns=[name for name in rows if name not in BEHIND_EFFECTS])
    rows = rows.astype(dict.fromkeys(rows.columns.intersection(NAMES), "category"))
    lines: list[dict[str, Any]] = []
    for claim in claims:
        tests = [(effect, list(effect.contrasts(rows))) for effect in claim.effects]
        if all(found for _, found in tests) and sum(len(found) for _, found in tests) >= (claim.at_least or 1):
            lines += [
                {"number": claim.number, "world": world, "split": split, **line(effect, one)}
                for effect, found in tests
                for world, split, one in found
            ]
    return pd.DataFrame(lines)


def judge(claims: Sequence[Claim], effects: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each claim with its verdict, from the tests of its effects."""
    level = (1 - statistics.confidence) / 2  # of a one-sided test, so that intervals and verdicts agree
    tests = dict(iter(effects.groupby("number"))) if len(effects) else {}
    inside, outside = {}, {}
    for claim in claims:
        if claim.number in tests:
            part = tests[claim.number]
            needed = claim.at_least or len(part)
            inside[claim.number] = at_least(part["p"], needed)
            outside[claim.number] = at_least(part["p beyond"], len(part) - needed + 1)
    inside, outside = _corrected(inside), _corrected(outside)

    def found(number: int) -> dict[str, Any]:
        if number not in tests:
            return {"tests": 0, "verdict": NOT_TESTED}
        part, p, p_beyond = tests[number], inside[number], outside[number]
        passed = {"in": int((part["p"] < level).sum()), "beyond": int((part["p beyond"] < level).sum())}
        verdict = SUPPORTED if p < level else CONTRADICTED if p_beyond < level else INCONCLUSIVE
        return {"tests": len(part), **passed, "p": p, "p beyond": p_beyond, "verdict": verdict}

    return pd.DataFrame({"number": c.number, "claim": c.claim, "origin": c.origin, **found(c.number)} for c in claims)


def at_least(p_values: pd.Series, count: int) -> float:
    """p-value of "at least so many of these alternatives are true" (Benjamini & Heller 2008)."""
    return min(1.0, float(p_values.sort_values().iloc[count - 1]) * (len(p_values) - count + 1))


def _corrected(p_values: dict[int, float]) -> dict[int, float]:
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))
