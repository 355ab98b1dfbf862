import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from study.flops import forward_flops, size_of, training_flops


@pytest.fixture
def eager(model):
    model.set_attn_implementation("eager")  # the profiler does not count every fused kernel
    return model


def counted(work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


IDS = torch.arange(5, 29)[None]


def test_a_forward_pass_costs_what_the_profiler_counts(eager):
    size = size_of(eager)
    assert counted(lambda: eager(input_ids=IDS)) == forward_flops(size, 24, predicted=24)
    assert counted(lambda: eager(input_ids=IDS, logits_to_keep=1)) == forward_flops(size, 24)


def test_reading_on_from_a_cache_costs_what_the_profiler_counts(eager):
    cache = DynamicCache(config=eager.config)
    eager(input_ids=IDS, past_key_values=cache)
    found = counted(lambda: eager(input_ids=IDS[:, :5], past_key_values=cache))
    assert found == forward_flops(size_of(eager), 5, past=24, predicted=5)


def test_a_training_step_costs_what_the_profiler_counts(eager):
    found = counted(lambda: eager(input_ids=IDS, labels=IDS).loss.backward())
    assert found == pytest.approx(training_flops(size_of(eager), 24), rel=0.01)


def test_an_adapter_spares_the_gradients_of_what_it_leaves_alone(eager):
    full = training_flops(size_of(eager), 24)
    tuned = get_peft_model(copy.deepcopy(eager), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    found = counted(lambda: tuned(input_ids=IDS, labels=IDS).loss.backward())
    own = training_flops(size_of(tuned), 24)
    assert own < 0.8 * full
    assert found == pytest.approx(own, rel=0.05)
