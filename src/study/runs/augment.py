"""Inferences a model writes, in context, from its training documents; judged against the deductive closure.

Local: one statement in view. Global: all documents in view, one of them named as the target.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.config import ParamsError
from study.data.context import fitting
from study.data.questions import Document
from study.data.sentences import generated_sentences
from study.limits import limited
from study.lm.attention import positions
from study.lm.generation import Generation, generate
from study.lm.prompts import Prompts
from study.params import Augmentation, Params, Source
from study.runs.run import prompts_of
from study.worlds.world import Split, Stated, Statement, Status, World

UNPARSEABLE, UNJUDGED = "unparseable", "unjudged"
# Some templates say what day it is, by a setting or by a clock; a prompt must be the same tomorrow.
DATE = "01 Jan 2025"
NO_CLOCK = f"{{% macro strftime_now(format) %}}{DATE}{{% endmacro %}}"
MARGIN = 4  # tokens that two texts may take more together than alone
TEMPLATE_SECONDS, TEMPLATE_GIGABYTES = 10, 1  # that filling in a chat template may take
THINKS = "<think>"  # what a template ends with that has the model think whether it is to or not


class Inference(NamedTuple):
    """One generated sentence.

    Attributes:
        source: local or global.
        document: the sentence (local) or the document (global) it was written about.
        sample: which of the document's samples.
        sentence: the text, ending in a full stop.
        status: entailed, contradicted, unsupported, or unparseable; unjudged where what is true is not known.
        split: the split of the questions it answers; None if it is not entailed, or nothing asks for it.
        fact: what it says, true or not, and what it asks for, the same for all wordings; None if it is unparseable.
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
    world: World, stated: Stated, source: Source, document: str, sample: int, written: Sequence[str]
) -> list[Inference]:
    """Each sentence of a generated text with its standing in the world."""
    inferences = []
    for sentence in written:
        statement = read(world, sentence)
        status = str(world.status(statement.fact)) if statement else UNPARSEABLE
        entailed = statement if status == Status.ENTAILED else None
        inferences.append(
            Inference(
                source=source,
                document=document,
                sample=sample,
                sentence=sentence,
                status=status,
                split=world.split_of(entailed, stated) if entailed and entailed.fact in world.closure else None,
                fact=fact_and_answer(world, statement) if statement else None,
            )
        )
    return inferences


def unjudged(source: Source, document: str, sample: int, written: Sequence[str]) -> list[Inference]:
    """Each sentence of a generated text where what is true is not known."""
    return [Inference(source, document, sample, sentence, UNJUDGED, None, None) for sentence in written]


def read(world: World, sentence: str) -> Statement | None:
    """The statement a sentence makes, where it begins with a capital too, as in worlds of small letters none does."""
    return world.parse(sentence) or world.parse(sentence[:1].lower() + sentence[1:])


def stated_in(world: World, documents: Sequence[Document]) -> Stated:
    """What documents state."""
    return Stated(world, (statement for document in documents for statement in document.statements))


@dataclass(frozen=True)
class TextGenerator:
    """A model that writes.

    Attributes:
        write: continuations of prompts, each of so many tokens at most; the last argument says whether the tokenizer
            still has to add what begins a text.
        tokenizer: of the model.
        positions: tokens that the model can hold; None if there is no limit.
    """

    write: Callable[[Sequence[str], int, bool], Generation]
    tokenizer: PreTrainedTokenizerBase
    positions: int | None


def generator_with(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, how: Augmentation, seed: int
) -> TextGenerator:
    """A model at hand as it writes; the seed decides what it draws."""

    def write(prompts: Sequence[str], tokens: int, special_tokens: bool) -> Generation:
        return generate(
            model, tokenizer, prompts, tokens, how.temperature, seed, how.batch_size, special_tokens=special_tokens
        )

    return TextGenerator(write, tokenizer, positions(model))


def framed(tokenizer: PreTrainedTokenizerBase, prompt: str, prompts: Prompts, thinking: bool) -> str:
    """A prompt as the model is given it: in its chat template, if it is one to chat with."""
    if not prompts.chat:
        return prompt
    if not tokenizer.chat_template:
        raise ParamsError("prompts.style = 'chat': the model's tokenizer has no chat template; use plain")
    try:
        with limited(TEMPLATE_SECONDS, TEMPLATE_GIGABYTES):  # a template is a program that came with the model
            text: str = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                chat_template=NO_CLOCK + tokenizer.get_chat_template(),
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=thinking,
                date_string=DATE,
            )
    except Exception as error:  # whatever it does
        raise ParamsError(
            f"prompts.style = 'chat': the model's chat template fails ({type(error).__name__}: {error}); use plain"
        ) from None
    return text


