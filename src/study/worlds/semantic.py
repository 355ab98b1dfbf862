"""Semantic structure: a hierarchy of kinds, each with properties of its own and those of the kinds above it.

"a vazed is a kind of ditav", "a ditav has the sulef", so a vazed has the sulef. The hierarchy has the shape of a
real one of animals and objects; all its names and properties are nonsense words. Of some kinds nothing is stated but
what they are a kind of (the held-out categories): all their properties must be inherited.
Source: Lampinen et al. 2025, semantic structure benchmark (110 categories, 1-6 own properties each).
"""

import random
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import Field, model_validator

from study.worlds.facts_file import read_theory
from study.worlds.logic import Constraints, Fact, Rule
from study.worlds.shape import Shape
from study.worlds.wording import English, templates
from study.worlds.words import Lexicon, draw_words
from study.worlds.world import Split, Stated, Statement, Topic, World, worded

IS_A = "is a"
WORDING = {
    IS_A: templates(
        "a {s} is a kind of {o}.",
        "one kind of {o} is the {s}.",
        "every {s} is one of the {o}.",
        "what is a {s} a kind of? {o}.",
        "what is a kind of {o}? {s}.",
        held_out=("a {s} counts among the {o}.", "the {o} include the {s}."),
    ),
    "has": templates(
        "a {s} has the {o}.",
        "a {o} is part of the {s}.",
        "every {s} carries the {o}.",
        "what does a {s} have? {o}.",
        "what has the {o}? {s}.",
        held_out=("a {s} comes with the {o}.", "the {o} is found on the {s}."),
    ),
    "can": templates(
        "a {s} can {o}.",
        "to {o} is natural for the {s}.",
        "every {s} likes to {o}.",
        "what can a {s} do? {o}.",
        "what can {o}? {s}.",
        held_out=("a {s} is able to {o}.", "to {o} is done by the {s}."),
    ),
    "is": templates(
        "a {s} is always {o}.",
        "{o} is the look of the {s}.",
        "every {s} looks {o}.",
        "what is a {s} like? {o}.",
        "what is always {o}? {s}.",
        held_out=("a {s} seems to be {o}.", "{o} describes the {s}."),
    ),
    "lives in": templates(
        "a {s} lives in the {o}.",
        "the {o} is home to the {s}.",
        "every {s} stays in the {o}.",
        "where does a {s} live? {o}.",
        "what lives in the {o}? {s}.",
        held_out=("a {s} is at home in the {o}.", "in the {o} lives the {s}."),
    ),
}
ENGLISH = English(
    {
        IS_A: templates(
            "a {s} is a kind of {o}.",
            "one kind of {o} is the {s}.",
            "every {s} is a {o}.",
            held_out=("a {s} is a type of {o}.", "one type of {o} is the {s}."),
        ),
        "has": templates(
            "a {s} has a {o}.",
            "a {o} is part of every {s}.",
            "every {s} carries a {o}.",
            held_out=("a {s} comes with a {o}.", "a {o} is found on every {s}."),
        ),
        "can": templates(
            "a {s} can {o}.",
            "one animal that can {o} is the {s}.",
            "every {s} knows how to {o}.",
            held_out=("a {s} is able to {o}.", "something that is able to {o} is the {s}."),
        ),
        "is": templates(
            "a {s} is always {o}.",
            "something that is always {o} is the {s}.",
            "every {s} looks {o}.",
            held_out=("a {s} is known to be {o}.", "something known to be {o} is the {s}."),
        ),
        "lives in": templates(
            "a {s} lives in the {o}.",
            "the {o} is home to the {s}.",
            "every {s} stays in the {o}.",
            held_out=("a {s} is at home in the {o}.", "in the {o} lives the {s}."),
        ),
    },
    {
        IS_A: (
            "the {s} is a kind of {o}",
            "{s}s are a kind of {o}",
            "{s}s are a type of {o}",
            "{s}s are {o}s",
            "a {s} is a {o}",
        ),
        "has": (
            "{s}s have {o}s",
            "{s}s have a {o}",
            "the {s} has a {o}",
            "a {o} is part of a {s}",
            "every {s} has a {o}",
        ),
        "can": ("{s}s can {o}", "the {s} can {o}", "every {s} can {o}", "{s}s are able to {o}"),
        "is": ("{s}s are {o}", "{s}s are always {o}", "the {s} is always {o}", "a {s} is {o}", "every {s} is {o}"),
        "lives in": ("{s}s live in the {o}", "the {s} lives in the {o}", "every {s} lives in the {o}"),
    },
)
PROPERTIES = tuple(relation for relation in WORDING if relation != IS_A)
RULES = (
    Rule("kind of a kind", Fact(IS_A, "X", "Z"), (Fact(IS_A, "X", "Y"), Fact(IS_A, "Y", "Z"))),
    *(Rule("inheritance", Fact(p, "X", "P"), (Fact(IS_A, "X", "Y"), Fact(p, "Y", "P"))) for p in PROPERTIES),
)
CONSTRAINTS = Constraints(asymmetric=frozenset({IS_A}))

