import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from study.data import make_documents, make_questions
from study.trials import prepare
from study.world import Split


@pytest.fixture
def material(world):
    documents = make_documents(world, random.Random(0), 2)
    return world, documents, make_questions(world, documents, "seed", options=8, per_split=40)


def test_documents_state_every_fact_in_as_many_wordings_as_asked(material):
    world, documents, _ = material
    counts = Counter(document.fact for document in documents)
    assert set(counts) == set(world.facts)
    wordings = min(2, len(world.forward_statements(world.facts[0])))
    assert set(counts.values()) == {wordings}


def test_no_statement_under_test_is_in_a_document(material):
    _, documents, questions = material
    stated = {document.text for document in documents}
    for question in questions:
        assert (question.item_id in stated) == (question.split is Split.TRAINED)


def test_exactly_one_option_is_entailed(material):
    world, _, questions = material
    for question in questions:
        statements = [world.parse((question.query + option).strip()) for option in question.options]
        assert [s.fact in world.closure for s in statements].index(True) == question.answer
        assert sum(s.fact in world.closure for s in statements) == 1


def test_hops_and_splits_agree(material):
    _, _, questions = material
    for question in questions:
        assert question.hops == len(question.supports) == (2 if question.split is Split.TWO_HOPS else 1)


def test_a_reversal_asks_for_what_came_first_in_every_document(material):
    _, documents, questions = material
    for question in questions:
        if question.split is Split.REVERSAL:
            answer = question.options[question.answer].strip(" .")
            about = [d for d in documents if question.supports[0] and d.fact.subject == answer]
            assert about and all(d.text.index(answer) < d.text.index(d.fact.object) for d in about)


def test_a_question_does_not_depend_on_what_else_is_asked(world):
    documents = make_documents(world, random.Random(0), 2)
    few = make_questions(world, documents, "seed", options=8, per_split=5)
    many = {(q.split, q.item_id): q for q in make_questions(world, documents, "seed", options=8, per_split=40)}
    assert few and all(many[q.split, q.item_id] == q for q in few)


def test_questions_spread_over_facts_before_they_repeat_one(params):
    material = prepare(params, "reversals", 0)
    clusters = Counter(q.cluster for q in material.questions if q.split is Split.REVERSAL)
    assert len(clusters) == 6 and set(clusters.values()) == {1}


def test_the_true_option_has_no_favourite_place(material):
    _, _, questions = material
    places = Counter(q.answer for q in questions if len(q.options) == 8)
    assert max(places.values()) < 0.35 * sum(places.values())


def test_another_process_asks_the_same_questions_in_the_same_order(params):
    code = (
        "import random; from study.data import *; from study.words import STUDY; from study.worlds import family;"
        "world = family.build(random.Random(0), STUDY, family.Params());"
        "documents = make_documents(world, random.Random(0), 2);"
        "print([q.item_id for q in make_questions(world, documents, 's', 8, 9)], list(world.statements)[-40:])"
    )
    outs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outs) == 1 and len(outs.pop()) > 1000


def test_seeds_give_different_worlds_and_the_same_seed_the_same(params):
    assert prepare(params, "family", 0).documents == prepare(params, "family", 0).documents
    assert prepare(params, "family", 0).world.facts != prepare(params, "family", 1).world.facts
