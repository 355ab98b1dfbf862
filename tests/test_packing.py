"""Packed weights give the same texts, and leave the model as it was."""

import pytest
import torch

from conftest import build_family
from study.lm import packing
from study.lm.generation import generate
from study.lm.packing import packed_weights, packing_bytes

IDS = torch.tensor([[5, 8, 6, 11, 7, 9]])
PROMPTS = ["vazed sees ditav. so:", "the teacher of vazed is bafed. so:", "bafed. so:"]


@pytest.fixture(autouse=True)
def _tiny_layers(monkeypatch):
    monkeypatch.setattr(packing, "WORTH_PACKING", 1)


def logits(model):
    with torch.inference_mode():
        return model(IDS).logits


@pytest.mark.parametrize("dtype", packing.TYPES)
def test_a_packed_model_computes_the_same_and_is_itself_again_afterwards(any_model, dtype):
    model = any_model.to(dtype)
    before, weights = logits(model), {name: weight.clone() for name, weight in model.state_dict().items()}
    with packed_weights(model):
        within = logits(model)
    assert (within - before).abs().max() <= 40 * torch.finfo(dtype).eps * before.abs().max()
    assert torch.equal(logits(model), before)
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert not any("forward" in vars(part) for part in model.modules())


@pytest.mark.parametrize("tied", [False, True])
def test_memory_holds_each_weight_once_except_one_that_is_shared(tied):
    model = build_family("qwen2", 40, tie_word_embeddings=tied)
    head, largest = model.lm_head.weight, model.model.layers[0].mlp.up_proj.weight
    assert packing_bytes(model) == largest.nbytes + (head.nbytes if tied else 0) and largest.nbytes > head.nbytes
    with packed_weights(model):
        assert largest.numel() == 0
        assert bool(model.lm_head.weight.numel()) == tied


def test_a_model_that_reads_a_weight_past_its_layer_is_left_as_it_is(tokenizer):
    mixer = build_family("mamba", len(tokenizer))
    with packed_weights(mixer):
        assert all(weight.numel() for weight in mixer.parameters())
        logits(mixer)


def test_an_error_meanwhile_leaves_the_model_as_it_was(model):
    before = logits(model)
    with pytest.raises(KeyboardInterrupt), packed_weights(model):
        raise KeyboardInterrupt
    assert torch.equal(logits(model), before)


def test_a_model_can_be_trained_after_it_was_packed_for_texts(any_model, tokenizer, monkeypatch):
    packed = generate(any_model, tokenizer, PROMPTS, 8, 0.0, 0, 2)
    any_model(input_ids=IDS, labels=IDS).loss.backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in any_model.parameters())
    monkeypatch.setattr(packing, "WORTH_PACKING", 2**30)
    assert generate(any_model, tokenizer, PROMPTS, 8, 0.0, 0, 2) == packed


def test_layers_whose_forward_another_package_has_put_there_are_left_alone(model):
    layer = model.lm_head
    own = layer.forward
    layer.forward = own
    with packed_weights(model):
        assert layer.weight.numel() and vars(layer)["forward"] is own
    assert vars(layer)["forward"] is own
