import itertools

import numpy as np
import pandas as pd
import pytest

from study.arms import ARMS
from study.config import ParamsError
from study.evidence.claims import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_TESTED,
    SUPPORTED,
    Claim,
    Effect,
    at_least,
    declared,
    effect_table,
    judge,
)
from study.figures.comparisons import effects_figure
from study.params import STUDIED, Params, Statistics, load_params
from study.paths import CLAIMS, PARAMS

STATISTICS = Statistics()
DECLARED = declared(CLAIMS / "second_edition.yaml")


def answers(arm, correct, world="reversals", split="reversal", seed=0, **columns):
    count = len(correct)
    table = {
        "world": world,
        "split": split,
        "arm": arm,
        "seed": seed,
        "item_id": [str(k) for k in range(count)],
        "cluster": [f"{seed}/{k}" for k in range(count)],
        "correct": np.array(correct, bool),
        "chance": 0.25,
        "untaught": True,
    }
    return pd.DataFrame({**table, **columns})


def claim(number=1, at_least=None, **effect) -> Claim:
    effect = {"of": {"arm": "good"}, "to": {"arm": "bad"}, "splits": ["reversal"], **effect}
    more = {"at_least": at_least} if at_least else {}
    values = {"number": number, "claim": "c", "origin": "ours", "contradicted_if": "r", "effects": [effect], **more}
    return Claim.parse(values, "test")


def verdict_of(one: Claim, rows: pd.DataFrame) -> str:
    return judge([one], effect_table([one], rows, STATISTICS), STATISTICS)["verdict"].item()


def spread(share: float, count: int = 40) -> list[bool]:
    return [True] * round(share * count) + [False] * (count - round(share * count))


SHARES = {"good": (0.75, 0.8, 0.7), "bad": (0.25, 0.3, 0.2), "same": (0.75, 0.8, 0.7), "other": (0.725, 0.75, 0.7)}
ROWS = pd.concat(answers(arm, spread(p), seed=seed) for arm, ps in SHARES.items() for seed, p in enumerate(ps))


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [
        ({"above": 0}, SUPPORTED),
        ({"above": 0.95}, CONTRADICTED),
        ({"below": 0}, CONTRADICTED),
        ({"below": 0.9}, SUPPORTED),
        ({"to": "chance", "above": 0.45}, INCONCLUSIVE),
        ({"above": -0.1, "below": 0.1}, CONTRADICTED),
        ({"to": {"arm": "other"}, "above": -0.1, "below": 0.15}, SUPPORTED),
        ({"to": {"arm": "other"}, "above": 0.03}, INCONCLUSIVE),
        ({"to": "chance", "above": 0.2}, SUPPORTED),
        ({"to": 0.5, "above": 0.2}, INCONCLUSIVE),
        ({"to": 0.1, "above": 0.3}, SUPPORTED),
        ({"to": {"bad": 0.5, "chance": 0.5}, "above": 0.3}, SUPPORTED),
        ({"to": {"bad": 2.5}, "above": 0.6}, CONTRADICTED),
        ({"to": {"nobody": 1.0}, "above": 0}, NOT_TESTED),
        ({"to": {"arm": "nobody"}, "above": 0}, NOT_TESTED),
        ({"worlds": ["family"], "above": 0}, NOT_TESTED),
    ],
)
def test_a_claim_gets_the_verdict_of_its_bounds(effect, verdict):
    assert verdict_of(claim(**effect), ROWS) == verdict


@pytest.mark.parametrize("bound", ["above", "below"])
def test_claims_with_bounds_on_one_side_only_are_drawn_and_planned(bound):
    declared = [claim(**{bound: 0})]
    effects = effect_table(declared, ROWS, STATISTICS)
    assert len(effects) and set(map(str, effects[["above", "below"]].dtypes)) == {"float64"}
    verdicts = judge(declared, effects, STATISTICS)
    assert len(effects_figure(effects, verdicts).axes[0].lines) > 0


def test_a_claim_needs_all_its_effects_and_is_contradicted_by_any():
    both = pd.concat([ROWS, ROWS.assign(world="family", arm=ROWS["arm"].replace({"good": "bad", "bad": "good"}))])
    once = claim(above=0)
    effects = effect_table([once], both, STATISTICS)
    assert list(effects["world"]) == ["reversals", "family"] and list(effects["effect"]) == pytest.approx([0.5, -0.5])
    (line,) = judge([once], effects, STATISTICS).to_dict("records")
    assert line["verdict"] == CONTRADICTED and (line["tests"], line["in"], line["beyond"]) == (2, 1, 1)
    assert verdict_of(claim(above=0, at_least=1), both) == SUPPORTED
    pooled = claim(above=0, pooled=True)
    effects = effect_table([pooled], both, STATISTICS)
    assert effects[["world", "split"]].values.tolist() == [["all datasets", "reversal"]]
    assert effects["effect"].item() == pytest.approx(0)
    assert judge([pooled], effects, STATISTICS)["verdict"].item() == INCONCLUSIVE


