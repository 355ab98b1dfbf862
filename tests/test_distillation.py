"""A teacher with the documents in context: its predictions, and what is learned from them."""

import pytest
import torch

from study.lm.distillation import distillation_loss, soft_targets
from study.lm.finetuning import Piece, finetune, packed_loss, padded_loss, targets_of
from study.lm.loading import load
from study.params import Finetuning, Model

CONTEXT, TEXTS = "vazed is more fast than ditav. so:", ("ditav is less fast than vazed.", "vazed beats ditav.")


@pytest.fixture
def loaded(model_folder):
    return load(Model(name=str(model_folder), device="cpu"))


def test_targets_are_what_the_model_predicts_behind_the_context(loaded):
    model, tokenizer = loaded
    encoded = [tokenizer(text).input_ids for text in TEXTS]
    teacher = soft_targets(model, tokenizer, CONTEXT, encoded)
    for number, text in enumerate(TEXTS):
        whole = tokenizer(f"{CONTEXT} {text}").input_ids
        count = len(encoded[number]) - 1  # tokens that are learned: all but the one that begins the text
        with torch.no_grad():
            expected = model(torch.tensor([whole])).logits[0, -count - 1 : -1].softmax(-1)
        assert teacher.shares[number].sum(-1) == pytest.approx(torch.ones(count))
        found = torch.zeros_like(expected).scatter_(1, teacher.tokens[number], teacher.shares[number])
        top = teacher.shares[number].shape[1]
        assert torch.allclose(found, expected, atol=2e-3) or top < expected.shape[1]
        assert torch.equal(found.argmax(-1), expected.argmax(-1))
    assert teacher.flops > 0


def test_the_loss_is_the_divergence_but_for_a_constant():
    logits, teacher = torch.randn(5, 9), torch.randn(5, 9).softmax(-1)
    order = teacher.argsort(-1, descending=True)
    loss = distillation_loss(logits, order, teacher.gather(1, order))
    divergence = torch.nn.functional.kl_div(logits.log_softmax(-1), teacher, reduction="batchmean")
    entropy = -(teacher * teacher.log()).sum(-1).mean()
    assert loss.item() == pytest.approx((divergence + entropy).item(), abs=1e-5)


def test_packed_and_padded_texts_learn_the_same_targets(loaded):
    model, tokenizer = loaded
    encoded = [tokenizer(text).input_ids for text in TEXTS]
    teacher = soft_targets(model, tokenizer, CONTEXT, encoded)
    pieces = [Piece(encoded[1], 1, 1), Piece(encoded[0][:5], 3, 0)]
    tokens, shares = targets_of(pieces, teacher)
    assert torch.equal(tokens, torch.cat([teacher.tokens[1], teacher.tokens[0][2:4]])) and len(shares) == len(tokens)
    packed, padded = (
        packed_loss(model, pieces, teacher),
        padded_loss(model, pieces, teacher, pad=tokenizer.pad_token_id),
    )
    assert packed.item() == pytest.approx(padded.item(), abs=1e-5)


def test_a_student_comes_to_predict_what_its_teacher_does(loaded):
    model, tokenizer = loaded
    encoded = [tokenizer(text).input_ids for text in TEXTS]
    teacher = soft_targets(model, tokenizer, CONTEXT, encoded)
    pieces = [Piece(ids, 1, k) for k, ids in enumerate(encoded)]
    before = packed_loss(model, pieces, teacher).item()
    tuning = Finetuning(step_tokens=20, warmup_steps=0)
    tuned, training = finetune(model, tokenizer, encoded, tuning, 1e-2, 40, 0, None, teacher)
    floor = -sum((s * s.log()).sum() for s in teacher.shares) / sum(map(len, teacher.shares))
    assert packed_loss(tuned, pieces, teacher).item() < (before + floor.item()) / 2
    assert training.flops > teacher.flops
