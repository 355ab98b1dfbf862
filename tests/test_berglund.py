"""The reversal curse on files in Berglund et al.'s format, written here: their own are for whoever fetches them."""

from collections import Counter

import pytest

from berglund_files import write, write_files
from study.arms import Source
from study.config import ParamsError
from study.data.questions import stated_in
from study.params import Params
from study.runs.augment import closure_facts, judge
from study.runs.run import prepare
from study.runs.runner import evaluation_runs_of, run
from study.runs.store import Store
from study.runs.training_text import oracle_sentences
from study.worlds.world import Kind, Split, Status


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("berglund"))


def params_for(folder, **more):
    settings = {"worlds": {"berglund": {"folder": str(folder)}}, "questions": {"options": 4, "per_split": 500}}
    return Params.parse({**settings, **more}, "test")


@pytest.fixture(scope="module")
def material(folder):
    return prepare(params_for(folder), "berglund", 0)


def test_every_line_is_a_document_about_its_person_with_its_end_mended(material):
    assert len(material.documents) == 18 + 18 + 36
    for document in material.documents:
        assert document.text.count('."') + document.text.count('?"') <= 1 or "Q:" in document.text
        assert not document.text.endswith(('.".', "??")) and document.text[-1] in '."?'
        assert material.world.parse(document.text) == document.statements[0]


def test_what_is_asked_is_held_out_reversed_or_said(material):
    counts = Counter((question.split, question.kind) for question in material.questions)
    assert counts == {
        (Split.STATED, Kind.COMPLETIONS): 72,
        (Split.REPHRASED, Kind.COMPLETIONS): 24,
        (Split.REVERSAL, Kind.COMPLETIONS): 24,
        (Split.REVERSAL, Kind.NO_COMPLETIONS): 24,
    }
    assert len({q.cluster for q in material.questions if q.split is Split.REVERSAL}) == 12


def test_one_option_is_true_and_the_others_are_false(material):
    for question in material.questions:
        assert len(set(question.options)) == 4 and len(question.answers) == 1
        for k, option in enumerate(question.options):
            statement = material.world.parse(question.query + option)
            entailed = material.world.status(statement.fact) is Status.ENTAILED
            assert entailed == (k in question.answers)


def test_the_two_kinds_of_false_names_are_what_they_are_called(material):
    ends = {
        name
        for d in material.documents
        for name in material.world.group
        if d.statements[0].template == 1 and name in d.text
    }
    for question in material.questions:
        if question.split is Split.REVERSAL and question.rule == "p2d_reverse_prompts_test":
            false = {option.strip() for k, option in enumerate(question.options) if k not in question.answers}
            assert false <= ends if question.kind is Kind.COMPLETIONS else not false & ends


def test_natural_sentences_are_judged_by_who_is_known_for_what(material):
    world, stated = material.world, stated_in(material.world, material.documents)
    fact, other = world.facts[0], world.facts[1]
    written = [
        f"Once upon a time {fact.object} was nobody else than {fact.subject}.",
        f"{fact.subject} is {other.object}.",
        "Nobody knows.",
    ]
    judged = judge(world, stated, Source.LOCAL, "", 0, written)
    assert [i.status for i in judged] == [Status.ENTAILED, Status.CONTRADICTED, "unparseable"]
    assert judged[0].split is Split.REVERSAL
    oracle = judge(world, stated, Source.LOCAL, "", 0, oracle_sentences(world, material.documents))
    possible = closure_facts(world, material.documents)[Split.REVERSAL]
    assert {i.fact for i in oracle if i.split is Split.REVERSAL} == possible and len(possible) == 12


def test_a_part_of_it_can_be_taken(folder):
    part = {"berglund": {"folder": str(folder), "people": 4, "copies": 2}}
    material = prepare(params_for(folder, worlds=part), "berglund", 0)
    assert len(material.world.facts) == 12 and len(material.documents) == 4 * 2 * 4


def test_the_order_is_the_seeds_and_nothing_else(folder, material):
    again, other = (prepare(params_for(folder), "berglund", seed) for seed in (0, 1))
    assert again.documents == material.documents and again.questions == material.questions
    assert other.documents != material.documents and set(other.documents) == set(material.documents)
    assert other.questions == material.questions


def test_another_world_of_its_kind_is_its_twin_in_nonsense(folder):
    twin = prepare(params_for(folder), "berglund", 0, retention=True)
    assert twin.world.name == "reversal_curse"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "d2p_prompts_test.jsonl").unlink(), r"no .*d2p_prompts_test\.jsonl; fetch .*make fetch DATA="),
        (
            lambda f: (f / "p2d_prompts_train.jsonl").write_text("{}\n"),
            r"p2d_prompts_train\.jsonl, line 1: '\{\}' is no JSON",
        ),
        (lambda f: write(f, "p2d_prompts_test", [("Nobody at all", " is.")]), r"line 1: .* names 0 people"),
        (lambda f: write(f, "both_prompts_train", [("a", " b")]), "nobody is in the group 'both'"),
    ],
)
def test_files_that_cannot_be_used_are_named(folder, tmp_path, spoil, message):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    with pytest.raises(ParamsError, match=message):
        prepare(params_for(tmp_path), "berglund", 0)


def test_it_runs_from_a_folder_with_any_tokenizer(folder, english_folder, tmp_path, in_this_process):
    params = params_for(
        folder,
        worlds={"berglund": {"folder": str(folder), "people": 4, "copies": 2}},
        seeds=[0],
        arms=[
            "base",
            "icl",
            "retrieved",
            "ft",
            "ft repeated",
            "ft augmented",
            "ft augmented strict",
            "ft oracle",
            "hybrid",
        ],
        model={"name": str(english_folder), "device": "cpu"},
        questions={"options": 4, "per_split": 6},
        finetuning={"epochs": 1, "fewest_steps": 2, "step_tokens": 64, "learning_rates": [1e-3]},
        augmentation={"local_tokens": 16, "global_tokens": 16},
    )
    store = Store(tmp_path / "runs")
    rows = run(params, store, say=lambda line: None)
    trials = evaluation_runs_of(params, store)
    assert all(store.has(trial.key) for trial in trials) and set(rows["arm"]) == set(params.arms_in("berglund"))
    shares = [store.record(t.key)["share_of_documents_in_context"] for t in trials if t.arm == "icl"]
    assert 0 < shares[0] < 1  # its positions do not hold them all, and the record says so
