import numpy as np
import pandas as pd
import pytest

from study.evidence.stats import (
    accuracy,
    accuracy_table,
    bootstrap_means,
    contrast,
    difference_table,
    holm,
    wilson_interval,
)
from study.params import Statistics

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


def valued(rows):
    return rows.assign(value=rows["correct"].astype(float))


def test_a_difference_is_paired_by_question():
    first = np.random.default_rng(0).random(200) < 0.5
    second = first.copy()
    second[:20] = False
    paired = contrast(valued(answers("a", first)), valued(answers("b", second)), STATISTICS)
    assert paired.value == pytest.approx(first[:20].mean() * 20 / 200)
    low, high = paired.interval(0.95)
    # Unpaired, the two intervals would overlap by far; paired, the difference is clear.
    assert 0 < low < paired.value < high


def test_the_p_value_is_mcnemar_s():
    """30 questions change one way and 14 the other: z = 16 / sqrt(44) = 2.41, one-sided p = 0.0079."""
    first, second = np.arange(200) < 90, (np.arange(200) >= 30) & (np.arange(200) < 104)
    found = contrast(valued(answers("a", first)), valued(answers("b", second)), Statistics(resamples=20_000))
    assert found.p_above(0) == pytest.approx(0.0079, abs=0.003)
    assert found.p_below(0) == pytest.approx(1 - 0.0079, abs=0.004)


def test_a_paired_clustered_difference_has_the_textbook_s_standard_error():
    """Cluster means of the difference, as in Liang & Zeger 1986 with equal clusters: their spread / sqrt(n)."""
    rng = np.random.default_rng(3)
    shift = np.repeat(rng.random(80) < 0.4, 5)
    one, other = rng.random(400) < 0.3 + 0.5 * shift, rng.random(400) < 0.3
    found = contrast(valued(answers("a", one, per_fact=5)), valued(answers("b", other, per_fact=5)), STATISTICS)
    by_fact = (one.astype(float) - other).reshape(80, 5).mean(axis=1)
    assert found.means.std() == pytest.approx(by_fact.std(ddof=1) / np.sqrt(80), rel=0.05)
    assert found.smallest_detectable(0.95) == pytest.approx(2.80 * found.means.std(), rel=1e-3)
    assert (found.items, found.facts, found.seeds) == (400, 80, 1)


def test_seeds_are_a_second_level():
    """Seeds that disagree widen the interval, whatever the number of facts."""
    parts = [valued(answers("a", [seed != 2] * 200, seed=seed)) for seed in (0, 1, 2)]
    low, high = contrast(pd.concat(parts), pd.concat(parts).assign(value=0.5), STATISTICS).interval(0.95)
    assert low < -0.1 and high == pytest.approx(0.5)


def test_sides_with_other_items_of_the_same_facts_are_drawn_together():
    rows = valued(answers("a", [True, False] * 50, per_fact=2))
    right, wrong = rows[rows["value"] == 1], rows[rows["value"] == 0]
    found = contrast(right, wrong, STATISTICS)
    assert found.value == 1 and found.means.std() == 0 and found.p_above(0) == pytest.approx(1 / 2001)
    assert found.p_below(0) == 1


def test_holm_s_correction_is_the_textbook_one():
    # Holm 1979; the same numbers as R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_the_same_generator_gives_the_same_interval():
    rows = answers("a", np.arange(60) % 3 == 0)
    assert accuracy(rows, STATISTICS) == accuracy(rows, STATISTICS)
    values = rows.assign(value=rows["correct"].astype(float))
    other = Statistics(resamples=2000, seed=1)
    assert not np.array_equal(bootstrap_means(values, STATISTICS), bootstrap_means(values, other))


def test_the_table_says_how_much_it_rests_on():
    rows = pd.concat([answers("a", [True, False] * 10, seed=s, per_fact=2) for s in (0, 1, 2)])
    line = accuracy_table(rows, STATISTICS).iloc[0]
    assert (line["items"], line["facts"], line["seeds"], line["chance"]) == (60, 30, 3, 0.125)


def test_facts_that_are_all_alike_still_leave_room_for_others():
    # Clopper & Pearson: none of 60 is compatible with a share of up to 0.0596.
    right, wrong = (valued(answers(arm, [mark] * 60)) for arm, mark in (("a", True), ("b", False)))
    found = contrast(right, right, STATISTICS)
    assert found.interval(0.95) == pytest.approx((-0.0596, 0.0596), abs=1e-4)
    assert found.p_above(-0.05) == pytest.approx(0.95**60) and found.p_above(0) == found.p_above(0.1) == 1
    assert found.p_below(0.05) == pytest.approx(0.95**60) and found.p_below(0) == 1
    assert contrast(right, wrong, STATISTICS).p_above(0) == pytest.approx(1 / 2001)


def test_facts_that_all_seeds_share_are_drawn_together_and_not_counted_again():
    statistics = Statistics(resamples=4000)
    right = np.random.default_rng(1).random(40) < 0.6
    once = pd.DataFrame({"seed": 0, "cluster": [f"c{k}" for k in range(40)], "correct": right, "chance": 0.5})
    shared = pd.concat([once.assign(seed=seed) for seed in range(3)])
    apart = shared.assign(cluster=shared["cluster"] + shared["seed"].astype(str))
    one, crossed, nested = (accuracy(rows, statistics) for rows in (once, shared, apart))
    assert (crossed.facts, nested.facts, crossed.items) == (40, 120, 120)
    width = crossed.high - crossed.low
    assert width == pytest.approx(one.high - one.low, abs=0.03)  # the same answers again are no news
    assert nested.high - nested.low < 0.75 * width


def test_seeds_that_differ_widen_what_is_known_of_shared_facts():
    statistics = Statistics(resamples=4000)
    facts = [f"c{k}" for k in range(200)]
    rows = pd.concat(
        pd.DataFrame({"seed": seed, "cluster": facts, "correct": np.arange(200) < 200 * share, "chance": 0.5})
        for seed, share in enumerate((0.2, 0.5, 0.8))
    )
    found = accuracy(rows, statistics)
    assert found.value == pytest.approx(0.5) and found.high - found.low > 0.5


def test_shared_facts_and_a_seed_s_own_go_together():
    rows = pd.DataFrame({"seed": [0, 1, 0, 1], "cluster": ["both", "both", "a", "b"], "correct": True, "chance": 0.5})
    found = accuracy(rows, Statistics())
    assert (found.value, found.facts, found.items, found.seeds) == (1.0, 3, 4, 2)


def test_pairs_of_arms_are_compared_in_the_seeds_that_both_have():
    rows = pd.concat([answers("a", [True] * 8), answers("a", [False] * 8, seed=1), answers("b", [False, True] * 4)])
    table = difference_table(rows, [("a", "b"), ("a", "c")], STATISTICS)
    assert len(table) == 1 and table["difference"][0] == "a - b"
    assert (table["value"][0], table["items"][0], table["seeds"][0]) == (0.5, 8, 1)
    with pytest.raises(ValueError, match="a - b: 8 and 7 answers; not the same questions"):
        difference_table(rows.iloc[:-1], [("a", "b")], STATISTICS)
