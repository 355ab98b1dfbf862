"""Simple reversals: isolated comparisons, "vazed is more fast than ditav".

Nothing follows but the inverse: "ditav is less fast than vazed".
Source: Lampinen et al. 2025, simple reversals (100 comparisons over 28 features).
"""

import random

from pydantic import Field

from study.strict import Strict
from study.words import Lexicon
from study.world import World
from study.worlds.isolated import build_isolated

FEATURES = tuple(
    """
    fast bright heavy dangerous tall loud rare old sweet warm strong useful clever deep gentle hungry
    noisy brave proud quiet rough shiny smooth soft sour steady thick wild
    """.split()
)
PAIRS = tuple((f"more {feature}", f"less {feature}") for feature in FEATURES)
WORDING = {
    f"{degree} {feature}": (
        f"{{s}} is {degree} {feature} than {{o}}.",
        f"in being {feature}, {{s}} is {place} {{o}}.",
        f"for how {feature} it is, {{s}} {outcome} {{o}}.",
    )
    for feature in FEATURES
    for degree, place, outcome in (("more", "ahead of", "beats"), ("less", "behind", "loses to"))
}


class Params(Strict):
    """Size of a world of comparisons."""

    size: int = Field(32, ge=2, le=280, description="comparisons")
    features: int = Field(4, ge=1, le=len(PAIRS), description="features they are spread over, in equal parts")


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> World:
    """A world of comparisons."""
    pairs = rng.sample(PAIRS, params.features)
    return build_isolated("reversals", rng, lexicon, params.size, pairs, WORDING)
