import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from study.data.probe import ProbeResult, bag_of_words_probe, features, trained_and_asked
from study.data.questions import (
    Dataset,
    Splitting,
    make_documents,
    make_questions,
    nested_subset,
    training_texts,
)
from study.datasets import WORLDS
from study.pages import report
from study.pages.experiment import Experiment
from study.runs.run import prepare
from study.worlds import DRAWN, closed_class_words
from study.worlds.words import STUDY, VALIDATION, lexicon_of
from study.worlds.world import Kind, Split, Statement, Status

STUDIED = ("reversals", "syllogisms", "reversal_curse", "semantic", "family", "process")


@pytest.fixture
def material(world):
    documents = make_documents(world, random.Random(0), 2, 0.2)
    return world, documents, make_questions(world, documents, "seed", options=8, per_split=40)


def test_documents_state_every_fact_in_other_words_each_time(material):
    world, documents, _ = material
    assert {fact for document in documents for fact in document.facts} == set(world.facts)
    assert len({document.text for document in documents}) == len(documents)
    if not world.topics:
        assert set(Counter(document.facts[0] for document in documents).values()) <= {2, 4}


def test_a_document_says_what_its_statements_say(material):
    world, documents, _ = material
    for document in documents:
        assert [world.parse(sentence) for sentence in document.stating] == list(document.statements)
        assert document.text == " ".join(document.sentences)


def test_articles_of_the_source_size_are_as_long_as_its():
    module = WORLDS["semantic"]
    shape = module.PRESETS["source"]
    world = module.build(random.Random(0), STUDY, shape)
    documents = make_documents(world, random.Random(0), shape.copies, shape.lead_ins)
    lengths = {len(document.sentences) for document in documents}
    assert min(lengths) == 4 and max(lengths) == 20 and len(documents) == pytest.approx(2200, rel=0.02)
    # Every fact that a test needs occurs at least once.
    assert {fact for document in documents for fact in document.facts} == set(world.facts)


@pytest.mark.parametrize(
    ("name", "documents"), [("reversals", 1000), ("reversal_curse", 3600), ("syllogisms", 69), ("family", 5160)]
)
def test_source_sizes_are_the_sources(name, documents):
    module = WORLDS[name]
    shape = module.PRESETS["source"]
    world = module.build(random.Random(0), STUDY, shape)
    assert len(make_documents(world, random.Random(0), shape.copies, shape.lead_ins)) == documents


def test_splitting_is_whole_by_sentence_or_by_prefix():
    module = WORLDS["syllogisms"]
    world = module.build(random.Random(0), STUDY, module.Params(size=2))
    documents = make_documents(world, random.Random(0), 1)
    assert training_texts(documents, Splitting.WHOLE) == [document.text for document in documents]
    assert training_texts(documents, Splitting.SENTENCES) == [s for d in documents for s in d.sentences]
    prefixes = training_texts(documents[:1], Splitting.CUMULATIVE)
    assert [len(prefix.split(". ")) for prefix in prefixes] == [1, 2, 3] and prefixes[-1] == documents[0].text
    assert all(longer.startswith(shorter) for shorter, longer in pairwise(prefixes))


def test_subsets_are_nested(material):
    _, documents, _ = material
    few, more = (nested_subset(documents, count, "seed") for count in (3, 9))
    assert more[:3] == few and len(set(more)) == 9
    assert nested_subset(documents, 9, "other") != more
    assert set(nested_subset(documents, 10_000, "seed")) == set(documents)


def test_no_statement_under_test_is_in_a_document(material):
    world, documents, questions = material
    stated = {world.render(statement) for document in documents for statement in document.statements}
    for question in questions:
        true = question.query + question.options[question.answers[0]]
        assert (true in stated) == (question.split is Split.STATED)


def test_options_in_answers_are_entailed_and_no_others(material):
    world, _, questions = material
    assert questions
    for question in questions:
        statements = [world.parse(question.query + option) for option in question.options]
        true = [k for k, s in enumerate(statements) if world.status(s.fact) is Status.ENTAILED]
        assert true == list(question.answers) and len(set(question.options)) == len(question.options)
        assert len(true) == 1 or question.kind is Kind.ALTERNATIVES


def test_a_conclusion_has_six_options_of_which_equivalent_ones_are_right():
    module = WORLDS["syllogisms"]
    world = module.build(random.Random(0), STUDY, module.Params())
    questions = make_questions(world, make_documents(world, random.Random(0), 1), "seed", 8, 99)
    questions = [q for q in questions if q.split is Split.TWO_HOPS]
    assert len(questions) == 12 and {len(q.options) for q in questions} == {6}
    for question in questions:
        assert len(question.answers) == (1 if question.true_options[0].startswith("all") else 2)
    assert sum(q.chance for q in questions) / len(questions) == pytest.approx(0.25)


