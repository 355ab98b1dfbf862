"""Inferences a model writes, in context, from its training documents; judged against the deductive closure.

Local: one document in view. Global: all documents in view, one of them named as the target.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.data import Document
from study.params import Augmentation, Source
from study.prompts import global_prompt, local_prompt
from study.world import Split, Statement, Status, World

UNPARSEABLE = "unparseable"


class Inference(NamedTuple):
    """One generated sentence.

    Attributes:
        source: local or global.
        document: the document it was written from.
        sample: which of the document's samples.
        sentence: the text, ending in a full stop.
        status: entailed, contradicted, unsupported, or unparseable.
        split: the split of the questions it answers; None if it is not entailed or rests on more than two facts.
        fact: canonical form of the entailed fact and what it asks for, so that wordings can be counted as one.
    """

    source: Source
    document: str
    sample: int
    sentence: str
    status: str
    split: Split | None
    fact: str | None


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    temperature: float,
    seed: int,
    batch_size: int,
) -> list[str]:
    """Sample one continuation of each prompt.

    Raises:
        ValueError: if a prompt and its continuation exceed the model's positions; nothing is ever cut.
    """
    lengths = [len(ids) for ids in tokenizer(list(prompts)).input_ids]
    limit = model.config.max_position_embeddings
    if max(lengths) + max_new_tokens > limit:
        raise ValueError(
            f"a prompt of {max(lengths)} tokens and {max_new_tokens} new ones exceed the model's {limit} positions"
        )
    devices = [model.device] if model.device.type == "cuda" else []
    texts = []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for at in range(0, len(prompts), batch_size):
            batch = tokenizer(
                list(prompts[at : at + batch_size]), return_tensors="pt", padding=True, padding_side="left"
            ).to(model.device)
            ids = model.generate(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
            )
            texts += tokenizer.batch_decode(ids[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    return texts


def sentences(text: str) -> list[str]:
    """The complete sentences of a text; a last one without full stop was cut off and does not count."""
    return [sentence.strip() for sentence in re.findall(r"[^.]+\.", text)]


def asked(world: World, statement: Statement) -> str:
    """A fact and the entity asked for, the same for all wordings."""
    return f"{' '.join(statement.fact)} -> {world.answer(statement)}"


def judge(
    world: World, stated: frozenset[Statement], source: Source, document: str, sample: int, text: str
) -> list[Inference]:
    """Each sentence of a generated text with its standing in the world."""
    inferences = []
    for sentence in sentences(text):
        statement = world.parse(sentence)
        status = str(world.status(statement.fact)) if statement else UNPARSEABLE
        entailed = status == Status.ENTAILED
        inferences.append(
            Inference(
                source=source,
                document=document,
                sample=sample,
                sentence=sentence,
                status=status,
                split=world.split_of(statement, stated) if statement and entailed else None,
                fact=asked(world, statement) if statement and entailed else None,
            )
        )
    return inferences


def augment(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    documents: Sequence[Document],
    source: Source,
    params: Augmentation,
    seed: int,
) -> list[Inference]:
    """Let the model write from each document, `params.samples` times."""
    texts = [document.text for document in documents]
    stated = frozenset(document.statement for document in documents)
    prompts = [local_prompt(t) if source is Source.LOCAL else global_prompt(texts, t) for t in texts]
    tokens = params.local_tokens if source is Source.LOCAL else params.global_tokens
    written = generate(model, tokenizer, prompts * params.samples, tokens, params.temperature, seed, params.batch_size)
    return [
        inference
        for k, text in enumerate(written)
        for inference in judge(world, stated, source, texts[k % len(texts)], k // len(texts), text)
    ]


def oracle_sentences(world: World, documents: Sequence[Document]) -> list[str]:
    """The true closure up to two hops, in every wording that the documents do not hold themselves."""
    stated = frozenset(document.statement for document in documents)
    return [
        world.render(statement)
        for statement in world.statements
        if statement not in stated and world.split_of(statement, stated)
    ]


def closure_facts(world: World, documents: Sequence[Document]) -> dict[Split, set[str]]:
    """What could be inferred: for each split the facts and asked entities, wordings counted as one."""
    stated = frozenset(document.statement for document in documents)
    facts: dict[Split, set[str]] = {}
    for statement in world.statements:
        split = world.split_of(statement, stated)
        if split in (Split.REVERSAL, Split.TWO_HOPS):
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
