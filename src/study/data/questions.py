"""Documents and questions of a dataset."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import accumulate, count, islice
from operator import itemgetter
from typing import NamedTuple, TypeVar

from study.worlds.logic import Fact
from study.worlds.world import Kind, Split, Stated, Statement, Topic, World

Item = TypeVar("Item")
Way = tuple[Statement, str]  # and the lead-in before it


@dataclass(frozen=True)
class Document:
    """A training document.

    Attributes:
        statements: what it states, in order; none without a world.
        sentences: an opening that states nothing, if there is one, then the statements, some after a lead-in.
        file: that it was read from, relative to the folder of documents; "" if it was drawn.
        heading: its opening, if it was read from a file; "" if it has none.
    """

    statements: tuple[Statement, ...]
    sentences: tuple[str, ...]
    file: str = ""
    heading: str = ""

    @property
    def text(self) -> str:
        """The whole document."""
        return " ".join(self.sentences)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The stated facts, each once."""
        return tuple(dict.fromkeys(statement.fact for statement in self.statements))

    @property
    def stating(self) -> tuple[str, ...]:
        """The sentences that state something: all but the opening."""
        opening = len(self.sentences) - len(self.statements) if self.statements else bool(self.heading)
        return self.sentences[opening:]


class Splitting(StrEnum):
    """How documents become training texts."""

    WHOLE = "whole"
    SENTENCES = "sentences"
    CUMULATIVE = "cumulative"
    BEST = "best"  # sentences or whole, as is better


class Question(NamedTuple):
    """A query with options, of which the world entails those in `answers` and no other.

    Attributes:
        item_id: stable name within the dataset and split.
        kind: where the false options come from.
        cluster: the stated fact that the question depends on; questions of one cluster are not independent.
        query: text before the option, without trailing space.
        options: continuations, each with its leading space; all end the sentence.
        answers: indices of the true options: one, or two that are logically equivalent.
        rule: last rule of the derivation.
        hops: number of stated facts that the answer needs.
        supports: those facts, as canonical sentences.
    """

    item_id: str
    split: Split
    kind: Kind
    cluster: str
    query: str
    options: tuple[str, ...]
    answers: tuple[int, ...]
    rule: str
    hops: int
    supports: tuple[str, ...]

    @property
    def chance(self) -> float:
        """Accuracy of a guess."""
        return len(self.answers) / len(self.options)

    @property
    def true_options(self) -> list[str]:
        """The texts of the true options."""
        return [self.options[k].strip() for k in self.answers]


@dataclass(frozen=True)
class Dataset:
    """Documents and questions of one seed.

    Attributes:
        documents: given as context or trained on.
        questions: evaluated.
        world: the facts with their closure; None if they are not known.
    """

    documents: tuple[Document, ...]
    questions: tuple[Question, ...]
    world: World | None = None


def _ways(world: World, rng: random.Random, forms: Sequence[Statement], lead_ins: float) -> Iterator[Way]:
    """Every way to state a fact once: all its forms first, a share of them after a lead-in, then the rest."""
    left: dict[Statement, list[str]] = {}
    for form in forms:
        articles = lead_ins > 0 and not world.template(form).is_question
        left[form] = ["", *(rng.sample(world.lead_ins, len(world.lead_ins)) if articles else [])]
    while any(left.values()):
        for form in rng.sample(forms, len(forms)):
            if left[form]:
                behind = len(left[form]) > 1 and (left[form][0] != "" or rng.random() < lead_ins)
                yield form, left[form].pop(-1 if behind else 0)


def make_documents(
    world: World, rng: random.Random, copies: int, lead_ins: float = 0.0, wordings: int = 99
) -> list[Document]:
    """Each topic in `copies` documents, no two alike, in random order.

    Args:
        world: to write about; a topic that may be stated in both directions gets `copies` documents in each.
        rng: decides wordings, lead-ins and order.
        copies: documents about each topic; fewer if its wordings are used up.
        lead_ins: share of sentences after a lead-in.
        wordings: only the first so many wordings of either order are used.
    """
    documents = []
    for topic in world.topics or [Topic((fact,)) for fact in world.facts]:
        by_order: dict[bool, dict[Fact, list[Statement]]] = {}
        for fact in topic.facts:
            for form in world.document_forms(fact):
                order = world.template(form).subject_first
                by_order.setdefault(order, {}).setdefault(fact, []).append(form)
        for forms in by_order.values():
            ways = {fact: partial(_ways, world, rng, forms[fact][:wordings], lead_ins) for fact in topic.facts}
            documents += _documents_about(world, rng, topic, ways, copies)
    rng.shuffle(documents)
    return documents


