"""Inferences a model generates, in context, from its training documents; judged against the deductive closure.

Local: one statement in view. Global: all documents in view, one of them named as the target.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.arms import Source
from study.data.context import fitting
from study.data.questions import Document, stated_in
from study.data.sentences import generated_sentences
from study.lm.attention import positions
from study.lm.framing import framed
from study.lm.generation import Generation, generate
from study.lm.prompts import Prompts
from study.params import Augmentation, Params
from study.runs.run import prompts_of
from study.worlds.world import Split, Stated, Statement, Status, World

UNPARSEABLE, UNJUDGED = "unparseable", "unjudged"
MARGIN = 4  # tokens that two texts may take more when joined
THINKS = "<think>"  # the end of a template that always has the model think


class Inference(NamedTuple):
    """One generated sentence.

    Attributes:
        source: local or global.
        document: the sentence (local) or the document (global) it was generated from.
        sample: which of the document's samples.
        sentence: the text, ending in a full stop.
        status: entailed, contradicted, unsupported, or unparseable; unjudged where what is true is not known.
        split: of the questions it answers; None if it is not entailed, or answers none.
        fact: as `fact_and_answer`, true or not; None if it is unparseable.
    """

    source: Source
    document: str
    sample: int
    sentence: str
    status: str
    split: Split | None
    fact: str | None


def fact_and_answer(world: World, statement: Statement) -> str:
    """A fact and the entity asked for, the same for all wordings."""
    return f"{' / '.join(statement.fact)} -> {world.answer(statement)}"


def judge(
    world: World | None, stated: Stated | None, source: Source, document: str, sample: int, sentences: Sequence[str]
) -> list[Inference]:
    """Each generated sentence with its status; unjudged where there is no world."""

    def judged(sentence: str) -> tuple[str, Split | None, str | None]:
        if world is None or stated is None:
            return UNJUDGED, None, None
        if (statement := read(world, sentence)) is None:
            return UNPARSEABLE, None, None
        status = str(world.status(statement.fact))
        known = status == Status.ENTAILED and statement.fact in world.closure
        return status, world.split_of(statement, stated) if known else None, fact_and_answer(world, statement)

    return [Inference(source, document, sample, sentence, *judged(sentence)) for sentence in sentences]


def read(world: World, sentence: str) -> Statement | None:
    """The statement of a sentence; models begin with a capital, which some worlds never do."""
    return world.parse(sentence) or world.parse(sentence[:1].lower() + sentence[1:])


@dataclass(frozen=True)
class TextGenerator:
    """A model that generates text.

    Attributes:
        write: continuations of prompts, given the most new tokens of each and whether to add special tokens.
        tokenizer: of the model.
        positions: tokens that the model can hold; None if there is no limit.
    """

    write: Callable[[Sequence[str], int, bool], Generation]
    tokenizer: PreTrainedTokenizerBase
    positions: int | None


def generator_with(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, how: Augmentation, seed: int
) -> TextGenerator:
    """A loaded model as a generator; the seed decides what it samples."""

    def write(prompts: Sequence[str], tokens: int, special_tokens: bool) -> Generation:
        return generate(
            model, tokenizer, prompts, tokens, how.temperature, seed, how.batch_size, special_tokens=special_tokens
        )

    return TextGenerator(write, tokenizer, positions(model))


def own_part(text: str, ended: bool, prompts: Prompts) -> tuple[str, bool]:
    """A generated text up to where the model continues as if prompted again, and whether it ended there."""
    own, cut, _ = text.lstrip("\n").partition(prompts.ends_at) if prompts.ends_at else (text, "", "")
    return own, ended or bool(cut)


def sentences_in(prompt: str, text: str, ended: bool, prompts: Prompts) -> list[str]:
    """The sentences generated from a prompt, without thoughts."""
    begun = THINKS if prompt.rstrip().endswith(THINKS) else ""
    return generated_sentences(*own_part(begun + text, ended, prompts))


def augment(
    generator: TextGenerator,
    world: World | None,
    documents: Sequence[Document],
    source: Source,
    params: Params,
    name: str,
) -> tuple[list[Inference], Generation, float]:
    """Generate `samples` times from each sentence that states something (local), or about each document (global).

    Args:
        generator: the model.
        world: judges what is generated; None leaves it unjudged.
        documents: to generate from.
        source: local or global.
        params: prompts and augmentation.
        name: of dataset and seed; it draws which documents are in view where not all fit beside the target.

    Returns:
        Every sentence with its status, all generated text, and the share of the documents that were in view.
    """
    prompts, how, view = prompts_of(params), params.augmentation, tuple(documents)

    turns = prompts.turns(source.value)

    def given(text: str) -> str:
        return framed(generator.tokenizer, text, prompts, params.prompts.thinking, turns)

    if source is Source.LOCAL:
        tokens = how.local_tokens
        targets = list(dict.fromkeys(sentence for document in documents for sentence in document.stating))
        each = [given(prompts.from_one(sentence)) for sentence in targets]
    else:
        tokens, targets = how.global_tokens, [document.text for document in documents]
        lengths = [len(ids) for ids in generator.tokenizer(targets, add_special_tokens=False).input_ids]
        longest = targets[lengths.index(max(lengths))]
        limits = [generator.positions and generator.positions - tokens - MARGIN, params.questions.context_tokens]

        def taken(some: Sequence[Document]) -> int:
            text = given(prompts.from_all([document.text for document in some], longest))
            return len(generator.tokenizer(text, add_special_tokens=not prompts.chat).input_ids)

        view = fitting(documents, taken, min((limit for limit in limits if limit), default=None), name)
        each = [given(prompts.from_all([document.text for document in view], target)) for target in targets]
    generation = generator.write(each * how.samples, tokens, not prompts.chat)
    stated = stated_in(world, documents) if world else None
    inferences: list[Inference] = []
    texts = zip(each * how.samples, generation.texts, generation.ended, strict=True)
    for k, (prompt, text, ended) in enumerate(texts):
        sample, target = divmod(k, len(targets))
        sentences = sentences_in(prompt, text, ended, prompts)
        inferences += judge(world, stated, source, targets[target], sample, sentences)
    return inferences, generation, len(view) / len(documents)


def closure_facts(world: World, documents: Sequence[Document]) -> dict[Split, set[str]]:
    """What could be inferred: `fact_and_answer` of each statement, by split."""
    stated = stated_in(world, documents)
    facts: dict[Split, set[str]] = {}
    for statement, derivation in world.statements.items():
        split = world.split_of(statement, stated) if derivation.supports else None
        if split not in (None, Split.STATED, Split.REPHRASED):
            facts.setdefault(split, set()).add(fact_and_answer(world, statement))
    return facts


def repeats(inference: Inference) -> bool:
    """Whether a sentence only says again, word for word, what it was generated from."""
    said, given = (" ".join(re.findall(r"\w+", text.lower())) for text in (inference.sentence, inference.document))
    return f" {said} " in f" {given} "


def quality(inferences: Sequence[Inference], possible: dict[Split, set[str]]) -> dict[str, float]:
    """Number of sentences, and shares of them: repeated, precision, ..., recall by split; nan of nothing."""

    def share(status: str, of: Sequence[Inference]) -> float:
        return sum(i.status == status for i in of) / len(of) if of else float("nan")

    parsed = [i for i in inferences if i.status not in (UNPARSEABLE, UNJUDGED)]
    report: dict[str, float] = {
        "sentences": len(inferences),
        "repeated": sum(map(repeats, inferences)) / len(inferences) if inferences else float("nan"),
        "unparseable": share(UNPARSEABLE, inferences),
        "precision": share(Status.ENTAILED, parsed),
        "contradicted": share(Status.CONTRADICTED, parsed),
    }
    for split, facts in possible.items():
        found = {i.fact for i in inferences if i.split is split}
        report[f"recall of {split}"] = len(found & facts) / len(facts)
    return report
