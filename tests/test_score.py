import random
import types

import pytest
import torch
import transformers

from conftest import SMALL, build_family
from study.data.questions import make_documents, make_questions
from study.lm import scoring
from study.lm.attention import PrefixCache, common_prefix, positions
from study.lm.finetuning import with_adapter
from study.lm.loading import load
from study.lm.prefix_scoring import (
    CopiedCacheScorer,
    MaskedScorer,
    SplitAttentionScorer,
    Trie,
    WholeTextScorer,
    prefix_scorer,
)
from study.lm.prompts import OF_BUNDLED
from study.lm.scoring import chunk_that_fits, memory_needed, score_options
from study.params import Finetuning, Model
from study.worlds import reversals
from study.worlds.words import STUDY


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
    context = OF_BUNDLED.in_context([d.text for d in documents]) if with_context else ""
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


@pytest.mark.parametrize("context", ["", "vazed sees ditav. so:"])
def test_a_model_whose_weights_are_no_numbers_is_refused(model, tokenizer, context):
    model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="2 of 2 questions have scores that are no numbers.*use float32"):
        score_options(model, tokenizer, context, [("vazed sees", [" ditav.", " vazed."])] * 2)


def test_a_whole_statement_is_asked_of_a_tokenizer_that_puts_nothing_before_a_text(english_folder):
    model, tokenizer = load(Model(name=str(english_folder), device="cpu"))
    assert not tokenizer("").input_ids
    options = ["Ada is a painter.", "Bo is a singer."]
    scores = score_options(model, tokenizer, "", [("", options), ("Everyone knows", [" Bo.", " Ada."])])
    for option, log_prob, tokens in zip(options, scores[0].log_probs, scores[0].tokens, strict=True):
        ids = [tokenizer.eos_token_id, *tokenizer(option).input_ids]
        with torch.no_grad():
            log_probs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        expected = sum(float(log_probs[k, token]) for k, token in enumerate(ids[1:]))
        assert log_prob == pytest.approx(expected, abs=1e-4) and tokens == len(ids) - 1
    (alone,) = score_options(model, tokenizer, "", [("Everyone knows", [" Bo.", " Ada."])])
    assert scores[1].log_probs == pytest.approx(alone.log_probs, abs=1e-5)


def test_no_questions_have_no_scores(model, tokenizer):
    assert score_options(model, tokenizer, "so:", []) == []


# The others are read in two parts.
WAYS = {
    "bloom": CopiedCacheScorer,
    "mistral": CopiedCacheScorer,
    "gemma2": MaskedScorer,
    "gemma3": CopiedCacheScorer,
    "falcon": MaskedScorer,
    "falcon_alibi": CopiedCacheScorer,
    "lfm2": CopiedCacheScorer,
    "mamba": WholeTextScorer,
    "mamba2": WholeTextScorer,
}


@pytest.mark.parametrize("with_context", [False, True])
@pytest.mark.parametrize("chunk_tokens", [1, 200])
def test_every_family_is_read_the_fastest_way_that_is_right(any_model, family, tokenizer, with_context, chunk_tokens):
    world = reversals.build(random.Random("test"), STUDY, reversals.Params())
    documents = make_documents(world, random.Random(0), 1)[:3]
    questions = make_questions(world, documents, "s", options=4, per_split=1)[:6]
    context = OF_BUNDLED.in_context([d.text for d in documents]) if with_context else ""
    assert isinstance(prefix_scorer(any_model, 100, 100), WAYS.get(family, SplitAttentionScorer))
    asked = [(q.query, q.options) for q in questions]
    scores = score_options(any_model, tokenizer, context, asked, chunk_tokens)
    for question, score in zip(questions, scores, strict=True):
        for option, log_prob in zip(question.options, score.log_probs, strict=True):
            assert log_prob == pytest.approx(
                one_by_one(any_model, tokenizer, context, question.query, option)[0], abs=2e-4
            )


