"""Family trees: who is whose father and mother is stated; children, siblings and grandparents follow.

A family has three generations: a couple, its children, each with a spouse, and their children.
"""

import random

from pydantic import Field

from study.strict import Strict
from study.words import Lexicon, draw_words
from study.world import Fact, Rule, World
from study.worlds.roles import role_wording

PARENTS = ("father", "mother")

WORDING = {
    role: role_wording(role)
    for role in ("father", "mother", "grandfather", "grandmother", "child", "grandchild", "sibling")
}

RULES = (
    *(Rule("inverse", Fact("child", "Y", "X"), (Fact(parent, "X", "Y"),)) for parent in PARENTS),
    *(
        Rule("grandparent", Fact(f"grand{parent}", "X", "Z"), (Fact(parent, "X", "Y"), Fact("child", "Z", "Y")))
        for parent in PARENTS
    ),
    *(Rule("grandchild", Fact("grandchild", "Z", "X"), (Fact(f"grand{parent}", "X", "Z"),)) for parent in PARENTS),
    Rule("sibling", Fact("sibling", "X", "Y"), (Fact("child", "X", "Z"), Fact("child", "Y", "Z"))),
)


class Params(Strict):
    """Size of a world of families."""

    size: int = Field(2, ge=1, description="families")
    children: int = Field(2, ge=1, le=6, description="children of the founding couple")
    grandchildren: int = Field(2, ge=1, le=6, description="children of each of them")


def family_facts(rng: random.Random, people: list[str], params: Params) -> tuple[list[Fact], list[str]]:
    """The parent facts of one family, and its members, taken from the end of `people`."""
    members = []

    def born() -> str:
        members.append(people.pop())
        return members[-1]

    def couple_with_child(couple: list[str], child: str) -> list[Fact]:
        return [Fact(role, parent, child) for role, parent in zip(PARENTS, couple, strict=True)]

    founders, facts = [born(), born()], []
    for _ in range(params.children):
        child, spouse = born(), born()
        facts += couple_with_child(founders, child)
        couple = rng.sample([child, spouse], 2)
        for _ in range(params.grandchildren):
            facts += couple_with_child(couple, born())
    return facts, members


def family_members(params: Params) -> int:
    """People in one family."""
    return 2 + params.children * (2 + params.grandchildren)


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> World:
    """A world of families; the best distractors are members of the same family."""
    people = draw_words(rng, params.size * family_members(params), lexicon)
    unborn, facts = list(people), []
    peers: dict[str, tuple[str, ...]] = {}
    for _ in range(params.size):
        family, members = family_facts(rng, unborn, params)
        facts += family
        strangers = [p for p in people if p not in members]
        peers |= {member: (*(m for m in members if m != member), *strangers) for member in members}
    return World(
        name="family",
        facts=tuple(facts),
        rules=RULES,
        wording=WORDING,
        peers=peers,
        asymmetric=frozenset(WORDING) - {"sibling"},
        functional=frozenset(PARENTS),
        disjoint=frozenset({("father", "mother"), ("grandfather", "grandmother")}),
    )