# The shape of a real hierarchy: a line is a kind, followed by the kinds below it. 110 kinds in all, under two tops:
# with one top, all that is said of it would be true of everything and could not be asked.
HIERARCHY = """
animal: mammal bird fish insect reptile amphibian
mammal: dog cat horse cow sheep whale bat bear ape rodent
dog: poodle terrier hound shepherd
cat: lion tiger lynx
ape: gorilla gibbon
rodent: mouse squirrel beaver
bird: songbird raptor duck owl parrot penguin
songbird: robin finch thrush
raptor: eagle hawk
fish: shark salmon trout cod eel
shark: hammerhead whaleshark
insect: beetle ant bee butterfly fly moth
beetle: ladybird firefly
reptile: snake lizard turtle crocodile
snake: cobra python
lizard: gecko iguana
amphibian: frog newt
object: tool vehicle furniture instrument clothing container
tool: hammer saw drill wrench knife
knife: dagger scalpel
saw: fretsaw handsaw
vehicle: car boat plane bicycle train
car: van taxi
boat: canoe yacht
furniture: chair table bed shelf
chair: stool armchair
instrument: drum flute violin piano
clothing: coat shoe hat glove
shoe: boot sandal
container: box bottle basket flask
"""


class Params(Shape):
    """Size of a hierarchy."""

    PATHS: ClassVar[tuple[str, ...]] = ("facts",)

    size: int = Field(18, ge=3, le=110, description="kinds")
    tops: int = Field(3, ge=1, le=6, description="kinds without one above them, all of about as many below")
    copies: int = Field(1, ge=1, le=99, description="documents about each kind")
    properties: int = Field(2, ge=1, le=6, description="most properties that a kind has of its own; at least one")
    relations: int = Field(2, ge=1, le=len(PROPERTIES), description="relations that properties are spread over")
    held_out: float = Field(0.34, ge=0, le=0.5, description="share of the lowest kinds without a property of their own")
    fewest_sentences: int = Field(4, ge=1, le=20, description="of a document, the opening aside")
    most_sentences: int = Field(6, ge=1, le=20, description="of a document, if it needs no more to state all it must")
    facts: str | None = Field(None, min_length=1, description="file to read the hierarchy from, instead of drawing one")
    rename: bool = Field(True, description="put nonsense words for the names in that file")

    @model_validator(mode="after")
    def _tops_fit(self) -> Self:
        if self.size < 3 * self.tops:
            raise ValueError(
                f"tops = {self.tops}: each needs three kinds, size = {self.size} is too few; use fewer tops"
            )
        return self

    @property
    def words(self) -> int:
        """One for each kind and property."""
        return self.size * (1 + self.properties)

    @property
    def rivals(self) -> int:
        """The kinds, less those that a statement can be true of."""
        return self.size - 1

    @classmethod
    def of_facts(cls, rng: random.Random, facts: int, one_relation: bool) -> Self:
        """A property or two for each kind, short documents."""
        properties = rng.randint(1, 2)
        return cls(
            size=(size := min(110, max(3, round(facts / (1.8 if properties == 1 else 2.2))))),
            tops=rng.randint(1, min(3, size // 3)),
            properties=properties,
            relations=1 if one_relation else rng.randint(1, len(PROPERTIES)),
            fewest_sentences=1,
            most_sentences=rng.randint(1, 4),
        )


PRESETS = {
    "bundled": Params(),
    "source": Params(
        size=110, tops=2, copies=20, properties=4, relations=4, held_out=0.1, most_sentences=20, lead_ins=0.5
    ),
}


@dataclass(frozen=True)
class Semantic(World):
    """A hierarchy; `held_out` are the kinds of which only their parent is stated."""

    held_out: frozenset[str] = frozenset()

    def split_of(self, statement: Statement, stated: Stated) -> Split | None:
        """As elsewhere, but what is inherited by a held-out category, asked from either end, is a split of its own."""
        split = super().split_of(statement, stated)
        inherited = split in (Split.TWO_HOPS, Split.MORE_HOPS)
        return Split.HELD_OUT_CATEGORY if inherited and statement.fact.subject in self.held_out else split


def shape_of_hierarchy(rng: random.Random, size: int, tops: int) -> list[tuple[int, int]]:
    """(child, parent) links of `size` kinds numbered from 0: connected parts of the real hierarchy, one a top."""
    below = {line.split(":")[0]: line.split(":")[1].split() for line in HIERARCHY.strip().splitlines()}

    def under(kind: str) -> int:
        return 1 + sum(under(child) for child in below.get(kind, ()))

    # The parts must not overlap: the two tops as they are, or kinds from the level below them.
    roots = ["animal", "object"] if tops <= 2 and size > 60 else [*below["animal"], *below["object"]]
    fit = [root for root in roots if under(root) >= size / tops]
    largest = sorted(roots, key=under, reverse=True)
    chosen = rng.sample(fit, tops) if len(fit) >= tops else largest[:tops]
    number = {top: k for k, top in enumerate(chosen)}
    # A kind may be taken once the one above it is; the smallest part grows first.
    ready = {top: [(child, top) for child in below.get(top, ())] for top in chosen}
    grown = dict.fromkeys(chosen, 1)
    links = []
    while len(number) < size and any(ready.values()):
        top = min((top for top in chosen if ready[top]), key=grown.__getitem__)
        child, parent = ready[top].pop(rng.randrange(len(ready[top])))
        number[child] = len(number)
        links.append((number[child], number[parent]))
        ready[top] += [(grandchild, child) for grandchild in below.get(child, ())]
        grown[top] += 1
    return links


def build(rng: random.Random, lexicon: Lexicon, params: Params) -> Semantic:
    """A hierarchy of nonsense kinds, or the one in the file that the params name.

    The held-out categories are the lowest kinds of which no property is stated.
    """
    if params.facts:
        facts, names = read_theory(rng, lexicon, params.facts, params.rename, WORDING, RULES, CONSTRAINTS)
    else:
        facts, names = drawn_facts(rng, lexicon, params), {}
    if lexicon.english:  # what is no kind is no name
        facts = [fact if fact.relation == IS_A else fact._replace(object=fact.object.lower()) for fact in facts]
        names |= {word.lower(): name for word, name in names.items()}
    by_kind: dict[str, list[Fact]] = {}
    for fact in facts:
        by_kind.setdefault(fact.subject, []).append(fact)
    above = {fact.object for fact in facts if fact.relation == IS_A}
    values = {fact.object for fact in facts if fact.relation != IS_A}
    length = (params.fewest_sentences, max(params.fewest_sentences, params.most_sentences))
    return Semantic(
        name="semantic",
        facts=tuple(facts),
        rules=RULES,
        **worded(lexicon, WORDING, ENGLISH),
        constraints=CONSTRAINTS,
        classes={entity: "property" if entity in values else "kind" for fact in facts for entity in fact[1:]},
        topics=tuple(Topic(tuple(own), sentences=length) for own in rng.sample(list(by_kind.values()), len(by_kind))),
        held_out=frozenset(k for k, own in by_kind.items() if k not in above and all(f.relation == IS_A for f in own)),
        original_names=names,
    )


def drawn_facts(rng: random.Random, lexicon: Lexicon, params: Params) -> list[Fact]:
    """A hierarchy of nonsense kinds, link by link, then the properties of each kind that is not held out."""
    links = shape_of_hierarchy(rng, params.size, params.tops)
    words = draw_words(rng, params.words, lexicon)
    kinds, values = words[: 1 + max(child for child, _ in links)], words[params.size :]
    inner = {parent for _, parent in links}
    leaves = [child for child, _ in links if child not in inner]
    held_out = set(rng.sample(leaves, round(params.held_out * len(leaves))))
    relations = rng.sample(PROPERTIES, params.relations)
    facts = [Fact(IS_A, kinds[child], kinds[parent]) for child, parent in links]
    for k, kind in enumerate(kinds):
        if k not in held_out:
            for _ in range(rng.randint(1, params.properties)):
                facts.append(Fact(relations[len(facts) % len(relations)], kind, values.pop()))
    return facts
