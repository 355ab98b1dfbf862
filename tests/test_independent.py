"""Effects, intervals and verdicts of published claims by pandas and scipy alone: no line of the package is used."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

PUBLISHED = Path(__file__).parents[1] / "results" / "first_edition"
PAGE = PUBLISHED / "05_compare"
LEVEL = 0.025  # of one side
CLAIMS = (2, 5, 12, 15, 17)  # all effects of which are differences of two arms
UNIT = ["seed", "world", "split", "item_id"]


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    """Whether each arm's likeliest option is a true one, by question."""
    listed = pd.read_csv(PAGE / "runs.csv").set_index("run")["arm"]
    parts = []
    for folder in sorted((PUBLISHED / "runs").iterdir()):
        arm = listed.get(folder.name.rpartition("-")[2])
        if arm is not None and json.loads((folder / "record.json").read_text())["status"] == "finished":
            rows = pd.read_parquet(folder / "rows.parquet")
            chosen = [int(np.argmax(scores)) for scores in rows["option_log_probs"]]
            right = [k in answers for k, answers in zip(chosen, rows["answers"], strict=True)]
            parts.append(rows[UNIT].assign(arm=arm, right=np.array(right, float)))
    return pd.concat(parts)


def by_seed(answers: pd.DataFrame, effect: pd.Series) -> pd.Series:
    """One arm minus the other in each seed: over questions, then over datasets and splits."""
    arms = effect["compared"].split(" - ")
    here = answers[answers["arm"].isin(arms) & answers["split"].isin(effect["split"].split(", "))]
    if effect["world"] != "all datasets":
        here = here[here["world"].isin(effect["world"].split(", "))]
    wide = here.pivot_table("right", UNIT, "arm").dropna()
    return (wide[arms[0]] - wide[arms[1]]).groupby(["seed", "world", "split"]).mean().groupby("seed").mean()


@pytest.mark.nightly
def test_five_claims_come_out_the_same(answers):
    effects, claims = (pd.read_csv(PAGE / f"{name}.csv") for name in ("effects", "claims"))
    worst = effects.groupby("number")["p"].max()
    for k, effect in effects[effects["number"].isin(CLAIMS)].iterrows():
        values = by_seed(answers, effect)
        error = stats.sem(values)
        assert values.mean() == pytest.approx(effect["effect"], abs=1e-5), k
        if not error:  # all seeds alike: the package bounds that by the number of facts
            continue
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), error)
        assert (low, high) == pytest.approx((effect["low"], effect["high"]), abs=1e-5), k
        above = effect["above"] if np.isnan(effect["below"]) else effect["below"]
        sign = 1 if np.isnan(effect["below"]) else -1
        p = stats.t.sf(sign * (values.mean() - above) / error, len(values) - 1)
        assert p == pytest.approx(effect["p"], rel=1e-3), k
    # All effects of a claim must lie inside; Holm's correction for the number of claims.
    order = worst.sort_values()
    corrected = np.maximum.accumulate(order * np.arange(len(order), 0, -1)).clip(upper=1)
    for number in CLAIMS:
        found = claims.set_index("number").loc[number]
        assert corrected[number] == pytest.approx(found["p"], rel=1e-3), number
        assert (corrected[number] < LEVEL) == (found["verdict"] == "supported"), number
