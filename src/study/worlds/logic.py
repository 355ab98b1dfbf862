"""Facts, rules and what follows from them: a forward chainer over binary relations, with contradictions."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple


class Fact(NamedTuple):
    """A binary relation between two entities: `subject` is the `relation` of `object`."""

    relation: str
    subject: str
    object: str


class Rule(NamedTuple):
    """`head` holds wherever all of `body` holds.

    As in Prolog, a subject or object that begins with a capital is a variable, any other is a constant.
    No relation of any world is reflexive, so a head with equal subject and object is not derived.
    """

    name: str
    head: Fact
    body: tuple[Fact, ...]


class Derivation(NamedTuple):
    """Why a fact holds: the last rule used and the stated facts it rests on in the end."""

    rule: str
    supports: frozenset[Fact]

    @property
    def hops(self) -> int:
        """Stated facts to be combined: 1 for a restatement or an inverse, 2 for a grandparent."""
        return len(self.supports)


STATED, AXIOM = "stated", "axiom"
Bound = dict[str, str]


class Theory:
    """What is known so far, and all that follows from it.

    A forward chainer in the order of the number of stated facts a derivation rests on (Knuth 1977), so that each
    fact is met first with its smallest derivation and is settled then. Smallest under one simplification: each premise
    enters with its own smallest derivation.

    Args:
        rules: what may be inferred.
        below: a theory to build upon without changing it: only what is new is held here.
    """

    def __init__(self, rules: Iterable[Rule] = (), below: "Theory | None" = None) -> None:
        self.closure: dict[Fact, Derivation] = {}
        self.below = below
        # Dicts, not sets: the order of a set of strings changes from process to process.
        self._known: dict[tuple[str, str | None, str | None], dict[Fact, None]] = defaultdict(dict)
        self._waiting: dict[str, list[tuple[Rule, Fact, tuple[Fact, ...]]]] = (
            below._waiting if below else defaultdict(list)
        )
        if below is None:
            for rule in rules:
                for k, atom in enumerate(rule.body):
                    self._waiting[atom.relation].append((rule, atom, rule.body[:k] + rule.body[k + 1 :]))

    def derivation(self, fact: Fact) -> Derivation | None:
        """Why a fact holds; None if it does not."""
        return self.closure.get(fact) or (self.below.derivation(fact) if self.below else None)

    def matching(self, relation: str, subject: str | None = None, object_: str | None = None) -> Iterator[Fact]:
        """The known facts of a relation, None standing for any entity."""
        if self.below:
            yield from self.below.matching(relation, subject, object_)
        yield from self._known.get((relation, subject, object_), ())

    def _count(self, relation: str, subject: str | None, object_: str | None) -> int:
        below = self.below._count(relation, subject, object_) if self.below else 0
        return below + len(self._known.get((relation, subject, object_), ()))

    def add(self, facts: Iterable[Fact], axioms: Iterable[Fact] = ()) -> list[Fact]:
        """State facts and derive what follows; axioms hold without support. What is new, settled in this order."""
        ticket = count()
        queue: list[tuple[int, int, Fact, Derivation]] = []
        new: list[Fact] = []

        def offer(fact: Fact, derivation: Derivation) -> None:
            if self.derivation(fact) is None:
                heapq.heappush(queue, (derivation.hops, next(ticket), fact, derivation))

        for fact in axioms:
            offer(fact, Derivation(AXIOM, frozenset()))
        for fact in facts:
            offer(fact, Derivation(STATED, frozenset([fact])))
        while queue:
            _, _, fact, derivation = heapq.heappop(queue)
            if self.derivation(fact) is not None:
                continue
            relation, subject, object_ = fact
            self.closure[fact] = derivation
            for key in ((None, None), (subject, None), (None, object_), (subject, object_)):
                self._known[relation, *key][fact] = None
            new.append(fact)
            for rule, atom, others in self._waiting.get(relation, ()):
                bound = _unify(atom, fact, {})
                if bound is None:
                    continue
                for binding, used in self._bindings(others, bound, (fact,)):
                    derived, *terms = rule.head
                    head = Fact(derived, *(binding[term] if term[0].isupper() else term for term in terms))
                    if head.subject != head.object:
                        supports = (known.supports for premise in used if (known := self.derivation(premise)))
                        offer(head, Derivation(rule.name, frozenset().union(*supports)))
        return new

    def _bindings(
        self, atoms: tuple[Fact, ...], bound: Bound, used: tuple[Fact, ...]
    ) -> Iterator[tuple[Bound, tuple[Fact, ...]]]:
        """Every way to match all atoms with known facts, the atom with the fewest matches first."""
        if not atoms:
            yield bound, used
            return
        terms = [[bound.get(term) if term[0].isupper() else term for term in atom[1:]] for atom in atoms]
        k = min(range(len(atoms)), key=lambda k: self._count(atoms[k].relation, *terms[k])) if len(atoms) > 1 else 0
        for fact in list(self.matching(atoms[k].relation, *terms[k])):
            binding = _unify(atoms[k], fact, bound)
            if binding is not None:
                yield from self._bindings(atoms[:k] + atoms[k + 1 :], binding, (*used, fact))


def _unify(atom: Fact, fact: Fact, bound: Bound) -> Bound | None:
    """`bound` extended so that the atom is the fact; None if it cannot be."""
    for term, value in ((atom.subject, fact.subject), (atom.object, fact.object)):
        known = bound.get(term) if term[0].isupper() else term
        if known is None:
            bound = {**bound, term: value}
        elif known != value:
            return None
    return bound


class Constraints(NamedTuple):
    """What cannot be; the names are those of OWL.

    Attributes:
        asymmetric: relations that cannot hold both ways round.
        functional: relations in which a subject has one object only ("gender").
        inverse_functional: relations in which an object has one subject only ("father").
        disjoint: pairs of relations that cannot both hold between the same two entities in the same order.
    """

    asymmetric: frozenset[str] = frozenset()
    functional: frozenset[str] = frozenset()
    inverse_functional: frozenset[str] = frozenset()
    disjoint: frozenset[tuple[str, str]] = frozenset()

    def clash(self, fact: Fact, theory: Theory) -> Fact | None:
        """A known fact that cannot hold together with `fact`; None if there is none."""
        relation, subject, object_ = fact
        rivals: list[Fact] = []
        if relation in self.asymmetric:
            rivals += theory.matching(relation, object_, subject)
        if relation in self.functional:
            rivals += theory.matching(relation, subject)
        if relation in self.inverse_functional:
            rivals += theory.matching(relation, None, object_)
        for pair in self.disjoint:
            if relation in pair:
                rivals += theory.matching(pair[relation == pair[0]], subject, object_)
        return next((rival for rival in rivals if rival != fact), None)

    def contradicts(self, fact: Fact, theory: Theory) -> bool:
        """Whether something that follows from a fact clashes with the theory, which is left as it is."""
        beyond = Theory(below=theory)
        return fact.subject == fact.object or any(self.clash(new, beyond) for new in beyond.add([fact]))
