import random

import clingo
import pytest

from clingo_rules import HIERARCHY, INVERSES, KINSHIP, NOTHING_MORE, PROCESS, SYLLOGISM, quoted, solve
from study.datasets import WORLDS
from study.worlds.logic import Constraints, Fact, Rule, Theory
from study.worlds.process import BECOMES, Expression
from study.worlds.words import PRETRAINING
from study.worlds.world import Status

INSTANCES = 200
# Where an instance takes long, fewer do by day.
FEWER = pytest.mark.parametrize("count", [INSTANCES // 5, pytest.param(INSTANCES, marks=pytest.mark.nightly)])


def instances(name: str, count: int = INSTANCES):
    """Random worlds of every size that pretraining draws."""
    module = WORLDS[name]
    for k in range(count):
        rng = random.Random(f"{name}/{k}")
        shape = module.Params.of_facts(rng, rng.randint(3, 20), rng.random() < 0.5)
        yield k, module.build(rng, PRETRAINING, shape)


def as_clingo(facts) -> str:
    return " ".join(f"f({quoted(f.relation)},{quoted(f.subject)},{quoted(f.object)})." for f in facts)


def entailed_by_clingo(program: str) -> set[Fact]:
    (atoms,) = solve(program)
    return {Fact(*(argument.string for argument in atom.arguments)) for atom in atoms}


def worded(world) -> set[Fact]:
    return {fact for fact in world.closure if fact.relation in world.wording}


@pytest.mark.parametrize("name", ["reversals", "roles", "deeds"])
def test_closure_of_isolated_facts_is_clingos(name):
    pairs = WORLDS[name].PAIRS
    inverses = " ".join(f"inverse({quoted(a)},{quoted(b)}). inverse({quoted(b)},{quoted(a)})." for a, b in pairs)
    for _, world in instances(name):
        assert worded(world) == entailed_by_clingo(INVERSES + inverses + as_clingo(world.facts))


@pytest.mark.parametrize(
    ("name", "rules"), [("family", KINSHIP), ("semantic", HIERARCHY), ("reversal_curse", NOTHING_MORE)]
)
def test_closure_is_clingos(name, rules):
    for _, world in instances(name):
        assert worded(world) == entailed_by_clingo(rules + as_clingo(world.facts))


@FEWER
def test_closure_of_syllogisms_is_what_holds_in_every_model(count):
    for _, world in instances("syllogisms", count):
        for topic in world.topics:
            terms = sorted({term for fact in topic.facts for term in (fact.subject, fact.object)})
            numbered = " ".join(f"term({quoted(term)},{k})." for k, term in enumerate(terms))
            *_, atoms = solve(SYLLOGISM + numbered + as_clingo(topic.facts), "cautious")
            held = {Fact(*(argument.string for argument in atom.arguments)) for atom in atoms}
            assert held == {fact for fact in world.closure if fact.subject in terms}


def test_what_a_syllogism_contradicts_holds_in_no_model():
    for _, world in instances("syllogisms", 20):
        topic = world.topics[0]
        terms = sorted({term for fact in topic.facts for term in (fact.subject, fact.object)})
        numbered = " ".join(f"term({quoted(term)},{k})." for k, term in enumerate(terms))
        possible = {
            Fact(*(argument.string for argument in atom.arguments))
            for atom in solve(SYLLOGISM + numbered + as_clingo(topic.facts), "brave")[-1]
        }
        for quantifier in ("all", "some", "no"):
            for one in terms:
                for other in terms:
                    fact = Fact(quantifier, one, other)
                    if one != other and world.status(fact) is Status.CONTRADICTED:
                        assert fact not in possible
                    if one != other and quantifier == "some" and fact not in possible:
                        assert world.status(fact) is Status.CONTRADICTED


def deductive_closure(facts, rules, axioms=()):
    theory = Theory(rules)
    theory.add(facts, axioms)
    return theory.closure


def nested(term) -> str:
    if isinstance(term, Expression):
        return f"op({quoted(term.operator)},{nested(term.left)},{nested(term.right)})"
    return f"atom({quoted(term)})"


@FEWER
def test_what_expressions_become_is_clingos(count):
    for k, world in instances("process", count):
        asked = {nested(term): text for text, term in world.terms.items()}
        given = [f for f in world.facts if " " not in f.subject]
        asks = " ".join(f"ask({term})." for term in asked)
        (atoms,) = solve(PROCESS + asks + as_clingo(given))
        found = {str(atom.arguments[0]): str(atom.arguments[1]) for atom in atoms}
        assert len(found) == len(asked)
        for source, text in asked.items():
            (entailed,) = (f.object for f in world.closure if f.relation == BECOMES and f.subject == text)
            assert found[source] == nested(world.read(entailed))
            assert world.status(Fact(BECOMES, text, entailed)) is Status.ENTAILED
        # A worked example that is stated follows from symbols and rules as well.
        if k % 5 == 0:
            rest = deductive_closure(given, world.rules, world.axioms)
            assert all(fact in rest for fact in world.facts)


def test_what_a_family_contradicts_is_refused_by_clingo_too():
    impossible = """
    :- male(X), female(X).  :- par(X,Y), anc(Y,X).  anc(X,Y) :- par(X,Y).  anc(X,Z) :- par(X,Y), anc(Y,Z).
    :- f("father",X,Z), f("father",Y,Z), X != Y.    :- f("mother",X,Z), f("mother",Y,Z), X != Y.
    """
    seen = set()
    for k, world in instances("family", 20):
        rng = random.Random(k)
        for _ in range(12):
            one, other = rng.sample(list(world.family), 2)
            fact = Fact(rng.choice(["father", "mother", "husband", "wife"]), one, other)
            status = world.status(fact)
            seen.add(status)
            possible = bool(solve(KINSHIP + impossible + as_clingo([*world.facts, fact])))
            if status is Status.CONTRADICTED:
                assert not possible
            elif status is Status.ENTAILED:
                assert possible
    assert seen == set(Status)


def test_a_derivation_rests_on_the_fewest_stated_facts():
    rules = (
        Rule("step", Fact("far", "X", "Z"), (Fact("near", "X", "Y"), Fact("near", "Y", "Z"))),
        Rule("short cut", Fact("far", "X", "Y"), (Fact("linked", "X", "Y"),)),
    )
    facts = [Fact("near", "a", "b"), Fact("near", "b", "c"), Fact("linked", "a", "c")]
    derivation = deductive_closure(facts, rules)[Fact("far", "a", "c")]
    assert (derivation.rule, derivation.hops) == ("short cut", 1)
    assert deductive_closure(facts[:2], rules)[Fact("far", "a", "c")].supports == frozenset(facts[:2])


def fewest_supports(rules: str, facts, goal: Fact) -> int:
    """The fewest stated facts that entail the goal, by clingo's optimization."""
    choices = " ".join(f"{{ {as_clingo([fact])[:-1]} }}." for fact in facts)
    aim = f"h({quoted(goal.relation)},{quoted(goal.subject)},{quoted(goal.object)})"
    control = clingo.Control(["--warn=none", "0"])
    control.add("base", [], f"{rules} {choices} :- not {aim}. #minimize {{ 1,R,X,Y : f(R,X,Y) }}.")
    control.ground([("base", [])])
    with control.solve(yield_=True) as handle:
        return min(model.cost[0] for model in handle)


@pytest.mark.parametrize(("name", "rules"), [("family", KINSHIP), ("semantic", HIERARCHY)])
def test_hops_are_the_fewest_facts_that_clingo_needs(name, rules):
    module = WORLDS[name]
    whole = module.build(random.Random(0), PRETRAINING, module.PRESETS["bundled"])
    for k, world in [*instances(name, 40), (-1, whole), (-2, whole)]:
        told = [fact for fact in worded(world) if world.closure[fact].supports]
        for fact in random.Random(k).sample(sorted(told), min(5, len(told))):
            assert world.closure[fact].hops == fewest_supports(rules, world.facts, fact)


def test_supports_are_enough():
    for name in ("family", "semantic", "syllogisms", "process"):
        for k, world in instances(name, 6):
            told = [fact for fact, d in world.closure.items() if d.supports]
            for fact in random.Random(k).sample(told, min(6, len(told))):
                assert fact in deductive_closure(world.closure[fact].supports, world.rules, world.axioms)


def test_a_constant_in_a_rule_is_no_variable():
    rules = (Rule("born", Fact("parent", "X", "Y"), (Fact("kin", "X", "Y"), Fact("kind", "Y", "child"))),)
    closure = deductive_closure(
        [Fact("kin", "Ann", "Bob"), Fact("kin", "Ann", "Cy"), Fact("kind", "Bob", "child")], rules
    )
    assert Fact("parent", "Ann", "Bob") in closure and Fact("parent", "Ann", "Cy") not in closure


def test_a_contradiction_is_found_where_it_follows_and_leaves_the_theory_as_it_was():
    rules = (Rule("inverse", Fact("below", "Y", "X"), (Fact("above", "X", "Y"),)),)
    theory = Theory(rules)
    theory.add([Fact("above", "a", "b"), Fact("below", "c", "b")])
    constraints = Constraints(asymmetric=frozenset({"below"}))
    before = dict(theory.closure)
    assert constraints.contradicts(Fact("above", "b", "a"), theory)
    assert not constraints.contradicts(Fact("above", "b", "c"), theory)
    assert constraints.contradicts(Fact("above", "b", "b"), theory)
    assert theory.closure == before
