"""The worlds, by name. A new world is one module with `Params`, `PRESETS` and `build`, and one row here."""

import re

from study.worlds import (
    deeds,
    family,
    process,
    reversal_curse,
    reversals,
    roles,
    semantic,
    syllogisms,
)
from study.worlds.wording import LEAD_INS

# The first six are the study's; the last two are for pretraining, which needs more relations than the study uses.
DRAWN = {
    "reversals": reversals,
    "syllogisms": syllogisms,
    "reversal_curse": reversal_curse,
    "semantic": semantic,
    "family": family,
    "process": process,
    "roles": roles,
    "deeds": deeds,
}


def closed_class_words(*more: str) -> list[str]:
    """Every word of the wordings, the lead-ins and `more` texts that is not a nonsense word, sorted."""
    texts = [form.text for world in DRAWN.values() for forms in world.WORDING.values() for form in forms]
    texts += [text for world in DRAWN.values() for text in getattr(world, "CLOSED_CLASS", ())]
    return sorted({word for text in [*texts, *LEAD_INS, *more] for word in re.sub(r"{.}|[.,?]", " ", text).split()})