def test_a_claim_of_which_a_part_cannot_be_tested_is_not_tested():
    part = {"of": {"arm": "good"}, "to": {"arm": "nobody"}, "splits": ["reversal"], "above": 0}
    whole = claim(above=0)
    more = whole.model_copy(update={"effects": (*whole.effects, Effect.parse(part, "test"))})
    assert verdict_of(whole, ROWS) == SUPPORTED and verdict_of(more, ROWS) == NOT_TESTED
    assert verdict_of(claim(above=0, at_least=2), ROWS) == NOT_TESTED  # one place is no two


def test_an_arm_that_lacks_a_dataset_or_a_seed_is_compared_where_it_has_both():
    rows = [
        answers(arm, spread(share), w, seed=s)
        for w in ("reversals", "family")
        for s in (0, 1, 2)
        for arm, share in (("good", 0.9), ("bad", 0.4))
    ]
    whole = pd.concat(rows)
    of_one = whole[(whole["arm"] == "bad") | (whole["world"] == "reversals")]
    pooled, each = claim(above=0, pooled=True), claim(above=0)
    assert verdict_of(pooled, whole) == SUPPORTED and verdict_of(pooled, of_one) == NOT_TESTED
    assert effect_table([each], of_one, STATISTICS)["world"].tolist() == ["reversals"]
    diverged = whole[(whole["arm"] == "bad") | (whole["seed"] != 1)]
    for one in (pooled, each):
        assert set(effect_table([one], whole, STATISTICS)["seeds"]) == {3}
        assert set(effect_table([one], diverged, STATISTICS)["seeds"]) == {2}


def test_a_pooled_effect_says_where_it_is():
    rows = pd.concat([ROWS, ROWS.assign(split="two hops")])
    places = {"worlds": ["reversals", "family"], "splits": ["reversal", "two hops"], "pooled": True}
    line = effect_table([claim(above=0, **places)], rows, STATISTICS).iloc[0]
    assert (line["world"], line["split"]) == ("reversals, family", "reversal, two hops")


def test_so_many_of_several_hold_by_the_test_of_a_partial_conjunction():
    """Benjamini & Heller 2008: the u-th smallest times n - u + 1; Bonferroni for one, the largest for all."""
    p = pd.Series([0.04, 0.01, 0.5, 0.02])
    assert [at_least(p, u) for u in (1, 2, 3, 4)] == pytest.approx([0.04, 0.06, 0.08, 0.5])


def test_many_claims_are_held_to_a_stricter_level():
    many = [claim(number=n, above=0.4) for n in range(1, 18)]
    p = effect_table(many[:1], ROWS, STATISTICS)["p"].item()
    assert 0.025 / 17 < p < 0.1
    assert judge(many, effect_table(many, ROWS, STATISTICS), STATISTICS)["p"].max() == pytest.approx(min(1, 17 * p))


def test_rows_may_be_those_of_the_half_without_inferences():
    half = np.arange(40) < 20
    rows = pd.concat([answers("good", half, untaught=half), answers("bad", ~half, untaught=half)])
    assert effect_table([claim(above=0, untaught=True)], rows, STATISTICS)["effect"].item() == 1


def test_arms_with_other_questions_cannot_be_compared():
    rows = pd.concat([answers("good", [True] * 4), answers("bad", [True] * 5)])
    with pytest.raises(ValueError, match="good - bad: 4 and 5 items; the two did not answer the same questions"):
        effect_table([claim(above=0)], rows, STATISTICS)


def test_the_declared_claims_are_about_arms_that_exist_where_they_run():
    assert [c.number for c in DECLARED.claims] == list(range(1, 21))
    for effect in (effect for c in DECLARED.claims for effect in c.effects):
        for arm in effect.arms:
            assert [w for w in STUDIED if w in effect.worlds and w in (ARMS[arm].worlds or STUDIED)], (effect, arm)


def test_no_study_that_tests_the_claims_has_a_development_seed():
    """For ever: a seed that was seen before the claims were declared tests none of them."""
    for file in sorted(PARAMS.glob("*.yaml")):
        params = load_params(file)
        if params.claims_file == CLAIMS / "second_edition.yaml" and set(params.world_names) >= set(STUDIED):
            assert not set(params.seeds) & set(DECLARED.development_seeds) or file.stem in ("development", "smoke"), (
                file
            )
            assert set(params.finetuning.selection_seeds) <= set(DECLARED.development_seeds), file


