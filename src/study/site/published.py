"""What a study has published, as the site shows it: every number is computed from rows or read from a results file."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from study.config import ParamsError
from study.evidence.claims import REFUTED
from study.evidence.stats import accuracy_table
from study.evidence.verify import published_rows, verify
from study.params import Params


@dataclass(frozen=True)
class Published:
    """A study whose pages are published.

    Attributes:
        params: its settings.
        results: the folder it is in.
    """

    params: Params
    results: Path

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The answers of all trials, marked anew from their log-probabilities."""
        return published_rows(self.results)

    @cached_property
    def judged(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Effects and claims, computed from the rows.

        Raises:
            ParamsError: if a published verdict does not follow from them.
        """
        effects, claims = verify(self.params, self.results)
        wrong = claims[~claims["follows"]]
        if len(wrong):
            raise ParamsError(
                f"claim {wrong['number'].iloc[0]}: the rows say {wrong['verdict'].iloc[0]}, published is "
                f"{wrong['published'].iloc[0]}; `make reproduce` makes the pages anew"
            )
        return effects, claims

    @property
    def claims(self) -> pd.DataFrame:
        """One line for each claim, as `claims.judge` gives it, with the effect that its verdict hangs on.

        That is the one farthest beyond its bounds if the claim is refuted, else the one least surely within them.
        """
        effects, claims = self.judged
        lines = []
        for claim in claims.to_dict("records"):
            part = effects[effects["number"] == claim["number"]]
            if len(part):
                refuted = claim["verdict"] == REFUTED
                place = part["p beyond"].idxmin() if refuted else part["p"].idxmax()
                claim |= part.loc[place].drop(["p", "p beyond"]).to_dict()
            lines.append(claim)
        return pd.DataFrame(lines)

    @property
    def effects(self) -> pd.DataFrame:
        """Every test of every claim, as `claims.effect_table` gives it."""
        return self.judged[0]

    def accuracy(self, world: str) -> pd.DataFrame:
        """Accuracy with interval and chance of every arm in a world, by split."""
        return accuracy_table(self.rows[self.rows["world"] == world], self.params.statistics)

    def table(self, notebook: str, name: str) -> pd.DataFrame:
        """A table that a notebook has published.

        Raises:
            ParamsError: if it is not there.
        """
        file = self.results / notebook / f"{name}.csv"
        if not file.is_file():
            raise ParamsError(f"{file}: missing; `make reproduce` makes it")
        return pd.read_csv(file, keep_default_na=False, na_values=[""])
