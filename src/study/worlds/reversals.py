"""Simple reversals: isolated comparisons, "vazed is more fast than ditav".

Nothing follows but the inverse: "ditav is less fast than vazed".
Source: Lampinen et al. 2025, simple reversals (100 comparisons over 28 features, each in 10 articles).
"""

import random
from typing import ClassVar

from study.worlds.isolated import IsolatedShape, Pairs, build_isolated
from study.worlds.wording import templates
from study.worlds.words import Lexicon
from study.worlds.world import World

FEATURES = tuple(
    """
    fast bright heavy dangerous tall loud rare old sweet warm strong useful clever deep gentle hungry
    noisy brave proud quiet rough shiny smooth soft sour steady thick wild
    """.split()
)
PAIRS: Pairs = tuple((f"more {feature}", f"less {feature}") for feature in FEATURES)
WORDING = {
    f"{degree} {feature}": templates(
        f"{{s}} is {degree} {feature} than {{o}}.",
        f"in being {feature}, {{s}} is {place} {{o}}.",
        f"than whom is {{s}} {degree} {feature}? {{o}}.",
        held_out=(f"for how {feature} it is, {{s}} {outcome} {{o}}.",),
    )
    for feature in FEATURES
    for degree, place, outcome in (("more", "ahead of", "beats"), ("less", "behind", "loses to"))
}


class Params(IsolatedShape):
    """Size of a world of comparisons."""

    pairs: ClassVar[Pairs] = PAIRS


PRESETS = {"bundled": Params(), "source": Params(size=100, features=28, copies=10, lead_ins=1.0)}


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> World:
    """A world of comparisons."""
    return build_isolated("reversals", rng, lexicon, params, WORDING, opposites=True)