def _made_up(effects: list[Effect], inside: bool | None, rng: np.random.Generator, seeds: int = 8) -> pd.DataFrame:
    """Rows in which every effect lies well inside its bounds, well outside them, or on a bound with much noise.

    Accuracies are no shares here but any numbers: the value of each question is that of its arm with some noise.
    """
    parts = []
    for effect in effects:
        low = effect.above if effect.above is not None else effect.below - 1.0
        high = effect.below if effect.below is not None else effect.above + 1.0
        wanted = {True: (low + high) / 2, False: high + 0.5 if effect.above is None else low - 0.5, None: low}[inside]
        wanted = effect.below if inside is None and effect.above is None else wanted
        chance = 0.125
        others = effect.to if isinstance(effect.to, dict) else {}
        base = dict.fromkeys(effect.arms[1:], 0.3)
        total = sum(w * (chance if arm == "chance" else base[arm]) for arm, w in others.items())
        if effect.to == "chance":
            total = chance
        elif isinstance(effect.to, float):
            total = effect.to
        elif not others:
            total = 0.3
        values = {**base, effect.of.arm: wanted + total}
        noise, facts = 0.3 if inside is None else 0.01, range(3)
        places = itertools.product(effect.worlds[:6], map(str, effect.splits), values, range(seeds), facts)
        rows = pd.DataFrame(places, columns=["world", "split", "arm", "seed", "fact"])
        of_seed = np.repeat(rng.standard_normal(len(rows) // len(facts)), len(facts))
        parts.append(
            rows.assign(
                item_id=rows["fact"].astype(str),
                cluster=rows["seed"].astype(str) + "/" + rows["fact"].astype(str),
                correct=rows["arm"].map(values) + noise * (of_seed + rng.standard_normal(len(rows))),
                chance=chance,
                untaught=True,
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    "number",
    [c.number if c.number % 7 == 1 else pytest.param(c.number, marks=pytest.mark.nightly) for c in DECLARED.claims],
)
def test_each_declared_claim_can_come_out_in_all_three_ways(number):
    one = next(c for c in DECLARED.claims if c.number == number)
    # Effects of one claim may share an arm; each is made alone, and all tests are judged together, among twenty claims.
    found = {}
    for inside, verdict in ((True, SUPPORTED), (False, CONTRADICTED), (None, INCONCLUSIVE)):
        rng = np.random.default_rng(number)
        tables = [
            effect_table(
                [one.model_copy(update={"effects": (effect,), "at_least": None})],
                _made_up([effect], inside, rng),
                STATISTICS,
            )
            for effect in one.effects
        ]
        many = pd.concat(tables)
        assert len(many) >= len(one.effects)
        others = [claim(number=100 + k, above=0) for k in range(19)]
        table = pd.concat([many, *(many.head(1).assign(number=100 + k, p=0.5) for k in range(19))])
        found[verdict] = judge([one, *others], table, STATISTICS).set_index("number")["verdict"][number]
    assert found == {verdict: verdict for verdict in found}


def test_verdicts_are_wrong_no_more_often_than_they_say():
    """True effects on the bound: a verdict either way is wrong, in 2.5 % each, with few seeds and with many."""
    rng, runs = np.random.default_rng(0), 4000
    for seeds in (3, 6, 12):
        wrong = {SUPPORTED: 0, CONTRADICTED: 0}
        level = (1 - STATISTICS.confidence) / 2
        from study.evidence.stats import Contrast
        from study.evidence.stats import spread as spread_of

        for _ in range(runs):
            means = 0.1 + 0.1 * rng.standard_normal(seeds)
            error, df = spread_of(means, np.eye(seeds) * 0.01 + np.where(np.eye(seeds) > 0, 0, np.nan))
            found = Contrast(means.mean(), error, df, means, 1, seeds, seeds)
            wrong[SUPPORTED] += found.p_above(0.1) < level
            wrong[CONTRADICTED] += found.p_below(0.1) < level
        for times in wrong.values():
            assert 0.018 < times / runs < 0.033, (seeds, wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: [{number: 1}]", r"claims.0.claim: missing"),
        ("effects: []", "claims: missing; give it a value"),
    ],
)
def test_a_claim_that_cannot_be_tested_is_refused(tmp_path, text, message):
    file = tmp_path / "claims.yaml"
    file.write_text(text)
    with pytest.raises(ParamsError, match=message):
        declared(file)
    with pytest.raises(ParamsError, match="give above, below or both"):
        claim()
    with pytest.raises(ParamsError, match=r"worlds: no world \['moon'\]"):
        claim(above=0, worlds=["moon"])
    assert Params().claims_file == CLAIMS / "second_edition.yaml"
