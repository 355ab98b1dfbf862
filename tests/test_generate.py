import pytest
import torch

from conftest import build_family
from study.lm.attention import PrefixCache, reads_in_two_parts, two_parts
from study.lm.generation import Draw, Limits, generate

PROMPTS = [
    "vazed sees ditav. so:",
    "the teacher of vazed is bafed. as teacher, vazed has bafed. so:",
    "bafed. so:",
    "in being fast, bafed is ahead of dakok. dakok is less fast than bafed. so:",
    "vazed sees vazed. so:",
]


def greedy(model, tokenizer, prompts, tokens):
    """What transformers writes, each prompt alone."""
    texts = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer(prompt).input_ids])
        out = model.generate(ids, do_sample=False, max_new_tokens=tokens, pad_token_id=0, eos_token_id=2)
        texts.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    return texts


LONG = "the teacher of vazed is bafed. as teacher, vazed has bafed. bafed sees. " * 2


@pytest.mark.parametrize(("prefix", "batch_size"), [("", 2), (LONG, 5)])
def test_every_family_writes_what_transformers_writes(any_model, tokenizer, prefix, batch_size):
    prompts = [prefix + prompt for prompt in PROMPTS]
    written = generate(any_model, tokenizer, prompts, 14, 0.0, seed=0, batch_size=batch_size)
    assert written.texts == greedy(any_model, tokenizer, prompts, 14)
    assert len(set(written.texts)) > 1


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_have_ended_are_dropped_and_change_no_other(model, tokenizer, threads):
    with torch.no_grad():  # ends come often
        model.model.embed_tokens.weight[tokenizer.eos_token_id] *= 3
    torch.set_num_threads(threads)
    prompts = PROMPTS * 5
    written = generate(model, tokenizer, prompts, 30, 1.0, seed=0, batch_size=25)
    torch.set_num_threads(1)
    assert len(prompts) < written.new_tokens < 29 * len(prompts)
    for k in (0, 9, 24):  # the same item alone
        alone = generate(model, tokenizer, prompts[: k + 1], 30, 1.0, seed=0, batch_size=1)
        assert alone.texts[k] == written.texts[k]


def test_a_text_is_a_function_of_its_item_and_the_seed(model, tokenizer):
    first = generate(model, tokenizer, PROMPTS, 12, 1.0, seed=0, batch_size=2)
    assert first == generate(model, tokenizer, PROMPTS, 12, 1.0, seed=0, batch_size=5)
    assert first != generate(model, tokenizer, PROMPTS, 12, 1.0, seed=1, batch_size=2)
    twice = generate(model, tokenizer, [PROMPTS[0]] * 2, 12, 1.0, seed=0, batch_size=2)
    assert twice.texts[0] == first.texts[0] != twice.texts[1]


def test_a_recurrent_model_draws_the_same_numbers(any_model, tokenizer):
    if reads_in_two_parts(any_model, 60):
        pytest.skip("it is read in two parts")
    first = generate(any_model, tokenizer, PROMPTS, 12, 1.0, seed=0, batch_size=5)
    assert first.texts == generate(any_model, tokenizer, PROMPTS, 12, 1.0, seed=0, batch_size=1).texts


@pytest.mark.parametrize("name", ["llama", "lfm2"])
def test_penalties_of_the_models_own_settings_are_left_out(tokenizer, name):
    model = build_family(name, len(tokenizer))
    plain = generate(model, tokenizer, PROMPTS, 12, 0.0, seed=0, batch_size=5)
    model.generation_config.repetition_penalty = 50.0
    assert generate(model, tokenizer, PROMPTS, 12, 0.0, seed=0, batch_size=5) == plain
    assert model.generation_config.repetition_penalty == 50.0


@pytest.mark.parametrize("name", ["llama", "gemma2", "lfm2", "mamba"])
def test_every_way_of_writing_goes_on_in_a_short_type(tokenizer, name):
    model = build_family(name, len(tokenizer)).to(torch.bfloat16)
    written = generate(model, tokenizer, PROMPTS, 8, 1.0, seed=0, batch_size=3)
    assert len(written.texts) == len(PROMPTS) and all(written.texts)


def test_special_tokens_of_a_rendered_prompt_are_not_put_twice(model, tokenizer):
    rendered = [tokenizer.decode(tokenizer(prompt).input_ids) for prompt in PROMPTS]
    assert all(text != prompt for text, prompt in zip(rendered, PROMPTS, strict=True))
    written = generate(model, tokenizer, rendered, 12, 0.0, seed=0, batch_size=5, special_tokens=False)
    assert written == generate(model, tokenizer, PROMPTS, 12, 0.0, seed=0, batch_size=5)


def test_tokens_are_drawn_as_often_as_the_model_says():
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    draw = Draw([7], Limits(20_000, frozenset(), 0.5, seed=0))
    counts = torch.bincount(torch.cat([draw(logits, [7]) for _ in range(20_000)]), minlength=3) / 20_000
    assert counts.tolist() == pytest.approx((logits[0] / 0.5).softmax(-1).tolist(), abs=0.01)


def test_tokens_are_counted_up_to_the_end_of_each_text(model, tokenizer):
    read = sum(len(ids) for ids in tokenizer(PROMPTS).input_ids)
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer.eos_token_id] = 0
        model.model.norm.weight[:] = 0  # no token is likelier than another: the first is taken, which is no end
    endless = generate(model, tokenizer, PROMPTS, 12, 0.0, seed=0, batch_size=2)
    assert (endless.prompt_tokens, endless.new_tokens) == (read, 12 * len(PROMPTS))
    assert not any(endless.ended)
    model.generation_config.eos_token_id = [0, 2]
    ended = generate(model, tokenizer, PROMPTS, 12, 0.0, seed=0, batch_size=2)
    assert (ended.texts, ended.new_tokens) == ([""] * len(PROMPTS), len(PROMPTS))
    assert all(ended.ended)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_model_whose_weights_are_no_numbers_writes_nothing(model, tokenizer, temperature):
    model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="next tokens have scores that are no numbers"):
        generate(model, tokenizer, ["vazed sees"], 4, temperature, seed=0, batch_size=1)


def test_a_prompt_too_long_is_refused_not_cut(model, tokenizer):
    with pytest.raises(ValueError, match="exceed the model's 512 positions"):
        generate(model, tokenizer, ["vazed sees ditav. " * 150], 20, 1.0, seed=0, batch_size=1)


def test_nothing_to_write(model, tokenizer):
    assert generate(model, tokenizer, [], 20, 1.0, seed=0, batch_size=1).texts == []


def test_a_kept_text_is_read_on_from_where_another_one_parts(model, tokenizer):
    first, second = tokenizer(PROMPTS[1] * 3).input_ids, tokenizer(PROMPTS[1] * 2 + PROMPTS[0] * 9).input_ids
    read = []
    with two_parts(model):
        model.register_forward_pre_hook(lambda *given: read.append(given[2]["input_ids"].shape[1]), with_kwargs=True)
        gone_on, anew = PrefixCache(model, piece=4), PrefixCache(model, piece=4)
        gone_on.read(first), gone_on.read(second)
        went_on = sum(read) - len(first)
        anew.read(second)
        gone_on.read(second[:5])
        assert gone_on.of(0)[0].shape[2] == 5
        gone_on.read(second)
    assert 0 < went_on < len(second) and max(read) == 4
    # To the last bit: what was read before leaves no trace.
    for layer in (0, 1):
        for a, b in zip(gone_on.of(layer), anew.of(layer), strict=True):
            assert torch.equal(a, b)
