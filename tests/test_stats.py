import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.evidence.stats import (
    Contrast,
    accuracy,
    accuracy_table,
    contrast,
    difference_table,
    holm,
    independent,
    spread,
)
from study.params import Statistics

STATISTICS = Statistics()


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


def test_where_all_answers_are_alike_the_interval_is_the_textbook_s():
    # Newcombe 1998, table I: 0 of 20; and the same of 20 of 20.
    none, every = (accuracy(answers("a", 20 * [right]), STATISTICS) for right in (False, True))
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=1e-4) and none.low == 0
    assert (every.low, every.high) == pytest.approx((0.8389, 1.0), abs=1e-4) and every.high == 1


def valued(rows):
    return rows.assign(value=rows["correct"].astype(float))


def several(arm, shares, count=200, **more):
    """Answers of several seeds, each with its own share of right ones."""
    return valued(pd.concat(answers(arm, np.arange(count) < s * count, seed=k, **more) for k, s in enumerate(shares)))


def test_seeds_are_the_replicates():
    """The interval of a difference is scipy's paired t interval over the means of seeds."""
    one, other = several("a", (0.8, 0.7, 0.9, 0.6)), several("b", (0.5, 0.3, 0.6, 0.5))
    found, expected = contrast(one, other), stats.ttest_rel([0.8, 0.7, 0.9, 0.6], [0.5, 0.3, 0.6, 0.5])
    assert found.value == pytest.approx(0.275) and (found.items, found.facts, found.seeds, found.df) == (800, 800, 4, 3)
    assert found.interval(0.95) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p_above(0) == pytest.approx(expected.pvalue / 2) and found.p_below(0) == pytest.approx(
        1 - expected.pvalue / 2
    )
    t = stats.t.isf(0.025, 3) + stats.t.isf(0.2, 3)
    assert found.smallest_detectable(0.95) == pytest.approx(t * found.error)


def test_an_interval_ends_where_accuracies_do():
    found = contrast(several("a", (1.0, 0.2)), several("b", (0.0, 0.1)))
    assert found.value == pytest.approx(0.55) and found.interval(0.95) == (-1.0, 1.0)
    assert found.smallest_detectable(0.95) > 1  # such a study would have found nothing


def test_one_seed_alone_has_the_textbook_s_clustered_error():
    """Cluster means of the difference, as in Liang & Zeger 1986 with equal clusters: their spread / sqrt(n)."""
    rng = np.random.default_rng(3)
    shift = np.repeat(rng.random(80) < 0.4, 5)
    one, other = rng.random(400) < 0.3 + 0.5 * shift, rng.random(400) < 0.3
    found = contrast(valued(answers("a", one, per_fact=5)), valued(answers("b", other, per_fact=5)))
    by_fact = (one.astype(float) - other).reshape(80, 5).mean(axis=1)
    assert found.error == pytest.approx(by_fact.std(ddof=1) / np.sqrt(80)) and found.df == 79
    assert (found.items, found.facts, found.seeds) == (400, 80, 1)


def test_a_difference_is_paired_by_question():
    """30 questions change one way and 14 the other: McNemar's z = 16 / sqrt(44) = 2.41, one-sided p = 0.0079."""
    first, second = np.arange(200) < 90, (np.arange(200) >= 30) & (np.arange(200) < 104)
    found = contrast(valued(answers("a", first)), valued(answers("b", second)))
    assert found.value == pytest.approx(0.08) and found.p_above(0) == pytest.approx(0.0079, abs=0.001)


def test_an_estimate_is_the_mean_over_panels():
    """A dataset with many questions counts no more than one with few."""
    many, few = answers("a", [True] * 90 + [False] * 10), answers("a", [False] * 10).assign(world="v")
    assert accuracy(pd.concat([many, few]), STATISTICS).value == pytest.approx(0.45)
    assert accuracy(pd.concat([many, few.assign(chance=0.5)]), STATISTICS).chance == pytest.approx(0.3125)
    with pytest.raises(ValueError, match="share no seed with a dataset and split"):
        contrast(valued(many), valued(few))


@pytest.mark.parametrize("seeds", [3, 6, 12])
@pytest.mark.parametrize("ratio", [1, 4, 7])
def test_intervals_hold_the_true_value_as_often_as_they_say(seeds, ratio):
    """Facts within seeds; the variance of a seed's mean is `ratio` times what its facts alone explain."""
    rng, facts, runs = np.random.default_rng([seeds, ratio]), 24, 3000
    of_seed = math.sqrt((ratio - 1) / facts)
    table = of_seed * rng.standard_normal((runs, seeds, 1)) + rng.standard_normal((runs, seeds, facts))
    held = 0
    for run in table:
        means = run.mean(axis=1)
        moves = np.full((seeds * facts, seeds), np.nan)
        for seed in range(seeds):
            moves[seed * facts : (seed + 1) * facts, seed] = (run[seed] - means[seed]) / facts
        error, df = spread(means, moves)
        low, high = Contrast(means.mean(), error, df, means, 1, seeds * facts, seeds).interval(0.95)
        held += low <= 0 <= high
    assert 0.93 <= held / runs <= 0.97


