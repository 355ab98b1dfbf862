import numpy as np
import pandas as pd
import pytest

from study.config import ParamsError
from study.evidence.claims import NOT_TESTED, REFUTED, REPLICATES, UNRESOLVED, Claim, effect_table, judge, load_claims
from study.params import ARMS, STUDIED, Statistics

STATISTICS = Statistics(resamples=2000)


def answers(arm, correct, world="reversals", split="reversal", **columns):
    count = len(correct)
    table = {
        "world": world,
        "split": split,
        "arm": arm,
        "seed": 0,
        "item_id": [str(k) for k in range(count)],
        "cluster": [str(k) for k in range(count)],
        "correct": np.array(correct, bool),
        "chance": 0.25,
        "kind": "",
        "covered": None,
        "gflops": 1.0,
    }
    return pd.DataFrame({**table, **columns})


def claim(number=1, **effect) -> Claim:
    effect = {"of": {"arm": "good"}, "to": {"arm": "bad"}, "splits": ["reversal"], **effect}
    return Claim.parse(
        {"number": number, "claim": "c", "origin": "ours", "refuted_if": "r", "effects": [effect]}, "test"
    )


ROWS = pd.concat(
    [
        answers("good", [True] * 30 + [False] * 10),
        answers("bad", [False] * 30 + [True] * 10),
        answers("same", [True] * 30 + [False] * 10),
        answers("other", [True] * 29 + [False] * 11),
    ]
)


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [
        ({"above": 0}, REPLICATES),
        ({"above": 0.95}, REFUTED),
        ({"below": 0}, REFUTED),
        ({"below": 0.9}, REPLICATES),
        ({"above": 0.45}, UNRESOLVED),
        ({"above": -0.1, "below": 0.1}, REFUTED),
        ({"to": {"arm": "other"}, "above": -0.1, "below": 0.15}, REPLICATES),
        ({"to": {"arm": "other"}, "above": 0}, UNRESOLVED),
        ({"to": "chance", "above": 0.2}, REPLICATES),
        ({"to": 0.5, "above": 0.3}, UNRESOLVED),
        ({"to": 0.1, "above": 0.3}, REPLICATES),
        ({"to": {"arm": "nobody"}, "above": 0}, NOT_TESTED),
        ({"worlds": ["family"], "above": 0}, NOT_TESTED),
    ],
)
def test_a_claim_gets_the_verdict_of_its_bounds(effect, verdict):
    effects = effect_table([claim(**effect)], ROWS, STATISTICS)
    assert list(judge([claim(**effect)], effects, STATISTICS)["verdict"]) == [verdict]


def test_a_claim_needs_all_its_effects_and_is_refuted_by_any():
    both = pd.concat([ROWS, ROWS.assign(world="family", arm=ROWS["arm"].replace({"good": "bad", "bad": "good"}))])
    once = claim(above=0)
    effects = effect_table([once], both, STATISTICS)
    assert list(effects["world"]) == ["reversals", "family"] and list(effects["effect"]) == [0.5, -0.5]
    (line,) = judge([once], effects, STATISTICS).to_dict("records")
    assert line["verdict"] == REFUTED and (line["tests"], line["in"], line["beyond"]) == (2, 1, 1)
    pooled = claim(above=0, pooled=True)
    effects = effect_table([pooled], both, STATISTICS)
    assert list(effects["world"]) == ["all"] and effects["effect"].item() == 0
    assert judge([pooled], effects, STATISTICS)["verdict"].item() == UNRESOLVED


def test_many_claims_are_held_to_a_stricter_level():
    first = np.r_[np.ones(9), np.zeros(31)]
    rows = pd.concat([answers("good", first), answers("bad", np.r_[np.zeros(3), np.ones(1), first[4:]])])
    alone, many = [claim(above=0)], [claim(number=n, above=0) for n in range(1, 18)]
    p = effect_table(alone, rows, STATISTICS)["p"].item()
    assert 0.025 / 17 < p < 0.1
    assert judge(many, effect_table(many, rows, STATISTICS), STATISTICS)["p"].max() == pytest.approx(min(1, 17 * p))


def test_rows_are_chosen_by_kind_and_by_coverage():
    half = np.arange(40) < 20
    rows = answers("good", half, covered=half, kind=np.where(half, "same family", "contradicting statement"))
    for of, to in (
        ({"arm": "good", "covered": True}, {"arm": "good", "covered": False}),
        ({"arm": "good", "kind": "same family"}, {"arm": "good", "kind": "contradicting statement"}),
    ):
        line = effect_table([claim(of=of, to=to, above=0)], rows, STATISTICS).iloc[0]
        assert line["effect"] == 1 and line["items"] == 20


def test_arms_with_other_questions_cannot_be_compared():
    rows = pd.concat([answers("good", [True] * 4), answers("bad", [True] * 5)])
    with pytest.raises(ValueError, match="good - bad: 4 and 5 items; the two did not answer the same questions"):
        effect_table([claim(above=0)], rows, STATISTICS)


def test_the_declared_claims_are_about_arms_that_exist_where_they_run():
    claims = load_claims()
    assert [c.number for c in claims] == list(range(1, 18))
    for effect in (effect for c in claims for effect in c.effects):
        for side in (effect.of, effect.to):
            if hasattr(side, "arm"):
                worlds = [w for w in STUDIED if w in effect.worlds and w in (ARMS[side.arm].worlds or STUDIED)]
                assert worlds, (effect.compared, side.arm)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: [{number: 1}]", r"claims.0.claim: missing"),
        ("effects: []", "it must hold one list named claims"),
    ],
)
def test_a_claim_that_cannot_be_tested_is_refused(tmp_path, text, message):
    file = tmp_path / "claims.yaml"
    file.write_text(text)
    with pytest.raises(ParamsError, match=message):
        load_claims(file)
    with pytest.raises(ParamsError, match="give above, below or both"):
        claim()
    with pytest.raises(ParamsError, match=r"worlds: no world \['moon'\]"):
        claim(above=0, worlds=["moon"])
