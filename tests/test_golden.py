"""The golden study: results change where a version does, and only there."""

import copy
import json
import math

import pytest
import torch

import golden
from study.lm import finetuning, generation, prefix_scoring
from study.runs import versions

plain_sum = sum


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def wrong_in(dataset: str) -> list[str]:
    """Where a dataset's results are other than recorded: to the bit on the machine that recorded them."""
    recorded = golden.recorded()
    tolerance = 0.0 if recorded["machine"] == golden.machine() else golden.TOLERANCE
    return list(golden.differences(recorded["results"][dataset], golden.results_of(dataset), tolerance))


@pytest.mark.parametrize("dataset", golden.SHAPES)
def test_results_are_those_recorded_under_these_versions(dataset):
    assert golden.recorded()["versions"] == golden.versions_now(), "a version was raised: `make golden`"
    assert wrong_in(dataset) == [], "results changed: raise the stage's version, then `make golden`"


def test_a_log_probability_off_by_a_thousandth_is_noticed(monkeypatch):
    right = prefix_scoring._of_nodes
    monkeypatch.setattr(
        prefix_scoring, "_of_nodes", lambda *given: {node: value + 1e-3 for node, value in right(*given).items()}
    )
    assert any(place.startswith("scoring.icl") for place in wrong_in("deeds"))


def test_one_other_character_in_a_generated_text_is_noticed(monkeypatch):
    right = generation.generate

    def off(*given, **named):
        made = right(*given, **named)
        return made._replace(texts=[made.texts[0].replace(".", "!", 1), *made.texts[1:]])

    monkeypatch.setattr("study.runs.augment.generate", off)
    assert any(place.startswith("generation.local") for place in wrong_in("deeds"))


def test_one_other_gradient_step_is_noticed(monkeypatch):
    right = finetuning.learning_rate_scale
    monkeypatch.setattr(finetuning, "learning_rate_scale", lambda step, *given: right(step, *given) * (1 + (step == 0)))
    assert any(place.startswith("finetuning.") for place in wrong_in("deeds"))


def compensated(values, start=0):
    """`sum` as Python 3.12 and later have it."""
    values = list(values)
    floats = any(isinstance(value, float) for value in values) and all(isinstance(v, int | float) for v in values)
    return math.fsum([start, *values]) if floats else plain_sum(values, start)


def test_another_python_sums_to_the_same_bits(monkeypatch):
    monkeypatch.setattr("builtins.sum", compensated)
    assert sum([0.1] * 10) == 1.0
    assert wrong_in("syllogisms") == []


def test_recording_is_refused_where_a_version_and_its_results_do_not_go_together(monkeypatch):
    old = golden.recorded()
    same = copy.deepcopy(old)
    assert list(golden.without_reason(old, same)) == []
    changed = copy.deepcopy(old)
    changed["results"]["deeds"]["scoring"]["icl"][0] += 1e-3
    assert "deeds: scoring changed; raise its version" in next(golden.without_reason(old, changed))
    changed["versions"][versions.SCORING] += 1
    assert list(golden.without_reason(old, changed)) == []
    same["versions"][versions.SCORING] += 1
    assert "scoring: its version was raised, but its results are the same" in next(golden.without_reason(old, same))


def test_every_dataset_and_every_kind_of_arm_is_in_it():
    from study.datasets import WORLDS

    assert set(golden.SHAPES) == set(WORLDS)
    text = json.dumps(golden.recorded()["results"])
    assert all(f'"{arm}"' in text for dataset in golden.SHAPES for arm in golden.IN_ALL + golden.IN_ONE)
