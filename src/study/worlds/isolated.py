"""Isolated facts with two-sided relations: what the worlds of reversals, roles and deeds have in common.

Each entity stands in one fact only, so nothing follows from a fact but its inverse.
"""

import random
from collections.abc import Mapping, Sequence

from study.words import Lexicon, draw_words
from study.world import Fact, Rule, World


def build_isolated(
    name: str,
    rng: random.Random,
    lexicon: Lexicon,
    size: int,
    pairs: Sequence[tuple[str, str]],
    wording: Mapping[str, tuple[str, ...]],
) -> World:
    """A world of `size` facts spread over pairs of inverse relations in equal parts.

    All facts of a pair are stated by the same one of its two relations, or the relation's name would tell
    half of them apart; only their entities differ. The best distractors stand on the same side of such facts.
    """
    stated = [rng.choice(pair) for pair in pairs]
    words = draw_words(rng, 2 * size, lexicon)
    facts = [
        Fact(stated[k % len(stated)], subject, object_)
        for k, (subject, object_) in enumerate(zip(words[::2], words[1::2], strict=True))
    ]
    sides = ({f.subject: f.relation for f in facts}, {f.object: f.relation for f in facts})
    peers = {
        entity: tuple(
            e for alike in (True, False) for e, other in side.items() if e != entity and (other == relation) is alike
        )
        for side in sides
        for entity, relation in side.items()
    }
    inverses = [inverse for pair in pairs for inverse in (pair, pair[::-1])]
    return World(
        name=name,
        facts=tuple(facts),
        rules=tuple(Rule("inverse", Fact(other, "Y", "X"), (Fact(one, "X", "Y"),)) for one, other in inverses),
        wording={relation: wording[relation] for pair in pairs for relation in pair},
        peers=peers,
        asymmetric=frozenset(relation for pair in pairs for relation in pair),
        disjoint=frozenset(pairs),
    )
