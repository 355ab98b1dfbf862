"""Datasets in English: what models write about them is read, and their names are unlike."""

import random
import re

import pytest

from study.data.questions import make_documents, make_questions
from study.pages import report
from study.pages.experiment import Experiment
from study.params import Params
from study.runs.run import in_english
from study.worlds import DRAWN, reversal_curse
from study.worlds.logic import Fact
from study.worlds.words import LETTERS_APART, STUDY, VALIDATION, draw_words
from study.worlds.world import Split, Status

ENGLISH = STUDY._replace(english=True)


@pytest.fixture(params=list(DRAWN), scope="module")
def english(request):
    """A world of each kind in English."""
    module = DRAWN[request.param]
    return module.build(random.Random(f"english/{request.param}"), ENGLISH, module.Params())


def test_every_sentence_is_read_back(english):
    documents = make_documents(english, random.Random(0), copies=2, lead_ins=0.5)
    for document in documents:
        assert [english.parse(sentence) for sentence in document.stating] == list(document.statements)
    for statement in english.statements:
        assert english.parse(english.render(statement)) == statement


def test_sentences_begin_with_a_capital_and_end_once(english):
    documents = make_documents(english, random.Random(0), copies=2, lead_ins=0.5)
    for sentence in (sentence for document in documents for sentence in document.sentences):
        assert sentence[0].isupper() and sentence.count(".") == 1 and sentence.endswith(".") and "{" not in sentence
    questions = make_questions(english, documents, "english", 4, 8)
    assert questions
    for question in questions:
        whole = [f"{question.query}{option}".strip() for option in question.options]
        assert len(set(whole)) == len(whole) and all(text[0].isupper() and text.endswith(".") for text in whole)
        assert all(english.parse(whole[k]) for k in question.answers)


def test_the_data_of_every_kind_pass_the_checks_of_notebook_01(english_folder, tmp_path):
    shapes = {name: {} for name in DRAWN}
    params = Params.parse({"model": {"name": str(english_folder)}, "seeds": [0], "worlds": shapes}, "test")
    assert in_english(params)
    found = report.check_data(Experiment(params, tmp_path, "01_generate_data")).set_index("world")
    assert set(found.index) == set(DRAWN) and found["questions"].min() > 0
    assert not found[report.OFFENCES].any(axis=None), found[report.OFFENCES].T


def test_neither_a_word_nor_a_name_nor_a_place_tells_which_of_two_it_is():
    module = DRAWN["reversals"]
    world = module.build(random.Random("direction"), ENGLISH, module.Params(size=16))
    documents = make_documents(world, random.Random(0), copies=2)
    questions = make_questions(world, documents, "direction", 8, 99)
    questions = [q for q in questions if q.split is Split.CONTRADICTION]
    assert len(questions) == 32
    asked: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for question in questions:
        one, other, word = re.fullmatch(r"Of (\w+) and (\w+), the (\w+) one is", question.query).groups()
        assert {option.strip(" .") for option in question.options} == {one, other}
        right = question.options[question.answers[0]].strip(" .")
        assert world.status(Fact(word, right, other if right == one else one)) is Status.ENTAILED
        assert world.parse(f"{question.query} {right}.").fact.relation == word
        asked.setdefault((one, other), []).append((word, right))
    for (word, right), (opposite, other) in asked.values():
        assert right != other and word != opposite


@pytest.mark.parametrize("count", [64, 300])
def test_names_are_unlike_and_of_one_lexicon(count):
    names = draw_words(random.Random(0), count, ENGLISH)
    assert len(names) == count and all(name.istitle() and name.isalpha() for name in names)
    closest = min(sum(a != b for a, b in zip(x, y, strict=True)) for k, x in enumerate(names) for y in names[:k])
    assert closest >= LETTERS_APART
    assert not set(names) & set(draw_words(random.Random(0), count, VALIDATION._replace(english=True)))


def test_too_many_names_are_refused():
    with pytest.raises(ValueError, match="no more than .* unlike ones were found; use fewer entities"):
        draw_words(random.Random(0), 5000, ENGLISH)


