"""Perform runs: fine-tune, generate, evaluate, and store rows and a record."""

import resource
import sys
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study import provenance
from study.data.context import fitting
from study.data.questions import Dataset, Document, Question, nested_subset, training_texts
from study.lm.attention import PrefixCache, positions
from study.lm.finetuning import Diverged, finetune, steps_for
from study.lm.flops import forward_flops, size_of
from study.lm.loading import load, pick_device
from study.lm.scoring import OptionScores, score_options
from study.params import Arm, Source
from study.runs.augment import (
    MARGIN,
    Inference,
    augment,
    closure_facts,
    fact_and_answer,
    oracle_sentences,
    quality,
)
from study.runs.run import (
    DIVERGED,
    FINISHED,
    GENERATED,
    EvaluationRun,
    GenerationRun,
    Run,
    likeliest,
    prepare,
    prompts_of,
)
from study.runs.store import Store, content_hash
from study.runs.with_vllm import generator_of
from study.worlds.world import Kind, Split, World

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "numpy")
# What the records of all shards of a run have in common.
_SHARES = ("share_of_documents_in_context", "share_of_facts_in_context")
WHOLE = ("status", "context_tokens", *_SHARES, "parameters", "context_flops")
SAME_DIRECTION = (Split.STATED, Split.REPHRASED)


def work(runs: Sequence[Run], store: Store, threads: int) -> dict[str, str]:
    """Perform the runs of one job; returns why runs failed, by label."""
    torch.set_num_threads(threads)
    for run in runs:
        if isinstance(run, GenerationRun):
            generate_text(run, store)
    evaluations = [run for run in runs if isinstance(run, EvaluationRun)]
    whole = [run for run in evaluations if not run.shards]
    failed = run_together(whole, store) if whole else {}
    for run in evaluations:
        if run.shards:
            failed |= join(run, store)
    return failed


def generate_text(generation: GenerationRun, store: Store) -> None:
    """Store one row for each generated sentence, and their quality, unless the run is finished."""
    if store.has(generation.key):
        return
    started = time.monotonic()
    material = prepare(generation.params, generation.world, generation.seed)
    generator, name = generator_of(generation.params, generation.seed), f"{generation.world}/{generation.seed}"
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
    _store(generation, store, rows, record, started)


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
            _store(trial, store, rows, {**record, "arm": trial.arm, **scored, **curve}, started)
        except Exception as error:
            failed[trial.label] = f"{type(error).__name__}: {error}"
    return failed


def join(trial: EvaluationRun, store: Store) -> dict[str, str]:
    """Store a run from its shards; missing ones are evaluated now.

    Returns:
        Why it failed, by its label, if a shard did.
    """
    started = time.monotonic()
    missing = [shard for shard in trial.shards if not store.has(shard.key)]
    if failed := run_together(missing, store) if missing else {}:
        return {trial.label: "; ".join(f"{label}: {reason}" for label, reason in failed.items())}
    parts = [store.rows(shard.key) for shard in trial.shards]
    records = [store.record(shard.key) for shard in trial.shards]
    counts = [record["questions"] for record in records]
    seconds, flops = ([record[name] for record in records] for name in ("scoring_seconds", "query_flops"))
    record = {name: records[0][name] for name in WHOLE} | {"arm": trial.arm, "questions": sum(counts)}
    record |= {"scoring_seconds": sum(seconds), "query_flops": float(np.average(flops, weights=counts))}
    places = [place for first in range(len(parts)) for place in range(first, sum(counts), len(parts))]
    rows = pd.concat(parts, ignore_index=True).iloc[np.argsort(places)].reset_index(drop=True)
    _store(trial, store, rows, record, started)
    return {}


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
    steps = steps_for(encoded(trial.params.arms[trial.spec.as_long_as]) if trial.spec.as_long_as else own, finetuning)
    order = trial.seed if not trial.spec.reseed else f"{trial.seed}/{trial.spec.reseed}"
    at = partial(checkpoint_eval, tokenizer) if checkpoint_eval else None
    model, training = finetune(model, tokenizer, own, finetuning, rate, steps, order, at)
    return model, tokenizer, {"training": {"texts": len(own), **asdict(training)}}


