"""Perform runs: fine-tune, generate, evaluate, and store rows and a record."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study import provenance
from study.arms import EACH_ITS_OWN, Arm, Context, Source
from study.data.context import fitting
from study.data.questions import Dataset, Document, Question, nested_subset
from study.data.retrieval import Retriever, supporting, with_relations_reversed
from study.digest import sha256_of
from study.lm.attention import PrefixCache, positions
from study.lm.distillation import soft_targets
from study.lm.finetuning import Diverged, finetune, steps_for
from study.lm.flops import forward_flops, size_of
from study.lm.framing import Asking
from study.lm.loading import load, pick_device
from study.lm.scoring import OptionScores, score_options
from study.params import Score
from study.paths import is_file
from study.runs import training_text
from study.runs.augment import MARGIN, Inference, augment, closure_facts, fact_and_answer, quality
from study.runs.augment import read as read_statement
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
from study.sums import added
from study.worlds.world import World

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "numpy")
# What the records of all shards of a run have in common.
_SHARES = ("share_of_documents_in_context", "share_of_facts_in_context")
WHOLE = ("status", "context_tokens", *_SHARES, "parameters", "context_flops")


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


def texts_of(trial: EvaluationRun, material: Dataset, store: Store, arm: Arm | None = None) -> list[str]:
    """What the run's arm, or another one, trains on, each text once; generated now if it is missing."""
    return training_text.texts_of(arm or trial.spec, material, partial(generated, trial, store), _named(trial))


def generated(trial: EvaluationRun, store: Store, source: Source) -> pd.DataFrame:
    """The generated sentences of a source, one row each; generated now if they are missing."""
    generation = GenerationRun(trial.world, trial.seed, trial.params, trial.model_sha256, GENERATED[source])
    generate_text(generation, store)
    return store.rows(generation.key)


def replayed(trial: EvaluationRun, tokenizer: PreTrainedTokenizerBase, tokens: float) -> list[list[int]]:
    """Encoded texts of about so many tokens in all, like those of pretraining."""
    some: list[list[int]] = []
    for text in training_text.replayed_texts(prompts_of(trial.params), _named(trial)):
        if tokens <= 0:
            break
        some.append(tokenizer(text).input_ids)
        tokens -= len(some[-1])
    return some


