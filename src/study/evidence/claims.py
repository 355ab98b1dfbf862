"""The claims under test, declared in params/claims/ before the run, and what the rows say of them.

An effect is a difference of means with bounds it must lie in. Its p-value is that of the bound it is nearest to;
a claim of several effects needs all of them, so its p-value is the largest of theirs (an intersection-union test,
Berger 1982). It is refuted by any one effect beyond a bound, at the smallest p-value times their number (Bonferroni).
Both are corrected for the number of claims (Holm).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from study.config import ParamsError, Strict, read_yaml
from study.datasets import WORLDS
from study.evidence.stats import Contrast, contrast, holm
from study.params import Statistics
from study.paths import PARAMS
from study.worlds.world import Kind, Split

CLAIMS = PARAMS / "claims" / "default.yaml"
REPLICATES, REFUTED, UNRESOLVED, NOT_TESTED = "replicates", "refuted", "unresolved", "not tested"
CHANCE = "chance"


class Rows(Strict):
    """Some of the answers: of one arm, perhaps to one kind of questions."""

    arm: str
    kind: Kind | None = Field(None, description="where the false options come from")
    covered: bool | None = Field(None, description="whether the text that the arm trains on has the answer")

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Those rows."""
        chosen = rows[rows["arm"] == self.arm]
        for column in ("kind", "covered"):
            value = getattr(self, column)
            if value is not None:
                chosen = chosen[chosen[column] == value]
        return chosen

    def __str__(self) -> str:
        covered = {None: "", True: ", covered", False: ", missed"}[self.covered]
        return self.arm + covered + (f", {self.kind}" if self.kind else "")


class Effect(Strict):
    """A difference of means and the bounds it is claimed to lie in."""

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
        unknown = set(self.worlds) - set(WORLDS)
        if unknown:
            raise ValueError(f"worlds: no world {sorted(unknown)}; there are: {', '.join(WORLDS)}")
        return self

    @property
    def compared(self) -> str:
        """What is compared, as text."""
        return f"{self.of} - {self.to}"

    @property
    def bounds(self) -> str:
        """What is claimed of the difference, as text."""
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
        """World, split and difference of each test that the rows allow.

        Raises:
            ValueError: if two arms did not answer the same questions.
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
        """Of "it lies in its bounds", and of "it lies beyond one of them"."""
        within, beyond = [], []
        if self.above is not None:
            within.append(found.p_above(self.above))
            beyond.append(found.p_below(self.above))
        if self.below is not None:
            within.append(found.p_below(self.below))
            beyond.append(found.p_above(self.below))
        return max(within), min(1.0, min(beyond) * len(beyond))


class Claim(Strict):
    """A statement that the study can replicate or refute."""

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
        twice = sorted({n for n in numbers if numbers.count(n) > 1})
        if twice:
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
    """One line for each test of each claim: what is compared where, the effect with its interval, its p-values."""
    lines = []
    for claim in claims:
        for effect in claim.effects:
            for world, split, found in effect.contrasts(rows, statistics):
                low, high = found.interval(statistics.confidence)
                within, beyond = effect.p_values(found)
                lines.append(
                    {
                        "number": claim.number,
                        "world": world,
                        "split": split,
                        "compared": effect.compared,
                        "claimed": effect.bounds,
                        "above": effect.above,
                        "below": effect.below,
                        "effect": found.value,
                        "low": low,
                        "high": high,
                        "smallest detectable": found.smallest_detectable(statistics.confidence),
                        "items": found.items,
                        "facts": found.facts,
                        "seeds": found.seeds,
                        "p": within,
                        "p beyond": beyond,
                    }
                )
    return pd.DataFrame(lines)


def judge(claims: Sequence[Claim], effects: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each claim with its verdict, from the tests of its effects."""
    level = (1 - statistics.confidence) / 2  # of a one-sided test, so that intervals and verdicts speak alike
    tests = dict(iter(effects.groupby("number"))) if len(effects) else {}
    within = _corrected({number: float(part["p"].max()) for number, part in tests.items()})
    beyond = _corrected({n: min(1.0, float(part["p beyond"].min()) * len(part)) for n, part in tests.items()})
    lines = []
    for claim in claims:
        line = {"number": claim.number, "claim": claim.claim, "origin": claim.origin}
        part = tests.get(claim.number)
        if part is None:
            lines.append({**line, "tests": 0, "verdict": NOT_TESTED})
            continue
        p, p_beyond = within[claim.number], beyond[claim.number]
        counts = {
            "tests": len(part),
            "in": int((part["p"] < level).sum()),
            "beyond": int((part["p beyond"] < level).sum()),
        }
        verdict = REPLICATES if p < level else REFUTED if p_beyond < level else UNRESOLVED
        lines.append({**line, **counts, "p": p, "p beyond": p_beyond, "verdict": verdict})
    return pd.DataFrame(lines)


def _corrected(p_values: dict[int, float]) -> dict[int, float]:
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))
