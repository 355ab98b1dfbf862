"""Inferences a model writes, in context, from its training documents; judged against the deductive closure.

Local: one statement in view. Global: all documents in view, one of them named as the target.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.data import Document
from study.generate import Generation, generate
from study.params import Augmentation, Source
from study.prompts import global_prompt, local_prompt
from study.world import Split, Stated, Statement, Status, World

UNPARSEABLE = "unparseable"


class Inference(NamedTuple):
    """One generated sentence.

    Attributes:
        source: local or global.
        document: the sentence (local) or the document (global) it was written about.
        sample: which of the document's samples.
        sentence: the text, ending in a full stop.
        status: entailed, contradicted, unsupported, or unparseable.
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


def sentences(text: str) -> list[str]:
    """The complete sentences of a text; a last one without full stop was cut off and does not count."""
    return [sentence.strip() for sentence in re.findall(r"[^.]+\.", text)]


def asked(world: World, statement: Statement) -> str:
    """A fact and the entity asked for, the same for all wordings."""
    return f"{' / '.join(statement.fact)} -> {world.answer(statement)}"


def judge(world: World, stated: Stated, source: Source, document: str, sample: int, text: str) -> list[Inference]:
    """Each sentence of a generated text with its standing in the world."""
    inferences = []
    for sentence in sentences(text):
        statement = world.parse(sentence)
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
                fact=asked(world, statement) if statement else None,
            )
        )
    return inferences


def stated_in(world: World, documents: Sequence[Document]) -> Stated:
    """What documents state."""
    return Stated(world, (statement for document in documents for statement in document.statements))


def augment(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    documents: Sequence[Document],
    source: Source,
    params: Augmentation,
    seed: int,
) -> tuple[list[Inference], Generation]:
    """Let the model write `params.samples` times: from each sentence that states something, or about each document.

    Returns:
        Every sentence with its standing, and the texts they are from.
    """
    texts = [document.text for document in documents]
    if source is Source.LOCAL:
        seen = list(dict.fromkeys(sentence for document in documents for sentence in document.stating))
        prompts, tokens = [local_prompt(sentence) for sentence in seen], params.local_tokens
    else:
        seen = texts
        prompts, tokens = [global_prompt(texts, target) for target in seen], params.global_tokens
    written = generate(model, tokenizer, prompts * params.samples, tokens, params.temperature, seed, params.batch_size)
    stated = stated_in(world, documents)
    inferences = [
        inference
        for k, text in enumerate(written.texts)
        for inference in judge(world, stated, source, seen[k % len(seen)], k // len(seen), text)
    ]
    return inferences, written


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
        if split not in (None, Split.TRAINED, Split.REPHRASED):
            facts.setdefault(split, set()).add(asked(world, statement))
    return facts


def quality(inferences: Sequence[Inference], possible: dict[Split, set[str]]) -> dict[str, float]:
    """Precision, contradictions, unparseable share and recall by split, with the counts behind them."""
    count = len(inferences)
    parsed = [i for i in inferences if i.status != UNPARSEABLE]
    report: dict[str, float] = {
        "sentences": count,
        "unparseable": (count - len(parsed)) / count if count else float("nan"),
        "precision": sum(i.status == Status.ENTAILED for i in parsed) / len(parsed) if parsed else float("nan"),
        "contradicted": sum(i.status == Status.CONTRADICTED for i in parsed) / len(parsed) if parsed else float("nan"),
    }
    for split, facts in possible.items():
        found = {i.fact for i in inferences if i.split is split}
        report[f"recall of {split}"] = len(found & facts) / len(facts)
    return report