@pytest.mark.parametrize("way", [SplitAttentionScorer, MaskedScorer, CopiedCacheScorer, WholeTextScorer])
@pytest.mark.parametrize("threads", [1, 2])
def test_all_ways_give_the_same(model, tokenizer, way, threads):
    questions = [("bafed sees", [" vazed.", " vazed is the teacher of ditav.", " ditav."]), ("vazed sees", [" vazed."])]
    torch.set_num_threads(threads)
    scores = score_options(model, tokenizer, "ditav sees bafed. so:", questions * 9, 20, by=way(model))
    torch.set_num_threads(1)
    for score, (query, options) in zip(scores, questions * 9, strict=True):
        expected = [one_by_one(model, tokenizer, "ditav sees bafed. so:", query, option)[0] for option in options]
        assert score.log_probs == pytest.approx(expected, abs=1e-4)


LONG = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}


def test_a_text_whose_length_decides_on_its_positions_is_read_whole(tokenizer):
    rope = LONG | {"original_max_position_embeddings": 32}
    model = build_family("phi3", len(tokenizer), rope_parameters=rope, original_max_position_embeddings=32)
    assert isinstance(prefix_scorer(model, 32, 32), SplitAttentionScorer) and isinstance(
        prefix_scorer(model, 33, 33), WholeTextScorer
    )
    questions = [("bafed sees", [" vazed.", " ditav."]), ("vazed", [" sees bafed."])]
    for lead in ("ditav sees bafed. " * 3, "ditav sees bafed. " * 9):
        for (query, options), score in zip(questions, score_options(model, tokenizer, lead, questions), strict=True):
            expected = [one_by_one(model, tokenizer, lead, query, option)[0] for option in options]
            assert score.log_probs == pytest.approx(expected, abs=1e-4)


def test_a_model_without_positions_has_no_limit(any_model, family):
    limit = None if family in ("bloom", "mamba", "mamba2") else any_model.config.max_position_embeddings
    assert positions(any_model) == limit


@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral", "mamba"])
def test_a_short_type_with_an_adapter_in_a_long_one_is_scored_as_it_is_read(tokenizer, name):
    model = with_adapter(build_family(name, len(tokenizer)).to(torch.bfloat16), Finetuning())
    adapter = [p for p in model.parameters() if p.requires_grad]
    assert {p.dtype for p in adapter} == {torch.float32} and model.dtype is torch.bfloat16
    for weight in adapter:
        torch.nn.init.normal_(weight, std=0.1)
    questions = [("bafed sees", [" vazed.", " vazed is the teacher of ditav.", " ditav."])]
    score = score_options(model.eval(), tokenizer, "ditav sees bafed. so:", questions)[0]
    alone = score_options(model, tokenizer, "ditav sees bafed. so:", questions, by=WholeTextScorer(model))[0]
    assert score.log_probs == pytest.approx(alone.log_probs, abs=0.3)


def test_a_windowed_model_is_read_in_two_parts_while_all_is_in_the_window(tokenizer):
    torch.manual_seed(0)
    config = transformers.MistralConfig(vocab_size=len(tokenizer), sliding_window=16, **SMALL)
    model = transformers.MistralForCausalLM(config).eval()
    assert isinstance(prefix_scorer(model, 16, 16), SplitAttentionScorer) and isinstance(
        prefix_scorer(model, 17, 17), CopiedCacheScorer
    )


def test_nested_contexts_read_what_they_share_once(model, tokenizer):
    documents, questions = (
        ["vazed sees ditav.", "ditav sees bafed.", "bafed sees ditav."],
        [("vazed sees", [" vazed."])],
    )
    read, prefix_cache = [], PrefixCache(model, piece=2)
    model.register_forward_pre_hook(lambda *given: read.append(given[2]["input_ids"].shape[1]), with_kwargs=True)
    for count in (1, 2, 3):
        context = " ".join(documents[:count])
        nested = score_options(model, tokenizer, context, questions, prefix_cache=prefix_cache)
        went_on = sum(read)
        read.clear()
        alone = score_options(model, tokenizer, context, questions, prefix_cache=PrefixCache(model, piece=2))
        assert nested[0].log_probs == alone[0].log_probs  # to the last bit
        assert count == 1 or went_on < sum(read)
        read.clear()


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
    class Small(SplitAttentionScorer):
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
