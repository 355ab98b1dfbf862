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

from study.worlds.logic import Constraints, Fact, Rule
from study.worlds.shape import Shape
from study.worlds.wording import English, templates
from study.worlds.words import Lexicon, draw_words
from study.worlds.world import Kind, Split, Stated, Statement, Status, World, worded

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
READINGS = {
    BECOMES: ("{s} is turned into {o}", "{s} changes into {o}", "{s} is what becomes {o}", "{o} is what {s} becomes"),
    RULE: ("{s} has the rule {o}", "{o} is the rule of {s}", "{s}'s rule is {o}", "the rule that {s} follows is {o}"),
}
OPERATOR, LEFT, RIGHT = "operator", "left", "right"  # how an expression is built: known, never stated


def _rule(behaviour: str) -> Rule:
    """What an expression becomes under one behaviour: E = (O A B) becomes F."""
    changes_left, changes_right = behaviour != "right", behaviour != "left"
    left, right = "C" if changes_left else "A", "D" if changes_right else "B"
    if behaviour == "swap":
        left, right = right, left
    given = [Fact(RULE, "O", behaviour), Fact(OPERATOR, "E", "O"), Fact(LEFT, "E", "A"), Fact(RIGHT, "E", "B")]
    changes = changes_left * [Fact(BECOMES, "A", "C")] + changes_right * [Fact(BECOMES, "B", "D")]
    result = [Fact(OPERATOR, "F", "O"), Fact(LEFT, "F", left), Fact(RIGHT, "F", right)]
    return Rule(behaviour, Fact(BECOMES, "E", "F"), (*given, *changes, *result))


RULES = tuple(_rule(behaviour) for behaviour in BEHAVIOURS)


class Expression(NamedTuple):
    """An operator with its two parts, each a symbol or an expression; its text is in prefix order."""

    operator: str
    left: "str | Expression"
    right: "str | Expression"

    def __str__(self) -> str:
        return f"{self.operator} {self.left} {self.right}"


Term = str | Expression