def test_hops_and_splits_agree(material):
    _, _, questions = material
    for question in questions:
        assert question.hops == len(question.supports)
        one = (Split.STATED, Split.REPHRASED, Split.REVERSAL, Split.CONTRADICTION)
        several = {Split.TWO_HOPS: question.hops == 2, Split.MORE_HOPS: question.hops > 2}
        assert several.get(question.split, (question.hops == 1) == (question.split in one))


def test_a_reversal_asks_for_what_no_document_ends_with(material):
    world, documents, questions = material
    for question in questions:
        if question.split is Split.REVERSAL:
            (answer,) = [option.strip(" .") for option in question.true_options]
            about = [s for d in documents for s in d.statements if world.canonical(s.fact) == question.supports[0]]
            assert about and all(world.answer(statement) != answer for statement in about)


def test_each_step_of_an_expression_is_asked_and_belongs_to_it():
    module = WORLDS["process"]
    world = module.build(random.Random(0), STUDY, module.Params())
    questions = make_questions(world, make_documents(world, random.Random(0), 2), "s", 8, 99)
    by_cluster: dict[str, set[str]] = {}
    for question in questions:
        if question.split in (Split.ONE_STEP, Split.TWO_STEPS, Split.HELD_OUT_COMBINATION):
            by_cluster.setdefault(question.cluster, set()).add(question.query)
    # Both steps of a nested expression, unless a worked example states one of them or it is a step of two.
    stated = {fact.subject for fact in world.facts}
    steps = [[str(step) for step in world.steps(term)] for term in world.terms.values()]
    nested = [pair for pair in steps if len(pair) == 2 and not stated & set(pair)]
    both = [pair for pair in nested if len(by_cluster[pair[1]]) == 2]
    assert len(nested) > 20 and len(both) > 0.9 * len(nested)


def test_the_shape_of_an_expression_tells_nothing():
    module = WORLDS["process"]
    world = module.build(random.Random(0), STUDY, module.Params())
    questions = make_questions(world, make_documents(world, random.Random(0), 2), "s", 8, 99)
    # Of a flat expression, as many options keep the left symbol as keep the right one, or neither.
    for question in [q for q in questions if q.split is Split.ONE_STEP and len(q.query.split()) == 4]:
        _, left, right, _ = question.query.split()
        kept = Counter((o.split()[1] == left, o.split()[2].strip(".") == right) for o in question.options)
        assert kept[True, False] >= 1 and kept[False, True] >= 1 and kept[False, False] >= 2


def test_a_question_does_not_depend_on_those_after_it(world):
    documents = make_documents(world, random.Random(0), 2)
    few = make_questions(world, documents, "seed", options=8, per_split=5)
    many = {(q.split, q.item_id): q for q in make_questions(world, documents, "seed", options=8, per_split=40)}
    assert few and all(many[q.split, q.item_id] == q for q in few)


def test_questions_spread_over_facts_and_rules_before_they_repeat_one(params):
    material = prepare(params, "reversals", 0)
    clusters = Counter(q.cluster for q in material.questions if q.split is Split.REVERSAL)
    assert len(clusters) == 6 and set(clusters.values()) == {1}
    module = WORLDS["family"]
    world = module.build(random.Random(0), STUDY, module.Params())
    questions = make_questions(world, make_documents(world, random.Random(0), 2), "s", 8, 24)
    questions = [q for q in questions if q.split is Split.MORE_HOPS]
    assert len({q.rule for q in questions}) >= 8 and len({q.cluster for q in questions}) >= 10


def test_the_true_option_has_no_favourite_place(material):
    _, _, questions = material
    places = Counter(place for q in questions if len(q.options) == 8 for place in q.answers)
    assert max(places.values()) < 0.35 * sum(places.values())


@cache
def probed(name: str, seed: int):
    module = WORLDS[name]
    shape = module.PRESETS["bundled"]
    world = module.build(random.Random(f"probe/{seed}"), STUDY, shape)
    documents = make_documents(world, random.Random(seed), shape.copies, shape.lead_ins)
    return make_questions(world, documents, f"probe/{seed}", options=8, per_split=64)


