import random

import pytest
import torch

from study.arms import Source
from study.data.questions import make_documents
from study.datasets import WORLDS
from study.params import Params
from study.runs.augment import UNPARSEABLE, augment, closure_facts, generator_with, judge, quality
from study.runs.training_text import oracle_sentences
from study.worlds.words import STUDY
from study.worlds.world import Split, Stated, Statement, Status


@pytest.fixture
def comparisons():
    module = WORLDS["reversals"]
    world = module.build(random.Random(0), STUDY, module.Params(size=4, features=1))
    return world, make_documents(world, random.Random(0), 1)


def test_each_sentence_is_judged_by_the_closure(comparisons):
    world, documents = comparisons
    fact = documents[0].facts[0]
    inverse = next(f for f in world.closure if f.subject == fact.object)
    true = world.render(Statement(inverse, 0))
    false = world.render(Statement(fact._replace(subject=fact.object, object=fact.subject), 0))
    other = world.render(Statement(fact._replace(object=documents[1].facts[0].object), 0))
    text = [true, false, other, "nobody knows."]
    judged = judge(world, Stated(world, ()), Source.LOCAL, documents[0].text, 0, text)
    expected = [Status.ENTAILED, Status.CONTRADICTED, Status.UNSUPPORTED, UNPARSEABLE]
    assert [inference.status for inference in judged] == expected
    assert [inference.split for inference in judged] == [Split.REVERSAL, None, None, None]


def test_the_oracle_has_perfect_quality(world):
    documents = make_documents(world, random.Random(0), 1)
    stated = Stated(world, (statement for document in documents for statement in document.statements))
    text = oracle_sentences(world, documents)
    report = quality(judge(world, stated, Source.LOCAL, "", 0, text), closure_facts(world, documents))
    assert report["precision"] == 1 and report["unparseable"] == report["contradicted"] == 0
    assert all(value == 1 for name, value in report.items() if name.startswith("recall"))


def test_recall_counts_facts_not_wordings(comparisons):
    world, documents = comparisons
    inverse = next(f for f in world.closure if f not in world.facts)
    wordings = [world.render(Statement(inverse, k)) for k in range(3)]
    judged = judge(world, Stated(world, ()), Source.LOCAL, "", 0, wordings)
    assert quality(judged, closure_facts(world, documents))[f"recall of {Split.REVERSAL}"] == 1 / 4


def test_quality_of_nothing_is_not_a_number_but_no_error(comparisons):
    world, documents = comparisons
    report = quality([], closure_facts(world, documents))
    assert report["sentences"] == 0 and report["precision"] != report["precision"]


@pytest.mark.parametrize("source", [Source.LOCAL, Source.GLOBAL])
def test_every_document_is_written_from(model, tokenizer, comparisons, source):
    world, documents = comparisons
    with torch.no_grad():  # full stops must come often enough
        model.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids(".")] *= 4
    params = Params.parse({"augmentation": {"local_tokens": 60, "global_tokens": 60, "samples": 2}}, "test")
    generator = generator_with(model, tokenizer, params.augmentation, seed=0)
    inferences, written, in_view = augment(generator, world, documents, source, params, "reversals/0")
    assert in_view == 1
    assert {i.source for i in inferences} == {source}
    assert len(written.texts) <= written.new_tokens <= 60 * len(written.texts)
    assert {i.sample for i in inferences} == {0, 1}
    assert {i.document for i in inferences} <= {d.text for d in documents}
