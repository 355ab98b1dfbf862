"""The text that a model generates, and what an arm trains on; how a run is stored."""

import resource
import sys
import time
from functools import partial
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from study import provenance
from study.arms import Arm, Source
from study.data.questions import Dataset
from study.digest import sha256_of
from study.lm.loading import pick_device
from study.paths import is_file
from study.runs import training_text
from study.runs.augment import Inference, augment, closure_facts, quality
from study.runs.run import (
    FINISHED,
    GENERATED,
    EvaluationRun,
    GenerationRun,
    Run,
    prepare,
    prompts_of,
)
from study.runs.store import Store
from study.runs.with_vllm import generator_of

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "numpy")


def generate_text(generation: GenerationRun, store: Store) -> None:
    """Store one row for each generated sentence, and their quality, unless the run is finished."""
    if store.has(generation.key):
        return
    started = time.monotonic()
    material = prepare(generation.params, generation.world, generation.seed)
    generator, name = generator_of(generation.params, generation.seed), generation.dataset
    inferences, text, in_view = augment(
        generator, material.world, material.documents, generation.source, generation.params, name
    )
    rows = pd.DataFrame(inferences, columns=Inference._fields)
    rows.insert(0, "world", generation.world)
    rows.insert(1, "seed", generation.seed)
    possible = closure_facts(material.world, material.documents) if material.world else {}
    record = {
        "status": FINISHED,
        "quality": quality(inferences, possible),
        "share_of_documents_in_view": in_view,
        "prompt_tokens": text.prompt_tokens,
        "new_tokens": text.new_tokens,
        "flops": text.flops,
    }
    store_run(generation, store, rows, record, started)


def texts_of(trial: EvaluationRun, material: Dataset, store: Store, arm: Arm | None = None) -> list[str]:
    """What the run's arm, or another one, trains on, each text once; generated now if it is missing."""
    return training_text.texts_of(arm or trial.spec, material, partial(generated, trial, store), trial.dataset)


def generated(trial: EvaluationRun, store: Store, source: Source) -> pd.DataFrame:
    """The generated sentences of a source, one row each; generated now if they are missing."""
    generation = GenerationRun(trial.world, trial.seed, trial.params, trial.model_sha256, GENERATED[source])
    generate_text(generation, store)
    return store.rows(generation.key)


def replayed(trial: EvaluationRun, tokenizer: PreTrainedTokenizerBase, tokens: float) -> list[list[int]]:
    """Encoded texts of about so many tokens in all, like those of pretraining."""
    some: list[list[int]] = []
    for text in training_text.replayed_texts(prompts_of(trial.params), trial.dataset):
        if tokens <= 0:
            break
        some.append(tokenizer(text).input_ids)
        tokens -= len(some[-1])
    return some


def store_run(run: Run, store: Store, rows: pd.DataFrame, record: dict[str, Any], started: float) -> None:
    """Store a run: its rows, and its record with its provenance."""
    # ru_maxrss counts KiB on Linux and bytes on macOS.
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    device = pick_device(run.params.model)
    about = {
        "label": run.label,
        "recipe": run.recipe,
        "params": run.params.plain(),
        **({"claims_sha256": sha256_of(file)} if is_file(file := run.params.claims_file) else {}),
        "source": provenance.source(),
        "libraries": {"python": ".".join(map(str, sys.version_info[:3])), **{n: version(n) for n in LIBRARIES}},
        "device": device,
        "processor": provenance.processor(device, torch.get_num_threads()),
        "seconds": time.monotonic() - started,
        **({"peak_device_bytes": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes,
    }
    store.write(run.key, rows, record | about, run.name)
