"""The claims under test, declared in params/claims/ before the run, and what the rows say of them.

An effect is a difference of means with bounds. Its p-value is that of the nearest bound. A claim needs all of its
effects, so its p-value is the largest of theirs (an intersection-union test, Berger 1982). One effect outside its
bounds contradicts it, at the smallest p-value times their number (Bonferroni). Both are corrected for the number of
claims (Holm).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from study.config import ParamsError, Strict, read_yaml
from study.datasets import WORLDS
from study.evidence.stats import Contrast, contrast, holm
from study.params import Statistics
from study.paths import CLAIMS
from study.worlds.world import Kind, Split

REPLICATES, REFUTED, UNRESOLVED, NOT_TESTED = "replicates", "refuted", "unresolved", "not tested"
CHANCE = "chance"


class Rows(Strict):
    """The rows of one arm, perhaps of one kind of questions."""

    arm: str
    kind: Kind | None = Field(None, description="where the false options come from")
    covered: bool | None = Field(None, description="whether the arm's training text has the answer")

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Those rows."""
        wanted = {"arm": self.arm, "kind": self.kind, "covered": self.covered}
        for column, value in wanted.items():
            rows = rows if value is None else rows[rows[column] == value]
        return rows

    def __str__(self) -> str:
        covered = {None: "", True: ", covered", False: ", missed"}[self.covered]
        return self.arm + covered + (f", {self.kind}" if self.kind else "")


class Effect(Strict):
    """A difference of means and its claimed bounds."""

    of: Rows
    to: Rows | float | Literal["chance"] = Field(description="other rows, a number, or chance")
    above: float | None = None
    below: float | None = None
    worlds: tuple[str, ...] = Field(tuple(WORLDS), min_length=1)
    splits: tuple[Split, ...] = Field(min_length=1)
    pooled: bool = Field(False, description="one effect over all worlds and splits, instead of one in each")
    measure: Literal["correct", "gflops"] = Field("correct", description="accuracy, or operations a question")

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
        return f"{self.of} - {self.to}"

    @property
    def bounds(self) -> str:
        """The claimed bounds as text."""
        low, high = (f"{bound:+g}" if bound else "0" for bound in (self.above or 0.0, self.below or 0.0))
        if self.above is None:
            return f"below {high}"
        return f"above {low}" if self.below is None else f"{low} to {high}"

    def _side(self, rows: pd.DataFrame, which: Rows) -> pd.DataFrame:
        chosen = which.of(rows)
        return chosen.assign(
            value=chosen[self.measure].astype(float), cluster=chosen["world"] + "/" + chosen["cluster"]
        )

    def contrasts(self, rows: pd.DataFrame, statistics: Statistics) -> Iterator[tuple[str, str, Contrast]]:
        """Dataset, split and difference of each test that the rows allow.

        Raises:
            ValueError: if two arms were evaluated on different questions.
        """
        here = rows[rows["world"].isin(self.worlds) & rows["split"].isin(self.splits)]
        groups = [(("all", "all"), here)] if self.pooled else here.groupby(["world", "split"], sort=False)
        for (world, split), group in groups:
            one = self._side(group, self.of)
            if isinstance(self.to, Rows):
                other = self._side(group, self.to)
            else:
                other = one.assign(value=one["chance"] if self.to == CHANCE else self.to)
            if len(one) == 0 or len(other) == 0:
                continue
            if isinstance(self.to, Rows) and self.to.arm != self.of.arm:
                _must_match(one, other, self.compared)
            yield world, split, contrast(one, other, statistics)

    def p_values(self, found: Contrast) -> tuple[float, float]:
        """Of "it lies inside its bounds", and of "it lies outside one of them"."""
        above = [] if self.above is None else [(found.p_above(self.above), found.p_below(self.above))]
        below = [] if self.below is None else [(found.p_below(self.below), found.p_above(self.below))]
        inside, outside = zip(*above, *below, strict=True)
        return max(inside), min(1.0, min(outside) * len(outside))


class Claim(Strict):
    """A statement that the study supports or contradicts."""

    number: int = Field(ge=1)
    claim: str
    origin: Literal["source", "ours"]
    refuted_if: str
    effects: tuple[Effect, ...] = Field(min_length=1)


class _Claims(Strict):
    claims: tuple[Claim, ...]

    @model_validator(mode="after")
    def _numbers_differ(self) -> Self:
        numbers = [claim.number for claim in self.claims]
        if twice := sorted({n for n in numbers if numbers.count(n) > 1}):
            raise ValueError(f"number: {twice} given twice; number each claim once")
        return self


def load_claims(path: Path = CLAIMS) -> tuple[Claim, ...]:
    """The claims of a file.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed.
    """
    values = read_yaml(path)
    if set(values) != {"claims"}:
        raise ParamsError(f"{path}: holds {sorted(values)}; it must hold one list named claims")
    return _Claims.parse(values, str(path)).claims


def _must_match(one: pd.DataFrame, other: pd.DataFrame, compared: str) -> None:
    key = ["world", "seed", "item_id"]
    items = [pd.MultiIndex.from_frame(rows[key]).sort_values() for rows in (one, other)]
    if not items[0].equals(items[1]):
        raise ValueError(f"{compared}: {len(one)} and {len(other)} items; the two did not answer the same questions")


def effect_table(claims: Sequence[Claim], rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each test of each claim: the effect with its interval and p-values."""

    def line(effect: Effect, found: Contrast) -> dict[str, Any]:
        low, high = found.interval(statistics.confidence)
        inside, outside = effect.p_values(found)
        claimed = {"claimed": effect.bounds, "above": effect.above, "below": effect.below}
        least = {"smallest detectable": found.smallest_detectable(statistics.confidence)}
        counts = {"items": found.items, "facts": found.facts, "seeds": found.seeds}
        tested = {"effect": found.value, "low": low, "high": high, **least, **counts, "p": inside, "p beyond": outside}
        return {"compared": effect.compared, **claimed, **tested}

    return pd.DataFrame(
        {"number": claim.number, "world": world, "split": split, **line(effect, found)}
        for claim in claims
        for effect in claim.effects
        for world, split, found in effect.contrasts(rows, statistics)
    )


def judge(claims: Sequence[Claim], effects: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each claim with its verdict, from the tests of its effects."""
    level = (1 - statistics.confidence) / 2  # of a one-sided test, so that intervals and verdicts agree
    tests = dict(iter(effects.groupby("number"))) if len(effects) else {}
    inside = _corrected({number: float(part["p"].max()) for number, part in tests.items()})
    outside = _corrected({n: min(1.0, float(part["p beyond"].min()) * len(part)) for n, part in tests.items()})

    def found(number: int) -> dict[str, Any]:
        if number not in tests:
            return {"tests": 0, "verdict": NOT_TESTED}
        part, p, p_beyond = tests[number], inside[number], outside[number]
        passed = {"in": int((part["p"] < level).sum()), "beyond": int((part["p beyond"] < level).sum())}
        verdict = REPLICATES if p < level else REFUTED if p_beyond < level else UNRESOLVED
        return {"tests": len(part), **passed, "p": p, "p beyond": p_beyond, "verdict": verdict}

    return pd.DataFrame({"number": c.number, "claim": c.claim, "origin": c.origin, **found(c.number)} for c in claims)


def _corrected(p_values: dict[int, float]) -> dict[int, float]:
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))