@pytest.mark.nightly
def test_intervals_of_answers_hold_the_true_share_as_often_as_they_say():
    """The same from rows: right or wrong answers, two a fact, on facts that are hard or easy, in six seeds."""
    rng, held, runs = np.random.default_rng(5), 0, 150
    for _ in range(runs):
        easy = np.repeat(rng.beta(2, 2, size=(6, 20)), 2, axis=1)
        right = rng.random(easy.shape) < easy
        found = accuracy(pd.concat(answers("a", row, seed=k, per_fact=2) for k, row in enumerate(right)), STATISTICS)
        held += found.low <= 0.5 <= found.high
    assert 0.91 <= held / runs <= 0.99


def test_all_right_still_has_an_interval():
    estimate = accuracy(answers("a", [True] * 32), STATISTICS)
    assert estimate.value == 1 and 0.85 < estimate.low < 1 and estimate.high == pytest.approx(1)


def test_two_sets_that_share_nothing_are_compared_as_welch_does():
    one, other = several("a", (0.8, 0.7, 0.9, 0.6)), several("b", (0.5, 0.3, 0.45))
    found, expected = independent(one, other), stats.ttest_ind([0.8, 0.7, 0.9, 0.6], [0.5, 0.3, 0.45], equal_var=False)
    assert found.interval(0.95) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-6)


def test_holm_s_correction_is_the_textbook_one():
    # Holm 1979; the same numbers as R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_the_table_says_how_much_it_rests_on():
    rows = pd.concat([answers("a", [True, False] * 10, seed=s, per_fact=2) for s in (0, 1, 2)])
    line = accuracy_table(rows, STATISTICS).iloc[0]
    assert (line["items"], line["facts"], line["seeds"], line["chance"]) == (60, 30, 3, 0.125)


def test_facts_that_are_all_alike_still_leave_room_for_others():
    # Clopper & Pearson: none of 60 is compatible with a share of up to 0.0596.
    right = valued(answers("a", [True] * 60))
    found = contrast(right, valued(answers("b", [True] * 60)))
    assert found.interval(0.95) == pytest.approx((-0.0596, 0.0596), abs=1e-4)
    assert found.p_above(-0.05) == pytest.approx(0.95**60) and found.p_above(0) == found.p_above(0.1) == 1
    assert found.p_below(0.05) == pytest.approx(0.95**60) and found.p_below(0) == 1


def test_facts_that_all_seeds_share_are_not_counted_again():
    right = np.random.default_rng(1).random(40) < 0.6
    once = pd.DataFrame({"seed": 0, "cluster": [f"c{k}" for k in range(40)], "correct": right, "chance": 0.5})
    shared = pd.concat([once.assign(seed=seed) for seed in range(3)])
    one, crossed = (accuracy(rows, STATISTICS) for rows in (once, shared))
    assert (crossed.facts, crossed.items) == (40, 120)
    assert crossed.high - crossed.low == pytest.approx(one.high - one.low)  # the same answers again are no news


def test_seeds_that_differ_widen_what_is_known_of_shared_facts():
    facts = [f"c{k}" for k in range(200)]
    rows = pd.concat(
        pd.DataFrame({"seed": seed, "cluster": facts, "correct": np.arange(200) < 200 * share, "chance": 0.5})
        for seed, share in enumerate((0.2, 0.5, 0.8))
    )
    found = accuracy(rows, STATISTICS)
    assert found.value == pytest.approx(0.5) and found.high - found.low > 0.5


def test_pairs_of_arms_are_compared_in_the_seeds_that_both_have():
    rows = pd.concat([answers("a", [True] * 8), answers("a", [False] * 8, seed=1), answers("b", [False, True] * 4)])
    table = difference_table(rows, [("a", "b"), ("a", "c")], STATISTICS)
    assert len(table) == 1 and table["difference"][0] == "a - b"
    assert (table["value"][0], table["items"][0], table["seeds"][0]) == (0.5, 8, 1)
    with pytest.raises(ValueError, match="a - b: 8 and 7 answers; not the same questions"):
        difference_table(rows.iloc[:-1], [("a", "b")], STATISTICS)
