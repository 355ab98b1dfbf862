"""Effects, intervals and verdicts of published claims by pandas and scipy alone: no line of the package is used."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "full"
PAGE = PUBLISHED / "05_compare"
LEVEL = 0.025  # of one side
CLAIMS = (2, 5, 6, 11, 12, 18)  # all effects of which are differences of two arms; of two not all are needed
UNIT = ["seed", "world", "split", "item_id"]


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    """Whether each arm's likeliest option is a true one, by question."""
    effects = pd.read_csv(PAGE / "effects.csv")
    wanted = {arm for both in effects[effects["number"].isin(CLAIMS)]["compared"] for arm in both.split(" - ")}
    listed = pd.read_csv(PAGE / "runs.csv").set_index("run")["arm"]
    listed, parts = listed[listed.isin(wanted)], []
    for pack in sorted((PUBLISHED / "packs").iterdir()):
        with tarfile.open(pack) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive}
        for name in sorted(files):
            folder, _, file = name.partition("/")
            arm = listed.get(folder.rpartition("-")[2])
            if file == "rows.parquet" and arm and json.loads(files[f"{folder}/record.json"])["status"] == "finished":
                rows = pd.read_parquet(io.BytesIO(files[name]))
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


def corrected(effects: pd.DataFrame, column: str, needed: pd.Series) -> pd.Series:
    """Of each claim the p-value that so many of its effects are true, corrected for the number of claims (Holm)."""
    whole = pd.Series(
        {
            number: min(1, np.sort(part[column])[needed[number] - 1] * (len(part) - needed[number] + 1))
            for number, part in effects.groupby("number")
        }
    ).sort_values()
    return np.maximum.accumulate(whole * np.arange(len(whole), 0, -1)).clip(upper=1)


@pytest.mark.nightly
def test_six_claims_come_out_the_same(answers):
    effects, claims = (pd.read_csv(PAGE / f"{name}.csv") for name in ("effects", "claims"))
    for k, effect in effects[effects["number"].isin(CLAIMS)].iterrows():
        values = by_seed(answers, effect)
        error = stats.sem(values)
        assert values.mean() == pytest.approx(effect["effect"], abs=1e-5), k
        if not error:  # all seeds alike: the package bounds that by the number of facts
            continue
        low, high = np.clip(stats.t.interval(0.95, len(values) - 1, values.mean(), error), -1, 1)
        assert [low, high] == pytest.approx([effect["low"], effect["high"]], abs=1e-5), k
        bound = effect["above"] if np.isnan(effect["below"]) else effect["below"]
        inside = (values.mean() - bound) / error * (1 if np.isnan(effect["below"]) else -1)
        for column, distance in (("p", inside), ("p beyond", -inside)):
            assert stats.t.sf(distance, len(values) - 1) == pytest.approx(effect[column], rel=1e-3), k
    declared = yaml.safe_load((ROOT / "params" / "claims" / "second_edition.yaml").read_text())["claims"]
    tests = effects.groupby("number").size()
    needed = pd.Series({claim["number"]: claim.get("at_least", tests[claim["number"]]) for claim in declared})
    supported, beyond = corrected(effects, "p", needed), corrected(effects, "p beyond", tests - needed + 1)
    for number in CLAIMS:
        found = claims.set_index("number").loc[number]
        assert (supported[number], beyond[number]) == pytest.approx((found["p"], found["p beyond"]), rel=1e-3), number
        verdict = (
            "supported" if supported[number] < LEVEL else "contradicted" if beyond[number] < LEVEL else "inconclusive"
        )
        assert verdict == found["verdict"], number
