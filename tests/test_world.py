import random
from functools import cache

import pytest

from study.data.questions import make_documents
from study.datasets import WORLDS
from study.worlds import DRAWN, family
from study.worlds.logic import Fact
from study.worlds.wording import LEAD_INS, Template, fill, with_article
from study.worlds.words import STUDY
from study.worlds.world import Kind, Split, Stated, Statement, Status


@cache
def built(name: str, preset: str = "bundled", seed: int = 0):
    module = WORLDS[name]
    return module.build(random.Random(seed), STUDY, module.PRESETS[preset])


def test_closure_of_isolated_facts_is_each_fact_and_its_inverse():
    for name in ("reversals", "roles", "deeds"):
        world = built(name)
        inverse = {relation: other for a, b in WORLDS[name].PAIRS for relation, other in ((a, b), (b, a))}
        expected = set(world.facts) | {Fact(inverse[f.relation], f.object, f.subject) for f in world.facts}
        assert set(world.closure) == expected


def test_every_support_is_a_stated_fact(world):
    assert all(d.supports <= set(world.facts) for d in world.closure.values())


def test_parse_inverts_render_in_every_wording(world):
    for statement in world.statements:
        assert world.parse(world.render(statement)) == statement


def test_a_lone_underscore_is_read_as_a_word(world):
    assert world.parse("_ becomes ditav.") is None or world.name == "process"
    assert world.parse("_ _ _.") is None


def test_a_sentence_behind_a_lead_in_says_the_same(world):
    for statement in list(world.statements)[:50]:
        for lead in LEAD_INS:
            assert world.parse(f"{lead} {world.render(statement)}") == statement


def test_query_and_answer_make_the_sentence(world):
    for statement in world.statements:
        assert f"{world.query(statement)} {world.answer(statement)}." == world.render(statement)


@pytest.mark.parametrize("sentence", ["", ".", "vazed is.", "vazed is more blue than ditav.", "is is is of is.", "so:"])
def test_what_is_no_wording_does_not_parse(world, sentence):
    assert world.parse(sentence) is None


def test_no_distractor_is_entailed_and_none_stands_in_its_sentence(world):
    false = set()
    for statement in world.statements:
        for tiers in world.distractors(statement).values():
            entities = {entity for tier in tiers for entity in tier}
            assert not entities & {statement.fact.subject, statement.fact.object}
            false |= {world.with_answer(statement, entity) for entity in entities}
    assert false and not false & set(world.closure)
    # What a status says beside the closure, of a sample: it looks for contradictions, which takes long.
    for fact in random.Random(0).sample(sorted(false), min(200, len(false))):
        assert world.status(fact) is not Status.ENTAILED


def test_every_stated_relation_has_trained_and_held_out_wordings_in_the_study():
    for name in ("reversals", "syllogisms", "reversal_curse", "semantic", "family", "process"):
        world = built(name)
        for relation in {fact.relation for fact in world.facts}:
            forms = world.wording[relation]
            assert not forms[0].held_out and forms[0].subject_first
            assert any(form.held_out and form.subject_first for form in forms)
            assert sum(not form.held_out and form.subject_first for form in forms) >= 2
            assert any(form.is_question for form in forms)


def test_no_held_out_wording_is_in_a_document(world):
    for document in make_documents(world, random.Random(0), 3, 0.5):
        assert not any(world.template(statement).held_out for statement in document.statements)


def test_articles_fit_their_nouns():
    assert [with_article(noun) for noun in ("owner", "teacher", "aunt")] == ["an owner", "a teacher", "an aunt"]
    assert fill("a {s} has the {o}.", "owl", "ear") == "an owl has the ear."
    text = " ".join(form.text for module in DRAWN.values() for forms in module.WORDING.values() for form in forms)
    assert not [w for w in text.split(" a ")[1:] if w[0] in "aeiou"]
    assert not [w for w in text.split(" an ")[1:] if w[0] not in "aeiou"]


def test_a_template_knows_its_form():
    assert Template("{s} sees {o}.").subject_first and not Template("{o} is seen by {s}.").subject_first
    assert Template("whom sees {s}? {o}.").is_question


