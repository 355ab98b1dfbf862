import random

import pytest

from clingo_rules import KINSHIP
from study.config import ParamsError
from study.data.questions import make_documents, make_questions
from study.params import Params
from study.runs.run import EvaluationRun, prepare
from study.worlds import family, semantic
from study.worlds.facts_file import read_lines
from study.worlds.logic import Fact
from study.worlds.words import STUDY, lexicon_of
from study.worlds.world import Split, Stated
from test_logic import as_clingo, entailed_by_clingo, worded

FAMILY = "params/facts/family_of_27.csv"
ANIMALS = "params/facts/animals.pl"


def read_family(path, rename=False):
    return family.build(random.Random(0), STUDY, family.Params(facts=str(path), rename=rename))


def test_a_file_of_27_people_gives_the_full_kinship_closure():
    world = read_family(FAMILY)
    assert len(world.family) == 27
    # clingo's definitions start from parents, couples and sexes: what the file says in other words is spelled out.
    base = [fact for fact in world.facts if fact.relation not in ("brother", "son")]
    said = [
        Fact("father", "yann", "albert"),
        Fact("father", "albert", "bruno"),
        Fact("father", "?", "yann"),
        Fact("father", "?", "beatrice"),
    ]
    sexes = [Fact("gender", "yann", "man"), Fact("gender", "albert", "man"), Fact("gender", "bruno", "man")]
    expected = entailed_by_clingo(KINSHIP + as_clingo([*base, *said, *sexes]))
    assert worded(world) == {fact for fact in expected if "?" not in fact}
    assert Fact("great-uncle", "yann", "ida") in world.closure and Fact("cousin", "rosa", "ulrich") not in world.closure
    assert Fact("great-aunt", "edith", "rosa") in world.closure and Fact("cousin", "hugo", "leo") in world.closure
    assert Fact("sister-in-law", "edith", "greta") in world.closure


def test_names_are_replaced_by_study_words_and_the_world_stays_the_same():
    named, renamed = read_family(FAMILY), read_family(FAMILY, rename=True)
    name = {**renamed.original_names, "man": "man", "woman": "woman"}
    assert {lexicon_of(word) for word in renamed.original_names} == {STUDY.name}
    assert {Fact(f.relation, name[f.subject], name[f.object]) for f in renamed.closure} == set(named.closure)


def test_a_family_from_a_file_is_asked_about_like_any_other():
    world = read_family(FAMILY, rename=True)
    documents = make_documents(world, random.Random(0), 2)
    questions = make_questions(world, documents, "seed", 8, 20)
    assert {q.split for q in questions} >= {Split.STATED, Split.REVERSAL, Split.TWO_HOPS, Split.MORE_HOPS}


def test_a_hierarchy_in_prolog_is_read_with_what_is_inherited():
    world = semantic.build(random.Random(0), STUDY, semantic.Params(facts=ANIMALS, rename=False))
    assert Fact("has", "poodle", "fur") in world.closure and Fact("has", "trout", "fur") not in world.closure
    assert world.closure[Fact("can", "poodle", "breathe")].hops == 4
    assert world.held_out == {"poodle", "terrier", "trout", "canoe"}
    text = " ".join(document.text for document in make_documents(world, random.Random(0), 2, 0.2))
    assert "an owl " in text and "a owl " not in text


