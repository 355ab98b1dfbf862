"""A tiny real model in the bundled architecture, and small params on it."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import random
from pathlib import Path

import pytest
import torch
import transformers

from study.architecture import build_model
from study.models import attention_of
from study.params import Params
from study.recipe import Architecture
from study.tokenizer import build_tokenizer
from study.words import STUDY
from study.worlds import WORLDS

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


@pytest.fixture
def model(tokenizer):
    return build_model(Architecture(width=32, head_width=8, positions=512), len(tokenizer), layers=2, seed=0).eval()


SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
SMALL |= {"num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.3}
# Of each kind what matters here: shared keys, learned positions, a window, capped scores, a state instead of keys.
FAMILIES = {
    "llama": ("Llama", SMALL),
    "gpt2": ("GPT2", {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 256, "initializer_range": 0.3}),
    "mistral": ("Mistral", SMALL | {"sliding_window": 16}),
    "gemma2": ("Gemma2", SMALL | {"head_dim": 8, "attn_logit_softcapping": 0.5, "tie_word_embeddings": False}),
    "lfm2": ("Lfm2", SMALL | {"layer_types": ["conv", "full_attention"]}),
}


@pytest.fixture(params=list(FAMILIES))
def any_model(request, tokenizer):
    """A tiny random model of each family, loaded as the study loads one."""
    name, sizes = FAMILIES[request.param]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=0, **sizes
    )
    torch.manual_seed(0)
    attention = attention_of(config)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


@pytest.fixture(scope="session")
def model_folder(tokenizer, tmp_path_factory) -> Path:
    """A tiny model on disk, as a user would bring one."""
    folder = tmp_path_factory.mktemp("model")
    build_model(Architecture(width=32, head_width=8, positions=1024), len(tokenizer), layers=2, seed=0).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def params(model_folder) -> Params:
    """A study of seconds on the tiny model."""
    return Params.parse(
        {
            "seeds": [0],
            "worlds": {"reversals": {"size": 6, "features": 1}, "family": {"size": 1}},
            "questions": {"per_split": 6, "options": 4},
            "finetuning": {
                "epochs": 1,
                "fewest_steps": 2,
                "step_tokens": 64,
                "learning_rates": [1e-3, 1e-2],
                "selection_worlds": ["reversals"],
            },
            "augmentation": {"samples": 1, "local_tokens": 24, "global_tokens": 24},
            "statistics": {"resamples": 100},
            "model": {"name": str(model_folder), "device": "cpu"},
        },
        "test",
    )


@pytest.fixture(params=list(WORLDS))
def world(request):
    module = WORLDS[request.param]
    return module.build(random.Random(f"test/{request.param}"), STUDY, module.Params())
