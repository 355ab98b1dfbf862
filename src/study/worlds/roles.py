"""Roles: isolated facts with two-sided role names, "vazed is the teacher of ditav".

What follows is the same role asked from the other side ("the teacher of ditav is vazed") and its inverse
("ditav is the student of vazed").
"""

import random

from pydantic import Field

from study.strict import Strict
from study.words import Lexicon
from study.world import World
from study.worlds.isolated import build_isolated

PAIRS = (
    ("teacher", "student"),
    ("doctor", "patient"),
    ("owner", "tenant"),
    ("master", "servant"),
    ("host", "guest"),
    ("buyer", "seller"),
    ("leader", "follower"),
    ("coach", "player"),
    ("lender", "borrower"),
    ("guard", "prisoner"),
    ("writer", "reader"),
    ("hunter", "prey"),
)


def role_wording(role: str) -> tuple[str, ...]:
    """Ways to say that the subject is the object's `role`: three subject first, three object first."""
    return (
        f"{{s}} is the {role} of {{o}}.",
        f"the {role} of {{o}} is {{s}}.",
        f"as {role}, {{s}} belongs to {{o}}.",
        f"{{o}} has a {role} called {{s}}.",
        f"{{s}} is known as the {role} of {{o}}.",
        f"as {role}, {{o}} has {{s}}.",
    )


WORDING = {role: role_wording(role) for pair in PAIRS for role in pair}


class Params(Strict):
    """Size of a world of roles."""

    size: int = Field(32, ge=2, le=280, description="facts")
    features: int = Field(4, ge=1, le=len(PAIRS), description="pairs of roles they are spread over, in equal parts")


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> World:
    """A world of roles."""
    pairs = rng.sample(PAIRS, params.features)
    return build_isolated("roles", rng, lexicon, params.size, pairs, WORDING)
