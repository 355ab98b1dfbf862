"""The pretraining corpus: fresh worlds written as "facts so: inferences", in the study's own prompts.

Only the inferences carry loss: the facts are noise that no model can predict.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from study.data import Document, make_documents
from study.logic import Fact
from study.params import Stage
from study.prompts import context_prompt, global_prompt
from study.words import Lexicon
from study.world import Split, Stated, Statement, World
from study.worlds import WORLDS

SENTENCE_TOKENS = 11  # about; only to size a world to the room left in a row


class Text(NamedTuple):
    """A pretraining document: the prompt without loss, the continuation with loss, ended by </s> if complete."""

    prompt: str
    continuation: str


class Inferences(NamedTuple):
    """What follows from one stated fact: alone, turned round or in its own direction, and joined with others."""

    reversals: list[Statement]
    restatements: list[Statement]
    chains: list[Statement]


def inferences_by_fact(world: World, documents: Sequence[Document], wordings: int) -> dict[Fact, Inferences]:
    """For each stated fact what follows from it, in the first `wordings` wordings of either order."""
    stated = Stated(world, (statement for document in documents for statement in document.statements))
    found = {fact: Inferences([], [], []) for fact in world.facts}
    for fact, derivation in world.closure.items():
        count = {True: 0, False: 0}
        for form in world.forms(fact) if derivation.supports else ():
            order = world.template(form).subject_first
            count[order] += 1
            split = world.split_of(form, stated) if count[order] <= wordings else None
            if split is None:
                continue
            kind = {Split.REVERSAL: 0, Split.TRAINED: 1, Split.REPHRASED: 1}.get(split, 2)
            for support in derivation.supports:
                found[support][kind].append(form)
    return found


def small_world(rng: random.Random, name: str, lexicon: Lexicon, facts: int, one_relation: bool) -> World:
    """A world of about `facts` facts; with `one_relation` nothing but its entities tells its facts apart."""
    module: Any = WORLDS[name]
    world: World = module.build(rng, lexicon, module.Params.of_facts(rng, facts, one_relation))
    return world


def write_text(rng: random.Random, stage: Stage, lexicon: Lexicon, room_tokens: int) -> Text:
    """One text of a stage, sized to the room left in its row."""
    task = rng.choices(("review", "local", "global"), weights=(stage.review, stage.local, stage.global_))[0]
    name = rng.choice(stage.worlds)
    per_fact = rng.randint(1, min(2, stage.wordings))
    most = max(2, min(stage.facts, room_tokens // (SENTENCE_TOKENS * (per_fact + 1))))
    facts = 2 if task == "local" else rng.randint(2, most)
    world = small_world(rng, name, lexicon._replace(openings=stage.openings), facts, rng.random() < stage.one_relation)
    documents = make_documents(world, rng, per_fact, stage.lead_ins, stage.wordings)
    inferences = inferences_by_fact(world, documents, stage.wordings)
    texts = [document.text for document in documents]

    def written(chosen: Sequence[Statement]) -> str:
        return " ".join(world.render(statement) for statement in rng.sample(chosen, len(chosen)))

    def some(statements: Sequence[Statement], count: int) -> list[Statement]:
        return rng.sample(statements, min(count, len(statements)))

    if task == "review":
        chosen = []
        for fact in world.facts:
            reversals, restatements, chains = inferences[fact]
            if rng.random() < stage.reverse:
                chosen += some(chains if chains and (not reversals or rng.random() < 0.5) else reversals, 1)
            if rng.random() < stage.restate:
                chosen += some(restatements, 1)
        return Text(context_prompt(texts), written(chosen))

    target = documents[0]
    if task == "local":
        statement, sentence = rng.choice(list(zip(target.statements, target.stating, strict=True)))
        alone = inferences[statement.fact]
        restatements = [other for other in alone.restatements if other != statement]
        return Text(context_prompt([sentence]), written(alone.reversals + restatements))
    # Global: what the target gives alone, then what it gives together with other facts.
    alone_by_one = [
        form for fact in target.facts for form in some(inferences[fact].reversals or inferences[fact].restatements, 2)
    ]
    chains = list(dict.fromkeys(form for fact in target.facts for form in inferences[fact].chains))
    prompt = global_prompt(rng.sample(texts, len(texts)), target.text)
    return Text(prompt, " ".join([written(some(alone_by_one, 4)), written(some(chains, 4))]).strip())
