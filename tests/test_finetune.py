import itertools

import pytest
import torch

from study.finetune import (
    Diverged,
    epoch_order,
    finetune,
    keeps_texts_apart,
    learnable_tokens,
    learning_rate_scale,
    packed,
    packed_loss,
    padded,
    padded_loss,
    steps_for,
    steps_of,
)
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


def test_the_same_seed_gives_the_same_weights(tokenizer, model_folder, encoded):
    from transformers import AutoModelForCausalLM

    runs = []
    for seed in (0, 0, 1):
        model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        runs.append(finetune(model, tokenizer, encoded, settings(), 1e-3, 3, seed=seed)[0].state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert any(not torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


def test_every_step_learns_exactly_its_tokens_and_an_epoch_learns_every_token_once(encoded):
    tokens = learnable_tokens(encoded)
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
    tokens = learnable_tokens(encoded)
    assert tokens == sum(len(ids) - 1 for ids in encoded)
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
    for loss in (padded_loss(model, pieces, tokenizer.pad_token_id), packed_loss(model, pieces)):
        assert loss.item() == pytest.approx(sum(alone) / 16, abs=1e-5)


def test_a_look_on_the_way_changes_nothing(tokenizer, model_folder, encoded):
    from transformers import AutoModelForCausalLM

    seen, runs = [], []

    def look(step, model):
        assert not model.training
        seen.append(step)
        torch.rand(3)  # a look may draw numbers of its own

    for given in (None, look):
        model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        tuned, training = finetune(model, tokenizer, encoded, settings(looks=3), 1e-3, 12, seed=0, look=given)
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
