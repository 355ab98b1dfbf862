"""A world: facts, the rules that entail more, and the wording of both.

Everything a trial needs comes from this one object: documents, questions with false distractors, the oracle's
text, and the judgement of generated text. Nothing is true in a world but what its deductive closure holds.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

SUBJECT, OBJECT = "{s}", "{o}"


class Fact(NamedTuple):
    """A binary relation between two entities: `subject` is the `relation` of `object`."""

    relation: str
    subject: str
    object: str


# What the variables of a rule stand for, and the facts used so far.
Binding = tuple[dict[str, str], tuple[Fact, ...]]


class Rule(NamedTuple):
    """`head` holds wherever all of `body` holds; subjects and objects of both are variables.

    No relation of any world is reflexive, so a head with equal subject and object is not derived.
    """

    name: str
    head: Fact
    body: tuple[Fact, ...]


class Derivation(NamedTuple):
    """Why a fact holds: the last rule used and the stated facts it rests on in the end."""

    rule: str
    supports: frozenset[Fact]

    @property
    def hops(self) -> int:
        """Stated facts to be combined: 1 for a restatement or an inverse, 2 for a grandparent."""
        return len(self.supports)


class Statement(NamedTuple):
    """A fact in one of its wordings."""

    fact: Fact
    template: int


class Status(StrEnum):
    """What a world says of a fact."""

    ENTAILED = "entailed"
    CONTRADICTED = "contradicted"
    UNSUPPORTED = "unsupported"


class Split(StrEnum):
    """What a question asks for, relative to the documents; the value is the label in tables and figures."""

    TRAINED = "trained direction"
    REPHRASED = "rephrased"
    REVERSAL = "reversal"
    CONTRADICTION = "reversal or contradiction"
    TWO_HOPS = "two hops"


def deductive_closure(facts: Iterable[Fact], rules: Iterable[Rule]) -> dict[Fact, Derivation]:
    """Everything `facts` entail under `rules`, each with the derivation that rests on the fewest stated facts.

    A forward chainer: every improved derivation is pushed through each rule body it fits, until nothing changes.
    """
    closure: dict[Fact, Derivation] = {}
    # Dicts, not sets: the order of a set of strings changes from process to process.
    by_relation: dict[str, dict[Fact, None]] = defaultdict(dict)
    waiting_for: dict[str, list[tuple[Rule, int]]] = defaultdict(list)
    for rule in rules:
        for position, atom in enumerate(rule.body):
            waiting_for[atom.relation].append((rule, position))
    queue = [(fact, Derivation("stated", frozenset([fact]))) for fact in facts]

    def bindings(body: tuple[Fact, ...], bound: dict[str, str], used: tuple[Fact, ...]) -> Iterator[Binding]:
        if not body:
            yield bound, used
            return
        atom, *rest = body
        for fact in by_relation[atom.relation]:
            if bound.get(atom.subject, fact.subject) == fact.subject and (
                bound.get(atom.object, fact.object) == fact.object
            ):
                yield from bindings(
                    tuple(rest), {**bound, atom.subject: fact.subject, atom.object: fact.object}, (*used, fact)
                )

    while queue:
        fact, derivation = queue.pop()
        if fact in closure and closure[fact].hops <= derivation.hops:
            continue
        closure[fact] = derivation
        by_relation[fact.relation][fact] = None
        for rule, position in waiting_for[fact.relation]:
            atom = rule.body[position]
            bound = {atom.subject: fact.subject, atom.object: fact.object}
            others = rule.body[:position] + rule.body[position + 1 :]
            for binding, used in bindings(others, bound, (fact,)):
                head = Fact(rule.head.relation, binding[rule.head.subject], binding[rule.head.object])
                if head.subject != head.object:
                    supports = frozenset[Fact]().union(*(closure[premise].supports for premise in used))
                    queue.append((head, Derivation(rule.name, supports)))
    return closure


@dataclass(frozen=True)
class World:
    """Facts, inference rules and wording.

    Attributes:
        name: key of the world in `study.worlds.WORLDS`.
        facts: what the documents state.
        rules: what may be inferred from it.
        wording: the templates of each relation, each a sentence with {s} and {o} in which an entity comes last.
            The forward templates (subject first) of a stated relation are those documents may use.
        peers: for each entity those that could stand in its place, the best distractors first.
        asymmetric: relations that cannot hold both ways round.
        functional: relations in which an object has one subject only ("father").
        disjoint: pairs of relations that cannot both hold between the same two entities in the same order.
    """

    name: str
    facts: tuple[Fact, ...]
    rules: tuple[Rule, ...]
    wording: Mapping[str, tuple[str, ...]]
    peers: Mapping[str, tuple[str, ...]]
    asymmetric: frozenset[str] = frozenset()
    functional: frozenset[str] = frozenset()
    disjoint: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    @cached_property
    def closure(self) -> dict[Fact, Derivation]:
        """Every entailed fact with its derivation, the stated facts included."""
        return deductive_closure(self.facts, self.rules)

    @cached_property
    def _subjects(self) -> dict[tuple[str, str], set[str]]:
        subjects: dict[tuple[str, str], set[str]] = defaultdict(set)
        for fact in self.closure:
            subjects[fact.relation, fact.object].add(fact.subject)
        return subjects

    @cached_property
    def statements(self) -> dict[Statement, Derivation]:
        """Every entailed fact in every wording, by hops, then in the order of the wording."""
        entailed = sorted(self.closure.items(), key=lambda item: item[1].hops)
        return {Statement(fact, k): d for fact, d in entailed for k in range(len(self.wording[fact.relation]))}

    def template(self, statement: Statement) -> str:
        """The wording of a statement, with its slots open."""
        return self.wording[statement.fact.relation][statement.template]

    def render(self, statement: Statement) -> str:
        """A statement as a sentence."""
        return self.template(statement).format(s=statement.fact.subject, o=statement.fact.object)

    def subject_first(self, statement: Statement) -> bool:
        """Whether the subject comes before the object, so that the sentence asks for the object."""
        template = self.template(statement)
        return template.index(SUBJECT) < template.index(OBJECT)

    def answer(self, statement: Statement) -> str:
        """The entity that comes last."""
        return statement.fact.object if self.subject_first(statement) else statement.fact.subject

    def query(self, statement: Statement) -> str:
        """The sentence up to its last entity, without the space before it."""
        return self.render(statement)[: -len(f" {self.answer(statement)}.")]

    def with_answer(self, fact: Fact, statement: Statement, entity: str) -> Fact:
        """The fact a statement's sentence would state if `entity` came last."""
        return fact._replace(object=entity) if self.subject_first(statement) else fact._replace(subject=entity)

    def forward_statements(self, fact: Fact) -> list[Statement]:
        """The wordings in which documents may state a fact: subject first."""
        every = [Statement(fact, k) for k in range(len(self.wording[fact.relation]))]
        return [statement for statement in every if self.subject_first(statement)]

    def split_of(self, statement: Statement, stated: frozenset[Statement]) -> Split | None:
        """The split of an entailed statement, given those in the documents; None beyond two hops.

        A statement that rests on one fact is a reversal if it asks for the fact's subject, which came first in
        every document, and runs in the trained direction if it asks for the object.
        """
        supports = self.statements[statement].supports
        if len(supports) > 2:
            return None
        if len(supports) == 2:
            return Split.TWO_HOPS
        (support,) = supports
        if self.answer(statement) == support.subject:
            return Split.REVERSAL
        return Split.TRAINED if statement in stated else Split.REPHRASED

    def status(self, fact: Fact) -> Status:
        """Whether the world entails a fact, contradicts it, or says neither."""
        if fact in self.closure:
            return Status.ENTAILED
        swapped = Fact(fact.relation, fact.object, fact.subject)
        contradicted = (
            fact.subject == fact.object
            or (fact.relation in self.asymmetric and swapped in self.closure)
            or (fact.relation in self.functional and bool(self._subjects[fact.relation, fact.object]))
            or any(
                fact.relation in pair and any(Fact(other, fact.subject, fact.object) in self.closure for other in pair)
                for pair in self.disjoint
            )
        )
        return Status.CONTRADICTED if contradicted else Status.UNSUPPORTED

    def distractors(self, statement: Statement) -> list[str]:
        """Entities that make a statement false when they come last, the best first.

        A world's documents are complete about the entities they name (its closed world), so what is not
        entailed about them is false. No distractor stands in the sentence already.
        """
        fact, answer = statement.fact, self.answer(statement)
        return [
            peer
            for peer in self.peers[answer]
            if peer not in (fact.subject, fact.object) and self.with_answer(fact, statement, peer) not in self.closure
        ]

    @cached_property
    def _skeletons(self) -> dict[str, tuple[str, int]]:
        return {
            template.replace(SUBJECT, "_").replace(OBJECT, "_"): (relation, k)
            for relation, templates in self.wording.items()
            for k, template in enumerate(templates)
        }

    @cached_property
    def _closed_class(self) -> frozenset[str]:
        return frozenset(word for skeleton in self._skeletons for word in re.findall(r"\w+", skeleton))

    def parse(self, sentence: str) -> Statement | None:
        """The statement a sentence makes; None where it is none of the world's wordings of two entities."""
        entities: list[str] = []

        def slot(match: re.Match[str]) -> str:
            if match[0] in self._closed_class:
                return match[0]
            entities.append(match[0])
            return "_"

        skeleton = re.sub(r"\w+", slot, " ".join(sentence.split()))
        if skeleton not in self._skeletons or len(entities) != 2:
            return None
        relation, k = self._skeletons[skeleton]
        template = self.wording[relation][k]
        subject_first = template.index(SUBJECT) < template.index(OBJECT)
        return Statement(Fact(relation, *(entities if subject_first else entities[::-1])), k)
