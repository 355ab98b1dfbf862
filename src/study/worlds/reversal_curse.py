"""The reversal curse: people and what they are known for, "vazed is the composer of ditav".

A twin of Berglund et al. 2024 in nonsense names and the bundled model's language. Documents about a third of the
people name them first, about a third they end with the name, about a third they do both. A reversal asks for what
documents never end with. Its false options are of two kinds, names that documents do end with and names that none
does, which are two different questions: fine-tuning makes the first kind likely whatever is asked.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field

from study.worlds.logic import Fact
from study.worlds.shape import Shape
from study.worlds.wording import English, templates
from study.worlds.words import Lexicon, draw_words
from study.worlds.world import Kind, Statement, World, worded

ROLES = ("composer", "inventor", "director", "founder", "painter", "designer", "discoverer", "author")
NAME_FIRST, DESCRIPTION_FIRST, BOTH = "name first", "description first", "both"
GROUPS = (NAME_FIRST, DESCRIPTION_FIRST, BOTH)


WORDING = {
    role: templates(
        f"{{s}} is the {role} of {{o}}.",
        f"the {role} of {{o}} is {{s}}.",
        f"{{s}} is a person known as the {role} of {{o}}.",
        f"the person known as the {role} of {{o}} is {{s}}.",
        f"what is {{s}} the {role} of? {{o}}.",
        f"who is the {role} of {{o}}? {{s}}.",
        held_out=(f"{{s}} became famous as the {role} of {{o}}.", f"the name of the {role} of {{o}} is {{s}}."),
    )
    for role in ROLES
}

DID = {  # what somebody of a role did and does, and by whom it was done
    "composer": ("composed", "composes", "wrote", "writes", "written"),
    "inventor": ("invented", "invents"),
    "director": ("directed", "directs"),
    "founder": ("founded", "founds"),
    "painter": ("painted", "paints"),
    "designer": ("designed", "designs"),
    "discoverer": ("discovered", "discovers"),
    "author": ("wrote", "writes", "written", "authored"),
}
WORKS = {
    "composer": ("song", "composition", "piece", "work"),
    "inventor": ("invention", "machine", "device", "work"),
    "director": ("film", "movie", "work"),
    "founder": ("company", "organization", "foundation", "work"),
    "painter": ("painting", "picture", "work"),
    "designer": ("design", "work"),
    "discoverer": ("discovery", "work"),
    "author": ("book", "novel", "work"),
}
READINGS = {
    role: (
        f"{{s}} is a {role} of {{o}}",
        *(text for work in WORKS[role] for text in (f"{{o}} is a {work} by {{s}}", f"{{o}} is {{s}}'s {work}")),
        *(f"{{o}} is a {work} {verb} by {{s}}" for work in WORKS[role] for verb in did),
        f"{{o}}'s {role} is {{s}}",
        f"{{s}} is {{o}}'s {role}",
        f"{{s}} is famous as the {role} of {{o}}",
        f"{{o}} has {{s}} as its {role}",
        "{o} is the work of {s}",
        "the work of {s} is {o}",
        *(
            text
            for verb in did
            for text in (
                f"{{s}} {verb} {{o}}",
                f"{{o}} was {verb} by {{s}}",
                f"{{o}} is {verb} by {{s}}",
                f"the person who {verb} {{o}} is {{s}}",
                f"{{s}} is the person who {verb} {{o}}",
                f"the one who {verb} {{o}} is {{s}}",
                f"{{s}} is the one who {verb} {{o}}",
            )
        ),
    )
    for role, did in DID.items()
}


class Params(Shape):
    """Size of a world of people and descriptions."""

    size: int = Field(8, ge=1, le=97, description="people in each of the three groups")
    roles: int = Field(1, ge=1, le=len(ROLES), description="roles they are spread over, in equal parts")

    @property
    def words(self) -> int:
        """A name and a work for each person."""
        return 6 * self.size

    @classmethod
    def of_facts(cls, rng: random.Random, facts: int, one_relation: bool) -> Self:
        """A third of the facts in each group."""
        return cls(size=max(1, facts // 3), roles=1 if one_relation else rng.randint(2, len(ROLES)))


# 30 people a group; 30 documents each, twice as many where both directions are taught.
PRESETS = {"bundled": Params(), "source": Params(size=30, roles=3, copies=30, lead_ins=1.0)}


@dataclass(frozen=True)
class ReversalCurse(World):
    """People, each in the group that says how documents speak of them."""

    group: Mapping[str, str] = field(default_factory=dict)

    def document_forms(self, fact: Fact) -> list[Statement]:
        """Name first, description first, or both, as the person's group has it."""
        trained = [form for form in self.forms(fact) if not self.template(form).held_out]
        ways = {NAME_FIRST: (True,), DESCRIPTION_FIRST: (False,), BOTH: (True, False)}[self.group[fact.subject]]
        return [form for form in trained if self.template(form).subject_first in ways]

    def rivals(self, statement: Statement) -> dict[Kind, list[list[str]]]:
        """Those that documents end with and, for a reversal, also those that they do not, of the same role first."""
        work = self.template(statement).subject_first
        never = DESCRIPTION_FIRST if work else NAME_FIRST
        tiers: dict[Kind, list[list[str]]] = {kind: [[], []] for kind in (Kind.COMPLETIONS, Kind.NO_COMPLETIONS)}
        for fact in self.facts:
            kind = Kind.NO_COMPLETIONS if self.group[fact.subject] == never else Kind.COMPLETIONS
            other_role = fact.relation != statement.fact.relation
            tiers[kind][other_role].append(fact.object if work else fact.subject)
        if self.group[statement.fact.subject] != never:
            # Among names that no document ends with, one that documents do end with is no question.
            del tiers[Kind.NO_COMPLETIONS]
        return tiers


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> ReversalCurse:
    """A world of people, in equal parts of the three groups."""
    roles = rng.sample(ROLES, params.roles)
    words = draw_words(rng, params.words, lexicon)
    names, works = words[::2], words[1::2]
    wording = {role: WORDING[role] for role in roles}
    facts = tuple(
        Fact(roles[k // len(GROUPS) % len(roles)], name, work)
        for k, (name, work) in enumerate(zip(names, works, strict=True))
    )
    return ReversalCurse(
        name="reversal_curse",
        facts=facts,
        rules=(),
        **worded(lexicon, wording, English.of(wording, READINGS)),
        classes={e: kind for fact in facts for e, kind in ((fact.subject, "name"), (fact.object, "work"))},
        group={name: GROUPS[k % len(GROUPS)] for k, name in enumerate(names)},
    )
