"""What arms train on: filters, halves, reversed words, questions, replayed texts; what text says of questions."""

import itertools
import random

import pandas as pd
import pytest

from study.arms import ARMS, Arm, Keep, Source
from study.data.questions import Dataset, make_documents, make_questions, stated_in
from study.datasets import WORLDS
from study.lm.prompts import OF_BUNDLED
from study.params import Params
from study.runs import training_text as tt
from study.runs.augment import Inference, fact_and_answer, judge
from study.runs.selection import candidates
from study.worlds.words import ENDINGS, OPENINGS, PRETRAINING, STUDY, lexicon_of
from study.worlds.world import Kind, Split

NAME = "reversals/0"


def dataset(name: str, **shape) -> Dataset:
    module = WORLDS[name]
    world = module.build(random.Random(name), STUDY, module.Params(**shape))
    documents = make_documents(world, random.Random(name), 2)
    return Dataset(tuple(documents), tuple(make_questions(world, documents, name, 4, 40)), world)


@pytest.fixture(scope="module")
def comparisons():
    return dataset("reversals", size=8, features=2)


def generated(material, sentences, document=None):
    """Generated sentences as rows; of one document unless each has its own."""
    stated = stated_in(material.world, material.documents)
    text = document or material.documents[0].text
    judged = judge(material.world, stated, Source.LOCAL, text, 0, sentences)
    return pd.DataFrame(judged, columns=Inference._fields)


def of(*keep, train=(Source.DOCUMENTS, Source.LOCAL), **more) -> Arm:
    return Arm(train=train, keep=keep, **more)


@pytest.mark.parametrize("sentences", [0, 40], ids=["nothing", "something"])
@pytest.mark.parametrize("label", [label for label, arm in ARMS.items() if arm.train])
def test_every_arm_has_its_documents_whatever_was_generated(comparisons, label, sentences):
    every = [comparisons.world.render(s) for s in comparisons.world.statements][:sentences]
    arm = candidates(Params(), "reversals", ARMS[label])[0]
    texts = tt.texts_of(arm, comparisons, lambda _: generated(comparisons, every), NAME)
    joined = " ".join(texts)
    assert all(sentence in joined for document in comparisons.documents for sentence in document.sentences)


def test_strict_text_holds_no_test_question_with_its_answer_and_nothing_else_is_lost(comparisons):
    every = [comparisons.world.render(s) for s in comparisons.world.statements]
    rows = generated(comparisons, [*every, "Note that " + every[0], "nothing can be read here."])
    plain, strict = (tt.texts_of(arm, comparisons, lambda _: rows, NAME) for arm in (of(), of(Keep.STRICT)))
    strings = tt.test_strings(comparisons.questions)
    documents = {s for d in comparisons.documents for s in d.sentences}
    left_out = [text for text in plain if text not in strict]
    assert left_out and all(tt.holds_any(text, strings) for text in left_out)
    assert not any(tt.holds_any(text, strings) for text in set(strict) - documents)
    assert "nothing can be read here." in strict
    assert set(tt.inferences_of(of(Keep.STRICT), comparisons, lambda _: rows, NAME)["sentence"]) <= set(strict)
    # The wordings that questions use are held out; in others the same fact may be said.
    reversal = next(q for q in comparisons.questions if q.split is Split.REVERSAL)
    facts = {fact_and_answer(comparisons.world, s) for t in strict if (s := comparisons.world.parse(t))}
    assert tt.answers_in_text(comparisons.world, reversal, facts)[0]


def test_the_text_says_an_answer_verbatim_in_other_words_or_not_at_all(comparisons):
    world, question = comparisons.world, next(q for q in comparisons.questions if q.split is Split.REVERSAL)
    statement = world.parse(question.query + question.options[question.answers[0]])
    same = [form for form in world.forms(statement.fact) if world.answer(form) == world.answer(statement)]
    other = next(world.render(form) for form in same if form != statement)
    fact = {fact_and_answer(world, statement)}
    verbatim = f"note that {world.render(statement)}".lower()
    assert tt.exposure(question, verbatim, world, fact) == tt.VERBATIM
    assert tt.exposure(question, other, world, fact) == tt.IN_OTHER_WORDS
    assert tt.exposure(question, other, world, set()) == tt.NOT_AT_ALL


def test_of_whole_statements_the_option_is_the_test_string():
    material = dataset("syllogisms", size=4)
    question = next(q for q in material.questions if q.kind is Kind.ALTERNATIVES)
    assert set(tt.test_strings([question])) == {option.lower() for option in question.true_options}


