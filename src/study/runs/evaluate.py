"""Evaluate an arm: what each question has in context, how it is asked, and a row for each answer."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.arms import EACH_ITS_OWN, Context, Source
from study.data.context import fitting
from study.data.questions import Dataset, Document, Question, nested_subset
from study.data.retrieval import Retriever, supporting, with_relations_reversed
from study.lm.attention import PrefixCache, positions
from study.lm.flops import forward_flops, size_of
from study.lm.framing import Asking
from study.lm.scoring import OptionScores, score_options
from study.params import Score
from study.runs import training_text
from study.runs.augment import MARGIN, fact_and_answer
from study.runs.augment import read as read_statement
from study.runs.run import (
    EvaluationRun,
    likeliest,
    prompts_of,
)
from study.runs.store import Store, content_hash
from study.runs.texts import generated, texts_of
from study.sums import added
from study.worlds.world import World


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
    questions = exam.questions
    given, asking = offered_documents(trial, material), Asking(tokenizer, prompts, trial.form)
    if spec.context in EACH_ITS_OWN:
        contexts = own_contexts(trial, model, tokenizer, given, exam, questions, asking)
    else:
        most = longest(tokenizer, exam.questions, asking)
        contexts = [in_context(trial, model, tokenizer, given, most)] * len(questions)
    texts = [asking.context(prompts.in_context([document.text for document in some])) for some in contexts]
    asked = [asking.question(question.query) for question in questions]
    started = time.monotonic()
    context, leads = texts[0], [""] * len(questions)
    if spec.context in EACH_ITS_OWN:  # it is a part of the query
        context, leads = "", [f"{text} " if text and not text[-1].isspace() else text for text in texts]

    def scored(queries: Sequence[str]) -> list[OptionScores]:
        asking_all = [(lead + text, q.options) for lead, text, q in zip(leads, queries, questions, strict=True)]
        return score_options(model, tokenizer, context, asking_all, prefix_cache=prefix_cache)

    scores = scored(asked)
    seconds = time.monotonic() - started
    priors = None
    if trial.params.prompts.score is Score.PMI:
        if exam.world is None:
            raise ValueError("prompts.score = 'pmi': whom a question names is not known; use another score")
        unnamed = [exam.world.without_names(question.query) for question in questions]
        # Whole statements stand behind a query that names nobody: nothing is to be taken off their scores.
        found = scored([asking.question(text) for text in unnamed])
        priors = [
            prior.log_probs if text != question.query else (0.0,) * len(prior.log_probs)
            for prior, text, question in zip(found, unnamed, questions, strict=True)
        ]
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
        "share_of_documents_in_context": sum(map(_letters, contexts)) / max(1, len(contexts) * _letters(given)),
        "share_of_facts_in_context": added(_share_of_facts(d, exam) for d in contexts) / len(contexts),
        "questions": len(questions),
        "parameters": sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name),
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
        taught = training_text.taught_half(exam.world, trial.dataset)
        rows["untaught"] = [training_text.untaught(exam.world, question, taught) for question in questions]
        if spec.train:
            _add_exposure(rows, trial, exam, exam.world, questions, store)
    return rows, record


def _letters(documents: Sequence[Document]) -> int:
    return sum(len(document.text) for document in documents)


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
    inferred = training_text.inferences_of(trial.spec, exam, partial(generated, trial, store), trial.dataset)
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
        given = tuple(nested_subset(given, spec.shots, trial.dataset))
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
    return fitting(documents, tokens_of, least, trial.dataset) if documents else ()


def _rows(
    trial: EvaluationRun,
    questions: Sequence[Question],
    scores: Sequence[OptionScores],
    priors: Sequence[Sequence[float]] | None,
) -> pd.DataFrame:
    """Questions with each option's log-probability and whether the true one is the likeliest, by the score declared."""
    summed = [np.array(score.log_probs) for score in scores]
    means = [np.divide(score.log_probs, score.tokens) for score in scores]
    deciding = means if trial.params.prompts.score is Score.MEAN else summed
    if priors:
        deciding = [own - np.array(prior) for own, prior in zip(summed, priors, strict=True)]
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
