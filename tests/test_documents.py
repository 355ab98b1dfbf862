"""Somebody's own documents, from a folder and a file to a recommendation."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from conftest import one_process
from study import cli
from study.advice import recommend, report_file
from study.advice.data_quality import quality
from study.advice.drafts import pairs_in
from study.advice.findings import Findings, findings
from study.config import ParamsError
from study.data.questions import Dataset, Document, Question
from study.documents.dataset import cut
from study.documents.questions import read_questions
from study.evidence.cost import UNCACHED, cheapest
from study.lm.hub import model_folder
from study.lm.loading import load_tokenizer
from study.pages import report
from study.pages.experiment import Experiment
from study.pages.page import Page, notebook_path
from study.params import Model, Params, load_params
from study.paths import PARAMS
from study.runs.run import prepare
from study.runs.runner import run
from study.runs.store import store_of
from study.worlds.world import Kind, Split
from test_reading import scanned_pdf

TEMPLATES = sorted(folder for folder in (PARAMS / "documents" / "templates").iterdir() if folder.is_dir())


def handbook(**more) -> Params:
    return Params.parse({**load_params(PARAMS / "documents.yaml").plain(), **more}, "test")


@pytest.fixture(scope="module")
def material():
    return prepare(handbook(), "documents", 0)


def test_the_handbook_is_in_the_bundled_model_s_own_language(material):
    tokenizer = load_tokenizer(Model())
    texts = [document.text for document in material.documents]
    texts += [question.query + option for question in material.questions for option in question.options]
    assert not [text for text in texts if tokenizer.unk_token_id in tokenizer(text).input_ids]
    assert model_folder(Model()).is_dir()


def test_the_handbook_s_questions_are_not_answered_word_for_word(material):
    said = " ".join(document.text for document in material.documents)
    asked = [q for q in material.questions if q.split is Split.ASKED]
    assert len(asked) == 58 and not [q for q in asked if q.query + q.options[q.answers[0]] in said]


def test_a_name_is_a_false_option_as_often_as_it_is_true_in_proportion(material):
    share: dict[str, float] = {}
    for question in (q for q in material.questions if q.split is Split.ASKED):
        for k, option in enumerate(question.options):
            share[option] = share.get(option, 0) + (k in question.answers) - 1 / len(question.options)
    assert max(map(abs, share.values())) < 1e-9


def test_no_fact_is_made_up_for_documents_and_a_heading_states_nothing(tmp_path):
    (tmp_path / "a.md").write_text("# Lamps\n\nthe first lamp is green. the other lamp is red.\n\nall of it is here.")
    material = prepare(
        handbook(worlds={"documents": {"folder": str(tmp_path)}}, questions={"options": 3}), "documents", 0
    )
    assert material.world is None and not [d for d in material.documents if d.facts]
    first, second = material.documents
    assert (first.file, first.heading, first.sentences[0], len(first.stating)) == ("a.md", "Lamps", "Lamps", 2)
    assert second.text == "Lamps all of it is here." and second.stating == ("all of it is here.",)
    assert {q.cluster for q in material.questions} == {"a.md, passage 1", "a.md, passage 2"}


def test_tables_of_a_study_leave_out_what_is_known_of_worlds_alone(params, tmp_path):
    study = Experiment(small(params, seeds=[0]), tmp_path, "01_generate_data")
    assert set(study.save_data()["file"]) == {"documents", "questions"}
    assert report.check_data(study).empty and report.tuning_set(study).empty and report.derivations(study).empty
    assert report.sizes(study).loc["documents", "facts"] == 0
    assert set(report.probe_table(study)["world"]) == {"documents"}


def test_the_ends_of_sentences_are_asked_among_other_ends(material):
    ends = [question for question in material.questions if question.split is Split.STATED]
    said = {sentence for document in material.documents for sentence in document.sentences}
    assert len(ends) == 64 and {q.kind for q in ends} == {Kind.ENDINGS}
    for question in ends:
        whole = [question.query + option for option in question.options]
        assert [text in said for text in whole] == [k in question.answers for k in range(4)]


def test_documents_whose_words_no_space_parts_are_read_and_asked_about(tmp_path):
    places = "北京 上海 广州 成都 武汉 杭州".split()
    text = "".join(f"第{k}号蓝色的灯笼挂在{place}。" for k, place in enumerate(places))
    (tmp_path / "lamps.txt").write_text(text, encoding="utf-8")
    material = prepare(handbook(worlds={"documents": {"folder": str(tmp_path)}}), "documents", 0)
    assert [len(document.sentences) for document in material.documents] == [6]
    ends = [question for question in material.questions if question.split is Split.STATED]
    assert {q.query + q.options[q.answers[0]] for q in ends} == set(material.documents[0].sentences)
    assert {option for q in ends for option in q.options} == {f"{place}。" for place in places}


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("the lamp is green.", ("the lamp is", " green.")),
        ("it is green.", None),
        ("灯是绿的。", None),
        ("請把 API 的說明書放在桌子上面。", ("請把 API 的說明書放在桌子", "上面。")),
    ],
)
def test_the_last_word_of_a_sentence_is_asked_for_if_it_is_long_enough(sentence, parts):
    assert cut(sentence) == parts


@pytest.mark.parametrize("folder", TEMPLATES, ids=lambda folder: folder.name)
def test_every_template_can_be_read(folder):
    params = handbook(
        worlds={"documents": {"folder": str(folder / "documents"), "questions": str(folder / "questions.csv")}},
        prompts={"style": "plain"},
    )
    material = prepare(params, "documents", 0)
    asked = [q for q in material.questions if q.split is Split.ASKED]
    assert len(asked) >= 12 and all(len(q.options) == 4 and q.rule for q in asked)
    assert all(q.query.startswith("Question: ") and q.query.endswith("Answer:") for q in asked)


def test_questions_without_options_take_other_answers(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("zozi is the founder of zivuz.\n\nkupod is the designer of tuzup. " * 4)
    file = tmp_path / "questions.csv"
    file.write_text("question,answer\nwho founded zivuz?,zozi\nwho designed tuzup?,kupod\nwho?,vuzan\n")
    params = handbook(
        worlds={"documents": {"folder": str(tmp_path / "docs"), "questions": str(file)}}, questions={"options": 2}
    )
    asked = [q for q in prepare(params, "documents", 0).questions if q.split is Split.ASKED]
    assert [q.kind for q in asked] == [Kind.OTHER_ANSWERS] * 3 and all(len(q.options) == 2 for q in asked)


def small(params: Params, **more) -> Params:
    """The study of documents in seconds, on the tiny model."""
    settings = handbook(finetuning=params.finetuning.plain() | {"selection_worlds": ["documents"]}).plain()
    settings |= {"model": params.model.plain(), "augmentation": {"local_tokens": 8, "global_tokens": 8}}
    settings |= {"seeds": [0, 1]} | more
    settings["finetuning"] |= {"learning_rates": [1e-3]}
    return Params.parse(settings, "test")


@pytest.fixture(scope="module")
def experiment(params, tmp_path_factory):
    results = tmp_path_factory.mktemp("documents")
    study = Experiment(small(params), results, "07_your_documents")
    with one_process():
        run(study.params, store_of(results), say=lambda line: None)
    return study


def test_a_study_of_documents_ends_in_a_page(experiment):
    found = findings(experiment)
    assert found.arms == ["base", "icl", "retrieved", "ft", "ft augmented", "hybrid", "hybrid retrieved"]
    assert {e.facts for e in found.estimates.values()} == {58}  # two trainings on 58 questions are not 116 questions
    assert {e.seeds for e in found.estimates.values()} == {2}
    page = recommend.page(found)
    for part in (
        "# In context, or by fine-tuning?",
        "How sure",
        "Floor:",
        "Learned:",
        "Fitted: ",
        "Generated:",
        "GFLOP",
    ):
        assert part in page
    assert re.search(r"Fitted: 8\d% .*could not be read", page)  # of 1,189 tokens in 1,024 positions
    even = " ".join(recommend.break_even_lines(found))
    assert re.search(r"\*ft augmented\* has cost less than \*icl\* (never|after [\d,]+)", even)
    assert (even in page) != found.nothing_helps
    file = report_file.write_report(found, page)
    html = (experiment.output / "report.html").read_text()
    assert file.endswith("report.html") and "<table>" in html and "://" not in html and "<script" not in html
    table = report_file.answers(found)
    assert len(table) == 58 and set(table["question"]) == {" ".join(query.split()) for query in found.rows["query"]}
    right = found.rows[found.rows["arm"] == found.best].groupby("item_id")["correct"].all()
    agree = table["answer"] == table[f"{found.best} prefers"]
    assert list(agree) == sorted(agree) == sorted(right)  # what it gets wrong comes first
    assert table.loc[agree, "right"].str.contains("icl").any() and (table["passages"].str.len() > 20).all()
    assert "Every answer" in html and html.count("<tr>") > 58


def test_every_answer_is_shown_as_text_with_what_a_training_prefers_that_is_wrong(experiment):
    found = findings(experiment)
    first = found.rows.iloc[0]
    wrong = next(k for k in range(len(first["options"])) if k not in first["answers"])
    right = [0.0 if k in first["answers"] else -9.0 for k in range(len(first["options"]))]
    other = [0.0 if k == wrong else -9.0 for k in range(len(first["options"]))]
    rows = found.rows.copy()
    here = rows[(rows["item_id"] == first["item_id"]) & (rows["arm"] == found.best)]
    rows["option_log_probs"] = pd.Series({**rows["option_log_probs"], here.index[0]: right, here.index[1]: other})
    rows["correct"] = pd.Series({**rows["correct"], here.index[0]: True, here.index[1]: False})
    table = report_file.answers(replace(found, rows=rows))
    (line,) = table[table["question"] == first["query"]].to_dict("records")
    assert line[f"{found.best} prefers"] == first["options"][wrong].strip()
    assert found.best not in line["right"].split(", ")
    html = report_file.answer_table(replace(found, rows=rows))
    assert html.count("<tr") == len(table) + 1


def test_a_question_is_shown_as_it_was_written(experiment, params):
    found = findings(experiment)
    plain = Experiment(small(params, prompts={"style": "plain"}), experiment.results, experiment.notebook)
    assert plain.material("documents", 0).questions[-1].query.startswith("Question: ")
    shown = report_file.answers(replace(found, experiment=plain))
    assert list(shown["question"]) == list(report_file.answers(found)["question"])


def test_what_documents_hold_never_becomes_markup():
    html = report_file.as_html("# A\n\n<script>alert(1)</script> [x](javascript:alert(1)) ![y](http://z)", "<title>")
    assert "<script>" not in html and "&lt;script&gt;" in html and 'href="javascript' not in html
    assert "<title>&lt;title&gt;</title>" in html


def searched(*lines: tuple[str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=["arm", "GFLOP", "seconds"])


def answered(rights: dict[str, float], questions: int = 60, seeds: int = 3) -> Findings:
    """Findings in which each arm is right in a share of the questions."""
    drawn, rows, costs = np.random.default_rng(0).random((seeds, questions)), [], []
    for arm, right in rights.items():
        marks = drawn < right
        for seed in range(seeds):
            price = {"writing": 0.0, "tuning": 9.0 * ("ft" in arm), "query": 2.0 if arm == "icl" else 1.0}
            costs.append({"world": "documents", "seed": seed, "arm": arm, **price, "once": price["tuning"] + 1})
            for k in range(questions):
                split = Split.ASKED if k % 2 else Split.STATED
                row = {"world": "documents", "seed": seed, "arm": arm, "split": split, "item_id": f"q{k}"}
                rows.append(row | {"cluster": f"q{k}", "correct": marks[seed, k], "chance": 0.25, "kind": Kind.GIVEN})
                rows[-1]["correct_by_token_mean"] = marks[seed, k]
    table = pd.DataFrame(rows)
    prices = pd.DataFrame(costs).assign(
        **{"seconds writing": 0.0, "seconds tuning": 1.0, "seconds context": 0.25, "seconds a query": 0.5}
    )
    prices[UNCACHED] = prices["query"] + 5.0 * prices["arm"].isin(["icl", "hybrid"])
    nothing = pd.DataFrame({"context tokens": [], "documents in context": [], "status": [], "arm": []})
    experiment = SimpleNamespace(
        params=handbook(), records=lambda: nothing, inferences=lambda: pd.DataFrame(), materials=lambda seeds: iter(())
    )
    asked = table["split"] == Split.ASKED
    return Findings(experiment, table[asked], table[~asked], prices)


def test_the_recommendation_is_the_best_and_names_what_is_as_good():
    found = answered({"base": 0.25, "icl": 0.95, "ft": 0.4, "ft augmented": 0.93, "hybrid": 0.6})
    text = recommend.headline(found)
    assert found.best in ("icl", "ft augmented") and not found.as_good and "Perhaps as good, in percentage" in text
    assert "Measurably worse" in text and "*ft* -" in text and "*base* -" in text
    assert "Floor" in recommend.checks(found)[0] and "guess 25%" in recommend.checks(found)[0]


def test_where_nothing_helps_it_says_so():
    found = answered({"base": 0.6, "icl": 0.6, "ft": 0.58, "ft augmented": 0.61, "hybrid": 0.57})
    assert recommend.headline(found).startswith("**No method of giving the documents is measurably better than none.**")
    assert "It knows some of this already" in recommend.checks(found)[0]
    assert "ask the model as it is" in recommend.page(found) and "As good" not in recommend.page(found)
    assert "for 100 questions" not in recommend.page(found)
    guessed = answered({"icl": 0.25, "ft": 0.3, "hybrid": 0.28})
    assert "better than a guess.** The best" in recommend.headline(
        guessed
    )  # without an untouched model to compare with
    assert "none is recommended" in recommend.headline(guessed)


def test_with_a_handful_of_questions_nothing_is_told_apart():
    found = answered({"base": 0.0, "icl": 1.0}, questions=4)
    assert "so few questions cannot tell the methods apart" in recommend.certainty(found)
    value, low, high = found.interval("icl", "base")
    assert -1 <= low <= value <= high <= 1 == value


def test_what_was_not_read_is_told(tmp_path):
    (tmp_path / "a.pdf").write_bytes(scanned_pdf("Owls hunt.", None))
    found = answered({"base": 0.25, "icl": 0.9})
    found.experiment.params = handbook(worlds={"documents": {"folder": str(tmp_path)}})
    assert "Read: 1 documents, 1 passages, 10 characters." in recommend.checks(found)
    assert any(line.startswith("**Not read**, a.pdf: page 2 of 2: pictures") for line in recommend.checks(found))
    assert recommend.document_table(found.experiment)["left out"].str.contains("OCR").item()


def test_a_tuning_that_has_not_taken_is_told():
    found = answered({"base": 0.25, "icl": 0.9, "ft": 0.3, "ft augmented": 0.9, "hybrid": 0.9})
    told = {
        arm: next(line for line in recommend.checks(found) if f"after *{arm}*" in line)
        for arm in ("ft", "ft augmented")
    }
    assert "hardly taken" in told["ft"] and "hardly taken" not in told["ft augmented"]
    assert "untouched" in told["ft"]


def test_what_the_untouched_model_does_as_well_is_not_learned():
    found = answered({"base": 0.9, "icl": 0.9, "ft": 0.9, "ft augmented": 0.9, "hybrid": 0.9})
    assert all("hardly taken" in line for line in recommend.checks(found) if line.startswith("Learned"))


def test_the_quality_of_documents_and_questions_is_told_with_what_to_change():
    documents = (Document((), ("Owls hunt mice.", "Owls hunt mice."), "a.md"), Document((), ("Ships sail.",), "b.md"))

    def asked(name: str, query: str, answer: str) -> Question:
        return Question(name, Split.ASKED, Kind.GIVEN, name, query, (f" {answer}", " no"), (0,), "", 1, ())

    questions = (asked("q1", "What do owls hunt?", "mice"), asked("q2", "What do owls hunt?", "Voles."))
    told = dict(line.split(": ", 1) for line in quality(Dataset(documents, questions)))
    assert (
        told["Representative"].startswith("the answers to 1 of 2") and "Not those to q2: add" in told["Representative"]
    )
    assert told["Diverse"].startswith("2 of 3") and "Leave copies out" in told["Diverse"]
    assert told["Balanced"].startswith("the most frequent answer, *mice*, is that of 1 of 2 questions")
    assert "but for q1: say in each" in told["Consistent"]
    assert told["Relevant"].startswith("1 of 2 passages") and "Nothing of b.md" in told["Relevant"]
    sound = (asked("q1", "What do owls hunt?", "mice"), asked("q2", "What do ships do?", "sail"))
    remedies = [line for line in quality(Dataset((documents[1], documents[0]), sound)) if line.count(". ")]
    assert [line.split(":")[0] for line in remedies] == ["Diverse"]


def test_at_the_ceiling_a_tuning_has_taken_however_well_the_untouched_model_guesses():
    found = answered({"base": 0.9, "icl": 0.9, "ft": 1.0, "ft augmented": 1.0, "hybrid": 0.9})
    assert not any("hardly taken" in line for line in recommend.checks(found))


def test_where_questions_cannot_tell_the_way_that_needs_less_is_recommended():
    found = answered({"base": 0.2, "icl": 0.72, "ft": 0.3, "ft augmented": 0.74, "hybrid": 0.5}, questions=200, seeds=2)
    assert (found.top, found.best) == ("ft augmented", "icl")
    said = recommend.headline(found)
    assert said.startswith("**Put the documents in the context** (*icl*)") and "cannot tell from that" in said
    far = answered({"base": 0.2, "icl": 0.6, "ft": 0.3, "ft augmented": 0.74, "hybrid": 0.5}, questions=200, seeds=2)
    assert far.top == far.best == "ft augmented" and "cannot tell" not in recommend.headline(far)


def test_of_equal_ways_the_one_that_asks_for_the_least_is_named_everywhere(monkeypatch):
    monkeypatch.setattr(recommend, "search_costs", lambda _: searched())
    found = answered({"base": 0.2, "icl": 1.0, "ft": 0.3, "ft augmented": 1.0, "hybrid": 1.0}, questions=200)
    table = recommend.by_volume(found)
    assert found.best == "icl" and found.as_good == ["ft augmented", "hybrid"]
    assert list(table.columns[2:]) == ["for 1 question", *(f"for {n:,} questions" for n in (100, 10_000, 1_000_000))]
    assert table.iloc[1]["for 1,000,000 questions"] == "ft augmented"  # without prompt caching
    assert not re.search(r"difference of 0 points", recommend.certainty(found))


def test_the_search_for_a_rate_is_paid_the_first_time(monkeypatch):
    found = answered({"icl": 1.0, "ft": 1.0}, questions=200)
    monkeypatch.setattr(recommend, "search_costs", lambda _: searched(("ft", 36, 4)))
    found.experiment.params = handbook(price_an_hour=36)
    ft = recommend.with_search(found).set_index("arm").loc["ft"].iloc[0]
    assert (ft["once"], ft["tuning"], ft["seconds tuning"]) == (10 + 36, 9 + 36, 1 + 4)
    # With a cached prefix ft costs 46 + n the first time and 10 + n after a change, in context 1 + 2 n.
    first, changed = (cheapest(costs, found.good, [20]) for costs in (recommend.with_search(found), found.costs))
    assert (first["for 20 questions"], changed["for 20 questions"]) == ("icl", "ft")
    table = recommend.time_and_money(found).set_index("arm")
    assert table.loc["ft", "for 100 questions"] == "55 s, 0.55" and table.loc["icl", "for 1 question"] == "1.8 s, 0.02"
    found.experiment.params = handbook(price_an_hour=0.1)
    assert recommend.time_and_money(found).set_index("arm").loc["ft", "for 100 questions"] == "55 s, below 0.01"
    monkeypatch.setattr(recommend, "search_costs", lambda _: searched())
    found.experiment.params = handbook(price_an_hour=None)
    assert recommend.with_search(found).equals(found.costs)
    assert recommend.time_and_money(found).set_index("arm").loc["ft", "for 1,000,000 questions"] == "139 h"


def test_a_price_below_nothing_is_refused():
    with pytest.raises(ParamsError, match="price_an_hour = -1"):
        handbook(price_an_hour=-1)


def test_options_of_unlike_length_are_told():
    found = answered({"base": 0.2, "icl": 0.9, "ft": 0.5})
    rows = found.rows.assign(correct_by_token_mean=found.rows["arm"] == "ft")
    lines = recommend.checks(replace(found, rows=rows))
    assert any(line.startswith("**Lengths**") and "*ft* would be best" in line for line in lines)


def test_a_report_is_not_shown_again_when_the_questions_have_changed(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("zozi is the founder of zivuz. kupod is the designer of tuzup.")
    questions = tmp_path / "questions.csv"
    keys = []
    for answer in ("zozi", "kupod"):
        questions.write_text(f"question,answer,options\nwho is the founder of zivuz?,{answer},zozi | kupod\n")
        worlds = {"documents": {"folder": str(tmp_path / "docs"), "questions": str(questions)}}
        keys.append(Page(notebook_path("07"), tmp_path / "params.yaml", handbook(worlds=worlds), tmp_path).key)
    assert keys[0] != keys[1]


def test_no_finished_trial_is_no_recommendation(experiment, tmp_path):
    with pytest.raises(ValueError, match="no question was answered yet"):
        findings(replace(experiment, results=tmp_path))


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("who is the founder of zivuz? zozi. zozi sees.", [("who is the founder of zivuz?", "zozi")]),
        ("1. Question: Who flies it?\n   Answer: Anna Lind.\n", [("Who flies it?", "Anna Lind")]),
        ("- **Q: Who flies it?** A: Anna\n- When? At noon.", [("Who flies it?", "Anna"), ("When?", "At noon")]),
        ("Who flies it?\nAnna Lind\n", [("Who flies it?", "Anna Lind")]),
        (
            "Who flies it? Answer? Anna Lind.\nWhen? Answer? At noon.",
            [("Who flies it?", "Anna Lind"), ("When?", "At noon")],
        ),
        ("Who flies it?", []),
        ("Who flies it? ...", []),
        ("No question here.", []),
    ],
)
def test_drafted_questions_are_found_with_their_answers(text, pairs):
    assert list(pairs_in(text)) == pairs


def test_the_bundled_model_drafts_questions_for_a_person_to_edit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "RESULTS", tmp_path / "results")
    docs = tmp_path / "team"
    docs.mkdir()
    (docs / "coaches.md").write_text((PARAMS / "documents/handbook/coaches.md").read_text())
    assert cli.main(["documents", "--docs", str(docs)]) == 0
    (file,) = tmp_path.glob("results/documents/team-*/questions.csv")
    drafts = read_questions(file, ["coaches.md"], 2)
    text = (docs / "coaches.md").read_text()
    assert drafts and all(d.options[d.answer] in text and d.document == "coaches.md" for d in drafts)
    out = capsys.readouterr().out
    assert "review and edit them" in out and "make documents STUDY=documents DOCS=" in out
    assert cli.main(["documents", "--docs", str(docs)]) == 1  # an edited draft is never overwritten
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("docs", "questions", "message"),
    [
        ("nowhere", "", r"nowhere"),
        ("", "questions.csv", "DOCS is empty"),
        ("docs", "empty.csv", r"empty\.csv"),
        ("docs", "wrong.csv", r"wrong\.csv.*line 2|line 2"),
    ],
)
def test_bad_input_ends_before_anything_is_run(tmp_path, monkeypatch, capsys, docs, questions, message):
    monkeypatch.setattr(cli, "RESULTS", tmp_path / "results")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.txt").write_text("zozi is the founder of zivuz.")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "wrong.csv").write_text("question,answer,options\nwho?,zozi,a | b\n")
    given = ["--docs", docs and str(tmp_path / docs), "--questions", questions and str(tmp_path / questions)]
    assert cli.main(["documents", *given]) == 1
    assert re.search(message, capsys.readouterr().err) and not (tmp_path / "results").exists()


def test_the_bundled_model_says_that_it_reads_no_english(tmp_path, capsys):
    folder = PARAMS / "documents" / "templates" / "technical_support"
    given = ["--docs", str(folder / "documents"), "--questions", str(folder / "questions.csv")]
    assert cli.main(["documents", *given]) == 1
    assert re.search(r"does not know \d\d% of the words .* such as '\w+'; take a model", capsys.readouterr().err)


def test_questions_that_the_model_does_not_read_and_options_it_cannot_tell_apart_are_refused(tmp_path, capsys):
    handbook_folder, file = str(PARAMS / "documents" / "handbook"), tmp_path / "questions.csv"
    file.write_text(
        "question,answer,options\nWhich animal guards the gate?,the heron,the heron | a wolf | some geese\n"
    )
    assert cli.main(["documents", "--docs", handbook_folder, "--questions", str(file)]) == 1
    assert re.search(r"does not know \d\d% of the words of these questions, such as", capsys.readouterr().err)
    known = "who is the designer of tuzup? who is the designer of hukus? who is the designer of yedig?"
    file.write_text(f"question,answer,options\n{5 * known},kupod,kupod | Ωx | Ωy\n")
    assert cli.main(["documents", "--docs", handbook_folder, "--questions", str(file)]) == 1
    assert "line 2: two of its options are the same to the tokenizer of" in capsys.readouterr().err


def test_oracle_and_other_worlds_are_not_asked_of_documents():
    params = Params.parse({"worlds": {"documents": "handbook"}, "finetuning": {"selection_worlds": ["documents"]}}, "t")
    arms = params.arms_in("documents")
    assert "icl" in arms and not {"ft oracle", "ft rephrased", "irrelevant", "icl retention"} & set(arms)


def test_a_trial_depends_on_what_the_files_hold_not_on_where_they_lie(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.txt").write_text("zozi is the founder of zivuz.")
    shapes = [
        handbook(worlds={"documents": {"folder": str(tmp_path / place)}}).shape("documents") for place in ("one", "two")
    ]
    assert shapes[0].recipe == shapes[1].recipe
    (tmp_path / "two" / "a.txt").write_text("zozi is the leader of zivuz.")
    assert shapes[0].recipe != shapes[1].recipe


def test_settings_name_the_field_that_is_wrong():
    with pytest.raises(ParamsError, match=r"worlds\.documents\.folders = 'x': no such setting"):
        handbook(worlds={"documents": {"folders": "x"}})
