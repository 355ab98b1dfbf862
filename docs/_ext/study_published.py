"""What a study has published, as the site shows it: every number is computed from rows or read from a results file."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from study.config import ParamsError
from study.evidence.claims import CONTRADICTED
from study.evidence.headline import headline_table
from study.evidence.stats import Estimate, accuracy_table
from study.evidence.verify import PAGE, published_rows, verify
from study.params import Params
from study.paths import shown


@dataclass(frozen=True)
class Published:
    """A published study.

    Attributes:
        params: its settings.
        results: the folder it is in.
    """

    params: Params
    results: Path

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The answers of all trials, marked again from their log-probabilities."""
        return published_rows(self.results)

    @cached_property
    def judged(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Effects and claims, computed from the rows.

        Raises:
            ParamsError: if a published verdict is inconsistent with them.
        """
        effects, claims = verify(self.params, self.results)
        for wrong in claims[~claims["follows"]].itertuples():
            raise ParamsError(
                f"claim {wrong.number}: the rows say {wrong.verdict}, published is {wrong.published}; "
                f"`make reproduce STUDY={self.results.name}` makes the pages again"
            )
        return effects, claims

    @cached_property
    def claims(self) -> pd.DataFrame:
        """One line for each claim, as `claims.judge` gives it, with the effect that decides its verdict.

        That is the one farthest outside its bounds if the claim is contradicted, else the one least surely inside.
        """
        effects, claims = self.judged
        lines = []
        for claim in claims.to_dict("records"):
            part = effects[effects["number"] == claim["number"]]
            if len(part):
                place = part["p beyond"].idxmin() if claim["verdict"] == CONTRADICTED else part["p"].idxmax()
                claim |= part.loc[place].drop(["p", "p beyond"]).to_dict()
            lines.append(claim)
        return pd.DataFrame(lines)

    @property
    def effects(self) -> pd.DataFrame:
        """Every test of every claim, as `claims.effect_table` gives it."""
        return self.judged[0]

    @cached_property
    def headline(self) -> pd.DataFrame:
        """The main methods on the main kinds of questions, computed from the rows.

        Raises:
            ParamsError: if the published figure shows other numbers.
        """
        found, drawn = headline_table(self.rows, self.params.statistics), self.table(f"{PAGE}/headline")
        ours, theirs = (table[list(Estimate._fields)].to_numpy(float) for table in (found, drawn))
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=1e-4):
            raise ParamsError(
                f"{PAGE}/headline.csv: the rows give other numbers; `make reproduce STUDY={self.results.name}` makes it"
            )
        return drawn

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Accuracy with interval and chance of every arm, by dataset and split."""
        return accuracy_table(self.rows, self.params.statistics)

    def table(self, name: str) -> pd.DataFrame:
        """A table that a notebook has published.

        Raises:
            ParamsError: if it is not there.
        """
        file = self.results / f"{name}.csv"
        if not file.is_file():
            raise ParamsError(f"{shown(file)}: missing; `make reproduce STUDY={self.results.name}` makes it")
        return pd.read_csv(file, keep_default_na=False, na_values=[""])