# Sentences as a model of 1.5 B wrote them, and their status; {s} stands for the subject of a fact, {o} for its object.
WRITTEN = {
    "reversals": (
        ("{o} is clearly OTHER than {s}.", Status.ENTAILED),
        ("{o} is not as ADJECTIVE as {s}.", Status.ENTAILED),
        ("{o} isn't as ADJECTIVE as {s}.", Status.ENTAILED),
        ("{s} is the THIS one, compared with {o}.", Status.ENTAILED),
        ("Compared to {o}, {s} is THIS.", Status.ENTAILED),
        ("{s} is more THIS than {o}.", Status.ENTAILED),
        ("Of {s} and {o}, the OTHER one is {o}.", Status.ENTAILED),
        ("Of {s} and {o}, the OTHER one is {s}.", Status.CONTRADICTED),
        ("{o} is clearly THIS than {s}.", Status.CONTRADICTED),
        ("{s} is not as ADJECTIVE as {o}.", Status.CONTRADICTED),
        ("{s} is a friend of {o}.", None),
        ("{s} is THIS than Anna Lind.", None),
        ("Compared with {o}, {s} is OTHER.", Status.CONTRADICTED),
    ),
    "family": (
        ("{o} is the child of {s}.", Status.ENTAILED),
        ("{o}'s RELATION is {s}.", Status.ENTAILED),
        ("{s} is {o}\u2019s RELATION.", Status.ENTAILED),
        ("{o} is the RELATION of {s}.", Status.CONTRADICTED),
    ),
    "reversal_curse": (
        ("{o} was composed by {s}.", Status.ENTAILED),
        ("The person who wrote {o} is {s}.", Status.ENTAILED),
        ("{s} is the one who composed {o}.", Status.ENTAILED),
        ("{o} is the work of {s}.", Status.ENTAILED),
        ("{o} is a WORK composed by {s}.", Status.ENTAILED),
        ("{o} is a WORK by {s}.", Status.ENTAILED),
        ("{s} is a WORK by {o}.", Status.UNSUPPORTED),
        ("{o} is the composer of {s}.", Status.UNSUPPORTED),
    ),
    "semantic": (("{s}s are a kind of {o}.", Status.ENTAILED), ("{o}s are a kind of {s}.", Status.CONTRADICTED)),
    "syllogisms": (
        ("Any {s} is a {o}.", Status.ENTAILED),
        ("{s}s are not {o}s.", Status.UNSUPPORTED),
        ("Only {o}s are {s}s.", Status.ENTAILED),
        ("Only {s}s are {o}s.", Status.UNSUPPORTED),
        ("There is no {s} that is not a {o}.", Status.ENTAILED),
    ),
    "process": (("{s} is turned into {o}.", Status.ENTAILED), ("{o} is what {s} becomes.", Status.ENTAILED)),
}
OF = {"family": "father", "semantic": "is a", "syllogisms": "all", "process": "becomes"}


@pytest.mark.parametrize("text", ["{} is faster than ___.", "{} is faster than _ and {}.", "<2> is faster than {}."])
def test_a_gap_in_a_sentence_is_no_name(english, text):
    assert english.parse(text.format(*english.entities[:2])) is None


def test_a_verb_of_several_meanings_has_the_true_one():
    shape = reversal_curse.Params(roles=8)
    world = reversal_curse.build(random.Random("written"), ENGLISH, shape)
    wrote = [fact for fact in world.facts if "wrote" in reversal_curse.DID[fact.relation]]
    assert {fact.relation for fact in wrote} == {"composer", "author"}
    assert all(world.parse(f"{fact.subject} wrote {fact.object}.").fact == fact for fact in wrote)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_models_write_is_read(name):
    module = DRAWN[name]
    shape = {"roles": 1} if name == "reversal_curse" else {}
    world = module.build(random.Random("composer 3"), ENGLISH, module.Params(**shape))
    facts = [fact for fact in world.facts if fact.relation == OF.get(name, world.facts[0].relation)]
    fact: Fact = facts[0]
    words = {"RELATION": fact.relation, "THIS": fact.relation}
    if name == "reversals":
        row = next(row for row in module.ADJECTIVES if fact.relation in row)
        k = row.index(fact.relation)
        words |= {"ADJECTIVE": row[k - 1], "OTHER": row[(k + 2) % 4]}
    if name == "reversal_curse":
        words |= {
            "composer": fact.relation,
            "WORK": reversal_curse.WORKS[fact.relation][0],
            **dict.fromkeys(("composed", "wrote"), reversal_curse.DID[fact.relation][0]),
        }
    for text, status in WRITTEN[name]:
        for word, said in words.items():
            text = text.replace(word, said)
        text = text.format(s=fact.subject, o=fact.object)
        statement = world.parse(text)
        assert (world.status(statement.fact) if statement else None) == status, text
        plain = text[0].lower() + text[1:]
        assert world.parse(f"As we all know, {plain}") == statement, text
