import pytest
import torch

from study.finetune import Diverged, batches_of_epoch, collate, epoch_order, finetune, learning_rate_scale
from study.params import Finetuning

TEXTS = ["vazed sees ditav.", "in being fast, bafed is ahead of dakok.", "the teacher of vazed is bafed."]


def settings(**values) -> Finetuning:
    return Finetuning.parse({"epochs": 3, "batch_size": 2, "warmup_steps": 0, **values}, "test")


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_full_tuning_changes_every_weight_and_learns(model, tokenizer):
    before = weights(model)
    tuned, training = finetune(model, tokenizer, TEXTS, settings(epochs=20, learning_rate=1e-2), seed=0)
    assert all(not torch.equal(before[name], p) for name, p in tuned.named_parameters())
    assert training.losses[-1] < 0.7 * training.losses[0]
    assert training.steps == 40 and training.trained_parameters == sum(p.numel() for p in model.parameters())
    assert not tuned.training


def test_lora_changes_the_adapter_and_nothing_else(model, tokenizer):
    before = weights(model)
    tuned, training = finetune(model, tokenizer, TEXTS, settings(method="lora", lora_rank=2, epochs=6), seed=0)
    after = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): p for name, p in tuned.named_parameters()
    }
    assert all(torch.equal(before[name], after[name]) for name in before)
    adapter = [p for name, p in after.items() if "lora_B" in name]
    assert adapter and all(p.abs().sum() > 0 for p in adapter)
    assert training.trained_parameters == sum(p.numel() for name, p in after.items() if "lora" in name)


def test_the_same_seed_gives_the_same_weights(tokenizer, model_folder):
    from transformers import AutoModelForCausalLM

    runs = []
    for seed in (0, 0, 1):
        model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
        runs.append(finetune(model, tokenizer, TEXTS, settings(), seed=seed)[0].state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert any(not torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


def test_padding_carries_no_label_and_no_weight(model, tokenizer):
    encoded = [tokenizer(text).input_ids for text in TEXTS]
    ids, mask, labels = collate(encoded, tokenizer.pad_token_id)
    assert ((labels == -100) == (mask == 0)).all() and (mask == 0).any()
    padded = model(input_ids=ids[:1], attention_mask=mask[:1], labels=labels[:1]).loss
    alone = model(input_ids=torch.tensor(encoded[:1]), labels=torch.tensor(encoded[:1])).loss
    assert padded.item() == pytest.approx(alone.item(), abs=1e-5)


def test_the_order_of_texts_is_a_function_of_seed_and_epoch():
    assert epoch_order(50, 0, 3) == epoch_order(50, 0, 3)
    assert epoch_order(50, 0, 3) != epoch_order(50, 0, 4) != epoch_order(50, 1, 4)
    encoded = [[k] for k in range(7)]
    batches = list(batches_of_epoch(encoded, 3, seed=0, epoch=0))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert sorted(row for batch in batches for row in batch) == encoded


def test_a_diverging_run_stops_before_the_step(model, tokenizer):
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    before = weights(model)
    with pytest.raises(Diverged, match=r"step 1 of 6: loss nan.*smaller finetuning.learning_rate"):
        finetune(model, tokenizer, TEXTS, settings(), seed=0)
    assert all(torch.equal(before[n], p) or "norm" in n for n, p in model.named_parameters())


def test_texts_without_a_token_to_learn_are_refused(model, tokenizer):
    with pytest.raises(ValueError, match="nothing to learn"):
        finetune(model, tokenizer, [""], settings(), seed=0)


def test_the_learning_rate_warms_up_and_falls_to_its_final_share():
    params = settings(warmup_steps=4, final_rate=0.1)
    scales = [learning_rate_scale(step, 20, params) for step in range(20)]
    assert scales[0] < scales[3] and max(scales) <= 1
    assert scales[-1] == pytest.approx(0.1)
