import random

import pytest
import torch

from study.data import make_documents, make_questions
from study.prompts import context_prompt
from study.score import common_prefix, score_options


def one_by_one(model, tokenizer, context, query, option):
    """The same log-probability without packing or cache."""
    lead = f"{context} {query}" if context else query
    stem, ids = tokenizer(lead).input_ids, tokenizer(lead + option).input_ids
    start = common_prefix([stem, ids])
    with torch.no_grad():
        log_probs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(float(log_probs[k - 1, ids[k]]) for k in range(start, len(ids))), len(ids) - start


@pytest.mark.parametrize("with_context", [False, True])
@pytest.mark.parametrize("chunk_tokens", [1, 200])
def test_packed_scores_equal_scores_one_by_one(model, tokenizer, world, with_context, chunk_tokens):
    documents = make_documents(world, random.Random(0), 1)[:10]
    questions = make_questions(world, documents, "s", options=4, per_split=2)
    context = context_prompt([d.text for d in documents]) if with_context else ""
    scores = score_options(model, tokenizer, context, [(q.query, q.options) for q in questions], chunk_tokens)
    for question, score in zip(questions, scores, strict=True):
        for option, log_prob, tokens in zip(question.options, score.log_probs, score.tokens, strict=True):
            expected, count = one_by_one(model, tokenizer, context, question.query, option)
            assert tokens == count
            assert log_prob == pytest.approx(expected, abs=1e-4)


def test_options_of_unlike_length_do_not_see_each_other(model, tokenizer):
    options = [" vazed.", " vazed is the teacher of ditav.", " ditav."]
    together = score_options(model, tokenizer, "", [("bafed sees", options)])[0]
    alone = [score_options(model, tokenizer, "", [("bafed sees", [option])])[0] for option in options]
    assert together.log_probs == pytest.approx([score.log_probs[0] for score in alone], abs=1e-5)


def test_a_text_longer_than_the_model_is_refused_not_cut(model, tokenizer):
    with pytest.raises(ValueError, match="512 positions"):
        score_options(model, tokenizer, "vazed sees ditav. " * 200, [("vazed sees", [" ditav.", " vazed."])])


def test_an_option_without_tokens_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match="no token to score"):
        score_options(model, tokenizer, "", [("vazed sees", [" ditav.", ""])])


def test_no_questions_have_no_scores(model, tokenizer):
    assert score_options(model, tokenizer, "so:", []) == []
