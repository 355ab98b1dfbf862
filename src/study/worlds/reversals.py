"""Simple reversals: isolated comparisons, "vazed is more fast than ditav", in English "Tazdon is faster than Belvur".

Nothing follows but the inverse: "ditav is less fast than vazed", "Belvur is slower than Tazdon".
Source: Lampinen et al. 2025, simple reversals (100 comparisons over 28 features, each in 10 articles).
"""

import random
import re
from typing import ClassVar

from study.worlds.isolated import IsolatedShape, Pairs, build_isolated
from study.worlds.wording import English, templates
from study.worlds.words import Lexicon
from study.worlds.world import Split, Statement, World

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


# Adjective and comparative of each and of its opposite; no two pairs mean the same.
ADJECTIVES = tuple(
    tuple(line.split())
    for line in """
    fast faster slow slower
    bright brighter dark darker
    heavy heavier light lighter
    tall taller short shorter
    loud louder quiet quieter
    rare rarer common commoner
    old older young younger
    warm warmer cold colder
    strong stronger weak weaker
    clever cleverer dull duller
    deep deeper shallow shallower
    rough rougher smooth smoother
    bold bolder shy shyer
    proud prouder humble humbler
    tight tighter loose looser
    soft softer hard harder
    thick thicker thin thinner
    wild wilder tame tamer
    rich richer poor poorer
    wide wider narrow narrower
    clean cleaner dirty dirtier
    wet wetter dry drier
    sharp sharper blunt blunter
    big bigger small smaller
    high higher low lower
    safe safer risky riskier
    kind kinder mean meaner
    happy happier sad sadder
    """.strip().splitlines()
)


def _readings(comparative: str, adjective: str, opposite: str) -> tuple[str, ...]:
    """What else says that the subject has more of an adjective's quality than the object."""
    said = (comparative, f"more {adjective}", f"more {comparative}", f"less {opposite}")
    return (
        *(
            text
            for words in said
            for text in (
                f"{{s}} is {words} than {{o}}",
                f"{{s}} is {words} than {{o}} is",
                f"{{s}} is the {words} one compared with {{o}}",
                f"compared with {{o}} {{s}} is the {words} one",
                f"compared with {{o}} {{s}} is {words}",
                f"in comparison to {{o}} {{s}} is {words}",
                f"{{s}} is {words} compared with {{o}}",
                f"{{s}} is {words} when compared with {{o}}",
                f"{{s}} is {words} in comparison to {{o}}",
            )
        ),
        f"{{o}} is not as {adjective} as {{s}}",
        f"{{o}} is not so {adjective} as {{s}}",
        f"{{s}} is not as {opposite} as {{o}}",
        f"compared with {{o}} {{s}} is {adjective}",
    )


ENGLISH_PAIRS: Pairs = tuple((one, other) for _, one, _, other in ADJECTIVES)
ENGLISH = English(
    {
        comparative: templates(
            f"{{s}} is {comparative} than {{o}}.",
            f"{{s}} is clearly {comparative} than {{o}}.",
            f"{{s}} is much {comparative} than {{o}}.",
            held_out=(f"{{s}} turned out to be {comparative} than {{o}}.",),
        )
        for pair in ENGLISH_PAIRS
        for comparative in pair
    },
    {
        comparative: _readings(comparative, *adjectives)
        for adjective, comparative, opposite, other in ADJECTIVES
        for comparative, adjectives in ((comparative, (adjective, opposite)), (other, (opposite, adjective)))
    },
)


class Params(IsolatedShape):
    """Size of a world of comparisons."""

    pairs: ClassVar[Pairs] = PAIRS


class EnglishComparisons(World):
    """Comparisons in English, where opposites are words of their own.

    "Slower" alone would tell, where documents say "faster". So both are asked of the same two names, and who prefers a
    word, a name or a place is right in half of the questions, if a split has room for two of each fact: "Of Belvur and
    Tazdon, the slower one is".
    """

    contrasted = (Split.REPHRASED, Split.REVERSAL)

    def contrast(self, statement: Statement) -> tuple[str, list[str]]:
        """Which of the two it is, named in an order that tells nothing."""
        relation, *names = statement.fact
        return "Of {} and {}, the {} one is".format(*sorted(names), relation), [f" {name}." for name in names]

    def parse(self, sentence: str) -> Statement | None:
        """As elsewhere; such an answer too."""
        for answer, other in (r"\1", r"\2"), (r"\2", r"\1"):
            asked = rf"\bof (\w+) and (\w+), the (\w+) one is {answer}\b"
            sentence = re.sub(asked, rf"{answer} is \3 than {other}", sentence, flags=re.IGNORECASE)
        return super().parse(sentence)


PRESETS = {"bundled": Params(), "source": Params(size=100, features=28, copies=10, lead_ins=1.0)}


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> World:
    """A world of comparisons."""
    words, wording, kind = (
        (ENGLISH_PAIRS, ENGLISH, EnglishComparisons) if lexicon.english else (PAIRS, English(WORDING, {}), World)
    )
    return build_isolated("reversals", rng, lexicon, params, words, wording, opposites=True, kind=kind)
