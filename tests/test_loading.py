"""What a model's files may be, so that nothing wrong is scored: each is set right or refused before anything runs."""

import shutil

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from conftest import build_family
from study.config import ParamsError
from study.lm import hub
from study.lm.generation import generate, keeps_rows_apart
from study.lm.hub import model_folder, pin_of
from study.lm.loading import load, load_tokenizer
from study.lm.scoring import score_options
from study.params import Model, Params
from study.runs.forecast import forecast
from study.runs.store import Store

QUESTIONS = [("bafed sees", [" vazed.", " ditav."])]


@pytest.fixture
def folder(model_folder, tmp_path):
    """A copy of the tiny model."""
    return shutil.copytree(model_folder, tmp_path / "copy")


def test_a_tokenizer_that_ends_texts_is_made_to_end_none(folder, model_folder):
    tokenizer = load_tokenizer(Model(name=str(folder)))
    begin, end = ("<s>", tokenizer.bos_token_id), ("</s>", tokenizer.eos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[begin, end])
    tokenizer.save_pretrained(folder)
    model, ending = load(Model(name=str(folder), device="cpu"))
    assert ending("vazed sees").input_ids == load_tokenizer(Model(name=str(model_folder)))("vazed sees").input_ids
    plain = load(Model(name=str(model_folder), device="cpu"))
    assert score_options(model, ending, "", QUESTIONS) == score_options(*plain, "", QUESTIONS)
    how = {"max_new_tokens": 8, "temperature": 0.0, "seed": 0, "batch_size": 2}
    assert generate(model, ending, ["vazed sees"], **how) == generate(*plain, ["vazed sees"], **how)


def test_a_pointer_of_git_lfs_is_not_taken_for_weights(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ParamsError, match=r"model.safetensors is a pointer of Git LFS.*git lfs pull"):
        model_folder(Model(name=str(folder)))


def test_a_folder_named_like_a_pinned_model_does_not_take_its_place(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.move(folder, tmp_path / "owner" / "tiny")
    pin = hub.Pin(revision="0" * 40)
    monkeypatch.setattr(hub, "read_pins", lambda: {"owner/tiny": pin})
    assert pin_of(Model(name="owner/tiny")) == pin
    assert pin_of(Model(name="./owner/tiny")) is None


def small(params: Params, folder, **changes) -> Params:
    return Params.parse({**params.plain(), **changes, "model": {"name": str(folder), "device": "cpu"}}, "test")


def test_a_tokenizer_with_tokens_that_the_model_lacks_is_refused(params, folder, tmp_path, tokenizer):
    build_family("llama", len(tokenizer) - 9, max_position_embeddings=1024).save_pretrained(folder)
    with pytest.raises(
        ParamsError, match=rf"tokenizer has {len(tokenizer)} tokens, its embedding {len(tokenizer) - 9}"
    ):
        forecast(small(params, folder), Store(tmp_path / "runs"))


def test_texts_longer_than_the_positions_are_refused_before_anything_runs(params, folder, tmp_path, tokenizer):
    build_family("gpt2", len(tokenizer), n_positions=24).save_pretrained(folder)
    with pytest.raises(ParamsError, match=r"24 positions, a statement and the text to generate takes \d+ tokens; use"):
        forecast(small(params, folder), Store(tmp_path / "runs"))
    untuned = {name: params.arms[name].plain() for name in ("base", "icl")}
    assert forecast(small(params, folder, arms=untuned), Store(tmp_path / "runs")).flops > 0


def test_rows_that_disturb_each_other_are_generated_alone(tokenizer):
    assert keeps_rows_apart(build_family("mamba", len(tokenizer)))
    model = build_family("lfm2", len(tokenizer))
    right = model.forward

    def disturbed(input_ids, **given):
        out = right(input_ids=input_ids, **given)
        out.logits = out.logits + torch.sin(input_ids.float().sum() + torch.arange(out.logits.shape[-1]))
        return out

    model.forward = disturbed
    assert not keeps_rows_apart(model)
