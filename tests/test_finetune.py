import itertools

import pytest
import torch
from torch import nn

from conftest import build_family
from study.lm.finetuning import (
    BY_WEIGHT,
    Diverged,
    epoch_order,
    finetune,
    keeps_texts_apart,
    learning_rate_scale,
    packed,
    packed_loss,
    padded,
    padded_loss,
    steps_for,
    steps_of,
)
from study.lm.scoring import score_options
from study.params import Finetuning

TEXTS = ["vazed sees ditav.", "in being fast, bafed is ahead of dakok.", "the teacher of vazed is bafed."]


def settings(**values) -> Finetuning:
    return Finetuning.parse({"step_tokens": 16, "warmup_steps": 0, **values}, "test")


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.fixture(scope="module")
def encoded(tokenizer):
    return [tokenizer(text).input_ids for text in TEXTS]


def test_full_tuning_changes_every_weight_and_learns(model, tokenizer, encoded):
    before = weights(model)
    tuned, training = finetune(model, tokenizer, encoded, settings(), 1e-2, steps=40, seed=0)
    assert all(not torch.equal(before[name], p) for name, p in tuned.named_parameters())
    assert training.losses[-1] < 0.7 * training.losses[0] and len(training.losses) == 40
    assert training.steps == 40 and training.trained_parameters == sum(p.numel() for p in model.parameters())
    assert not tuned.training


def test_lora_changes_the_adapter_and_nothing_else(model, tokenizer, encoded):
    before = weights(model)
    tuned, training = finetune(model, tokenizer, encoded, settings(method="lora", lora_rank=2), 1e-3, 12, seed=0)
    after = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): p for name, p in tuned.named_parameters()
    }
    assert all(torch.equal(before[name], after[name]) for name in before)
    adapter = [p for name, p in after.items() if "lora_B" in name]
    assert adapter and all(p.abs().sum() > 0 for p in adapter)
    assert training.trained_parameters == sum(p.numel() for name, p in after.items() if "lora" in name)


def every_tensor(model):
    """All weights and buffers by the names they have without an adapter."""
    tensors = itertools.chain(model.named_parameters(), model.named_buffers())
    return {
        name.replace("base_model.model.", "").replace(".base_layer", ""): tensor.detach().clone()
        for name, tensor in tensors
    }


def adaptable(model):
    """What has matrices, experts and routers too, but for the head; a state space mixer uses some by their weight."""
    return {
        name
        for name, module in model.named_modules()
        if any(weight.ndim > 1 for weight in module.parameters(recurse=False))
        and module is not model.get_output_embeddings()
        and not isinstance(module, (nn.Embedding, nn.Conv1d))
        and not hasattr(module, "A_log")
        and not (".mixer." in name and name.endswith(BY_WEIGHT))
    }


def test_an_adapter_changes_in_every_family_and_nothing_else(any_model, tokenizer, encoded):
    before, layers = every_tensor(any_model), adaptable(any_model)
    tuned, _ = finetune(any_model, tokenizer, encoded, settings(method="lora", lora_rank=2), 1e-3, 3, seed=0)
    after = every_tensor(tuned)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {name.split(".lora_")[0] for name in after.keys() - before.keys()} == layers
    assert all(tensor.abs().sum() > 0 for name, tensor in after.items() if "lora_B" in name)


def test_full_tuning_changes_every_weight_of_every_family_and_no_buffer(any_model, tokenizer, encoded):
    before, weights = every_tensor(any_model), dict(any_model.named_parameters())
    tuned, _ = finetune(any_model, tokenizer, encoded, settings(), 1e-3, 3, seed=0)
    after = every_tensor(tuned)
    assert before.keys() == after.keys()
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(weights)


