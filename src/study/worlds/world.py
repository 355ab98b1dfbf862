"""A world: facts, the rules that entail more, and the wording of both.

Everything a trial needs comes from this one object: documents, questions with false distractors, the oracle's
text, and the judgement of generated text. Nothing is true in a world but what its deductive closure holds.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from study.worlds.logic import Constraints, Derivation, Fact, Rule, Theory
from study.worlds.wording import (
    ENGLISH_LEAD_INS,
    LEAD_INS,
    English,
    EnglishParser,
    SentenceParser,
    Template,
    Wording,
    fill,
)
from study.worlds.words import Lexicon


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

    STATED = "as stated"
    REPHRASED = "rephrased"
    REVERSAL = "reversal"
    CONTRADICTION = "reversal or contradiction"
    TWO_HOPS = "two hops"
    MORE_HOPS = "three hops or more"
    ONE_STEP = "one step"
    TWO_STEPS = "two steps"
    HELD_OUT_CATEGORY = "held-out category"
    HELD_OUT_COMBINATION = "held-out combination"
    ASKED = "your questions"

    @property
    def seed(self) -> str:
        """What draws for the split are seeded with; a label may change, and draws must not."""
        return "trained direction" if self is Split.STATED else self.value


class Kind(StrEnum):
    """Where the false options of a question come from."""

    SAME_RELATION = "same relation, other entity"
    SAME_FAMILY = "same family"
    COMPLETIONS = "names that documents end with"
    NO_COMPLETIONS = "names that no document ends with"
    OTHER_RULE = "another rule or another symbol"
    CONTRADICTING = "contradicting statement"
    ALTERNATIVES = "every statement of the two terms"
    GIVEN = "options of the questions file"
    OTHER_ANSWERS = "answers to other questions"
    ENDINGS = "endings of other sentences"


class Topic(NamedTuple):
    """What one document is about.

    Attributes:
        facts: each stated at least once.
        opening: a sentence before the others that states nothing.
        sentences: fewest and most sentences, without the opening.
    """

    facts: tuple[Fact, ...]
    opening: str = ""
    sentences: tuple[int, int] = (1, 1)


class Stated:
    """What documents state, and which entity they ask for when they do."""

    def __init__(self, world: "World", statements: Iterable[Statement]) -> None:
        self.statements = frozenset(statements)
        self.answers: dict[Fact, set[str]] = defaultdict(set)
        for statement in self.statements:
            self.answers[statement.fact].add(world.answer(statement))


@dataclass(frozen=True)
class World:
    """Facts, inference rules and wording. A world with habits of its own is a subclass.

    Attributes:
        name: key of the world in `study.datasets.WORLDS`.
        facts: what the documents state.
        rules: what may be inferred from it.
        wording: the templates of each relation, each a sentence in which an entity comes last; a relation without
            templates is never put into words.
        constraints: what cannot be.
        axioms: what holds without being stated, such as how an expression is built.
        classes: for each entity its kind of thing; entities of one kind can stand in each other's place.
        topics: what each document is about; empty for one fact each.
        phrases: whether entities may be several words.
        original_names: for each entity its name in the file it was read from, if it was.
        english: the English that it is in, of which `wording` is a part; None in the bundled model's language.
    """

    name: str
    facts: tuple[Fact, ...]
    rules: tuple[Rule, ...]
    wording: Wording
    constraints: Constraints = field(default_factory=Constraints)
    axioms: tuple[Fact, ...] = ()
    classes: Mapping[str, str] = field(default_factory=dict)
    topics: tuple[Topic, ...] = ()
    phrases: bool = False
    original_names: Mapping[str, str] = field(default_factory=dict)
    english: English | None = None

    @cached_property
    def theory(self) -> Theory:
        """The facts and all that follows."""
        theory = Theory(self.rules)
        theory.add(self.facts, self.axioms)
        return theory

    @property
    def closure(self) -> dict[Fact, Derivation]:
        """Every entailed fact with its derivation, the stated facts included."""
        return self.theory.closure

    @cached_property
    def _alone(self) -> dict[Fact, list[Fact]]:
        """For each fact the stated facts that entail it without any other."""
        alone: dict[Fact, list[Fact]] = defaultdict(list)
        rules = Theory(self.rules)
        for fact in self.facts:
            for entailed in Theory(below=rules).add([fact]):
                alone[entailed].append(fact)
        return alone

    @cached_property
    def entities(self) -> tuple[str, ...]:
        """What the facts are about."""
        return tuple(dict.fromkeys(entity for fact in self.facts for entity in (fact.subject, fact.object)))

    def forms(self, fact: Fact) -> list[Statement]:
        """A fact in every wording."""
        return [Statement(fact, k) for k in range(len(self.wording.get(fact.relation, ())))]

    @cached_property
    def statements(self) -> dict[Statement, Derivation]:
        """Every entailed fact in every wording, by hops, then in the order of the wording."""
        return {form: derivation for fact, derivation in self.closure.items() for form in self.forms(fact)}

    def template(self, statement: Statement) -> Template:
        """The wording of a statement."""
        return self.wording[statement.fact.relation][statement.template]

    def render(self, statement: Statement) -> str:
        """A statement as a sentence."""
        return self.sentence("", statement)

    def sentence(self, lead_in: str, statement: Statement) -> str:
        """A statement as a sentence, after a lead-in if there is one; English begins with a capital."""
        fact = statement.fact
        text = f"{lead_in} {fill(self.template(statement).text, fact.subject, fact.object)}".lstrip()
        return text[0].upper() + text[1:] if self.english else text

    @property
    def lead_ins(self) -> tuple[str, ...]:
        """What may stand before a sentence."""
        return ENGLISH_LEAD_INS if self.english else LEAD_INS

    def canonical(self, fact: Fact) -> str:
        """A fact in its first wording."""
        return self.render(Statement(fact, 0))

    def answer(self, statement: Statement) -> str:
        """The entity that comes last."""
        return statement.fact.object if self.template(statement).subject_first else statement.fact.subject

    def query(self, statement: Statement) -> str:
        """The sentence up to its last entity, without the space before it."""
        return self.render(statement)[: -len(f" {self.answer(statement)}{self.ending(statement)}")]

    def ending(self, statement: Statement) -> str:
        """What comes after the last entity: a full stop, after the plural's s where there is one."""
        return self.template(statement).text.rpartition("}")[2]

    def without_names(self, text: str) -> str:
        """A text with "it" in the place of each entity."""
        names = sorted({*self.entities, *self._known}, key=len, reverse=True)
        bare = re.sub(rf"\b(?:{'|'.join(map(re.escape, names))})\b", "it", text)
        return bare[:1].upper() + bare[1:] if self.english else bare

    def with_answer(self, statement: Statement, entity: str) -> Fact:
        """The fact a statement's sentence would state if `entity` came last."""
        fact = statement.fact
        return fact._replace(object=entity) if self.template(statement).subject_first else fact._replace(subject=entity)

    def document_forms(self, fact: Fact) -> list[Statement]:
        """The wordings in which documents may state a fact: subject first, none that is held out."""
        return [
            form for form in self.forms(fact) if self.template(form).subject_first and not self.template(form).held_out
        ]

    def split_of(self, statement: Statement, stated: Stated) -> Split | None:
        """The split of an entailed statement, given what documents state.

        A statement that follows from one fact is a reversal if it asks for an entity that documents stating such
        a fact never end with, and is as stated or rephrased otherwise.
        """
        supports = self.closure[statement.fact].supports
        if len(supports) > 1:
            return Split.TWO_HOPS if len(supports) == 2 else Split.MORE_HOPS
        if not any(self.answer(statement) in stated.answers[fact] for fact in self._alone[statement.fact]):
            return Split.REVERSAL
        return Split.STATED if statement in stated.statements else Split.REPHRASED

    def cluster(self, statement: Statement) -> str:
        """The stated fact a question hangs on, as a canonical sentence: the first of those it rests on."""
        return min(self.canonical(fact) for fact in self.closure[statement.fact].supports)

    def status(self, fact: Fact) -> Status:
        """Whether the world entails a fact, contradicts it, or says neither."""
        if fact in self.closure:
            return Status.ENTAILED
        return Status.CONTRADICTED if self.constraints.contradicts(fact, self.theory) else Status.UNSUPPORTED

    def alike(self, entity: str) -> list[str]:
        """The entities of its class."""
        return [other for other, kind in self.classes.items() if kind == self.classes.get(entity)]

    def rivals(self, statement: Statement) -> dict[Kind, list[list[str]]]:
        """For each kind of distractor the entities that may come last instead, in tiers, the best first.

        Whether they make the statement false is decided by the closure, in `distractors`.
        """
        first = self.template(statement).subject_first
        facts = self.theory.matching(statement.fact.relation)
        same_slot = [fact.object if first else fact.subject for fact in facts]
        return {Kind.SAME_RELATION: [same_slot, self.alike(self.answer(statement))]}

    def distractors(self, statement: Statement) -> dict[Kind, list[list[str]]]:
        """Entities that make a statement false when they come last, by kind and in tiers, the best first.

        A world's documents are complete about the entities they name (its closed world), so what is not
        entailed about them is false. No distractor stands in the sentence already.
        """
        found: dict[Kind, list[list[str]]] = {}
        for kind, tiers in self.rivals(statement).items():
            seen = {statement.fact.subject, statement.fact.object}
            found[kind] = []
            for tier in tiers:
                new = [entity for entity in dict.fromkeys(tier) if entity not in seen]
                seen.update(new)
                found[kind].append([e for e in new if self.with_answer(statement, e) not in self.closure])
        return found

    def contradictions(self, statement: Statement) -> list[Statement]:
        """The statement with a disjoint relation in its relation's place, worded alike: what it cannot mean."""
        relation = statement.fact.relation
        others = sorted(pair[relation == pair[0]] for pair in self.constraints.disjoint if relation in pair)
        return [Statement(statement.fact._replace(relation=other), statement.template) for other in others]

    # The splits of which a contradiction is the only false option, in a split of its own.
    contrasted: ClassVar[tuple[Split, ...]] = (Split.REVERSAL,)

    def contrast(self, statement: Statement) -> tuple[str, list[str]]:
        """Query and options of a question whose only false option contradicts the true one, which is the first."""
        return "", [self.render(form) for form in (statement, self.contradictions(statement)[0])]

    def reversed_relation(self, fact: Fact) -> Fact:
        """The fact with its relation reversed, which is false where the relation has a direction."""
        return fact._replace(subject=fact.object, object=fact.subject)

    def alternatives(self, statement: Statement) -> list[Statement]:
        """The statements to choose from where a question offers whole statements; none for entities to choose from."""
        return []

    def asking(self, statement: Statement) -> str:
        """What is asked where whole statements are offered: words before the statement."""
        return ""

    @cached_property
    def _parser(self) -> SentenceParser | EnglishParser:
        if self.english:
            return EnglishParser(self.english, self._known, self.closure.__contains__)
        return SentenceParser(self.wording, self.phrases)

    @property
    def _known(self) -> tuple[str, ...]:
        """All that sentences may be about."""
        return self.entities

    def parse(self, sentence: str) -> Statement | None:
        """The statement a sentence makes, behind a lead-in or not; None where it is none of the world's wordings."""
        found = self._parser.read(sentence)
        return Statement(*found) if found else None


def worded(lexicon: Lexicon, wording: Wording, english: English | None = None) -> dict[str, Any]:
    """The wording of a world whose words are of a lexicon, as fields of `World`; the same by default in English."""
    if not lexicon.english:
        return {"wording": wording}
    english = english or English.of(wording, {})
    return {"wording": english.wording, "english": english}
