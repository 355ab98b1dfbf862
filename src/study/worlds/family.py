"""Family trees: parents, couples and, where nothing else tells it, who is a man or a woman are stated.

All other kinship follows, up to great-aunts, cousins and in-laws. Siblings share a parent, one at least, so a brother
of a brother need not be one; an uncle is a brother of a parent, not the husband of an aunt; a brother-in-law is a
brother of the spouse or the husband of a sibling.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from pydantic import Field

from study.worlds.facts_file import read_theory
from study.worlds.logic import Constraints, Fact, Rule
from study.worlds.roles import role_wording
from study.worlds.shape import Shape
from study.worlds.wording import English, Template, templates, with_article
from study.worlds.words import Lexicon, draw_words
from study.worlds.world import Kind, Split, Stated, Statement, World, worded

GENDER, MAN, WOMAN = "gender", "man", "woman"
CLOSED_CLASS = (MAN, WOMAN)
# Kin of either sex, with its names for a man and for a woman.
GENDERED = {
    "parent": ("father", "mother"),
    "child": ("son", "daughter"),
    "sibling": ("brother", "sister"),
    "grandparent": ("grandfather", "grandmother"),
    "great-grandparent": ("great-grandfather", "great-grandmother"),
    "sibling of a parent": ("uncle", "aunt"),
    "child of a sibling": ("nephew", "niece"),
    "sibling of a grandparent": ("great-uncle", "great-aunt"),
    "spouse": ("husband", "wife"),
    "parent-in-law": ("father-in-law", "mother-in-law"),
    "child-in-law": ("son-in-law", "daughter-in-law"),
    "sibling-in-law": ("brother-in-law", "sister-in-law"),
}
NEUTRAL = ("parent", "child", "sibling", "grandchild", "cousin")
KIN = (*NEUTRAL, *(name for pair in GENDERED.values() for name in pair))
WORDING = {
    **{kin: role_wording(kin) for kin in KIN},
    GENDER: templates(
        "{s} is a {o}.", "{s} was born a {o}.", "what was {s} born? {o}.", held_out=("{s} is named a {o}.",)
    ),
}


def _english_role(role: str) -> tuple[Template, ...]:
    return templates(
        f"{{s}} is the {role} of {{o}}.",
        f"the {role} of {{o}} is {{s}}.",
        f"{{o}} has {with_article(role)} named {{s}}.",
        held_out=(f"{{s}} is known as the {role} of {{o}}.", f"{{o}}'s {role} is {{s}}."),
    )


ENGLISH = English.of(
    {**{kin: _english_role(kin) for kin in KIN}, GENDER: WORDING[GENDER]},
    {
        GENDER: ("{s} was born as a {o}", "{s} is the {o}"),
    }
    | {
        kin: (
            f"{{s}} is {{o}}'s {kin}",
            f"{{s}} is the one who is the {kin} of {{o}}",
            f"the person who is the {kin} of {{o}} is {{s}}",
            f"{{s}} is a {kin} of {{o}}",
            f"{{s}} is the {kin} to {{o}}",
            f"{{s}} is a {kin} to {{o}}",
            f"{{o}} has a {kin} called {{s}}",
            f"{{o}} has {{s}} as a {kin}",
            f"{{o}} is the one whose {kin} is {{s}}",
            f"the one whose {kin} is {{s}} is {{o}}",
        )
        for kin in KIN
    },
)


def _rule(head: str, *body: str) -> Rule:
    """A rule from "relation X Y" atoms, named for its head."""
    atoms = [Fact(*atom.rsplit(" ", 2)) for atom in (head, *body)]
    return Rule(atoms[0].relation, atoms[0], tuple(atoms[1:]))


RULES = (
    *(
        rule
        for neutral, names in GENDERED.items()
        for name, gender in zip(names, (MAN, WOMAN), strict=True)
        for rule in (
            _rule(f"{name} X Y", f"{neutral} X Y", f"{GENDER} X {gender}"),
            _rule(f"{neutral} X Y", f"{name} X Y"),
            _rule(f"{GENDER} X {gender}", f"{name} X Y"),
        )
    ),
    _rule("child Y X", "parent X Y"),
    _rule("parent X Y", "child Y X"),
    _rule("spouse Y X", "spouse X Y"),
    # Marriages in these families are of a man and a woman: the other's sex follows.
    _rule(f"{GENDER} Y {WOMAN}", "husband X Y"),
    _rule(f"{GENDER} Y {MAN}", "wife X Y"),
    _rule("sibling X Y", "parent Z X", "parent Z Y"),
    _rule("sibling Y X", "sibling X Y"),
    _rule("grandparent X Z", "parent X Y", "parent Y Z"),
    _rule("grandchild Z X", "grandparent X Z"),
    _rule("grandparent X Z", "grandchild Z X"),
    _rule("great-grandparent X Z", "parent X Y", "grandparent Y Z"),
    _rule("great-grandparent X Z", "grandparent X Y", "parent Y Z"),
    _rule("sibling of a parent X Z", "sibling X Y", "parent Y Z"),
    _rule("child of a sibling Z X", "sibling of a parent X Z"),
    _rule("sibling of a parent X Z", "child of a sibling Z X"),
    _rule("sibling of a grandparent X Z", "sibling X Y", "grandparent Y Z"),
    _rule("sibling of a grandparent X Z", "sibling of a parent X Y", "parent Y Z"),
    _rule("cousin X Y", "parent P X", "sibling of a parent P Y"),
    _rule("cousin Y X", "cousin X Y"),
    _rule("parent-in-law X Y", "parent X Z", "spouse Z Y"),
    _rule("child-in-law Y X", "parent-in-law X Y"),
    _rule("parent-in-law X Y", "child-in-law Y X"),
    _rule("sibling-in-law X Y", "sibling X Z", "spouse Z Y"),
    _rule("sibling-in-law X Y", "spouse X Z", "sibling Z Y"),
    _rule("sibling-in-law Y X", "sibling-in-law X Y"),
    # Who is called a father or a husband on the way is known to be a man: no other fact is needed to say so.
    *(
        _rule(f"{head} X Y", f"{known} X Z", f"{link} Z Y")
        for k in (0, 1)
        for neutral, known_as, link in (
            ("grandparent", "parent", "parent"),
            ("great-grandparent", "parent", "grandparent"),
            ("great-grandparent", "grandparent", "parent"),
            ("sibling of a grandparent", "sibling of a parent", "parent"),
            ("parent-in-law", "parent", "spouse"),
            ("child-in-law", "spouse", "child"),
            ("sibling-in-law", "spouse", "sibling"),
        )
        for head, known in [(GENDERED[neutral][k], GENDERED[known_as][k])]
    ),
)
CONSTRAINTS = Constraints(
    asymmetric=frozenset({"parent", "grandparent", "great-grandparent"}),
    functional=frozenset({GENDER}),
    inverse_functional=frozenset({"father", "mother"}),
    disjoint=frozenset(GENDERED.values()),
)
# To find a cycle of any length; not needed for families that are built here.
ANCESTRY = (
    *(_rule("ancestor X Y", f"{kin} X Y") for kin in ("parent", "grandparent", "great-grandparent")),
    _rule("ancestor X Z", "ancestor X Y", "ancestor Y Z"),
)
_WITH_ANCESTRY = CONSTRAINTS._replace(
    asymmetric=CONSTRAINTS.asymmetric | {"ancestor"}, disjoint=CONSTRAINTS.disjoint | {("ancestor", "spouse")}
)


class Params(Shape):
    """Size of a world of families."""

    PATHS: ClassVar[tuple[str, ...]] = ("facts",)

    size: int = Field(1, ge=1, description="families")
    generations: int = Field(4, ge=2, le=5)
    children: int = Field(2, ge=1, le=4, description="of each couple")
    married: int = Field(2, ge=1, le=4, description="of them, who have children of their own")
    facts: str | None = Field(None, min_length=1, description="file to read the families from, instead of drawing them")
    rename: bool = Field(True, description="put nonsense words for the names in that file")

    @property
    def members(self) -> int:
        """People in one family."""
        couples: int = sum(min(self.married, self.children) ** generation for generation in range(self.generations - 1))
        return 1 + couples * (1 + self.children)  # of each couple one is a child of another, but for the first

    @property
    def words(self) -> int:
        """One for each person."""
        return self.size * self.members

    @property
    def rivals(self) -> int:
        """The people, less the two in the sentence."""
        return self.words - 1

    @classmethod
    def of_facts(cls, rng: random.Random, facts: int, one_relation: bool) -> Self:
        """Families as large as the facts allow, or several small ones."""
        shapes = [cls(generations=g, children=c, married=m) for g, c, m in _SMALL_SHAPES]
        small = [shape for shape in shapes if shape.members * 1.7 <= max(facts, 8)]
        shape = rng.choice(small or shapes[:1])
        return shape.model_copy(update={"size": max(1, round(facts / (1.8 * shape.members)))})


_SMALL_SHAPES = ((2, 1, 1), (2, 2, 1), (3, 1, 1), (3, 2, 1), (3, 2, 2), (4, 1, 1), (4, 2, 1), (4, 2, 2))
PRESETS = {"bundled": Params(), "source": Params(size=12, copies=10, lead_ins=0.5)}


@dataclass(frozen=True)
class Families(World):
    """Families; `family` says which one a person belongs to."""

    family: Mapping[str, int] = field(default_factory=dict)

    def split_of(self, statement: Statement, stated: Stated) -> Split | None:
        """As elsewhere; that a father is a man is not asked, for there are two options only."""
        split = super().split_of(statement, stated)
        return None if statement.fact.relation == GENDER and split is Split.REVERSAL else split

    def reversed_relation(self, fact: Fact) -> Fact:
        """As elsewhere; who is a man or a woman stays."""
        return fact if fact.relation == GENDER else super().reversed_relation(fact)

    def rivals(self, statement: Statement) -> dict[Kind, list[list[str]]]:
        """Kin of the same family first: those of the sex that the relation asks for, then the others."""
        if statement.fact.relation == GENDER:
            return {Kind.SAME_FAMILY: [[MAN, WOMAN]]}
        answer = self.answer(statement)
        people = list(self.family)
        kin = [person for person in people if self.family[person] == self.family[answer]]
        alike = [person for person in kin if self.classes.get(person) == self.classes.get(answer)]
        return {Kind.SAME_FAMILY: [alike, kin, people]}


def family_facts(rng: random.Random, people: Iterator[str], params: Params) -> list[Fact]:
    """What is stated of one family, whose members are the next of `people`."""
    couples = [(next(people), next(people))]
    facts = [Fact("husband", *couples[0])]
    for generation in range(1, params.generations):
        last = generation == params.generations - 1
        wed: list[tuple[str, str]] = []
        for father, mother in couples:
            for k in range(params.children):
                child = next(people)
                facts += [Fact("father", father, child), Fact("mother", mother, child)]
                if k < params.married and not last:
                    wed.append((child, next(people)) if rng.random() < 0.5 else (next(people), child))
                    facts.append(Fact("husband", *wed[-1]))
                else:
                    facts.append(Fact(GENDER, child, rng.choice((MAN, WOMAN))))
        couples = wed
    return facts


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> Families:
    """A world of families, drawn or read from the file that the params name.

    In a file, people linked by any stated kinship are one family.
    """
    names: dict[str, str] = {}
    family: dict[str, int] = {}
    if params.facts:
        rules = (*RULES, *ANCESTRY)
        facts, names = read_theory(rng, lexicon, params.facts, params.rename, WORDING, rules, _WITH_ANCESTRY)
        for fact in facts:
            pair = [entity for entity in fact[1:] if entity not in (MAN, WOMAN)]
            joined = {family[entity] for entity in pair if entity in family}
            number = min(joined, default=len(family))
            family |= dict.fromkeys([*pair, *(e for e, k in family.items() if k in joined)], number)
    else:
        people = draw_words(rng, params.words, lexicon)[::-1]
        family = {person: k // params.members for k, person in enumerate(people)}
        left = iter(people)
        facts = [fact for _ in range(params.size) for fact in family_facts(rng, left, params)]
    sex = {f.subject: f.object for f in facts if f.relation == GENDER}
    for fact in facts:
        for men, women in GENDERED.values():
            if fact.relation in (men, women):
                sex[fact.subject] = MAN if fact.relation == men else WOMAN
        if fact.relation in GENDERED["spouse"]:
            sex[fact.object] = WOMAN if fact.relation == "husband" else MAN
    return Families(
        name="family",
        facts=tuple(facts),
        rules=RULES,
        **worded(lexicon, WORDING, ENGLISH),
        constraints=CONSTRAINTS,
        classes=sex,
        family=family,
        original_names=names,
    )
