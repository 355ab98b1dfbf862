import random

import pytest
import torch

from study import base_model
from study.corpus import inferences_by_fact, small_world, write_text
from study.data import make_documents
from study.models import load
from study.params import Architecture, Model, Pretraining, Stage, load_pretraining
from study.paths import PARAMS
from study.pretrain import Run, batches, build_model, skill
from study.prompts import CLOSED_CLASS
from study.tokenizer import build_tokenizer
from study.words import OPENINGS, PRETRAINING, VALIDATION, draw_words, lexicon_of
from study.world import Split
from study.worlds import WORLDS, closed_class_words

STAGES = load_pretraining(PARAMS / "base_model.yaml").stages
TINY = Pretraining.parse(
    {
        "architecture": {"width": 32, "layers": 2, "head_width": 8, "positions": 256},
        "batch_tokens": 192,
        "check_tokens": 1000,
        "cooldown_tokens": 2000,
        "stages": [
            {"worlds": ["deeds"], "facts": 3, "row_tokens": 48, "openings": 24, "most_tokens": 4000, "gate": 0.99}
        ],
    },
    "test",
)


def test_a_text_survives_the_tokenizer(tokenizer, world):
    for statement in world.statements:
        text = f"consider: {world.render(statement)} so: {world.render(statement)}"
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_every_nonsense_word_is_two_tokens_and_every_other_word_one(tokenizer):
    words = draw_words(random.Random(0), 300, PRETRAINING)
    assert all(len(tokenizer.tokenize(word)) == 2 for word in words)
    assert all(len(tokenizer.tokenize(word)) == 1 for word in closed_class_words(CLOSED_CLASS))
    assert not set(closed_class_words(CLOSED_CLASS)) & set(OPENINGS)


@pytest.mark.parametrize("number", range(len(STAGES)))
def test_pretraining_reads_pretraining_words_only_and_true_inferences_only(tokenizer, number):
    stage = STAGES[number]
    closed = {*closed_class_words(CLOSED_CLASS), ""}
    for k in range(20):
        text = write_text(random.Random(k), stage, PRETRAINING, stage.row_tokens)
        words = {w.strip(".,?") for w in f"{text.prompt} {text.continuation}".split()} - closed
        assert {lexicon_of(word) for word in words} == {PRETRAINING.name}
        assert tokenizer.unk_token_id not in tokenizer(f"{text.prompt} {text.continuation}").input_ids


def test_what_is_inferred_is_entailed_by_what_is_stated():
    rng = random.Random(0)
    for name in WORLDS:
        world = small_world(rng, name, PRETRAINING, 8, one_relation=False)
        documents = make_documents(world, rng, 2)
        for fact, inferences in inferences_by_fact(world, documents, wordings=3).items():
            assert fact in world.facts
            assert all(form.fact in world.closure for kind in inferences for form in kind)
            assert inferences.reversals or inferences.restatements


def test_loss_falls_on_the_continuation_only(tokenizer):
    ids, labels = next(batches(tokenizer, STAGES[3], 1024, random.Random(0)))
    assert ids.shape == labels.shape == (4, 256)
    learned = labels != -100
    assert (labels[learned] == ids[learned]).all() and learned.any() and not learned.all()
    cue = tokenizer.convert_tokens_to_ids("so:")
    for row, mask in zip(ids.tolist(), learned.tolist(), strict=True):
        # Nothing before the first cue carries loss, the token after it does.
        first = row.index(cue)
        assert not any(mask[: first + 1]) and mask[first + 1]


def test_attention_starts_on_neighbours_and_on_equal_words():
    tokenizer = build_tokenizer()
    model = build_model(Architecture(), len(tokenizer), seed=3)
    model.set_attn_implementation("eager")
    stage = STAGES[0].model_copy(update={"openings": len(OPENINGS)})
    ids, _ = next(batches(tokenizer, stage, 2048, random.Random(0)))
    with torch.no_grad():
        attentions = model(ids[:8], output_attentions=True).attentions
    for head in range(8):
        assert (20 - attentions[0][:, head, 20].argmax(-1) == head + 1).all()
    assert (attentions[1][:, :, 20].argmax(-1) == 20).float().mean() > 0.9


def test_training_learns_and_a_checkpoint_is_the_whole_state(tmp_path):
    lines: list[str] = []
    run = Run(TINY, "cpu")
    run.train_stage(lines.append, tmp_path / "checkpoint.pt")
    assert run.history[-1]["loss"] < run.history[0]["loss"] and len(lines) == len(run.history)
    resumed = Run(TINY, "cpu")
    resumed.resume(tmp_path / "checkpoint.pt")
    assert (resumed.stage, resumed.step, resumed.tokens) == (1, run.step, run.tokens)
    assert all(torch.equal(p, q) for p, q in zip(run.model.parameters(), resumed.model.parameters(), strict=True))


def test_what_is_shipped_loads_as_a_model_of_its_own(tmp_path):
    run = Run(TINY, "cpu")
    base_model.ship(run, tmp_path)
    model, tokenizer = load(Model(name=str(tmp_path), device="cpu"))
    assert model.dtype == torch.float32 and tokenizer.vocab_size == len(run.tokenizer)
    assert "pretrained from scratch" in (tmp_path / "README.md").read_text()


def test_the_bundled_model_reads_thirty_two_facts_backwards():
    model, tokenizer = load(Model(device="cpu"))
    stage = Stage(worlds=("reversals",), facts=32, row_tokens=64, wordings=3, most_tokens=1)
    right = skill(model, tokenizer, stage, facts=32, worlds=6, asked=8)
    assert right[f"reversals/{Split.REVERSAL}"] >= 0.9


def test_the_bundled_tokenizer_is_the_one_the_wordings_give(tokenizer):
    _, bundled = load(Model(device="cpu"))
    assert bundled.get_vocab() == tokenizer.get_vocab()


def test_skill_is_measured_on_held_out_words(monkeypatch):
    from study import pretrain

    seen = []
    original = pretrain.small_world
    monkeypatch.setattr(
        pretrain,
        "small_world",
        lambda rng, name, lexicon, *rest: seen.append(lexicon.name) or original(rng, name, lexicon, *rest),
    )
    run = Run(TINY, "cpu")
    pretrain.skill(run.model, run.tokenizer, TINY.stages[0], 3, worlds=2)
    assert set(seen) == {VALIDATION.name}