def _named(trial: EvaluationRun) -> str:
    return f"{trial.world}/{trial.seed}"


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
    given, asking = offered_documents(trial, material), Asking(tokenizer, prompts, trial.form)
    if spec.context in EACH_ITS_OWN:
        contexts = own_contexts(trial, model, tokenizer, given, exam, questions, asking)
    else:
        most = longest(tokenizer, exam.questions, asking)
        contexts = [in_context(trial, model, tokenizer, given, most)] * len(questions)
    texts = [asking.context(prompts.in_context([document.text for document in some])) for some in contexts]
    asked = [asking.question(question.query) for question in questions]
    started = time.monotonic()
    if spec.context in EACH_ITS_OWN:  # the context is a part of the query
        context = ""
        leads = [f"{text} " if text and not text[-1].isspace() else text for text in texts]
        queries = [(lead + text, q.options) for lead, text, q in zip(leads, asked, questions, strict=True)]
    else:
        context, queries = texts[0], [(text, q.options) for text, q in zip(asked, questions, strict=True)]
    scores = score_options(model, tokenizer, context, queries, prefix_cache=prefix_cache)
    seconds = time.monotonic() - started
    priors = None
    if trial.params.prompts.score is Score.PMI:
        if exam.world is None:
            raise ValueError("prompts.score = 'pmi': whom a question names is not known; use another score")
        nameless = [asking.question(exam.world.without_names(question.query)) for question in questions]
        leads = leads if spec.context in EACH_ITS_OWN else [""] * len(questions)
        unasked = [(lead + text, q.options) for lead, text, q in zip(leads, nameless, questions, strict=True)]
        priors = score_options(model, tokenizer, context, unasked, prefix_cache=prefix_cache)
    size = size_of(model)
    counts = {text: len(tokenizer(text).input_ids) if text else 0 for text in dict.fromkeys(texts)}
    read = [counts[text] for text in texts]
    lengths = [
        len(tokenizer(text, add_special_tokens=False).input_ids) + score.tokens[q.answers[0]]
        for text, q, score in zip(asked, questions, scores, strict=True)
    ]
    # Without prompt caching, each question pays for the context too.
    whole = [forward_flops(size, past + n, predicted=n) for past, n in zip(read, lengths, strict=True)]
    shared = counts[context] if context else 0
    record = {
        "context_tokens": round(added(read) / len(read)),
        "share_of_documents_in_context": added(map(len, contexts)) / len(contexts) / len(given) if given else 0.0,
        "share_of_facts_in_context": added(_share_of_facts(d, exam) for d in contexts) / len(contexts),
        "questions": len(questions),
        "parameters": model.num_parameters(),
        "scoring_seconds": seconds,
        # With a cached prefix, a user pays once for the context and then for each question.
        "context_flops": forward_flops(size, shared) if shared else 0,
        "query_flops": added(
            forward_flops(size, n, past=shared, predicted=n) if shared else flops
            for n, flops in zip(lengths, whole, strict=True)
        )
        / len(lengths),
    }
    rows = _rows(trial, questions, scores, priors)
    rows["gflops"] = [flops / 1e9 for flops in whole]
    rows["covered"] = rows["misled"] = rows["exposure"] = rows["untaught"] = None
    if exam.world and not spec.retention:
        taught = training_text.taught_half(exam.world, _named(trial))
        rows["untaught"] = [training_text.untaught(exam.world, question, taught) for question in questions]
        if spec.train:
            _add_exposure(rows, trial, exam, exam.world, questions, store)
    return rows, record


def _add_exposure(
    rows: pd.DataFrame,
    trial: EvaluationRun,
    exam: Dataset,
    world: World,
    questions: Sequence[Question],
    store: Store,
) -> None:
    """What the training text says of each question."""
    texts = texts_of(trial, exam, store)
    inferred = training_text.inferences_of(trial.spec, exam, partial(generated, trial, store), _named(trial))
    facts = set(inferred["fact"].dropna())
    if set(training_text.INFERENCES) & set(trial.spec.train):
        covered = [training_text.answers_in_text(world, question, facts) for question in questions]
        rows["covered"], rows["misled"] = zip(*covered, strict=True)
    stated = [s for document in exam.documents for s in document.statements]
    oracle = texts if Source.ORACLE in trial.spec.train else ()
    stated += [statement for text in oracle if (statement := read_statement(world, text))]
    facts |= {fact_and_answer(world, statement) for statement in stated}
    joined = "\n".join(" ".join(text.lower().split()) for text in texts)
    rows["exposure"] = [training_text.exposure(question, joined, world, facts) for question in questions]


def offered_documents(trial: EvaluationRun, material: Callable[[bool], Dataset]) -> tuple[Document, ...]:
    """The documents that an arm's context is made of."""
    spec = trial.spec
    if spec.context is None:
        return ()
    exam = material(spec.retention or spec.context is Context.IRRELEVANT)
    given = exam.documents
    if spec.context is Context.FALSE and exam.world:
        given = tuple(with_relations_reversed(exam.world, document) for document in given)
    if spec.shots and spec.context is Context.DOCUMENTS:
        given = tuple(nested_subset(given, min(spec.shots, len(given)), _named(trial)))
    return given


def own_contexts(
    trial: EvaluationRun,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[Document],
    exam: Dataset,
    questions: Sequence[Question],
    asking: Asking,
) -> list[tuple[Document, ...]]:
    """The documents in context of each question; as many of them as fit."""
    if trial.spec.context is Context.RETRIEVED:
        retriever, count = Retriever(documents), trial.spec.shots or 1
        found = [retriever.best(question, count) for question in questions]
    else:
        if exam.world is None:
            raise ValueError(f"{trial.label}: what answers rest on is not known; leave out the arm")
        found = [supporting(exam.world, documents, question) for question in questions]
    return [
        in_context(trial, model, tokenizer, some, longest(tokenizer, [question], asking))
        for some, question in zip(found, questions, strict=True)
    ]


