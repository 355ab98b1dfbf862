"""Simple syllogisms: three terms and two premises, "all vazed are ditav", "all ditav are sulef".

The question names the two terms that the premises do not join; which of all six statements that {all, some, no} and
the two orders make holds of them? Terms may be empty, as in modern logic, so "all" does not entail "some".
"some vazed are ditav" and "some ditav are vazed" say the same, and so for "no": either counts as right. Half of the
conclusions are "all", a quarter "some" and a quarter "no"; so to prefer one quantifier, like guessing, is right in a
quarter of the questions.
Source: Lampinen et al. 2025, simple syllogisms (69 items).
"""

import random
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Self

from pydantic import Field

from study.worlds.logic import Constraints, Fact, Rule
from study.worlds.shape import Shape
from study.worlds.wording import English, templates
from study.worlds.words import Lexicon, draw_words
from study.worlds.world import Split, Stated, Statement, Topic, World, worded

QUANTIFIERS = ("all", "some", "no")
OPENING = "here are three terms: {}, {} and {}."
ASKING = "what of {} and {}?"
CLOSED_CLASS = (OPENING.replace("{}", ""), ASKING.replace("{}", ""))
WORDING = {
    "all": templates(
        "all {s} are {o}.",
        "every {s} is a {o}.",
        "{o} is the kind of all {s}.",
        "what are all {s}? {o}.",
        held_out=("each {s} is also a {o}.",),
    ),
    "some": templates(
        "some {s} are {o}.",
        "there are {s} that are {o}.",
        "what are some {s}? {o}.",
        held_out=("at least one {s} is a {o}.",),
    ),
    "no": templates(
        "no {s} are {o}.",
        "not one {s} is a {o}.",
        "what are no {s}? {o}.",
        held_out=("{s} are never {o}.",),
    ),
}
ENGLISH_OPENING = "Here are three kinds of things: {}s, {}s and {}s."
ENGLISH_ASKING = "What is true of {}s and {}s?"
ENGLISH = English(
    {
        "all": templates(
            "all {s}s are {o}s.",
            "every {s} is a {o}.",
            held_out=("each {s} is also a {o}.",),
        ),
        "some": templates(
            "some {s}s are {o}s.",
            "there are {s}s that are {o}s.",
            held_out=("at least one {s} is a {o}.",),
        ),
        "no": templates(
            "no {s}s are {o}s.",
            "not one {s} is a {o}.",
            held_out=("{s}s are never {o}s.",),
        ),
    },
    {
        "all": (
            "any {s} is a {o}",
            "{s}s are {o}s",
            "a {s} is a {o}",
            "if something is a {s} it is a {o}",
            "{s}s are all {o}s",
            "whatever is a {s} is a {o}",
            "only {o}s are {s}s",
            "there is no {s} that is not a {o}",
            "there are no {s}s that are not {o}s",
            "what is not a {o} is not a {s}",
        ),
        "some": ("some {s} is a {o}", "there is a {s} that is a {o}", "{s}s are sometimes {o}s", "a few {s}s are {o}s"),
        "no": (
            "no {s} is a {o}",
            "none of the {s}s are {o}s",
            "none of the {s}s is a {o}",
            "{s}s are not {o}s",
            "a {s} is not a {o}",
            "nothing that is a {s} is a {o}",
            "there are no {s}s that are {o}s",
            "there is no {s} that is a {o}",
        ),
    },
)
RULES = (
    Rule("all are all", Fact("all", "X", "Z"), (Fact("all", "X", "Y"), Fact("all", "Y", "Z"))),
    Rule("some are all", Fact("some", "X", "Z"), (Fact("some", "X", "Y"), Fact("all", "Y", "Z"))),
    # What shares a thing with something exists, and so shares it with all that it is.
    Rule("some exist", Fact("some", "X", "Z"), (Fact("some", "X", "Y"), Fact("all", "X", "Z"))),
    Rule("all are no", Fact("no", "X", "Z"), (Fact("all", "X", "Y"), Fact("no", "Y", "Z"))),
    Rule("conversion", Fact("some", "Y", "X"), (Fact("some", "X", "Y"),)),
    Rule("conversion", Fact("no", "Y", "X"), (Fact("no", "X", "Y"),)),
)
# The premises that entail each conclusion between terms 0 and 2, by way of term 1.
FORMS = {
    "all": ((("all", 0, 1), ("all", 1, 2)),),
    "some": ((("some", 0, 1), ("all", 1, 2)), (("some", 1, 0), ("all", 1, 2))),
    "no": ((("all", 0, 1), ("no", 1, 2)), (("all", 0, 1), ("no", 2, 1))),
}
CONCLUSIONS = ("all", "some", "all", "no")


