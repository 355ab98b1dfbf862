import random

import pytest

from study.words import STUDY
from study.world import Fact, Rule, Statement, Status, World, deductive_closure
from study.worlds import WORLDS, family


def brute_force_kinship(facts):
    """Kinship by its definitions, written without the chainer."""
    parents = {(f.subject, f.object): f.relation for f in facts}
    people = {person for pair in parents for person in pair}
    found = set(facts)
    for x in people:
        for y in people:
            if (x, y) in parents:
                found.add(Fact("child", y, x))
            middle = [m for m in people if (x, m) in parents and (m, y) in parents]
            if middle:
                found.add(Fact(f"grand{parents[x, middle[0]]}", x, y))
                found.add(Fact("grandchild", y, x))
            if x != y and any((p, x) in parents and (p, y) in parents for p in people):
                found.add(Fact("sibling", x, y))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_closure_of_a_family_is_what_the_definitions_say(seed):
    rng = random.Random(seed)
    shape = family.Params(size=rng.randint(1, 3), children=rng.randint(1, 3), grandchildren=rng.randint(1, 3))
    world = family.build(rng, STUDY, shape)
    assert set(world.closure) == brute_force_kinship(world.facts)


def test_closure_of_isolated_facts_is_each_fact_and_its_inverse():
    for name in ("reversals", "roles", "deeds"):
        module = WORLDS[name]
        world = module.build(random.Random(0), STUDY, module.Params())
        inverse = {relation: other for a, b in module.PAIRS for relation, other in ((a, b), (b, a))}
        expected = set(world.facts) | {Fact(inverse[f.relation], f.object, f.subject) for f in world.facts}
        assert set(world.closure) == expected


def test_a_derivation_rests_on_the_fewest_stated_facts():
    rules = (
        Rule("step", Fact("far", "X", "Z"), (Fact("near", "X", "Y"), Fact("near", "Y", "Z"))),
        Rule("short cut", Fact("far", "X", "Y"), (Fact("linked", "X", "Y"),)),
    )
    facts = [Fact("near", "a", "b"), Fact("near", "b", "c"), Fact("linked", "a", "c")]
    derivation = deductive_closure(facts, rules)[Fact("far", "a", "c")]
    assert (derivation.rule, derivation.hops) == ("short cut", 1)
    assert deductive_closure(facts[:2], rules)[Fact("far", "a", "c")].supports == frozenset(facts[:2])


def test_every_support_is_a_stated_fact(world):
    assert all(d.supports <= set(world.facts) for d in world.closure.values())


def test_parse_inverts_render_in_every_wording(world):
    for statement in world.statements:
        assert world.parse(world.render(statement)) == statement


def test_query_and_answer_make_the_sentence(world):
    for statement in world.statements:
        assert f"{world.query(statement)} {world.answer(statement)}." == world.render(statement)


@pytest.mark.parametrize("sentence", ["", ".", "vazed is.", "vazed is more blue than ditav.", "is is is of is.", "so:"])
def test_what_is_no_wording_does_not_parse(world, sentence):
    assert world.parse(sentence) is None


def test_no_distractor_is_entailed_and_none_stands_in_its_sentence(world):
    for statement in world.statements:
        for entity in world.distractors(statement):
            assert entity not in world.query(statement).split()
            assert world.with_answer(statement.fact, statement, entity) not in world.closure


def test_status_tells_entailed_contradicted_and_unsupported_apart():
    world = WORLDS["reversals"].build(random.Random(0), STUDY, WORLDS["reversals"].Params())
    fact, other = world.facts[0], world.facts[1]
    assert world.status(fact) is Status.ENTAILED
    assert world.status(Fact(fact.relation, fact.object, fact.subject)) is Status.CONTRADICTED
    assert world.status(Fact(fact.relation, fact.subject, other.object)) is Status.UNSUPPORTED
    tree = family.build(random.Random(0), STUDY, family.Params())
    father = next(f for f in tree.facts if f.relation == "father")
    stranger = next(p for p in tree.peers if p not in (father.subject, father.object))
    assert tree.status(Fact("father", stranger, father.object)) is Status.CONTRADICTED
    assert tree.status(Fact("mother", father.subject, father.object)) is Status.CONTRADICTED


def test_within_a_relation_only_entities_tell_facts_apart():
    for name in ("reversals", "roles", "deeds"):
        module = WORLDS[name]
        world = module.build(random.Random(3), STUDY, module.Params())
        for pair in world.disjoint:
            assert len({f.relation for f in world.facts if f.relation in pair}) == 1


def test_a_statement_is_of_one_fact_in_one_wording(world):
    assert isinstance(world, World)
    assert len({world.render(s) for s in world.statements}) == len(world.statements)
    assert all(isinstance(s, Statement) for s in world.statements)