def test_a_short_type_is_tuned_in_float32_and_comes_back(tokenizer, encoded):
    model, seen = build_family("llama", len(tokenizer)).to(torch.bfloat16), []

    def checkpoint_eval(step, model):
        scores = score_options(model, tokenizer, "", [("vazed sees", [" ditav.", " bafed."])])
        seen.append((step, {p.dtype for p in model.parameters()}, scores[0].log_probs))

    before = every_tensor(model)
    tuned, training = finetune(
        model, tokenizer, encoded, settings(checkpoint_evals=3), 3e-3, 40, seed=0, checkpoint_eval=checkpoint_eval
    )
    assert training.losses[-1] < 0.7 * training.losses[0]
    assert [entry[:2] for entry in seen] == [(step, {torch.bfloat16}) for step in (10, 20, 30)]
    assert len({entry[2] for entry in seen}) == 3
    after = every_tensor(tuned)
    assert {name: t.dtype for name, t in after.items()} == {name: t.dtype for name, t in before.items()}
    assert tuned(torch.tensor([encoded[0]])).logits.dtype is torch.bfloat16
    # Steps too small for bfloat16 add up.
    anew = build_family("llama", len(tokenizer)).to(torch.bfloat16)
    small, _ = finetune(anew, tokenizer, encoded, settings(), 1e-4, 100, seed=0)
    assert not torch.equal(small.model.norm.weight, before["model.norm.weight"])


def test_a_short_type_keeps_its_weights_under_an_adapter_in_float32(tokenizer, encoded):
    model, dtypes = build_family("llama", len(tokenizer)).to(torch.bfloat16), []
    before = every_tensor(model)
    params = settings(method="lora", lora_rank=4, checkpoint_evals=1)
    checkpoint_eval = lambda step, model: dtypes.append(model(torch.tensor([encoded[0]])).logits.dtype)  # noqa: E731
    tuned, training = finetune(model, tokenizer, encoded, params, 1e-2, 40, seed=0, checkpoint_eval=checkpoint_eval)
    after = every_tensor(tuned)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {after[name].dtype for name in after.keys() - before.keys()} == {torch.float32}
    assert training.losses[-1] < 0.8 * training.losses[0] and dtypes == [torch.bfloat16]
    score_options(tuned, tokenizer, "bafed sees ditav.", [("vazed sees", [" ditav.", " bafed."])])


