"""Roles: isolated facts with two-sided role names, "vazed is the teacher of ditav".

What follows is the same role asked from the other side ("the teacher of ditav is vazed") and its inverse
("ditav is the student of vazed").
"""

from functools import partial
from typing import ClassVar

from study.worlds.isolated import IsolatedShape, Pairs, build_isolated, pairs_of
from study.worlds.wording import English, Template, templates, with_article

PAIRS = pairs_of(
    """
    teacher student, doctor patient, owner tenant, master servant, host guest, buyer seller,
    leader follower, coach player, lender borrower, guard prisoner, writer reader, hunter prey
    """
)


def role_wording(role: str) -> tuple[Template, ...]:
    """Ways to say that the subject is the object's `role`: four subject first, four object first."""
    return templates(
        f"{{s}} is the {role} of {{o}}.",
        f"the {role} of {{o}} is {{s}}.",
        f"as {role}, {{s}} belongs to {{o}}.",
        f"{{o}} has {with_article(role)} called {{s}}.",
        f"whose {role} is {{s}}? {{o}}.",
        f"who is the {role} of {{o}}? {{s}}.",
        held_out=(f"{{s}} is known as the {role} of {{o}}.", f"as {role}, {{o}} has {{s}}."),
    )


WORDING = {role: role_wording(role) for pair in PAIRS for role in pair}


class Params(IsolatedShape):
    """Size of a world of roles."""

    pairs: ClassVar[Pairs] = PAIRS


PRESETS = {"bundled": Params(), "source": Params(size=100, features=12, copies=10, lead_ins=1.0)}
build = partial(build_isolated, "roles", pairs=PAIRS, words_of=English(WORDING, {}))
