"""A process: symbols and expressions are turned into others, step by step, by uncommon rules.

Each symbol becomes another one ("vazed becomes ditav"). An operator puts two parts together, "gol vazed sulef", and
has a rule for what the whole becomes: *both* parts change in place; *swap*: both change and change places; *left* or
*right*: that part changes alone. Rules and symbols are stated, and some worked examples; whatever else an expression
becomes is entailed. Expressions with an operator inside an operator are worked in steps, inner part first. Some
combinations of two rules appear in no document: the held-out combinations.
After Lampinen et al. 2025 as described in public: pseudo-mathematical transforms, held-out combinations of rules.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Self

from pydantic import Field

from study.logic import Constraints, Fact, Rule
from study.wording import templates
from study.words import Lexicon, draw_words
from study.world import Kind, Split, Stated, Statement, Status, World
from study.worlds.shape import Shape

BECOMES, RULE = "becomes", "rule"
BEHAVIOURS = CLOSED_CLASS = ("both", "swap", "left", "right")
WORDING = {
    BECOMES: templates(
        "{s} becomes {o}.",
        "{o} comes from {s}.",
        "{s} turns into {o}.",
        "what does {s} become? {o}.",
        "what becomes {o}? {s}.",
        held_out=("{s} gives {o}.", "the origin of {o} was {s}."),
    ),
    RULE: templates(
        "the rule of {s} is {o}.",
        "{s} follows the rule {o}.",
        "what rule has {s}? {o}.",
        held_out=("{s} works by {o}.",),
    ),
}
OPERATOR, LEFT, RIGHT = "operator", "left", "right"  # how an expression is built: known, never stated


def _rule(behaviour: str) -> Rule:
    """What an expression becomes under one behaviour: E = (O A B) becomes F."""
    changes_left, changes_right = behaviour != "right", behaviour != "left"
    left, right = "C" if changes_left else "A", "D" if changes_right else "B"
    if behaviour == "swap":
        left, right = right, left
    return Rule(
        behaviour,
        Fact(BECOMES, "E", "F"),
        (
            Fact(RULE, "O", behaviour),
            Fact(OPERATOR, "E", "O"),
            Fact(LEFT, "E", "A"),
            Fact(RIGHT, "E", "B"),
            *([Fact(BECOMES, "A", "C")] if changes_left else []),
            *([Fact(BECOMES, "B", "D")] if changes_right else []),
            Fact(OPERATOR, "F", "O"),
            Fact(LEFT, "F", left),
            Fact(RIGHT, "F", right),
        ),
    )


RULES = tuple(_rule(behaviour) for behaviour in BEHAVIOURS)


class Expression(NamedTuple):
    """An operator with its two parts, each a symbol or an expression."""

    operator: str
    left: "str | Expression"
    right: "str | Expression"


Term = str | Expression


def text_of(term: Term) -> str:
    """A term in prefix order."""
    return term if isinstance(term, str) else f"{term.operator} {text_of(term.left)} {text_of(term.right)}"


class Params(Shape):
    """Size of a process."""

    size: int = Field(10, ge=4, le=280, description="symbols")
    operators: int = Field(4, ge=2, le=24, description="operators; the behaviours go round")
    examples: int = Field(12, ge=0, le=2000, description="worked examples in the documents, half of them nested")
    asked: int = Field(16, ge=1, le=2000, description="expressions to ask about of each kind: flat, nested, held-out")
    held_out: float = Field(
        0.25, ge=0, le=0.5, description="share of the combinations of two operators kept for questions"
    )

    @property
    def words(self) -> int:
        """Symbols and operators."""
        return self.size + self.operators

    @property
    def rivals(self) -> int:
        """The symbols, less the two in the sentence; an expression has more."""
        return self.size - 1

    @classmethod
    def of_facts(cls, rng: random.Random, facts: int, one_relation: bool) -> Self:
        """Symbols and operators for two thirds of the facts, examples for the rest."""
        operators = min(rng.randint(2, 4), max(2, facts // 3))
        size = max(4, round(facts * 0.6) - operators)
        return cls(size=size, operators=operators, examples=facts // 4, asked=max(2, facts // 3), held_out=0.0)


PRESETS = {
    "bundled": Params(),
    "source": Params(size=40, operators=12, examples=400, asked=100, copies=5, lead_ins=0.5),
}


@dataclass(frozen=True)
class Process(World):
    """A process with its operators' behaviours and symbols' images.

    Attributes:
        behaviour: of each operator.
        image: what each symbol becomes.
        terms: each expression that is stated or asked about, by its text.
        held_out: pairs of outer and inner operator that no document holds.
    """

    behaviour: Mapping[str, str] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)
    terms: Mapping[str, Expression] = field(default_factory=dict)
    held_out: frozenset[tuple[str, str]] = frozenset()

    def turned(self, term: Term, behaviour: str | None = None) -> Term:
        """What a term becomes; with `behaviour`, what it would if its outermost operator had that one."""
        if isinstance(term, str):
            return self.image[term]
        way = behaviour or self.behaviour[term.operator]
        left = self.turned(term.left) if way != "right" else term.left
        right = self.turned(term.right) if way != "left" else term.right
        return Expression(term.operator, *((right, left) if way == "swap" else (left, right)))

    @cached_property
    def _sources(self) -> dict[str, str]:
        return {result: symbol for symbol, result in self.image.items()}

    def steps(self, term: Term) -> list[Expression]:
        """The expressions to be worked one after the other, the whole one last."""
        if isinstance(term, str):
            return []
        return [*self.steps(term.left), *self.steps(term.right), term]

    def read(self, text: str) -> Term | None:
        """The term that a text in prefix order stands for; None if it is none of this process."""
        words = text.split()

        def take() -> Term | None:
            word = words.pop(0) if words else ""
            if word not in self.behaviour:
                return word if word in self.image else None
            left, right = take(), take()
            return None if left is None or right is None else Expression(word, left, right)

        term = take()
        return None if words else term

    def status(self, fact: Fact) -> Status:
        """As elsewhere, but of any expression: the closure holds those alone that are stated or asked about."""
        term = self.read(fact.subject) if fact.relation == BECOMES else None
        if term is None:
            return super().status(fact)
        return Status.ENTAILED if text_of(self.turned(term)) == fact.object else Status.CONTRADICTED

    def is_held_out(self, term: Term) -> bool:
        """Whether a term holds a combination of two operators that no document holds."""
        return any(
            (step.operator, part.operator) in self.held_out
            for step in self.steps(term)
            for part in (step.left, step.right)
            if isinstance(part, Expression)
        )

    def split_of(self, statement: Statement, stated: Stated) -> Split | None:
        """As elsewhere; what is derived is asked forward only, and a held-out combination is a split of its own."""
        split = super().split_of(statement, stated)
        if split not in (Split.TWO_HOPS, Split.MORE_HOPS):
            return split
        if not self.template(statement).subject_first or statement.fact.subject not in self.terms:
            return None
        return Split.HELD_OUT_COMBINATION if self.is_held_out(self.terms[statement.fact.subject]) else split

    def cluster(self, statement: Statement) -> str:
        """The expression asked about: all its steps belong together; for a stated fact, the fact."""
        term = self.terms.get(statement.fact.subject)
        whole = self._whole.get(statement.fact.subject, statement.fact.subject)
        return super().cluster(statement) if term is None or statement.fact in self.facts else whole

    @cached_property
    def _whole(self) -> dict[str, str]:
        """For each expression the first one that it is a step of, or itself."""
        whole: dict[str, str] = {}
        for text, term in sorted(self.terms.items(), key=lambda item: -len(item[0].split())):
            for step in self.steps(term):
                whole.setdefault(text_of(step), text)
        return whole

    def lead_up(self, statement: Statement) -> str:
        """For the last step of a nested expression, the steps before it, rightly worked."""
        term = self.terms.get(statement.fact.subject)
        if term is None or not self.template(statement).subject_first or statement.fact in self.facts:
            return ""
        before = [Fact(BECOMES, text_of(step), text_of(self.turned(step))) for step in self.steps(term)[:-1]]
        return " ".join(self.render(statement._replace(fact=fact)) for fact in before)

    def rivals(self, statement: Statement) -> dict[Kind, list[list[str]]]:
        """For an expression: its outermost rule replaced by another, or one symbol by another; else its own kind."""
        relation, subject, object_ = statement.fact
        if relation != BECOMES or " " not in object_:
            return {Kind.SAME_RELATION: [self.members[self.classes[self.answer(statement)]]]}
        if not self.template(statement).subject_first:
            return {Kind.SAME_RELATION: [list(self.terms)]}
        term = self.read(subject)
        wrong_rule = [text_of(self.turned(term, behaviour)) for behaviour in BEHAVIOURS] if term else []
        swapped = [" ".join([*object_.split()[:1], *object_.split()[:0:-1]])]
        words = object_.split()
        symbols = [k for k, word in enumerate(words) if word in self.image]
        # Deterministic, from the symbols of the sentence itself first: their images, sources and themselves.
        near = [w for s in subject.split() if s in self.image for w in (s, self.image[s], self._sources[s])]
        wrong_symbol = [
            " ".join([*words[:k], other, *words[k + 1 :]])
            for other in dict.fromkeys([*near, *self.image])
            for k in symbols
        ]
        return {Kind.OTHER_RULE: [[*wrong_rule, *swapped], wrong_symbol]}


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> Process:
    """A process with random symbols, operators and examples."""
    words = draw_words(rng, params.words, lexicon)
    operators, symbols = words[: params.operators], words[params.operators :]
    image = dict(zip(symbols, [*symbols[1:], symbols[0]], strict=True))
    first = rng.randrange(len(BEHAVIOURS))
    behaviour = {operator: BEHAVIOURS[(first + k) % len(BEHAVIOURS)] for k, operator in enumerate(operators)}
    pairs = [(outer, inner) for outer in operators for inner in operators]
    rng.shuffle(pairs)
    held_out = pairs[: round(params.held_out * len(pairs))]
    allowed = pairs[len(held_out) :]

    def flat() -> Expression:
        return Expression(rng.choice(operators), *rng.sample(symbols, 2))

    def nested(outer: str, inner: str) -> Expression:
        one, two, three = rng.sample(symbols, 3)
        parts: list[Term] = [one, Expression(inner, two, three)]
        return Expression(outer, *rng.sample(parts, 2))

    def some(count: int, combinations: list[tuple[str, str]]) -> list[Expression]:
        return [nested(*rng.choice(combinations)) if combinations else flat() for _ in range(count)]

    examples = [*(flat() for _ in range(params.examples - params.examples // 2)), *some(params.examples // 2, allowed)]
    asked = [*(flat() for _ in range(params.asked)), *some(params.asked, allowed)]
    if held_out:
        asked += some(params.asked, held_out)
    # Kept as texts so that an expression that was drawn twice is one.
    blank = Process("process", (), (), WORDING, behaviour=behaviour, image=image)
    terms = {text_of(step): step for term in (*examples, *asked) for step in blank.steps(term)}
    stated = [
        *(Fact(BECOMES, symbol, result) for symbol, result in image.items()),
        *(Fact(RULE, operator, way) for operator, way in behaviour.items()),
        *dict.fromkeys(Fact(BECOMES, text_of(term), text_of(blank.turned(term))) for term in examples),
    ]
    built: dict[str, Expression] = {}
    for term in terms.values():
        for step in (*blank.steps(term), *blank.steps(blank.turned(term))):
            built[text_of(step)] = step
    axioms = [
        fact
        for text, term in built.items()
        for fact in (
            Fact(OPERATOR, text, term.operator),
            Fact(LEFT, text, text_of(term.left)),
            Fact(RIGHT, text, text_of(term.right)),
        )
    ]
    return Process(
        name="process",
        facts=tuple(rng.sample(stated, len(stated))),
        rules=RULES,
        wording=WORDING,
        constraints=Constraints(functional=frozenset({BECOMES, RULE})),
        axioms=tuple(axioms),
        classes={
            **dict.fromkeys(symbols, "symbol"),
            **dict.fromkeys(operators, OPERATOR),
            **dict.fromkeys(BEHAVIOURS, RULE),
        },
        phrases=True,
        behaviour=behaviour,
        image=image,
        terms=terms,
        held_out=frozenset(held_out),
    )