def _share_of_facts(documents: Sequence[Document], exam: Dataset) -> float:
    """Share of a dataset's facts that documents state; of its sentences, where no facts are known."""
    if exam.world is None:
        return sum(len(d.stating) for d in documents) / sum(len(d.stating) for d in exam.documents)
    stated = {fact for document in documents for fact in document.facts}
    return len(stated & set(exam.world.facts)) / len(exam.world.facts)


def longest(tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], asking: Asking) -> int:
    """Tokens of the longest of some questions with an option, as they are asked."""
    before = asking.context("")
    texts = [before + asking.question(q.query) + option for q in questions for option in q.options]
    return max(map(len, tokenizer(texts, add_special_tokens=False).input_ids))


def in_context(
    trial: EvaluationRun,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[Document],
    after: int,
) -> tuple[Document, ...]:
    """The documents that fit into the context, with so many tokens after it, and within `questions.context_tokens`."""
    prompts, limits = prompts_of(trial.params), [trial.params.questions.context_tokens]
    if limit := positions(model):
        limits.append(max(1, limit - after - MARGIN))

    def tokens_of(some: Sequence[Document]) -> int:
        return len(tokenizer(prompts.in_context([document.text for document in some])).input_ids)

    least = min((limit for limit in limits if limit), default=None)
    return fitting(documents, tokens_of, least, f"{trial.world}/{trial.seed}") if documents else ()


def _rows(
    trial: EvaluationRun,
    questions: Sequence[Question],
    scores: Sequence[OptionScores],
    priors: Sequence[OptionScores] | None,
) -> pd.DataFrame:
    """Questions with each option's log-probability and whether the true one is the likeliest, by the score declared."""
    summed = [np.array(score.log_probs) for score in scores]
    means = [np.divide(score.log_probs, score.tokens) for score in scores]
    deciding = means if trial.params.prompts.score is Score.MEAN else summed
    if priors:
        deciding = [own - np.array(prior.log_probs) for own, prior in zip(summed, priors, strict=True)]
    rows = pd.DataFrame([question._asdict() for question in questions])
    rows[["split", "kind"]] = rows[["split", "kind"]].astype(str)
    about = {"world": trial.world, "arm": trial.arm, "seed": trial.seed, "retention": trial.spec.retention}
    for place, (column, value) in enumerate(about.items()):
        rows.insert(place, column, value)
    rows["option_log_probs"] = [score.log_probs for score in scores]
    rows["option_tokens"] = [score.tokens for score in scores]
    rows["correct"] = [likeliest(own) in q.answers for q, own in zip(questions, deciding, strict=True)]
    rows["correct_by_token_mean"] = [likeliest(own) in q.answers for q, own in zip(questions, means, strict=True)]
    rows["chance"] = [question.chance for question in questions]
    rows["params_sha256"] = content_hash(trial.params.plain())
    rows["model_sha256"] = trial.model_sha256
    rows["dtype"] = trial.params.model.dtype
    return rows


def _store(run: Run, store: Store, rows: pd.DataFrame, record: dict[str, Any], started: float) -> None:
    """Store a run: its rows, and its record with its provenance."""
    # ru_maxrss counts KiB on Linux and bytes on macOS.
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    about = {
        "label": run.label,
        "recipe": run.recipe,
        "params": run.params.plain(),
        **({"claims_sha256": sha256_of(file)} if is_file(file := run.params.claims_file) else {}),
        "source": provenance.source(),
        "libraries": {"python": ".".join(map(str, sys.version_info[:3])), **{n: version(n) for n in LIBRARIES}},
        "device": pick_device(run.params.model),
        "seconds": time.monotonic() - started,
        **({"peak_device_bytes": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes,
    }
    store.write(run.key, rows, record | about, run.name)