def test_triples_may_be_separated_by_spaces_tabs_or_commas(tmp_path):
    path = tmp_path / "facts"
    path.write_text("anna mother ben  # a comment\nben\tfather\tcy\n\n% nothing\ncy, son-in-law, dora\nmale(dan).\n")
    assert [line.fact for line in read_lines(path)] == [
        Fact("mother", "anna", "ben"),
        Fact("father", "ben", "cy"),
        Fact("son-in-law", "cy", "dora"),
        Fact("gender", "dan", "man"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("anna mother ben\nben father cy\ncy mother anna\n", r"line 3: 'cy mother anna': then .*anna.* \(see line"),
        ("anna mother ben\nben parent cy\ncy parent dan\ndan parent ben\n", r"line 4: 'dan parent ben'.*see line 2, 3"),
        ("anna mother ben\nben nephew-twice cy\n", r"line 2: .*unknown relation 'nephew-twice'; known are .*cousin"),
        ("anna mother ben\n\nanna gender man\n", r"line 3: 'anna gender man': .*anna is a woman.*see line 1"),
        ("anna mother ben\ncarl husband anna\nanna husband dora\n", r"line 3: .*anna is the husband of dora, but"),
        ("anna mother ben\nclara mother ben\n", r"line 2: .*then clara is the mother of ben, but anna is .*see line 1"),
        ("anna mother anna\n", r"line 1: .*nothing is its own mother"),
        ("anna gender tall\n", r"line 1: .*'tall' is no gender of this world; write man or woman"),
        ("anna grandfather ben\nben father anna\n", r"line 2: 'ben father anna'.*see line 1"),
        ("anna mother ben\nben husband anna\n", r"line 2: 'ben husband anna': then .*see line 1"),
        ("man mother ben\n", r"line 1: .*'man' is a word of this world's sentences"),
        ("anna mother the\n", r"line 1: .*'the' is a word of this world's sentences"),
        ("anna mother ben\nAnna mother cy\n", r"line 2: 'Anna' was 'anna' before"),
        ("anna mother _\n", r"line 1: '_' is no name"),
        ("anna mother\n", r"line 1: 'anna mother' is no fact; write `anna mother ben`"),
        ("anna mother ben carl\n", r"line 1: .* is no fact"),
        ("anna, mother, ben carl\n", r"line 1: 'ben carl' is no name"),
        ("# nothing\n", r"holds no fact; write one a line"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_the_line_that_causes_it(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(ParamsError, match=message) as error:
        read_family(path)
    assert "mine.csv" in str(error.value)


def test_kinship_stated_by_long_relations_goes_on(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("ann grandmother ben\nben father cy\nulf uncle ben\ndora cousin ben\n")
    world = read_family(path)
    for relation, subject, object_ in (
        ("great-grandmother", "ann", "cy"),
        ("great-uncle", "ulf", "cy"),
        ("cousin", "ben", "dora"),
        ("nephew", "ben", "ulf"),
    ):
        assert Fact(relation, subject, object_) in world.closure


def test_what_a_file_says_from_both_ends_is_no_reversal(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("arthur husband bea\nbea wife arthur\narthur father cy\ncy son arthur\n")
    world = read_family(path)
    documents = make_documents(world, random.Random(0), 3)
    stated = Stated(world, (statement for document in documents for statement in document.statements))
    asked = {form: world.split_of(form, stated) for form in world.statements}
    assert not [
        form for form, split in asked.items() if split is Split.REVERSAL and form.fact.relation in ("husband", "parent")
    ]


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbfanna,mother,ben\r\nben,father,cy\r\n")
    assert [line.fact for line in read_lines(path)] == [Fact("mother", "anna", "ben"), Fact("father", "ben", "cy")]


def test_what_cannot_be_asked_or_read_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("anna parent ben\n")
    few = Params.parse({"worlds": {"family": {"facts": str(path)}}}, "test")
    with pytest.raises(ParamsError, match="worlds.family: 1 facts give no question with 8 options; use fewer"):
        prepare(few, "family", 0)
    path.write_text("".join(f"p{k} father q{k}\n" for k in range(300)))
    with pytest.raises(ParamsError, match="has 600 names, the word space 582"):
        prepare(few, "family", 0)
    with pytest.raises(ParamsError, match="rename = False: the bundled model reads nonsense words only"):
        Params.parse({"worlds": {"family": {"facts": str(path), "rename": False}}}, "test")


def test_a_cycle_of_kinds_is_refused(tmp_path):
    path = tmp_path / "mine.pl"
    path.write_text("is_a(a, b).\nis_a(b, c).\nis_a(c, a).\n")
    with pytest.raises(ParamsError, match=r"line 3: 'is_a\(c, a\).': then a c is a kind of a?.*see line 1, 2"):
        semantic.build(random.Random(0), STUDY, semantic.Params(facts=str(path)))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="cannot be read as UTF-8 text"):
        read_family(tmp_path / "nowhere.csv")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParamsError, match="cannot be read as UTF-8 text"):
        read_family(tmp_path / "bytes")


def test_a_trial_depends_on_what_the_file_holds(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("anna mother ben\nben father cy\n")
    params = Params.parse({"worlds": {"family": {"facts": str(path)}}, "questions": {"options": 2}}, "test")
    key = EvaluationRun("family", 0, params, "0" * 64, "base", params.arms["base"]).key
    assert prepare(params, "family", 0).world.original_names
    path.write_text("anna mother ben\nben father dan\n")
    assert EvaluationRun("family", 0, params, "0" * 64, "base", params.arms["base"]).key != key