def test_the_same_seed_gives_the_same_weights(tokenizer, model_folder, encoded):
    from transformers import AutoModelForCausalLM

    runs = []
    for seed in (0, 0, 1):
        model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        runs.append(finetune(model, tokenizer, encoded, settings(), 1e-3, 3, seed=seed)[0].state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert any(not torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


def test_every_step_learns_exactly_its_tokens_and_an_epoch_learns_every_token_once(encoded):
    tokens = sum(len(ids) - 1 for ids in encoded)
    for step_tokens in (2, 7, 16, 3 * tokens):
        steps = list(itertools.islice(steps_of(encoded, 10**6, step_tokens, seed=0), tokens))
        assert {sum(len(piece.ids) - piece.first for piece in pieces) for pieces in steps} == {step_tokens}
        learned = [(tuple(p.ids[:k]), p.ids[k]) for pieces in steps for p in pieces for k in range(p.first, len(p.ids))]
        every = sorted((tuple(ids[:k]), ids[k]) for ids in encoded for k in range(1, len(ids)))
        assert sorted(learned[:tokens]) == sorted(learned[tokens : 2 * tokens]) == every


def test_two_sets_of_texts_are_matched_in_steps_and_in_tokens(model_folder, tokenizer, encoded):
    from transformers import AutoModelForCausalLM

    longer = [*encoded, *(ids[:1] + ids[:0:-1] for ids in encoded)]
    steps = steps_for(longer, settings(fewest_steps=1))
    assert steps > steps_for(encoded, settings(fewest_steps=1))
    trainings = []
    for texts in (encoded, longer):
        model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        trainings.append(finetune(model, tokenizer, texts, settings(), 1e-3, steps, seed=0)[1])
    assert trainings[0].steps == trainings[1].steps
    assert trainings[0].learned_tokens == trainings[1].learned_tokens == 16 * steps
    assert trainings[0].read_tokens >= trainings[0].learned_tokens


def test_steps_follow_from_passes_but_are_never_too_few(encoded):
    tokens = sum(len(ids) - 1 for ids in encoded)
    assert steps_for(encoded, settings(epochs=16, fewest_steps=1)) == tokens
    assert steps_for(encoded, settings(epochs=1, fewest_steps=1)) == -(-tokens // 16)
    assert steps_for(encoded, settings(epochs=1, fewest_steps=77)) == 77


def test_only_what_a_step_learns_carries_a_label(model, tokenizer, encoded):
    pieces = next(steps_of(encoded, 1, 16, seed=0))
    inputs = padded(pieces, tokenizer.pad_token_id)
    labels, mask = inputs["labels"], inputs["attention_mask"]
    assert (labels != -100).sum() == 16 and (mask == 0).any() and (labels[mask == 0] == -100).all()
    assert all((row[: piece.first] == -100).all() for row, piece in zip(labels, pieces, strict=True))
    assert torch.equal(packed(pieces)["input_ids"][0], inputs["input_ids"][mask == 1])
    # By hand: each text alone, one token after the other.
    alone = []
    for piece in pieces:
        log_probs = model(input_ids=torch.tensor([piece.ids])).logits[0].log_softmax(-1)
        alone += [-log_probs[k - 1, piece.ids[k]].item() for k in range(piece.first, len(piece.ids))]
    for loss in (padded_loss(model, pieces, pad=tokenizer.pad_token_id), packed_loss(model, pieces)):
        assert loss.item() == pytest.approx(sum(alone) / 16, abs=1e-5)


def test_a_look_on_the_way_changes_nothing(tokenizer, model_folder, encoded):
    from transformers import AutoModelForCausalLM

    seen, runs = [], []

    def checkpoint_eval(step, model):
        assert not model.training
        seen.append(step)
        torch.rand(3)  # a look may draw numbers of its own

    for given in (None, checkpoint_eval):
        model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        tuned, training = finetune(
            model, tokenizer, encoded, settings(checkpoint_evals=3), 1e-3, 12, seed=0, checkpoint_eval=given
        )
        runs.append((tuned.state_dict(), training.losses))
    assert seen == [3, 6, 9]
    assert runs[0][1] == runs[1][1] and all(torch.equal(p, runs[1][0][name]) for name, p in runs[0][0].items())


def test_a_recurrent_model_is_given_its_texts_in_rows(model, tokenizer, encoded):
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(0)
    layers = {"layer_types": ["conv", "full_attention"], "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_key_value_heads": 2, "initializer_range": 0.2}
    config = Lfm2Config(vocab_size=len(tokenizer), **sizes, **layers)
    recurrent = Lfm2ForCausalLM(config).eval()
    assert keeps_texts_apart(model) and not keeps_texts_apart(recurrent)
    training = finetune(recurrent, tokenizer, encoded, settings(), 1e-2, steps=20, seed=0)[1]
    assert training.losses[-1] < training.losses[0]


def test_the_order_of_texts_is_a_function_of_seed_and_epoch(encoded):
    assert epoch_order(50, 0, 3) == epoch_order(50, 0, 3)
    assert epoch_order(50, 0, 3) != epoch_order(50, 0, 4) != epoch_order(50, 1, 4)
    assert list(steps_of(encoded, 9, 16, seed=0)) == list(steps_of(encoded, 9, 16, seed=0))
    assert list(steps_of(encoded, 9, 16, seed=0)) != list(steps_of(encoded, 9, 16, seed=1))


def test_a_diverging_run_stops_before_the_step(model, tokenizer, encoded):
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    before = weights(model)
    with pytest.raises(Diverged, match=r"step 1 of 6: loss nan.*smaller finetuning.learning_rates"):
        finetune(model, tokenizer, encoded, settings(), 1e-3, 6, seed=0)
    assert all(torch.equal(before[n], p) or "norm" in n for n, p in model.named_parameters())


def test_texts_without_a_token_to_learn_are_refused(tokenizer):
    with pytest.raises(ValueError, match="nothing to learn"):
        steps_for([tokenizer("").input_ids], settings())


def test_the_learning_rate_warms_up_and_falls_to_its_final_share():
    params = settings(warmup_steps=4, final_rate=0.1)
    scales = [learning_rate_scale(step, 20, params) for step in range(20)]
    assert scales[0] < scales[3] and max(scales) <= 1
    assert scales[-1] == pytest.approx(0.1)