def test_status_tells_entailed_contradicted_and_unsupported_apart():
    world = built("reversals")
    fact, other = world.facts[0], world.facts[1]
    assert world.status(fact) is Status.ENTAILED
    assert world.status(Fact(fact.relation, fact.object, fact.subject)) is Status.CONTRADICTED
    assert world.status(Fact(fact.relation, fact.subject, other.object)) is Status.UNSUPPORTED
    tree = built("family")
    father = next(f for f in tree.facts if f.relation == "father")
    stranger = next(p for p in tree.family if p not in (father.subject, father.object))
    assert tree.status(Fact("father", stranger, father.object)) is Status.CONTRADICTED
    assert tree.status(Fact("aunt", father.subject, stranger)) is Status.CONTRADICTED
    process = built("process")
    text, term = next(iter(process.terms.items()))
    assert process.status(Fact("becomes", text, text)) is not Status.ENTAILED
    assert process.read(text) == term and process.read(f"{text} {text}") is None


def test_within_a_relation_only_entities_tell_facts_apart():
    for name in ("reversals", "roles", "deeds"):
        world = built(name, seed=3)
        for pair in WORLDS[name].PAIRS:
            assert len({f.relation for f in world.facts if f.relation in pair}) <= 1


def test_no_two_statements_read_alike(world):
    assert len({world.render(s) for s in world.statements}) == len(world.statements)


def test_kinship_reaches_great_aunts_cousins_and_in_laws():
    found = {fact.relation for fact in built("family").closure}
    assert set(family.KIN) - {"great-uncle", "great-aunt"} <= found | {"nephew", "niece", "uncle", "aunt"}
    assert {"cousin", "mother-in-law", "brother-in-law"} <= found
    assert {"great-uncle", "great-aunt"} & found and {"uncle", "aunt"} & found


def test_the_curse_has_three_groups_and_two_kinds_of_false_names():
    world = built("reversal_curse")
    stated = Stated(world, (s for d in make_documents(world, random.Random(0), 2) for s in d.statements))
    for fact in world.facts:
        asked = {"name first": {fact.object}, "description first": {fact.subject}, "both": {*fact[1:]}}
        assert stated.answers[fact] == asked[world.group[fact.subject]]
        if world.group[fact.subject] == "name first":
            (reversal,) = [f for f in world.forms(fact) if world.template(f).text.startswith("the name of")]
            assert world.split_of(reversal, stated) is Split.REVERSAL
            kinds = world.distractors(reversal)
            groups = {kind: {world.group[e] for tier in tiers for e in tier} for kind, tiers in kinds.items()}
            assert groups == {
                Kind.COMPLETIONS: {"description first", "both"},
                Kind.NO_COMPLETIONS: {"name first"},
            }


def test_a_held_out_category_is_stated_by_its_parent_alone():
    world = built("semantic")
    assert world.held_out
    for kind in world.held_out:
        assert [f.relation for f in world.facts if kind in f[1:]] == ["is a"]


def test_a_held_out_combination_is_in_no_document():
    world = built("process", "source")
    assert world.held_out
    for fact in world.facts:
        term = world.terms.get(fact.subject)
        assert term is None or not world.is_held_out(term)


def test_the_hierarchy_has_110_kinds():
    world = built("semantic", "source")
    assert sum(kind == "kind" for kind in world.classes.values()) == 110


def test_conclusions_are_balanced_so_that_no_quantifier_is_worth_more():
    world = built("syllogisms", "source")
    ends = [f for f, d in world.closure.items() if frozenset(f[1:]) not in world.joined]
    chances = {q: len({frozenset(f[1:]) for f in ends if f.relation == q}) for q in ("all", "some", "no")}
    assert chances["all"] == pytest.approx(2 * chances["some"], abs=2) == pytest.approx(2 * chances["no"], abs=2)


def test_a_statement_is_a_fact_in_one_of_its_wordings(world):
    for statement in list(world.statements)[:20]:
        assert isinstance(statement, Statement) and world.forms(statement.fact)[statement.template] == statement
