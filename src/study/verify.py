"""Recompute what a study publishes from its per-item rows alone: no model, no world, no stored aggregate."""

from pathlib import Path

import pandas as pd

from study.claims import effect_table, judge, load_claims
from study.params import Params
from study.paths import shown
from study.store import Store
from study.strict import ParamsError
from study.trials import likeliest

PAGE = "05_compare"


def listed_trials(results: Path) -> Path:
    """The list of the trials that a published study's last page rests on."""
    return results / PAGE / "trials.csv"


def published_rows(results: Path) -> pd.DataFrame:
    """The rows of every trial that the study's last page lists, what is right decided anew from log-probabilities.

    Raises:
        ParamsError: if nothing is published there.
        ValueError: if a row's mark does not follow from its log-probabilities.
    """
    listed = listed_trials(results)
    if not listed.is_file():
        raise ParamsError(
            f"{shown(results)} holds no published study ({shown(listed)} is missing); "
            f"`make reproduce STUDY={results.name}`"
        )
    store, parts = Store(results / "trials"), []
    for trial in pd.read_csv(listed).itertuples():
        if trial.status == "finished":
            rows = store.rows(trial.trial).assign(arm=trial.arm)
            marks = [
                likeliest(log_probs) in answers
                for log_probs, answers in zip(rows["option_log_probs"], rows["answers"], strict=True)
            ]
            if list(rows["correct"]) != marks:
                raise ValueError(f"trial {trial.trial} ({trial.world}, {trial.arm}): a mark is not what its scores say")
            parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def verify(params: Params, results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every effect and every claim's verdict from the rows, beside the verdict that is published.

    Returns:
        effects: as given by `claims.effect_table`.
        claims: as given by `claims.judge`, with the columns published and follows.
    """
    rows, declared = published_rows(results), load_claims()
    effects = effect_table(declared, rows, params.statistics)
    claims = judge(declared, effects, params.statistics)
    published = pd.read_csv(results / PAGE / "claims.csv").set_index("number")["verdict"]
    claims["published"] = claims["number"].map(published)
    claims["follows"] = claims["verdict"] == claims["published"]
    return effects, claims
