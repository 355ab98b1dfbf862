"""The pretraining corpus: fresh worlds written as "facts so: inferences", in the study's own prompts.

Only the inferences carry loss: the facts are noise that no model can predict.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from study.data import make_documents
from study.params import Stage
from study.prompts import context_prompt, global_prompt
from study.words import Lexicon
from study.world import Fact, Statement, World
from study.worlds import WORLDS

SENTENCE_TOKENS = 10  # about; only to size a world to the room left in a row


class Text(NamedTuple):
    """A pretraining document: the prompt without loss, the continuation with loss, ended by </s> if complete."""

    prompt: str
    continuation: str


def ordered_statements(
    world: World, wordings: int
) -> dict[Fact, tuple[list[Statement], list[Statement], list[Statement]]]:
    """For each stated fact its reversals, its restatements and the two-hop statements it supports.

    Each entailed relation contributes its first `wordings` wordings of either order.
    """
    found: dict[Fact, tuple[list[Statement], list[Statement], list[Statement]]] = {
        fact: ([], [], []) for fact in world.facts
    }
    rank: dict[tuple[Fact, bool], int] = {}
    for statement, derivation in world.statements.items():
        order = (statement.fact, world.subject_first(statement))
        rank[order] = rank.get(order, 0) + 1
        if rank[order] > wordings:
            continue
        for support in derivation.supports:
            if derivation.hops == 2:
                found[support][2].append(statement)
            elif derivation.hops == 1:
                found[support][0 if world.answer(statement) == support.subject else 1].append(statement)
    return found


def small_world(rng: random.Random, name: str, lexicon: Lexicon, facts: int, one_relation: bool) -> World:
    """A world of about `facts` facts; with `one_relation` nothing but its entities tells its facts apart."""
    module: Any = WORLDS[name]
    if name == "family":
        children, grandchildren = rng.choice(((1, 1), (1, 2), (2, 1), (2, 2)))
        families = max(1, facts // (2 * children * (1 + grandchildren)))
        shape = module.Params(size=families, children=children, grandchildren=grandchildren)
    else:
        shape = module.Params(size=max(2, facts), features=1 if one_relation else rng.randint(2, len(module.PAIRS)))
    world: World = module.build(rng, lexicon, shape)
    return world


def write_text(rng: random.Random, stage: Stage, lexicon: Lexicon, room_tokens: int) -> Text:
    """One text of a stage, sized to the room left in its row."""
    task = rng.choices(("review", "local", "global"), weights=(stage.review, stage.local, stage.global_))[0]
    name = rng.choice(stage.worlds)
    per_fact = rng.randint(1, min(2, stage.wordings))
    most = max(2, min(stage.facts, room_tokens // (SENTENCE_TOKENS * (per_fact + 1))))
    facts = 2 if task == "local" else rng.randint(2, most)
    world = small_world(rng, name, lexicon._replace(openings=stage.openings), facts, rng.random() < stage.one_relation)
    documents = make_documents(world, rng, per_fact, stage.wordings)
    statements = ordered_statements(world, stage.wordings)
    texts = [document.text for document in documents]

    def written(chosen: Sequence[Statement]) -> str:
        return " ".join(world.render(statement) for statement in chosen)

    if task == "review":
        chosen = []
        for fact in world.facts:
            reversals, restatements, two_hops = statements[fact]
            if rng.random() < stage.reverse:
                chosen.append(rng.choice(two_hops if two_hops and rng.random() < 0.5 else reversals))
            if rng.random() < stage.restate:
                chosen.append(rng.choice(restatements))
        return Text(context_prompt(texts), written(rng.sample(chosen, len(chosen))))

    target = documents[0]
    reversals, restatements, two_hops = statements[target.fact]
    restatements = [s for s in restatements if s != target.statement]
    if task == "local":
        prompt, chosen = context_prompt([target.text]), reversals + restatements
        return Text(prompt, written(rng.sample(chosen, len(chosen))))
    # Global: what the target gives alone, then what it gives together with other facts.
    alone = rng.sample(reversals, min(2, len(reversals)))
    chains = rng.sample(two_hops, min(4, len(two_hops)))
    return Text(global_prompt(rng.sample(texts, len(texts)), target.text), written(alone + chains))