def _documents_about(
    world: World, rng: random.Random, topic: Topic, ways: Mapping[Fact, Callable[[], Iterator[Way]]], copies: int
) -> list[Document]:
    left = {fact: begin() for fact, begin in ways.items()}
    documents: dict[Document, None] = {}
    for _ in range(copies):
        fewest = max(len(topic.facts), rng.randint(*topic.sentences))
        chosen: dict[Way, None] = {}
        # Every fact once, then further wordings of any of them; a used-up fact begins again in the next document.
        for fact in [*topic.facts, *rng.choices(topic.facts, k=3 * fewest)]:
            if len(chosen) >= fewest:
                break
            way = next(left[fact], None)
            if way is None and (len(topic.facts) > 1 or fewest > 1):
                left[fact] = ways[fact]()
                way = next(left[fact])
            if way:
                chosen[way] = None
        if chosen:
            ordered = rng.sample(list(chosen), len(chosen))
            sentences = [world.sentence(lead, form) for form, lead in ordered]
            opening = [topic.opening] if topic.opening else []
            documents[Document(tuple(form for form, _ in ordered), (*opening, *sentences))] = None
    return list(documents)


def training_texts(documents: Sequence[Document], splitting: Splitting) -> list[str]:
    """Documents as training texts: whole, one sentence each, or every prefix that ends a sentence; each text once."""
    split: dict[Splitting, Callable[[Document], Sequence[str]]] = {
        Splitting.WHOLE: lambda document: [document.text],
        Splitting.SENTENCES: lambda document: document.sentences,
        Splitting.CUMULATIVE: lambda document: [*accumulate(document.sentences, "{} {}".format)],
    }
    return list(dict.fromkeys(text for document in documents for text in split[splitting](document)))


def nested_subset(documents: Sequence[Document], count: int, seed: str) -> list[Document]:
    """At most `count` documents, in an order that the seed fixes: a smaller subset is the beginning of a larger one."""
    return random.Random(f"subset/{seed}").sample(list(documents), len(documents))[:count]


FEWEST_OPTIONS = 4


class Chooser:
    """Picks distractors so that an entity is a false option in proportion to how often it is the true one.

    Otherwise names would leak the answer: one that is often right and rarely wrong is a good guess.
    """

    def __init__(self, answers: Sequence[str]) -> None:
        self.right = Counter(answers)
        self.used: Counter[str] = Counter()

    def choose(self, tiers: Sequence[Sequence[str]], count: int, unbalanced: bool, rng: random.Random) -> list[str]:
        """At most `count` entities; one that is never right is chosen only if `unbalanced`."""
        chosen: list[str] = []
        for tier in tiers:
            fit = [entity for entity in rng.sample(tier, len(tier)) if unbalanced or self.right[entity]]
            chosen += sorted(fit, key=lambda e: self.used[e] / max(1, self.right[e]))[: count - len(chosen)]
        self.used.update(chosen)
        return chosen


