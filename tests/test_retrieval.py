"""The documents that each question is given."""

import random

import pytest

from study.data.questions import Document, Question, make_documents, make_questions
from study.data.retrieval import Retriever, supporting, with_relations_reversed
from study.datasets import WORLDS
from study.runs.run import prepare
from study.runs.runner import evaluation_runs_of
from study.worlds.words import STUDY
from study.worlds.world import Kind, Split, Status


def made(name):
    module = WORLDS[name]
    world = module.build(random.Random(0), STUDY, module.Params())
    documents = make_documents(world, random.Random(0), 2, lead_ins=0.5)
    return world, documents, make_questions(world, documents, "x", 4, 16)


def test_bm25_finds_the_document_that_states_the_fact():
    world, documents, questions = made("reversals")
    retriever = Retriever(documents)
    for question in questions:
        best = retriever.best(question, 2)
        assert len(best) == 2 and len(set(best)) == 2
        assert set(question.supports) <= {world.canonical(fact) for document in best for fact in document.facts}
    assert retriever.best(questions[0], 2) == retriever.best(questions[0], 3)[1:]  # the best comes last


@pytest.mark.parametrize("name", ["semantic", "family", "process", "syllogisms"])
def test_supporting_documents_state_all_that_an_answer_rests_on_and_no_more_are_given(name):
    world, documents, questions = made(name)
    for question in questions:
        given = supporting(world, documents, question)
        stated = [{world.canonical(fact) for fact in document.facts} for document in given]
        assert set(question.supports) <= set().union(*stated) and all(set(question.supports) & s for s in stated)
        assert len(given) <= len(question.supports)
    assert any(len(supporting(world, documents, q)) > 1 for q in questions) or name == "syllogisms"


@pytest.mark.parametrize("name", ["reversals", "family"])
def test_documents_with_relations_reversed_say_what_is_false_in_the_same_words(name):
    world, documents, _ = made(name)
    false = 0
    for document in documents:
        turned = with_relations_reversed(world, document)
        assert (len(turned.sentences) == len(document.sentences) and turned.text != document.text) or name == "family"
        for statement, sentence, before in zip(turned.statements, turned.stating, document.stating, strict=True):
            assert world.parse(sentence) == statement and sorted(sentence.split())[0] and len(sentence) > 5
            assert sentence.split()[0] == before.split()[0] or sentence.split()[-1] != before.split()[-1]
            false += world.status(statement.fact) is Status.CONTRADICTED
    assert false > len(documents) / 3


def test_each_question_is_answered_behind_its_own_documents(params, tmp_path):
    """Scores equal those of the question alone behind its documents; what it costs is paid for each."""
    from study.lm.loading import load
    from study.lm.scoring import score_options
    from study.runs import perform
    from study.runs.run import prompts_of
    from study.runs.store import Store

    store = Store(tmp_path)
    (run,) = [r for r in evaluation_runs_of(params, store, ["retrieved"]) if r.world == "reversals"]
    assert perform.run_together([run], store) == {}
    rows, record = store.rows(run.key), store.record(run.key)
    material = prepare(params, "reversals", 0)
    model, tokenizer = load(params.model)
    retriever = Retriever(material.documents)
    for k in (0, len(rows) - 1):
        question = material.questions[k]
        context = prompts_of(params).in_context([d.text for d in retriever.best(question, 4)])
        (alone,) = score_options(model, tokenizer, context, [(question.query, question.options)])
        assert rows["option_log_probs"][k] == pytest.approx(alone.log_probs, abs=1e-4)
    assert record["context_flops"] == 0 and record["query_flops"] == pytest.approx(rows["gflops"].mean() * 1e9)
    assert 0 < record["share_of_documents_in_context"] < 1 and record["context_tokens"] > 10
    assert set(rows["split"]) >= {str(Split.REVERSAL)} and rows["exposure"].isna().all()


def test_scripts_without_spaces_are_searched_by_pairs_of_letters():
    said = ["西班牙的首都是马德里。", "法国的首都是巴黎。", "日本の首都は東京です。", "Owls hunt at night."]
    retriever = Retriever([Document((), (text,)) for text in said])
    for query, found in (
        ("西班牙的首都是哪里？", 0),
        ("法国的首都？", 1),
        ("東京です", 2),
        ("Who hunts owls at night?", 3),
    ):
        question = Question("q", Split.ASKED, Kind.GIVEN, "q", query, ("a", "b"), (0,), "", 1, ())
        assert retriever.best(question, 1)[0].text == said[found]