@pytest.mark.parametrize("name", STUDIED)
def test_a_bag_of_words_probe_stays_at_chance(name):
    worlds = [probed(name, seed) for seed in range(8)]
    groups = {"all": worlds}
    for split in Split:
        # Names that documents end with stand against one that they do not, by what this kind is for.
        groups[str(split)] = [
            [q for q in questions if q.split is split and not (split is Split.REVERSAL and q.kind is Kind.COMPLETIONS)]
            for questions in worlds
        ]
    for group, parts in groups.items():
        total = (
            ProbeResult(
                *map(sum, zip(*(bag_of_words_probe(part, 0) for part in parts if part), strict=True)),
            )
            if any(parts)
            else None
        )
        assert total is None or total.z < 3.5, (group, total)


@pytest.mark.parametrize("name", STUDIED)
def test_what_a_probe_learns_in_other_worlds_is_worth_nothing_here(name):
    # Names are new in each world: what carries over is wording, place and length.
    worlds = [probed(name, seed) for seed in range(8)]
    result = trained_and_asked([q for questions in worlds[:6] for q in questions], [*worlds[6], *worlds[7]])
    assert abs(result.z) < 3.5, result


def test_the_probe_finds_what_is_given_away():
    questions = [
        q._replace(answers=(0,), options=(f"{q.options[0][:-1]} vazed.", *q.options[1:]))
        for q in probed("reversals", 0)
    ]
    assert bag_of_words_probe(questions, 0).z > 20
    assert any(feature.startswith("place ") for feature in features(questions[0], 0))


def test_study_words_are_never_pretraining_words(material):
    _, documents, _ = material
    closed = set(closed_class_words())
    words = {w.strip(".,?") for document in documents for w in document.text.split()} - closed
    assert words and {lexicon_of(word) for word in words} == {STUDY.name}


def of_another_lexicon(material: Dataset) -> Dataset:
    world = DRAWN["reversals"].build(random.Random(0), VALIDATION, DRAWN["reversals"].Params())
    return replace(material, documents=(), questions=(), world=world)


def stated(material: Dataset) -> Dataset:
    one, split = material.questions[0], Split.REVERSAL
    told = next(d.stating[0] for d in material.documents)
    query, option = told.rsplit(" ", 1)
    return replace(material, questions=(one._replace(split=split, query=query, options=(f" {option}",), answers=(0,)),))


def wrong(material: Dataset) -> Dataset:
    one = material.questions[0]
    return replace(material, questions=(one._replace(answers=((one.answers[0] + 1) % len(one.options),)),))


def contradictory(material: Dataset) -> Dataset:
    fact = material.world.facts[0]
    facts = (*material.world.facts, fact._replace(subject=fact.object, object=fact.subject))
    return replace(material, questions=(), world=replace(material.world, facts=facts))


def crowded(material: Dataset) -> Dataset:
    first = [
        q._replace(answers=(0,), options=(q.options[k], *q.options[:k], *q.options[k + 1 :]))
        for q in material.questions
        for k in q.answers[:1]
    ]
    return replace(material, questions=tuple(first))


@pytest.mark.parametrize(
    ("fault", "break_it"),
    zip(report.OFFENCES, (of_another_lexicon, stated, wrong, contradictory, crowded), strict=True),
)
def test_each_fault_that_notebook_01_looks_for_is_found(fault, break_it, params, tmp_path, monkeypatch):
    study = Experiment(params, tmp_path, "01_generate_data")
    assert (report.check_data(study)[report.OFFENCES] == 0).all(axis=None)
    broken = break_it(study.material("reversals", 0))
    monkeypatch.setattr(Experiment, "materials", lambda self, seeds=None: [("reversals", 0, broken)])
    found = report.check_data(study).loc[0, report.OFFENCES]
    assert found[fault] > 0, found


def test_another_process_makes_the_same_documents_and_questions():
    code = (
        "import random; from study.data.questions import *; from study.runs.store import content_hash\n"
        "from study.worlds.words import STUDY; from study.datasets import WORLDS\n"
        f"for module in map(WORLDS.get, {STUDIED}):\n"
        "    world = module.build(random.Random(0), STUDY, module.Params())\n"
        "    documents = make_documents(world, random.Random(0), 2, 0.2)\n"
        "    questions = make_questions(world, documents, 's', 8, 20)\n"
        "    print(content_hash([[d.text for d in documents], [q._asdict() for q in questions], list(world.closure)]))"
    )
    outs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outs) == 1 and [len(line) for line in outs.pop().splitlines()] == [64] * len(STUDIED)


def test_seeds_give_different_worlds_and_the_same_seed_the_same(params):
    assert prepare(params, "family", 0).documents == prepare(params, "family", 0).documents
    assert prepare(params, "family", 0).world.facts != prepare(params, "family", 1).world.facts


def test_a_document_form_is_a_statement(world):
    assert all(isinstance(form, Statement) for fact in world.facts for form in world.document_forms(fact))
