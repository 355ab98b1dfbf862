import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.evidence.cost import CACHING, UNCACHED, break_even, cost_accuracy, cost_lines, recommended
from study.params import Statistics

STATISTICS = Statistics()


def trial(arm, once, query, context=0.0, world="reversals", seed=0):
    record = {
        "training": {"flops": once * 1e9, "seconds": 3.0, "learned_tokens": 7},
        "context_flops": context * 1e9,
        "query_flops": query * 1e9,
        "scoring_seconds": 2.0,
        "questions": 4,
        "peak_memory_bytes": 1e9,
    }
    return cost_lines({"world": world, "seed": seed, "arm": arm}, record, [])


def test_the_costs_of_a_trial_are_those_of_its_text_training_context_and_questions():
    record = {
        "training": {"flops": 5e9, "seconds": 3.0, "learned_tokens": 7},
        "context_flops": 2e9,
        "query_flops": 1e9,
        "scoring_seconds": 2.0,
        "questions": 4,
        "peak_memory_bytes": 3e9,
    }
    line = cost_lines({"arm": "a"}, record, [{"flops": 4e9, "seconds": 10.0}, {"flops": 1e9, "seconds": 1.0}])
    assert (line["writing"], line["tuning"], line["context"]) == (5, 5, 2)
    assert (line["once"], line["query"], line[UNCACHED]) == (12, 1, 3)
    assert (line["seconds writing"], line["seconds tuning"]) == (11, 3)
    # Of 2 s for a context of 2 GFLOP and four questions of 1 each.
    assert (line["seconds context"], line["seconds a query"]) == pytest.approx((2 / 3, 1 / 3))
    assert line["peak GB"] == 3


def test_tuning_breaks_even_where_the_two_costs_meet():
    costs = pd.DataFrame([trial("ft", 90, 1), trial("icl", 0, 3, context=10)])
    cached = break_even(costs, "ft", "icl", STATISTICS)
    assert cached.questions == pytest.approx(40) and np.isnan(cached.low)  # 90 + n = 10 + 3 n, of one run
    uncached = break_even(costs, "ft", "icl", STATISTICS, cached=False)
    assert uncached.questions == pytest.approx(90 / 12)  # 90 + n = 13 n
    assert break_even(costs, "icl", "ft", STATISTICS).said() == "for few only"
    fewer = pd.DataFrame([trial("retrieved", 0, 2, context=10), trial("icl", 0, 3, context=10)])
    assert break_even(fewer, "retrieved", "icl", STATISTICS).said() == "always"
    dear = pd.DataFrame([trial("hybrid", 90, 3, context=10), trial("icl", 0, 3, context=10)])
    assert np.isinf(break_even(dear, "hybrid", "icl", STATISTICS).questions)


def test_the_interval_of_a_break_even_comes_from_worlds_and_seeds():
    places = [(world, seed) for world in ("reversals", "family") for seed in range(5)]
    costs = pd.DataFrame(
        [trial("ft", 50 + 10 * seed, 1, world=world, seed=seed) for world, seed in places]
        + [trial("icl", 0, 2, world=world, seed=seed) for world, seed in places]
    )
    found = break_even(costs, "ft", "icl", STATISTICS)
    # What a question costs does not vary: Fieller's interval is that of the mean of the costs paid once.
    once = np.repeat([50, 60, 70, 80, 90], 2)
    half = stats.t.isf(0.025, 9) * once.std(ddof=1) / np.sqrt(10)
    assert found == pytest.approx((70, 70 - half, 70 + half))


def test_where_a_question_may_cost_no_less_the_interval_has_no_end():
    each = {0: 1.0, 1: 2.9, 2: 4.0, 3: 2.0}
    costs = pd.DataFrame(
        [trial("ft", 50, query, seed=seed) for seed, query in each.items()]
        + [trial("icl", 0, 3, seed=seed) for seed in each]
    )
    found = break_even(costs, "ft", "icl", STATISTICS)
    assert found.questions == pytest.approx(50 / 0.525) and 10 < found.low < found.questions
    assert np.isinf(found.high)


def test_the_cheapest_arm_that_is_as_good_as_the_best_is_recommended():
    rng = np.random.default_rng(0)
    right = {"icl": np.ones(200), "ft": np.zeros(200), "ft augmented": (rng.random(200) < 0.995).astype(float)}
    rows = pd.concat(
        pd.DataFrame(
            {"world": "w", "split": "reversal", "arm": arm, "seed": 0, "item_id": map(str, range(200)),
             "cluster": [str(k) for k in range(200)], "correct": marks.astype(bool), "chance": 0.25}
        )
        for arm, marks in right.items()
    )  # fmt: skip
    costs = pd.DataFrame([trial("icl", 0, 3, context=1), trial("ft", 50, 1), trial("ft augmented", 90, 1)])
    (line,) = recommended(rows, costs, list(right), (1, 1000), STATISTICS).to_dict("records")
    assert line["best"] == "icl" and line["as good"] == "ft augmented"
    assert (line["for 1 question"], line["for 1,000 questions"]) == ("icl", "ft augmented")
    few = rows[rows["item_id"].astype(int) < 12]  # too few to say that it is as good
    (line,) = recommended(few, costs, list(right), (1000,), STATISTICS).to_dict("records")
    assert line["as good"] == "" and line["for 1,000 questions"] == "not certain"
    other = rows[rows["arm"] != "ft augmented"].assign(world="v", correct=False)  # a dataset that one arm lacks
    (line,) = recommended(pd.concat([rows, other]), costs, list(right), (1,), STATISTICS).to_dict("records")
    assert (line["best"], line["accuracy"]) == ("icl", 1.0)
    (line,) = recommended(rows[rows["arm"] == "ft"], costs, ["ft"], (1, 1000), STATISTICS).to_dict("records")
    assert line["for 1 question"] == line["for 1,000 questions"] == "none is above chance"


def test_costs_and_accuracies_are_those_of_datasets_that_all_arms_have():
    rows = pd.DataFrame(
        {"world": world, "split": "reversal", "arm": arm, "seed": seed, "item_id": str(k), "cluster": f"{seed}/{k}",
         "correct": world == "w", "chance": 0.25}
        for world, arm in (("w", "icl"), ("w", "ft"), ("v", "icl")) for seed in (0, 1) for k in range(4)
    )  # fmt: skip
    places = (("icl", "w", 3), ("ft", "w", 1), ("icl", "v", 1000))
    costs = pd.DataFrame([trial(arm, 0, query, world=world, seed=k) for arm, world, query in places for k in (0, 1)])
    table = cost_accuracy(rows, costs, ["icl", "ft"], "icl", [10], STATISTICS).set_index(["context", "arm"])
    for way in CACHING.values():
        assert list(table.loc[way]["value"]) == [1.0, 1.0]
        assert list(table.loc[way]["GFLOP a question"]) == [3, 1]