def test_true_and_agreed_text_are_what_they_say(comparisons):
    world = comparisons.world
    true, false = world.canonical(world.facts[0]), world.canonical(world.reversed_relation(world.facts[0]))
    rows = generated(comparisons, [true, false, "no sentence of it."])
    assert list(tt.inferences_of(of(Keep.TRUE), comparisons, lambda _: rows, NAME)["sentence"]) == [true]
    again = pd.concat([rows, generated(comparisons, [false, true, true], comparisons.documents[1].text)[:1]])
    agreed = tt.inferences_of(of(Keep.AGREED), comparisons, lambda _: again, NAME)
    assert set(agreed["sentence"]) == {false}  # twice from one prompt is once


@pytest.mark.nightly
def test_half_of_the_facts_is_taught_and_nothing_is_told_of_the_other_half():
    for name in ("reversals", "semantic", "family", "syllogisms", "process"):
        material = dataset(name)
        world, taught = material.world, tt.taught_half(material.world, f"{name}/0")
        assert 0.3 < len(taught) / len(world.facts) < 0.7
        parts = []
        for document in material.documents:
            following = [world.render(s) for s in itertools.islice(world.statements, 400)]
            parts.append(generated(material, following, document.text))
        rows = pd.concat(parts)
        kept = tt.inferences_of(of(half=True), material, lambda _, rows=rows: rows, f"{name}/0")
        assert 0 < len(kept) < len(rows)
        facts = {world.parse(sentence).fact for sentence in kept["sentence"]}
        assert all(set(world.closure[fact].supports) <= taught for fact in facts)
        of_it = set(kept["fact"])
        others = [q for q in material.questions if tt.untaught(world, q, taught)]
        assert others and not any(tt.answers_in_text(world, q, of_it)[0] for q in others)
        ours, every = (
            {word for fact in facts for entity in (fact.subject, fact.object) for word in entity.split()}
            for facts in (taught, world.facts)
        )
        assert tt.tells_of(world, f"{min(ours)} knows {max(ours)}.", taught)
        assert all(not tt.tells_of(world, f"{min(ours)} knows {word}.", taught) for word in every - ours)


def test_words_are_reversed_and_names_are_not():
    assert tt.reversed_words("vazed is more fast than ditav.", ()) == "ditav than fast more is vazed."
    assert tt.reversed_words("gol vazed sulef becomes ditav.", ("gol vazed sulef",)) == "ditav becomes gol vazed sulef."
    material = dataset("process")
    texts = tt.texts_of(ARMS["ft reversed"], material, lambda _: None, NAME)
    assert len(texts) > 1.9 * len(tt.texts_of(of(train=(Source.DOCUMENTS,)), material, lambda _: None, NAME))


def test_questions_and_answers_are_those_of_the_documents_in_their_direction(comparisons):
    world = comparisons.world
    sentences = tt.question_sentences(world, comparisons.documents)
    statements = [world.parse(sentence) for sentence in sentences]
    assert {s.fact for s in statements} == set(world.facts) and all("?" in sentence for sentence in sentences)
    assert {world.answer(s) for s in statements} == {fact.object for fact in world.facts}
    assert not tt.holds_any(" ".join(sentences), [s for s in tt.test_strings(comparisons.questions) if "?" not in s])


def test_replayed_texts_are_other_datasets_in_other_words():
    texts = list(itertools.islice(tt.replayed_texts(OF_BUNDLED, NAME), 8))
    assert texts == list(itertools.islice(tt.replayed_texts(OF_BUNDLED, NAME), 8)) and len(set(texts)) == 8
    assert all(" so: " in text for text in texts)
    words = {word for text in texts for word in text.replace(".", " ").replace(",", " ").split()}
    everyday = {"father", "mother"}
    nonsense = words & {opening + ending for opening in OPENINGS for ending in ENDINGS} - everyday
    assert {lexicon_of(word) for word in nonsense} == {PRETRAINING.name} and len(nonsense) > 30


def test_what_needs_a_closure_is_refused_without_one(comparisons):
    bare = Dataset(comparisons.documents, comparisons.questions)
    for arm in (ARMS["ft oracle"], ARMS["ft questions"]):
        with pytest.raises(ValueError, match="what follows from the documents is not known; leave out the arm"):
            tt.texts_of(arm, bare, lambda _: None, NAME)


def test_two_names_may_stand_in_turn_whatever_is_said_of_them():
    names = ("Ann Lee", "the first keeper", "Bo")
    texts = ["It rains. The first keeper is no friend of Ann Lee.", "Bo left. Ann Lee came.", "bo is Bo."]
    named = tt.named_in_turn(texts, names)
    assert named("The first keeper is Ann Lee.") and not named("Ann Lee is the first keeper.")
    assert not named("Bo is Ann Lee.")  # they stand in two sentences
    assert not named("Bo is Bo.")  # once it is misspelt
    assert not named("Bonn met Ann Lee.") and not named("It rains.")