class Params(Shape):
    """Size of a world of syllogisms."""

    size: int = Field(12, ge=1, le=194, description="items of three terms and two premises")

    @property
    def words(self) -> int:
        """Three terms an item."""
        return 3 * self.size

    @property
    def rivals(self) -> int:
        """Terms of the other items in the same place."""
        return 2 * self.size

    @classmethod
    def of_facts(cls, rng: random.Random, facts: int, one_relation: bool) -> Self:
        """Two facts an item."""
        return cls(size=max(1, facts // 2))


PRESETS = {"bundled": Params(), "source": Params(size=69, copies=1, lead_ins=0.0)}


@dataclass(frozen=True)
class Syllogisms(World):
    """Items of three terms each."""

    @cached_property
    def joined(self) -> frozenset[frozenset[str]]:
        """The pairs of terms that a premise joins."""
        return frozenset(frozenset(fact[1:]) for fact in self.facts)

    def split_of(self, statement: Statement, stated: Stated) -> Split | None:
        """As elsewhere, but a conclusion is between terms that no premise joins."""
        split = super().split_of(statement, stated)
        return None if split is Split.TWO_HOPS and frozenset(statement.fact[1:]) in self.joined else split

    def alternatives(self, statement: Statement) -> list[Statement]:
        """For a conclusion, the six statements of its two terms in canonical wording."""
        if frozenset(statement.fact[1:]) in self.joined:
            return []
        orders = list(permutations(sorted(statement.fact[1:])))
        return [Statement(Fact(quantifier, *terms), 0) for quantifier in QUANTIFIERS for terms in orders]

    def asking(self, statement: Statement) -> str:
        """The two terms, in an order that tells nothing."""
        return self._asking.format(*sorted(statement.fact[1:]))

    @property
    def _asking(self) -> str:
        return ENGLISH_ASKING if self.english else ASKING

    def parse(self, sentence: str) -> Statement | None:
        """As elsewhere; the question for two terms may stand before the answer."""
        return super().parse(re.sub(self._asking.format(r"\w+", r"\w+").replace("?", r"\? *"), "", sentence))


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> Syllogisms:
    """A world of syllogisms, terms and forms in random order."""
    words = draw_words(rng, params.words, lexicon)
    items, topics = [words[k : k + 3] for k in range(0, len(words), 3)], []
    for k, terms in enumerate(items):
        premises = rng.choice(FORMS[CONCLUSIONS[k % len(CONCLUSIONS)]])
        facts = [Fact(quantifier, terms[a], terms[b]) for quantifier, a, b in premises]
        opening = (ENGLISH_OPENING if lexicon.english else OPENING).format(*rng.sample(terms, 3))
        topics.append(Topic(tuple(rng.sample(facts, 2)), opening, (2, 2)))
    return Syllogisms(
        name="syllogisms",
        facts=tuple(fact for topic in topics for fact in topic.facts),
        rules=RULES,
        **worded(lexicon, WORDING, ENGLISH),
        constraints=Constraints(disjoint=frozenset({("some", "no")})),
        classes={term: place for terms in items for term, place in zip(terms, ("end", "middle", "end"), strict=True)},
        topics=tuple(topics),
    )