class Params(Shape):
    """Size of a process."""

    size: int = Field(10, ge=4, le=280, description="symbols")
    operators: int = Field(4, ge=2, le=24, description="operators; the behaviours go round")
    examples: int = Field(12, ge=0, le=2000, description="worked examples in the documents, half of them nested")
    asked: int = Field(16, ge=1, le=2000, description="expressions to ask about of each kind: flat, nested, held-out")
    held_out: float = Field(0.25, ge=0, le=0.5, description="share of the combinations of two rules kept for questions")

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
        """Symbols and operators for two thirds of the facts, examples for the rest; about as much is asked."""
        operators = min(rng.randint(2, 4), max(2, facts // 3))
        size = max(4, round(facts * 0.6) - operators)
        return cls(size=size, operators=operators, examples=facts // 4, asked=min(max(4, facts), 24), held_out=0.0)


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
        held_out: pairs of outer and inner rule that no document holds together.
    """

    behaviour: Mapping[str, str] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)
    terms: Mapping[str, Expression] = field(default_factory=dict)
    held_out: frozenset[tuple[str, str]] = frozenset()

    def turned(self, term: Term, behaviour: str | None = None, image: Mapping[str, str] | None = None) -> Term:
        """What a term becomes; every rule undoes itself, so with the symbols' sources as image, what becomes the term.

        Args:
            term: a symbol or an expression.
            behaviour: what its outermost operator is taken to have; its own by default.
            image: what symbols are taken to become; the truth by default.
        """
        if isinstance(term, str):
            return (image or self.image)[term]
        way = behaviour or self.behaviour[term.operator]
        left = self.turned(term.left, image=image) if way != "right" else term.left
        right = self.turned(term.right, image=image) if way != "left" else term.right
        return Expression(term.operator, *((right, left) if way == "swap" else (left, right)))

    @property
    def _known(self) -> tuple[str, ...]:
        """Every part of an expression, also of one that is nowhere stated."""
        return (*self.behaviour, *self.image, *BEHAVIOURS)

    def steps(self, term: Term) -> list[Expression]:
        """The expressions to be worked one after the other, the whole one last."""
        if isinstance(term, str):
            return []
        return [*self.steps(term.left), *self.steps(term.right), term]

    def read(self, text: str) -> Term | None:
        """The term that a text in prefix order stands for; None if it is none of this process."""
        terms: list[Term] = []
        for word in reversed(text.split()):
            if word in self.behaviour and len(terms) > 1:
                terms.append(Expression(word, terms.pop(), terms.pop()))
            elif word in self.image:
                terms.append(word)
            else:
                return None
        return terms[0] if len(terms) == 1 else None

    def status(self, fact: Fact) -> Status:
        """As elsewhere, but of any expression: the closure holds those alone that are stated or asked about."""
        term = self.read(fact.subject) if fact.relation == BECOMES else None
        if term is None:
            return super().status(fact)
        return Status.ENTAILED if str(self.turned(term)) == fact.object else Status.CONTRADICTED

    def is_held_out(self, term: Term) -> bool:
        """Whether a term holds a combination of two rules that no document holds."""
        return any(
            (self.behaviour[step.operator], self.behaviour[part.operator]) in self.held_out
            for step in self.steps(term)
            for part in (step.left, step.right)
            if isinstance(part, Expression)
        )

    def split_of(self, statement: Statement, stated: Stated) -> Split | None:
        """As elsewhere for what is stated; what is derived is asked forward only, by the steps it takes.

        The number of stated facts would tell the rule: *left* and *right* need one symbol, the others two.
        """
        split = super().split_of(statement, stated)
        if split not in (Split.TWO_HOPS, Split.MORE_HOPS):
            return split
        term = self.terms.get(statement.fact.subject)
        if term is None or not self.template(statement).subject_first:
            return None
        if self.is_held_out(term):
            return Split.HELD_OUT_COMBINATION
        return Split.ONE_STEP if len(self.steps(term)) == 1 else Split.TWO_STEPS

    def cluster(self, statement: Statement) -> str:
        """The expression asked about: all its steps belong together; for a stated fact, the fact."""
        stated = statement.fact.subject not in self.terms or statement.fact in self.facts
        return super().cluster(statement) if stated else self._whole[statement.fact.subject]

    @cached_property
    def _whole(self) -> dict[str, str]:
        """For each expression the first one that it is a step of, or itself."""
        whole: dict[str, str] = {}
        for text, term in sorted(self.terms.items(), key=lambda item: -len(item[0].split())):
            for step in self.steps(term):
                whole.setdefault(str(step), text)
        return whole

    def rivals(self, statement: Statement) -> dict[Kind, list[list[str]]]:
        """For an expression what it would be under each rule, with the right symbols and with one wrong; else its kind.

        So each way to put the parts together has the same number of options, and the shape tells nothing.
        """
        relation, subject, object_ = statement.fact
        forward = self.template(statement).subject_first
        given = self.read(subject if forward else object_)
        if relation != BECOMES or not isinstance(given, Expression):
            return {Kind.SAME_RELATION: [self.alike(self.answer(statement))]}
        truth = self.image if forward else {result: symbol for symbol, result in self.image.items()}
        rng = random.Random(str(given))
        symbols = [word for word in str(given).split() if word in truth]
        mistakes = [(symbol, wrong) for symbol in symbols for wrong in truth if wrong != truth[symbol]]
        right = [str(self.turned(given, behaviour, truth)) for behaviour in BEHAVIOURS]
        tiers = [right[:], []]
        for behaviour, result in zip(BEHAVIOURS, right, strict=True):
            images = [{**truth, symbol: wrong} for symbol, wrong in rng.sample(mistakes, len(mistakes))]
            others = dict.fromkeys(str(self.turned(given, behaviour, image)) for image in images)
            false = [other for other in others if other != result]
            tiers[0] += false[:1]
            tiers[1] += false[1:]
        return {Kind.OTHER_RULE: tiers}


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> Process:
    """A process with random symbols, operators and examples."""
    words = draw_words(rng, params.words, lexicon)
    operators, symbols = words[: params.operators], words[params.operators :]
    image = dict(zip(symbols, [*symbols[1:], symbols[0]], strict=True))
    first = rng.randrange(len(BEHAVIOURS))
    behaviour = {operator: BEHAVIOURS[(first + k) % len(BEHAVIOURS)] for k, operator in enumerate(operators)}
    # Every operator is as often the outermost as any other, seen and held out, or its rule would be a good guess.
    ways = list(dict.fromkeys(behaviour.values()))
    kept = max(1, round(params.held_out * len(ways))) if params.held_out else 0
    held_out = {(outer, inner) for outer in ways for inner in rng.sample(ways, kept)}

    def flat(count: int) -> list[Expression]:
        return [Expression(operators[k % len(operators)], *rng.sample(symbols, 2)) for k in range(count)]

    def nested(count: int, seen: bool) -> list[Expression]:
        expressions = []
        for k in range(count):
            outer = operators[k % len(operators)]
            inside = [o for o in operators if ((behaviour[outer], behaviour[o]) not in held_out) is seen]
            one, two, three = rng.sample(symbols, 3)
            parts: list[Term] = [one, Expression(rng.choice(inside), two, three)]
            expressions.append(Expression(outer, *rng.sample(parts, 2)))
        return expressions

    examples = [*flat(params.examples - params.examples // 2), *nested(params.examples // 2, seen=True)]
    asked = [*flat(params.asked), *nested(params.asked, seen=True)]
    if kept:
        asked += nested(params.asked, seen=False)
    # Kept as texts so that an expression that was drawn twice is one.
    blank = Process("process", (), (), WORDING, behaviour=behaviour, image=image)
    terms = {str(step): step for term in (*examples, *asked) for step in blank.steps(term)}
    stated = [
        *(Fact(BECOMES, symbol, result) for symbol, result in image.items()),
        *(Fact(RULE, operator, way) for operator, way in behaviour.items()),
        *dict.fromkeys(Fact(BECOMES, str(term), str(blank.turned(term))) for term in examples),
    ]
    built: dict[str, Expression] = {}
    for term in terms.values():
        for step in (*blank.steps(term), *blank.steps(blank.turned(term))):
            built[str(step)] = step
    axioms = [
        Fact(place, text, str(part))
        for text, term in built.items()
        for place, part in zip((OPERATOR, LEFT, RIGHT), term, strict=True)
    ]
    return Process(
        name="process",
        facts=tuple(rng.sample(stated, len(stated))),
        rules=RULES,
        **worded(lexicon, WORDING, English.of(WORDING, READINGS)),
        constraints=Constraints(functional=frozenset({BECOMES, RULE})),
        axioms=tuple(axioms),
        classes=dict.fromkeys(symbols, "symbol") | dict.fromkeys(operators, OPERATOR) | dict.fromkeys(BEHAVIOURS, RULE),
        phrases=True,
        behaviour=behaviour,
        image=image,
        terms=terms,
        held_out=frozenset(held_out),
    )
