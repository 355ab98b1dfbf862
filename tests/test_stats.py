import numpy as np
import pandas as pd
import pytest

from study.claims import CLAIMS
from study.params import ARMS, Statistics
from study.stats import Claim, accuracy, accuracy_table, bootstrap_means, difference, judge_claims, wilson_interval
from study.world import Split

STATISTICS = Statistics(resamples=2000)


def answers(arm, correct, seed=0, per_fact=1, chance=0.125):
    return pd.DataFrame(
        {
            "world": "w",
            "split": "reversal",
            "arm": arm,
            "seed": seed,
            "item_id": [f"{seed}/{k}" for k in range(len(correct))],
            "cluster": [f"{seed}/{k // per_fact}" for k in range(len(correct))],
            "correct": np.array(correct, bool),
            "chance": chance,
        }
    )


def test_wilson_interval_is_the_textbook_one():
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_a_bootstrap_of_independent_items_has_the_binomial_width():
    rng = np.random.default_rng(0)
    rows = answers("a", rng.random(400) < 0.3).assign(value=lambda d: d["correct"].astype(float))
    means = bootstrap_means(rows, STATISTICS)
    p = rows["value"].mean()
    assert means.std() == pytest.approx(np.sqrt(p * (1 - p) / 400), rel=0.1)


def test_items_of_one_fact_widen_the_interval():
    correct = np.repeat(np.random.default_rng(1).random(50) < 0.5, 8)
    alone = accuracy(answers("a", correct), STATISTICS)
    clustered = accuracy(answers("a", correct, per_fact=8), STATISTICS)
    assert (clustered.items, clustered.facts) == (400, 50)
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)


def test_all_right_still_has_an_interval():
    estimate = accuracy(answers("a", [True] * 32), STATISTICS)
    assert estimate.value == 1 and 0.85 < estimate.low < 1 and estimate.high == pytest.approx(1)


def test_a_difference_is_paired_by_question():
    first = np.random.default_rng(0).random(200) < 0.5
    second = first.copy()
    second[:20] = False
    rows = pd.concat([answers("a", first), answers("b", second)])
    paired = difference(rows, "a", "b", STATISTICS)
    assert paired.value == pytest.approx(first[:20].mean() * 20 / 200)
    # Unpaired, the two intervals would overlap by far; paired, the difference is clear.
    assert paired.low > 0


def test_arms_with_other_questions_cannot_be_compared():
    rows = pd.concat([answers("a", [True] * 4), answers("b", [True] * 5)])
    with pytest.raises(ValueError, match="did not answer the same questions"):
        difference(rows, "a", "b", STATISTICS)


def test_the_same_generator_gives_the_same_interval():
    rows = answers("a", np.arange(60) % 3 == 0)
    assert accuracy(rows, STATISTICS) == accuracy(rows, STATISTICS)
    values = rows.assign(value=rows["correct"].astype(float))
    other = Statistics(resamples=2000, seed=1)
    assert not np.array_equal(bootstrap_means(values, STATISTICS), bootstrap_means(values, other))


def test_claims_get_the_verdict_their_interval_gives():
    rows = pd.concat([answers("good", [True] * 40), answers("bad", [False] * 40), answers("same", [True] * 40)])
    claims = [
        Claim("better", "w", "reversal", "good", "bad"),
        Claim("worse", "w", "reversal", "bad", "good"),
        Claim("alike", "w", "reversal", "good", "same"),
        Claim("absent", "w", "reversal", "good", "nobody"),
    ]
    verdicts = list(judge_claims(claims, rows, STATISTICS)["verdict"])
    assert verdicts == ["supported", "contradicted", "undecided", "not tested"]


def test_every_claim_is_about_arms_and_splits_that_exist():
    for claim in CLAIMS:
        assert {claim.arm, claim.other} <= set(ARMS)
        assert claim.split in set(map(str, Split))


def test_the_table_says_how_much_it_rests_on():
    rows = pd.concat([answers("a", [True, False] * 10, seed=s, per_fact=2) for s in (0, 1, 2)])
    line = accuracy_table(rows, STATISTICS).iloc[0]
    assert (line["items"], line["facts"], line["seeds"], line["chance"]) == (60, 30, 3, 0.125)
