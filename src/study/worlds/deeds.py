"""Deeds: isolated facts in the shortest sentences there are, "vazed leads ditav" and "ditav follows vazed".

The bundled model learns to look entities up on these first: the shorter the sentence, the sooner it comes.
"""

from functools import partial
from typing import ClassVar

from study.worlds.isolated import IsolatedShape, Pairs, build_isolated, pairs_of
from study.worlds.wording import English, templates

PAIRS = pairs_of(
    """
    leads follows, hunts flees, teaches heeds, hires serves, helps thanks, sees avoids, calls answers,
    feeds trusts, guards obeys, pays supplies, invites visits, precedes replaces
    """
)
WORDING = {verb: templates(f"{{s}} {verb} {{o}}.") for pair in PAIRS for verb in pair}


class Params(IsolatedShape):
    """Size of a world of deeds."""

    pairs: ClassVar[Pairs] = PAIRS


PRESETS = {"bundled": Params(), "source": Params(size=100, features=12)}
build = partial(build_isolated, "deeds", pairs=PAIRS, words_of=English(WORDING, {}))