def texts_of(trial: EvaluationRun, material: Dataset, store: Store, arm: Arm | None = None) -> list[str]:
    """What the run's arm, or another one, trains on, each text once.

    Generated text is not filtered: whoever fine-tunes a model has no closure to judge it with. The control of
    rephrasings is filtered: the part of the local text that says what documents say, as stated.
    """
    arm = arm or trial.spec
    texts = training_texts(material.documents, arm.splitting) + list(generated(trial, store, arm)["sentence"])
    if Source.ORACLE in arm.train:
        if material.world is None:
            raise ValueError(f"{trial.label}: what follows from its documents is not known; leave out the oracle")
        texts += oracle_sentences(material.world, material.documents)
    return list(dict.fromkeys(texts))


def generated(trial: EvaluationRun, store: Store, arm: Arm) -> pd.DataFrame:
    """The generated sentences that an arm trains on, one row each; generated now if they are missing."""
    parts = [pd.DataFrame(columns=Inference._fields)]
    for source in (source for source in arm.train if source in GENERATED):
        generation = GenerationRun(trial.world, trial.seed, trial.params, trial.model_sha256, GENERATED[source])
        generate_text(generation, store)
        rows = store.rows(generation.key)
        parts.append(rows[rows["split"].isin(SAME_DIRECTION)] if source is Source.REPHRASED else rows)
    return pd.concat(parts[1:] or parts)


