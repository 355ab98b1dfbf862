import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from conftest import FAMILIES, build_family
from study.lm.flops import forward_flops, size_of, training_flops


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


# In Mamba 2 the scan is made of products too, and they are most of the work of so small a model.
PRODUCTS = [name for name in FAMILIES if name != "mamba2"]


@pytest.mark.parametrize("family", PRODUCTS, indirect=True)
def test_every_family_costs_what_the_profiler_counts(any_model, family):
    if family in ("mixtral", "qwen3_moe"):
        any_model.set_experts_implementation("eager")
    with sdpa_kernel(SDPBackend.MATH):
        found = counted(lambda: any_model(input_ids=IDS))
    # Convolutions go a little past the end, and a scan has a product, too.
    rounding = {"lfm2": 0.01, "mamba": 0.03}.get(family, 0)
    assert found == pytest.approx(forward_flops(size_of(any_model), 24, predicted=24), rel=rounding)


def test_what_a_model_has_no_attention_for_costs_none(tokenizer):
    sizes = {name: size_of(build_family(name, len(tokenizer))) for name in ("llama", "lfm2", "mamba", "mamba2")}
    assert [size.attention for size in sizes.values()] == [64, 32, 0, 0]


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_of_experts_only_those_count_that_a_token_meets(tokenizer, name):
    one, two, four = (size_of(build_family(name, len(tokenizer), num_experts_per_tok=k)).body for k in (1, 2, 4))
    assert two - one == (four - two) / 2 > 0
    every = [w.numel() for w in build_family(name, len(tokenizer)).parameters() if w.ndim > 1]
    assert four == sum(every) - 2 * 32 * len(tokenizer)


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