def own_part(text: str, ended: bool, prompts: Prompts) -> tuple[str, bool]:
    """A written text up to where a model that goes on as if asked again begins to, and whether it ended there."""
    own, cut, _ = text.lstrip("\n").partition(prompts.ends_at) if prompts.ends_at else (text, "", "")
    return own, ended or bool(cut)


def sentences_in(prompt: str, text: str, ended: bool, prompts: Prompts) -> list[str]:
    """The sentences of a text written behind a prompt, thoughts and what is not its own left out."""
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
    """Let a model write `samples` times: from each sentence that states something, or about each document.

    Args:
        generator: the model.
        world: that judges what is written; None leaves it unjudged.
        documents: to write from.
        source: local or global.
        params: prompts and augmentation.
        name: of world and seed, which decides which documents are in view where not all fit beside the target.

    Returns:
        Every sentence with its standing, what was written, and the share of the documents that were in view.
    """
    prompts, how, view = prompts_of(params), params.augmentation, tuple(documents)

    def given(text: str) -> str:
        return framed(generator.tokenizer, text, prompts, params.prompts.thinking)

    if source is Source.LOCAL:
        tokens = how.local_tokens
        seen = list(dict.fromkeys(sentence for document in documents for sentence in document.stating))
        prompts_given = [given(prompts.from_one(sentence)) for sentence in seen]
    else:
        seen, tokens = [document.text for document in documents], how.global_tokens
        lengths = [len(ids) for ids in generator.tokenizer(seen, add_special_tokens=False).input_ids]
        longest = seen[lengths.index(max(lengths))]
        limits = [generator.positions and generator.positions - tokens - MARGIN, params.questions.context_tokens]

        def taken(some: Sequence[Document]) -> int:
            text = given(prompts.from_all([document.text for document in some], longest))
            return len(generator.tokenizer(text, add_special_tokens=not prompts.chat).input_ids)

        view = fitting(documents, taken, min((limit for limit in limits if limit), default=None), name)
        prompts_given = [given(prompts.from_all([document.text for document in view], target)) for target in seen]
    written = generator.write(prompts_given * how.samples, tokens, not prompts.chat)
    judged = unjudged if world is None else partial(judge, world, stated_in(world, documents))
    inferences = [
        inference
        for k, (prompt, text, ended) in enumerate(
            zip(prompts_given * how.samples, written.texts, written.ended, strict=True)
        )
        for inference in judged(source, seen[k % len(seen)], k // len(seen), sentences_in(prompt, text, ended, prompts))
    ]
    return inferences, written, len(view) / len(documents)


def oracle_sentences(world: World, documents: Sequence[Document]) -> list[str]:
    """The true closure in every wording that documents may use but these do not; questions are left out.

    What is asked for as a whole statement is said behind what asks for it, too.
    """
    stated = stated_in(world, documents)
    told = [
        statement
        for statement, derivation in world.statements.items()
        if derivation.supports
        and not (world.template(statement).held_out or world.template(statement).is_question)
        and statement not in stated.statements
        and world.split_of(statement, stated)
    ]
    asked = [
        f"{world.asking(statement)} {world.render(statement)}" for statement in told if world.alternatives(statement)
    ]
    return [*map(world.render, told), *asked]


def closure_facts(world: World, documents: Sequence[Document]) -> dict[Split, set[str]]:
    """What could be inferred: for each split the facts and asked entities, wordings counted as one."""
    stated = stated_in(world, documents)
    facts: dict[Split, set[str]] = {}
    for statement, derivation in world.statements.items():
        split = world.split_of(statement, stated) if derivation.supports else None
        if split not in (None, Split.STATED, Split.REPHRASED):
            facts.setdefault(split, set()).add(fact_and_answer(world, statement))
    return facts


def quality(inferences: Sequence[Inference], possible: dict[Split, set[str]]) -> dict[str, float]:
    """Precision, contradictions, unparseable share and recall by split, with the counts behind them."""
    count = len(inferences)
    parsed = [i for i in inferences if i.status not in (UNPARSEABLE, UNJUDGED)]
    report: dict[str, float] = {
        "sentences": count,
        "unparseable": sum(i.status == UNPARSEABLE for i in inferences) / count if count else float("nan"),
        "precision": sum(i.status == Status.ENTAILED for i in parsed) / len(parsed) if parsed else float("nan"),
        "contradicted": sum(i.status == Status.CONTRADICTED for i in parsed) / len(parsed) if parsed else float("nan"),
    }
    for split, facts in possible.items():
        found = {i.fact for i in inferences if i.split is split}
        report[f"recall of {split}"] = len(found & facts) / len(facts)
    return report