def evaluate(
    trial: EvaluationRun,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    material: Callable[[bool], Dataset],
    store: Store,
    prefix_cache: PrefixCache | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row for each question, and what the record says of them.

    `material` gives the dataset of the run, or, of True, the one for retention.
    """
    spec, exam, prompts = trial.spec, material(trial.spec.retention), prompts_of(trial.params)
    questions = exam.questions if trial.shard is None else exam.questions[trial.shard :: trial.params.questions.shards]
    if not questions:
        raise ValueError(
            f"questions.shards = {trial.params.questions.shards}: there are {len(exam.questions)} questions only; use "
            "fewer shards"
        )
    given = material(spec.retention or spec.context is Source.IRRELEVANT).documents if spec.context else ()
    if spec.shots:
        count = min(spec.shots, len(given))
        given = tuple(nested_subset(given, count, f"{trial.world}/{trial.seed}"))
    documents = in_context(trial, model, tokenizer, given, exam.questions)
    context = prompts.in_context([document.text for document in documents])
    started = time.monotonic()
    queries = [(q.query, q.options) for q in questions]
    scores = score_options(model, tokenizer, context, queries, prefix_cache=prefix_cache)
    seconds = time.monotonic() - started
    size, read = size_of(model), len(tokenizer(context).input_ids) if context else 0
    lengths = [
        len(tokenizer(q.query, add_special_tokens=False).input_ids) + score.tokens[q.answers[0]]
        for q, score in zip(questions, scores, strict=True)
    ]
    record = {
        "context_tokens": read,
        "share_of_documents_in_context": len(documents) / len(given) if given else 0.0,
        "share_of_facts_in_context": _share_of_facts(documents, exam),
        "questions": len(questions),
        "parameters": model.num_parameters(),
        "scoring_seconds": seconds,
        # With a cached prefix, a user pays once for the context and then for each question.
        "context_flops": forward_flops(size, read) if read else 0,
        "query_flops": sum(forward_flops(size, n, past=read, predicted=n) for n in lengths) / len(lengths),
    }
    rows = _rows(trial, questions, scores)
    # Without prompt caching, each question pays for the context too.
    rows["gflops"] = [forward_flops(size, read + n, predicted=n) / 1e9 for n in lengths]
    rows["covered"] = rows["misled"] = None
    if set(GENERATED) & set(spec.train) and not spec.retention and exam.world:
        facts = set(generated(trial, store, spec)["fact"].dropna())
        covered = [answers_in_text(exam.world, question, facts) for question in questions]
        rows["covered"], rows["misled"] = zip(*covered, strict=True)
    return rows, record


def _share_of_facts(documents: Sequence[Document], exam: Dataset) -> float:
    """Share of a dataset's facts that documents state; of its sentences, where no facts are known."""
    if exam.world is None:
        return sum(len(d.stating) for d in documents) / sum(len(d.stating) for d in exam.documents)
    stated = {fact for document in documents for fact in document.facts}
    return len(stated & set(exam.world.facts)) / len(exam.world.facts)


def in_context(
    trial: EvaluationRun,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[Document],
    questions: Sequence[Question],
) -> tuple[Document, ...]:
    """The documents that fit into the context with any of the questions, and within `questions.context_tokens`."""
    prompts, limits = prompts_of(trial.params), [trial.params.questions.context_tokens]
    if limit := positions(model):
        texts = [question.query + option for question in questions for option in question.options]
        longest = max(map(len, tokenizer(texts, add_special_tokens=False).input_ids))
        limits.append(max(1, limit - longest - MARGIN))

    def tokens_of(some: Sequence[Document]) -> int:
        return len(tokenizer(prompts.in_context([document.text for document in some])).input_ids)

    least = min((limit for limit in limits if limit), default=None)
    return fitting(documents, tokens_of, least, f"{trial.world}/{trial.seed}") if documents else ()


def _rows(trial: EvaluationRun, questions: Sequence[Question], scores: Sequence[OptionScores]) -> pd.DataFrame:
    """Questions with each option's log-probability and whether the true one is the likeliest."""
    rows = pd.DataFrame([question._asdict() for question in questions])
    rows[["split", "kind"]] = rows[["split", "kind"]].astype(str)
    about = {"world": trial.world, "arm": trial.arm, "seed": trial.seed, "retention": trial.spec.retention}
    for place, (column, value) in enumerate(about.items()):
        rows.insert(place, column, value)
    rows["option_log_probs"] = [score.log_probs for score in scores]
    rows["option_tokens"] = [score.tokens for score in scores]
    rows["correct"] = [likeliest(s.log_probs) in q.answers for q, s in zip(questions, scores, strict=True)]
    rows["correct_by_token_mean"] = [
        likeliest(np.divide(s.log_probs, s.tokens)) in q.answers for q, s in zip(questions, scores, strict=True)
    ]
    rows["chance"] = [question.chance for question in questions]
    rows["params_sha256"] = content_hash(trial.params.plain())
    rows["model_sha256"] = trial.model_sha256
    rows["dtype"] = trial.params.model.dtype
    return rows


def answers_in_text(world: World, question: Question, facts: Set[str]) -> tuple[bool, bool]:
    """Whether a text that states `facts` (as `Inference.fact`) has a true answer to a question, and a false one."""
    has = []
    for option in question.options:
        statement = world.parse(question.query + option)
        if statement is None:
            raise ValueError(f"{world.name} cannot read its own question {question.query + option!r}")
        # Where whole statements are offered, either end may be asked for.
        forms = world.forms(statement.fact) if question.kind is Kind.ALTERNATIVES else [statement]
        has.append(any(fact_and_answer(world, form) in facts for form in forms))
    return any(has[k] for k in question.answers), any(h for k, h in enumerate(has) if k not in question.answers)


def _store(run: Run, store: Store, rows: pd.DataFrame, record: dict[str, Any], started: float) -> None:
    """Store a run: its rows, and its record with its provenance."""
    # ru_maxrss counts KiB on Linux and bytes on macOS.
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    about = {
        "label": run.label,
        "recipe": run.recipe,
        "params": run.params.plain(),
        "source": provenance.source(),
        "libraries": {"python": ".".join(map(str, sys.version_info[:3])), **{n: version(n) for n in LIBRARIES}},
        "device": pick_device(run.params.model),
        "seconds": time.monotonic() - started,
        **({"peak_device_bytes": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes,
    }
    store.write(run.key, rows, record | about, run.name)
