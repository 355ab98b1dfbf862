"""Deeds: isolated facts in the shortest sentences there are, "vazed leads ditav" and "ditav follows vazed".

The bundled model learns to look entities up on these first: the shorter the sentence, the sooner it comes.
"""

import random

from pydantic import Field

from study.strict import Strict
from study.words import Lexicon
from study.world import World
from study.worlds.isolated import build_isolated

PAIRS = (
    ("leads", "follows"),
    ("hunts", "flees"),
    ("teaches", "heeds"),
    ("hires", "serves"),
    ("helps", "thanks"),
    ("sees", "avoids"),
    ("calls", "answers"),
    ("feeds", "trusts"),
    ("guards", "obeys"),
    ("pays", "supplies"),
    ("invites", "visits"),
    ("precedes", "replaces"),
)
WORDING = {verb: (f"{{s}} {verb} {{o}}.",) for pair in PAIRS for verb in pair}


class Params(Strict):
    """Size of a world of deeds."""

    size: int = Field(32, ge=2, le=280, description="facts")
    features: int = Field(4, ge=1, le=len(PAIRS), description="pairs of verbs they are spread over, in equal parts")


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> World:
    """A world of deeds."""
    pairs = rng.sample(PAIRS, params.features)
    return build_isolated("deeds", rng, lexicon, params.size, pairs, WORDING)
