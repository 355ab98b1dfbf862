import random
import types

import pytest
import torch
import transformers

from conftest import SMALL
from study import score as scoring
from study.attention import Kept, common_prefix
from study.data import make_documents, make_questions
from study.prompts import context_prompt
from study.score import Alone, Copied, InTwoParts, Masked, Trie, chunk_that_fits, memory_needed, reader, score_options


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


WAYS = {
    "llama": InTwoParts,
    "gpt2": InTwoParts,
    "mistral": Copied,
    "gemma2": Masked,
    "lfm2": Copied,
}


@pytest.mark.parametrize("chunk_tokens", [1, 200])
def test_every_family_is_read_the_fastest_way_that_is_right(any_model, tokenizer, request, world, chunk_tokens):
    documents = make_documents(world, random.Random(0), 1)[:3]
    questions = make_questions(world, documents, "s", options=4, per_split=1)[:6]
    context = context_prompt([d.text for d in documents])
    assert isinstance(reader(any_model, 100), WAYS[request.node.callspec.params["any_model"]])
    asked = [(q.query, q.options) for q in questions]
    scores = score_options(any_model, tokenizer, context, asked, chunk_tokens)
    for question, score in zip(questions, scores, strict=True):
        for option, log_prob in zip(question.options, score.log_probs, strict=True):
            assert log_prob == pytest.approx(
                one_by_one(any_model, tokenizer, context, question.query, option)[0], abs=2e-4
            )


@pytest.mark.parametrize("way", [InTwoParts, Masked, Copied, Alone])
@pytest.mark.parametrize("threads", [1, 2])
def test_all_ways_give_the_same(model, tokenizer, way, threads):
    questions = [("bafed sees", [" vazed.", " vazed is the teacher of ditav.", " ditav."]), ("vazed sees", [" vazed."])]
    torch.set_num_threads(threads)
    scores = score_options(model, tokenizer, "ditav sees bafed. so:", questions * 9, 20, by=way(model))
    torch.set_num_threads(1)
    for score, (query, options) in zip(scores, questions * 9, strict=True):
        expected = [one_by_one(model, tokenizer, "ditav sees bafed. so:", query, option)[0] for option in options]
        assert score.log_probs == pytest.approx(expected, abs=1e-4)


def test_a_windowed_model_is_read_in_two_parts_while_all_is_in_the_window(tokenizer):
    torch.manual_seed(0)
    config = transformers.MistralConfig(vocab_size=len(tokenizer), sliding_window=16, **SMALL)
    model = transformers.MistralForCausalLM(config).eval()
    assert isinstance(reader(model, 16), InTwoParts) and isinstance(reader(model, 17), Copied)


def test_nested_contexts_read_what_they_share_once(model, tokenizer):
    documents, questions = (
        ["vazed sees ditav.", "ditav sees bafed.", "bafed sees ditav."],
        [("vazed sees", [" vazed."])],
    )
    read, kept = [], Kept(model)
    model.register_forward_pre_hook(lambda *given: read.append(given[2]["input_ids"].shape[1]), with_kwargs=True)
    for count in (1, 2, 3):
        context = " ".join(documents[:count])
        nested = score_options(model, tokenizer, context, questions, kept=kept)
        before = len(read)
        alone = score_options(model, tokenizer, context, questions)
        assert nested[0].log_probs == pytest.approx(alone[0].log_probs, abs=1e-5)
        if count > 1:
            assert sum(read[before - 2 : before]) < sum(read[before:])


def test_what_several_sequences_share_is_one_way_in_the_trie():
    trie = Trie()
    assert trie.add([5, 6, 7], 1) == [1, 2] and trie.add([5, 6, 8, 9], 2) == [3, 4] and trie.add([5, 6, 7], 2) == [2]
    assert (trie.ids, trie.parents, trie.depths) == ([5, 6, 7, 8, 9], [-1, 0, 1, 1, 3], [0, 1, 2, 2, 3])
    assert list(trie.leaves()) == [[0, 1, 2], [0, 1, 3, 4]] and set(trie.scored) == {1, 2, 3, 4}
    assert trie.seen().int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


def test_a_chunk_that_does_not_fit_is_halved_and_gives_the_same(model, tokenizer):
    class Small(InTwoParts):
        def log_probs(self, trie):
            if len(trie.ids) > 16:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().log_probs(trie)

    words = [f" {word}." for word in ("vazed", "ditav", "bafed", "dakok")]
    questions = [(f"the teacher of{word[:-1]} is", words) for word in words]
    scores = score_options(model, tokenizer, "vazed sees ditav.", questions, by=Small(model))
    expected = score_options(model, tokenizer, "vazed sees ditav.", questions)
    for one, other in zip(scores, expected, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)
    long = [("vazed sees", words), ("dakok sees vazed. vazed sees ditav. bafed sees", words)]
    with pytest.raises(torch.OutOfMemoryError):
        score_options(model, tokenizer, "vazed sees ditav.", long, by=Small(model))


def test_memory_is_known_beforehand(model, tokenizer, monkeypatch):
    monkeypatch.setattr(scoring, "free_memory", lambda device: memory_needed(model, 100, 64))
    assert chunk_that_fits(model, 100, 256) == 64
    monkeypatch.setattr(scoring, "free_memory", lambda device: 1000)
    with pytest.raises(MemoryError, match="of 100 tokens takes .* GB, 0.0 GB are free on cpu; use fewer documents"):
        chunk_that_fits(model, 100, 256)


def test_a_tokenizer_that_merges_across_the_cut_is_given_whole_texts(tokenizer):
    class Merging:
        """Whole texts begin otherwise than their parts: nothing can be cut."""

        def __call__(self, texts, **kwargs):
            if isinstance(texts, str):
                return types.SimpleNamespace(input_ids=[len(texts), *tokenizer(texts).input_ids])
            return types.SimpleNamespace(input_ids=[[len(t), *tokenizer(t).input_ids] for t in texts])

    lead, texts = "vazed sees ditav. bafed sees. so: ", ["vazed sees", "vazed sees ditav."]
    head, cut = scoring._head(tokenizer, lead, [lead + text for text in texts])
    assert cut > 20 and head == tokenizer(lead[:cut]).input_ids
    assert scoring._head(Merging(), lead, [lead + text for text in texts]) == ([], 0)
