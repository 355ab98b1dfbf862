"""A tiny real model in the bundled architecture, and a study of seconds on it: for tests, and for faults as tests."""

from pathlib import Path
from typing import Any

from study.arms import ARMS as TABLE
from study.base_model.architecture import build_model
from study.base_model.recipe import Architecture
from study.base_model.tokenizer import build_tokenizer

# One of each kind.
ARMS = (
    *("base", "irrelevant", "icl 1", "icl 8", "icl", "retrieved", "oracle retrieved", "false context"),
    *("ft", "ft reseeded", "ft lora", "ft repeated", "ft rephrased", "ft questions", "ft reversed"),
    *("ft local", "ft global", "ft augmented", "ft augmented strict", "ft augmented half", "ft augmented fast"),
    *("ft augmented lora", "ft augmented replay 30", "ft distilled", "ft oracle", "hybrid"),
    *("icl retention", "ft retention", "ft augmented retention"),
)
IN_BOTH = (
    "base",
    "irrelevant",
    "icl 1",
    "icl 8",
    "icl",
    "ft",
    "ft augmented",
    "ft oracle",
    "hybrid",
    "icl retention",
)  # the others in reversals alone

CHOSEN = ("ft lora", "ft repeated", "ft rephrased", "ft questions", "ft reversed", "ft local", "ft global")
CHOSEN = (*CHOSEN, "ft augmented lora", "ft distilled", "ft oracle")  # so that two arms alone have a rate to choose


def save_model(folder: Path) -> None:
    """Write an untrained model and its tokenizer, as a user would bring them."""
    tokenizer = build_tokenizer()
    shape = Architecture(width=32, head_width=8, positions=1024)
    build_model(shape, len(tokenizer), layers=2, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def settings(model_folder: Path) -> dict[str, Any]:
    """Params of the study: every kind of unit, few facts, one seed, trainings of a few steps."""
    return {
        "seeds": [0],
        "worlds": {"reversals": {"size": 6, "features": 1}, "family": {"size": 1}},
        "questions": {"per_split": 6, "options": 4},
        "finetuning": {
            "epochs": 1,
            "fewest_steps": 2,
            "step_tokens": 64,
            "learning_rates": [1e-3, 1e-2],
            "selection_worlds": ["reversals"],
            "chosen": {arm: {"rate": 1e-3} for arm in CHOSEN},
        },
        "arms": {name: TABLE[name].plain() | ({} if name in IN_BOTH else {"worlds": ["reversals"]}) for name in ARMS},
        "augmentation": {"samples": 1, "local_tokens": 24, "global_tokens": 24},
        "model": {"name": str(model_folder), "device": "cpu"},
    }
