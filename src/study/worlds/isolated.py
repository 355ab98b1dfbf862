"""Isolated facts with two-sided relations: what the worlds of reversals, roles and deeds have in common.

Each entity stands in one fact only, so nothing follows from a fact but its inverse.
"""

import random
from collections.abc import Sequence
from itertools import cycle
from typing import ClassVar, Self

from pydantic import Field, model_validator

from study.worlds.logic import Constraints, Fact, Rule
from study.worlds.shape import Shape
from study.worlds.wording import English
from study.worlds.words import Lexicon, draw_words
from study.worlds.world import World, worded

Pairs = Sequence[tuple[str, str]]


def pairs_of(text: str) -> Pairs:
    """Pairs of inverse relations, from "one other, one other, ..."."""
    return tuple((one, other) for one, other in map(str.split, text.split(",")))


class IsolatedShape(Shape):
    """Size of a world of isolated facts."""

    pairs: ClassVar[Pairs]

    size: int = Field(32, ge=2, le=300, description="facts")
    features: int = Field(4, ge=1, description="pairs of relations they are spread over, in equal parts")

    @model_validator(mode="after")
    def _features_exist(self) -> Self:
        if self.features > len(self.pairs):
            raise ValueError(f"features = {self.features}: this world has {len(self.pairs)} of them; use fewer")
        return self

    @property
    def words(self) -> int:
        """Two for each fact."""
        return 2 * self.size

    @classmethod
    def of_facts(cls, rng: random.Random, facts: int, one_relation: bool) -> Self:
        """As many facts, of one relation or of several."""
        return cls(size=max(2, facts), features=1 if one_relation else rng.randint(2, len(cls.pairs)))


def build_isolated(
    name: str,
    rng: random.Random,
    lexicon: Lexicon,
    shape: IsolatedShape,
    pairs: Pairs,
    words_of: English,
    *,
    opposites: bool = False,
    kind: type[World] = World,
) -> World:
    """A world of facts spread over pairs of inverse relations in equal parts.

    All facts of a pair are stated by the same one of its two relations, or the relation's name would tell
    half of them apart; only their entities differ. Half of the pairs are stated by their first relation, so that,
    of an even number of pairs, no word is right more often than its opposite. The best distractors stand on the same
    side of such facts.

    With `opposites`, a sentence with the inverse relation in its place makes a question of its own; only where the two
    share their words but one ("more fast", "less fast"), or the relation's name would tell.
    """
    pairs = rng.sample(pairs, shape.features)
    first = rng.randrange(2)
    stated = [pair[(k + first) % 2] for k, pair in enumerate(pairs)]
    words = draw_words(rng, 2 * shape.size, lexicon)
    facts = tuple(map(Fact, cycle(stated), words[::2], words[1::2]))
    inverses = [inverse for pair in pairs for inverse in (pair, pair[::-1])]
    wording = {relation: words_of.wording[relation] for relation, _ in inverses}
    return kind(
        name=name,
        facts=facts,
        rules=tuple(Rule("inverse", Fact(other, "Y", "X"), (Fact(one, "X", "Y"),)) for one, other in inverses),
        **worded(lexicon, wording, words_of._replace(wording=wording)),
        constraints=Constraints(
            asymmetric=frozenset(relation for relation, _ in inverses), disjoint=frozenset(pairs if opposites else ())
        ),
        classes={e: side for fact in facts for e, side in ((fact.subject, "first"), (fact.object, "second"))},
    )
