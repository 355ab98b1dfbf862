"""Documents and questions of a world."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from study.world import Fact, Split, Statement, World


class Document(NamedTuple):
    """A training document: one statement of one fact."""

    fact: Fact
    statement: Statement
    text: str


class Question(NamedTuple):
    """A query with options, one of which the world entails; the others it does not.

    Attributes:
        item_id: stable name within the world.
        cluster: the stated fact the question hangs on; questions of one cluster are not independent.
        query: text before the option, without trailing space.
        options: texts that may follow, each with its leading space; all end the sentence.
        answer: index of the true option.
        rule: last rule of the derivation.
        hops: stated facts the answer rests on.
        supports: those facts, as canonical sentences.
    """

    item_id: str
    split: Split
    cluster: str
    query: str
    options: tuple[str, ...]
    answer: int
    rule: str
    hops: int
    supports: tuple[str, ...]


def make_documents(world: World, rng: random.Random, wordings_per_fact: int, wordings: int = 99) -> list[Document]:
    """Each fact in `wordings_per_fact` of its first `wordings` forward wordings, in random order."""
    documents = []
    for fact in world.facts:
        forward = world.forward_statements(fact)[:wordings]
        for statement in rng.sample(forward, min(wordings_per_fact, len(forward))):
            documents.append(Document(fact, statement, world.render(statement)))
    rng.shuffle(documents)
    return documents


def cluster_of(world: World, statement: Statement) -> str:
    """The canonical sentence of the first stated fact a statement rests on."""
    return min(world.render(Statement(fact, 0)) for fact in world.statements[statement].supports)


def make_question(world: World, statement: Statement, split: Split, options: int, seed: str) -> Question:
    """Ask for a statement's last entity among at most `options` entities, or for the statement itself.

    The same seed and statement give the same question, whatever else is asked.
    """
    item_id = world.render(statement)
    rng = random.Random(f"{seed}/{split}/{item_id}")
    derivation = world.statements[statement]
    if split is Split.CONTRADICTION:
        query, texts = "", [item_id, *(world.render(false) for false in contradictions(world, statement)[:1])]
    else:
        entities = (world.answer(statement), *world.distractors(statement)[: options - 1])
        query, texts = world.query(statement), [f" {entity}." for entity in entities]
    order = rng.sample(range(len(texts)), len(texts))
    return Question(
        item_id=item_id,
        split=split,
        cluster=cluster_of(world, statement),
        query=query,
        options=tuple(texts[k] for k in order),
        answer=order.index(0),
        rule=derivation.rule,
        hops=derivation.hops,
        supports=tuple(sorted(world.render(Statement(fact, 0)) for fact in derivation.supports)),
    )


def contradictions(world: World, statement: Statement) -> list[Statement]:
    """The statement with the disjoint relation in its relation's place, worded alike: what it cannot mean."""
    relation = statement.fact.relation
    others = [other for pair in world.disjoint if relation in pair for other in pair if other != relation]
    return [Statement(statement.fact._replace(relation=other), statement.template) for other in others]


def make_questions(
    world: World,
    documents: Sequence[Document],
    seed: str,
    options: int,
    per_split: int,
    splits: Sequence[Split] = tuple(Split),
) -> list[Question]:
    """At most `per_split` questions of each split, spread evenly over clusters, in a fixed order.

    A statement with too few distractors for `options` options is not asked.
    """
    stated = frozenset(document.statement for document in documents)
    by_split: dict[Split, list[Statement]] = {split: [] for split in Split}
    for statement in world.statements:
        split = world.split_of(statement, stated)
        if split:
            by_split[split].append(statement)
    by_split[Split.CONTRADICTION] = [s for s in by_split[Split.REVERSAL] if contradictions(world, s)]
    questions = []
    for split in splits:
        rng = random.Random(f"{seed}/{split}")
        for statement in spread(by_split[split], lambda s: cluster_of(world, s), rng)[:per_split]:
            question = make_question(world, statement, split, options, seed)
            if len(question.options) == (2 if split is Split.CONTRADICTION else options):
                questions.append(question)
    return questions


def spread(items: Sequence[Statement], key: Callable[[Statement], str], rng: random.Random) -> list[Statement]:
    """Items in random order, one of every cluster before a second of any."""
    clusters: dict[str, list[Statement]] = {}
    for item in rng.sample(list(items), len(items)):
        clusters.setdefault(key(item), []).append(item)
    ranked = [(rank, item) for members in clusters.values() for rank, item in enumerate(members)]
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]
