"""A tiny real model in the bundled architecture, and small params on it."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from study.base_model.architecture import build_model
from study.base_model.recipe import Architecture
from study.base_model.tokenizer import build_tokenizer
from study.evidence.claims import claims_of, effect_table, judge
from study.evidence.headline import headline_table
from study.evidence.verify import PAGE
from study.lm.loading import attention_of
from study.params import Params
from study.runs import executors
from study.runs.runner import evaluation_runs_of, run
from study.runs.store import Store
from study.worlds import DRAWN
from study.worlds.words import STUDY
from tiny import save_model, settings

torch.set_num_threads(1)


@contextmanager
def one_process() -> Iterator[None]:
    """The jobs of a study are done here, for a new process imports much. `test_executors` does them as a study does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "_in_process", lambda does, *given, **_: does(*given))
        patch.setattr(executors, "available_cores", lambda: 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def _documents_kept_apart(tmp_path_factory):
    """What is read of documents is kept in a folder of the tests."""
    from study.documents import read

    read.KEPT = tmp_path_factory.mktemp("kept")


@pytest.fixture
def in_this_process():
    with one_process():
        yield


# Files with a fixture that takes seconds: one worker of pytest-xdist runs those of one name, and makes it once.
ONE_WORKER = {
    **{f"tests/test_{name}.py": name for name in ("trials", "pretrain", "documents", "explorer", "executors")},
    "tests/test_opened_by_hand.py": "by hand",
    **{f"tests/test_{name}.py": "published" for name in ("chaos", "site", "verify")},
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ONE_WORKER.get(nodeid.partition("::")[0], nodeid)

    return Scheduling(config, log)


def pytest_collection_finish():
    """A training collects garbage at its end; to look through what was imported would take a third of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


@pytest.fixture
def model(tokenizer):
    return build_model(Architecture(width=32, head_width=8, positions=512), len(tokenizer), layers=2, seed=0).eval()


LAYERS = {"num_hidden_layers": 2, "hidden_size": 32}
SMALL = LAYERS | {"intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
SMALL |= {"max_position_embeddings": 256}
HEADS = {"num_attention_heads": 4, "max_position_embeddings": 256, "initializer_range": 0.3}
# Of each family what matters here: learned positions or none, shared keys, windows, capped scores, weights of another
# layout, experts, a state instead of keys.
FAMILIES = {
    "gpt2": ("GPT2", {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 256, "initializer_range": 0.3}),
    "gpt_neox": ("GPTNeoX", LAYERS | HEADS | {"intermediate_size": 64}),
    "opt": ("OPT", LAYERS | {"word_embed_proj_dim": 32, "ffn_dim": 64, "init_std": 0.3} | HEADS),
    "bloom": ("Bloom", {"n_layer": 2, "hidden_size": 32, "n_head": 4, "initializer_range": 0.3}),
    "llama": ("Llama", SMALL),
    "mistral": ("Mistral", SMALL | {"sliding_window": 16}),
    "qwen2": ("Qwen2", SMALL),
    "qwen3": ("Qwen3", SMALL | {"head_dim": 8}),
    "gemma2": ("Gemma2", SMALL | {"head_dim": 8, "attn_logit_softcapping": 0.5, "tie_word_embeddings": False}),
    "gemma3": (
        "Gemma3Text",
        SMALL
        | {"head_dim": 8, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
        | {"tie_word_embeddings": False},
    ),
    "phi3": ("Phi3", SMALL),
    "olmo2": ("Olmo2", SMALL),
    "granite": ("Granite", SMALL),
    "falcon": ("Falcon", LAYERS | HEADS | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon_alibi": ("Falcon", LAYERS | HEADS | {"alibi": True, "multi_query": False}),
    "lfm2": ("Lfm2", SMALL | {"layer_types": ["conv", "full_attention"]}),
    "mamba": ("Mamba", LAYERS | {"state_size": 8, "initializer_range": 0.3}),
    "mamba2": ("Mamba2", LAYERS | {"state_size": 8, "head_dim": 16, "num_heads": 4, "n_groups": 1, "chunk_size": 16}),
    "mixtral": ("Mixtral", SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3_moe": (
        "Qwen3Moe",
        SMALL | {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
}


def build_family(name: str, vocabulary: int, **sizes) -> transformers.PreTrainedModel:
    """A tiny random model of a family, with the attention that the study loads it with."""
    kind, own = FAMILIES[name]
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=vocabulary, bos_token_id=1, eos_token_id=2, pad_token_id=0, **own | sizes
    )
    torch.manual_seed(0)
    attention = attention_of(config)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


@pytest.fixture(params=list(FAMILIES))
def family(request) -> str:
    """The name of each family in turn."""
    return request.param


@pytest.fixture
def any_model(family, tokenizer):
    """A tiny random model of each family."""
    return build_family(family, len(tokenizer))


@pytest.fixture(scope="session")
def family_folder(tokenizer, tmp_path_factory):
    """Saves a tiny model of a family and the tokenizer, as a user would bring them; gives their folder by its name."""

    @cache
    def folder_of(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        room = {key: 1024 for key in ("max_position_embeddings", "n_positions") if key in FAMILIES[name][1]}
        build_family(name, len(tokenizer), **room).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return folder_of


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A tiny model on disk, as a user would bring one."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder


ENGLISH = """
Ada Moor, known for being the noted painter of the Song of Rain. Everyone knows Bo Lind, who is the noted singer. This
was made by Cleo Tarn, who is called. Did you hear that Dan was once the Light of Stone? Question: Answer: What follows
from it? Write down what follows from this statement alone: one whole sentence on each line, and no other text, 0 1 2.
Behind stands the name of. The device is blue and starts when the lamp is green; "Bell of Glass", Eve, Finn and others'.
"""


def english_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that cuts words where no other tokenizer here does, and puts nothing before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([ENGLISH], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")  # noqa: S106


@pytest.fixture(scope="session")
def english_folder(tmp_path_factory) -> Path:
    """A tiny model with a tokenizer for natural language and few positions."""
    folder, tokenizer = tmp_path_factory.mktemp("english"), english_tokenizer()
    build_family("llama", len(tokenizer), max_position_embeddings=512).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def params(model_folder) -> Params:
    """A study of seconds on the tiny model."""
    return Params.parse(settings(model_folder), "test")


@pytest.fixture(scope="session")
def published(params, tmp_path_factory):
    """A tiny study and its last page's tables."""
    results = tmp_path_factory.mktemp("results")
    arms = {name: params.arms[name].plain() for name in ("base", "icl", "ft", "irrelevant")}
    values = {**params.plain(), "arms": arms, "worlds": {"reversals": params.worlds.reversals.plain()}}
    values["finetuning"]["learning_rates"] = [1e-3]
    small = Params.parse(values, "test")
    store = Store(results / "runs")
    with one_process():
        rows = run(small, store, say=lambda line: None)
    (results / PAGE).mkdir()
    trials = [
        {"world": t.world, "seed": t.seed, "arm": t.arm, "run": t.key, "status": store.record(t.key)["status"]}
        for t in evaluation_runs_of(small, store)
    ]
    pd.DataFrame(trials).to_csv(results / PAGE / "runs.csv", index=False)
    effects = effect_table(claims_of(small), rows, small.statistics)
    judge(claims_of(small), effects, small.statistics).to_csv(results / PAGE / "claims.csv", index=False)
    headline_table(rows, small.statistics).assign(parameters=1e6).to_csv(results / PAGE / "headline.csv", index=False)
    return small, results


@cache
def _world(name: str):
    module = DRAWN[name]
    return module.build(random.Random(f"test/{name}"), STUDY, module.Params())


@pytest.fixture(params=list(DRAWN))
def world(request):
    """A world of each kind in turn; its closure is computed once."""
    return _world(request.param)