def questions_of_split(
    world: World, statements: Sequence[Statement], split: Split, options: int, seed: str
) -> Iterator[Question]:
    """A question for each statement, with `options` options or, down to four, as many as there are distractors for.

    A question depends on the world, the seed and the statements, not on how many questions are taken.
    """
    choosers: dict[Kind, Chooser] = {}
    answers = [world.answer(statement) for statement in statements]
    offered: set[frozenset[str]] = set()

    def offers(statement: Statement, rng: random.Random) -> Iterator[tuple[Kind, str, list[str], list[int]]]:
        """Kind, query, options and which of these are true."""
        if split is Split.CONTRADICTION:
            query, texts = world.contrast(statement)
            yield Kind.CONTRADICTING, query, texts, [0]
        elif alternatives := world.alternatives(statement):
            texts = [f" {world.render(alternative)}" for alternative in alternatives]
            # Equivalent conclusions ask the same question.
            if frozenset(texts) not in offered:
                offered.add(frozenset(texts))
                true = [k for k, alternative in enumerate(alternatives) if alternative.fact in world.closure]
                yield Kind.ALTERNATIVES, world.asking(statement), texts, true
        else:
            for kind, tiers in world.distractors(statement).items():
                # Of these kinds false options are meant to be none of the split's true ones.
                unbalanced = kind is Kind.OTHER_RULE or (kind is Kind.COMPLETIONS and split is Split.REVERSAL)
                chooser = choosers.setdefault(kind, Chooser(answers))
                chosen = chooser.choose(tiers, options - 1, unbalanced, rng)
                if len(chosen) + 1 >= min(options, FEWEST_OPTIONS):
                    ending = world.ending(statement)
                    texts = [f" {entity}{ending}" for entity in (world.answer(statement), *chosen)]
                    yield kind, world.query(statement), texts, [0]

    for statement in statements:
        rng = random.Random(f"{seed}/{split.seed}/{world.render(statement)}")
        derivation = world.closure[statement.fact]
        several = len(world.rivals(statement)) > 1 and split is not Split.CONTRADICTION
        for kind, query, texts, true in offers(statement, rng):
            order = rng.sample(range(len(texts)), len(texts))
            yield Question(
                item_id=world.render(statement) + (f" [{kind}]" if several else ""),
                split=split,
                kind=kind,
                cluster=world.cluster(statement),
                query=query,
                options=tuple(texts[k] for k in order),
                answers=tuple(sorted(order.index(k) for k in true)),
                rule=derivation.rule,
                hops=derivation.hops,
                supports=tuple(sorted(world.canonical(fact) for fact in derivation.supports)),
            )


def statements_by_split(world: World, stated: Stated) -> dict[Split, list[Statement]]:
    """The statements that each split can ask for, in the order of the closure.

    Apart from stated ones, only held-out wordings are used, if a relation has any of that order.
    """
    by_split: dict[Split, list[Statement]] = {split: [] for split in Split}
    for fact, derivation in world.closure.items():
        if not derivation.supports:
            continue
        by_order: dict[bool, list[Statement]] = {}
        for form in world.forms(fact):
            by_order.setdefault(world.template(form).subject_first, []).append(form)
            if form in stated.statements:
                by_split[Split.STATED].append(form)
        for forms in by_order.values():
            held_out = [form for form in forms if world.template(form).held_out]
            if world.alternatives(forms[0]):  # options are whole statements, in canonical wording
                held_out = [form for form in forms if form.template == 0]
            for form in held_out or forms:
                split = world.split_of(form, stated)
                if split and split is not Split.STATED:
                    by_split[split].append(form)
    contrasted = [statement for split in world.contrasted for statement in by_split[split]]
    by_split[Split.CONTRADICTION] = [statement for statement in contrasted if world.contradictions(statement)]
    return by_split


def stated_in(world: World, documents: Sequence[Document]) -> Stated:
    """What documents state."""
    return Stated(world, (statement for document in documents for statement in document.statements))


def make_questions(
    world: World, documents: Sequence[Document], seed: str, options: int, per_split: int
) -> list[Question]:
    """At most `per_split` questions of each split, spread evenly over rules and clusters, in a fixed order."""
    by_split = statements_by_split(world, stated_in(world, documents))
    questions: list[Question] = []
    for split in Split:
        rng, keys = random.Random(f"{seed}/{split.seed}"), (lambda s: world.closure[s.fact].rule, world.cluster)
        statements = spread(by_split[split], keys, rng)
        questions += islice(questions_of_split(world, statements, split, options, seed), per_split)
    return questions


def spread(items: Sequence[Item], keys: Sequence[Callable[[Item], str]], rng: random.Random) -> list[Item]:
    """Items in random order, but one of every group before a second of any; the last key's groups count most."""
    order = rng.sample(list(items), len(items))
    for key in keys:
        numbered: dict[str, Iterator[int]] = defaultdict(count)
        ranks = [next(numbered[key(item)]) for item in order]
        order = [item for _, item in sorted(zip(ranks, order, strict=True), key=itemgetter(0))]
    return order
