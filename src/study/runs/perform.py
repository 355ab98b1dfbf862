"""Perform runs: fine-tune, generate, evaluate, and store rows and a record."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.arms import Arm
from study.data.questions import Dataset
from study.lm.attention import PrefixCache
from study.lm.distillation import soft_targets
from study.lm.finetuning import Diverged, finetune, steps_for
from study.lm.loading import load
from study.runs.evaluate import evaluate, in_context
from study.runs.run import (
    DIVERGED,
    FINISHED,
    EvaluationRun,
    GenerationRun,
    Run,
    prepare,
    prompts_of,
)
from study.runs.store import Store
from study.runs.texts import generate_text, replayed, store_run, texts_of
from study.sums import added


def work(runs: Sequence[Run], store: Store, threads: int) -> dict[str, str]:
    """Perform the runs of one job; returns why runs failed, by label."""
    torch.set_num_threads(threads)
    for run in runs:
        if isinstance(run, GenerationRun):
            generate_text(run, store)
    evaluations = [run for run in runs if isinstance(run, EvaluationRun)]
    return run_together(evaluations, store) if evaluations else {}


def run_together(trials: Sequence[EvaluationRun], store: Store) -> dict[str, str]:
    """Perform runs of one dataset, seed and training: the model is fine-tuned once and evaluated for each of them.

    A diverged training is stored with each of them, without rows.

    Returns:
        Why runs failed, by label; the others are stored.
    """
    first, failed = trials[0], {}
    material = cache(partial(prepare, first.params, first.world, first.seed))
    record: dict[str, Any] = {"status": FINISHED}
    curves: dict[str, list[dict[str, Any]]] = {trial.key: [] for trial in trials if trial.spec.curve}

    def checkpoint_eval(tokenizer: PreTrainedTokenizerBase, step: int, model: PreTrainedModel) -> None:
        for trial in trials:
            if trial.spec.curve:
                rows, _ = evaluate(trial, model, tokenizer, material, store)
                curves[trial.key].append({"step": step, **rows.groupby("split", sort=False)["correct"].mean()})

    try:
        model, tokenizer, training = tuned(first, material(False), store, checkpoint_eval if curves else None)
        record |= training
    except Diverged as error:
        record |= {"status": DIVERGED, "error": str(error)}
    except Exception as error:
        return {trial.label: f"{type(error).__name__}: {error}" for trial in trials}
    prefix_cache = PrefixCache(model) if record["status"] == FINISHED else None
    for trial in trials:
        started, rows = time.monotonic(), pd.DataFrame()
        scored: dict[str, Any] = {}
        try:
            if prefix_cache is not None:
                rows, scored = evaluate(trial, model, tokenizer, material, store, prefix_cache)
            curve = {"curve": curves[trial.key]} if trial.spec.curve else {}
            store_run(trial, store, rows, {**record, "arm": trial.arm, **scored, **curve}, started)
        except Exception as error:
            failed[trial.label] = f"{type(error).__name__}: {error}"
    return failed


def tuned(
    trial: EvaluationRun,
    material: Dataset,
    store: Store,
    checkpoint_eval: Callable[[PreTrainedTokenizerBase, int, PreTrainedModel], None] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]:
    """The model that an arm is evaluated with, its tokenizer, and the record of its training.

    `checkpoint_eval` is called during training with the tokenizer, the number of steps taken and the model.

    Raises:
        Diverged: as `finetune` does.
    """
    model, tokenizer = load(trial.params.model)
    if not trial.spec.train:
        return model, tokenizer, {}
    finetuning, rate = trial.finetuning, trial.learning_rate
    if rate is None:
        raise ValueError(f"{trial.label}: its learning rate is not chosen yet")

    def encoded(arm: Arm) -> list[list[int]]:
        return [tokenizer(text).input_ids for text in texts_of(trial, material, store, arm)]

    own = encoded(trial.spec)
    if trial.spec.replay:
        own += replayed(trial, tokenizer, added(map(len, own)) * trial.spec.replay / (1 - trial.spec.replay))
    teacher = None
    if trial.spec.distilled:
        documents = in_context(trial, model, tokenizer, material.documents, max(map(len, own)))
        context = prompts_of(trial.params).in_context([document.text for document in documents])
        teacher = soft_targets(model, tokenizer, context, own)
    steps = steps_for(encoded(trial.params.arms[trial.spec.as_long_as]) if trial.spec.as_long_as else own, finetuning)
    order = trial.seed if not trial.spec.reseed else f"{trial.seed}/{trial.spec.reseed}"
    at = partial(checkpoint_eval, tokenizer) if checkpoint_eval else None
    model, training = finetune(model, tokenizer, own, finetuning, rate, steps, order, at, teacher)
    return model, tokenizer, {"training": {"texts": len(own), **asdict(training)}}
