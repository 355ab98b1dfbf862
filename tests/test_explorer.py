"""What the explorer's page shows is what the rows hold."""

import json
import os
import re
import subprocess
import sys

import pandas as pd
import pytest
from study_explorer import start_of, write_explorer
from study_published import Published

from study.arms import Source
from study.config import ParamsError
from study.data.questions import stated_in
from study.evidence.verify import PAGE
from study.lm.hub import identity
from study.params import Params
from study.paths import ROOT
from study.runs.augment import Inference, judge
from study.runs.run import FINISHED, GenerationRun, prepare
from study.runs.runner import evaluation_runs_of, run
from study.runs.store import Store

DOCS = ROOT / "docs"
HARM = "</script><script>alert(1)</script><img src=x onerror=alert(2)>."
ARMS = ("base", "icl", "ft", "ft rephrased", "ft local", "ft augmented", "icl retention")


def planted(material, source: Source) -> list[Inference]:
    """What a model might write of every third question: the true answer, a false one, or nothing."""
    asked = [q for q in material.questions if q.query][source is Source.GLOBAL :: 2]
    right = [q.query + q.options[q.answers[0]] for q in asked[::3]]
    wrong = [q.query + next(o for k, o in enumerate(q.options) if k not in q.answers) for q in asked[1::3]]
    written = judge(
        material.world, stated_in(material.world, material.documents), source, HARM, 0, [*right, *wrong, *right[:1]]
    )
    return [*written, written[0]._replace(sentence=HARM)]


@pytest.fixture(scope="module")
def published(params, tmp_path_factory):
    """A tiny study, what its model wrote planted, and the list of its trials."""
    results = tmp_path_factory.mktemp("results")
    values = {**params.plain(), "arms": {name: params.arms[name].plain() for name in ARMS}}
    values |= {"worlds": {"reversals": params.worlds.reversals.plain()}, "seeds": [0, 1]}
    values["finetuning"]["learning_rates"] = [1e-3]
    small, store = Params.parse(values, "test"), Store(results / "runs")
    for seed in small.seeds:
        for source in (Source.LOCAL, Source.GLOBAL):
            generation = GenerationRun("reversals", seed, small, identity(small.model), source)
            rows = pd.DataFrame(planted(prepare(small, "reversals", seed), source), columns=Inference._fields)
            store.write(generation.key, rows, {"status": FINISHED, "quality": {}})
    run(small, store, say=lambda line: None)
    (results / PAGE).mkdir()
    trials = [
        {"world": t.world, "seed": t.seed, "arm": t.arm, "run": t.key, "status": FINISHED}
        for t in evaluation_runs_of(small, store)
    ]
    pd.DataFrame(trials).to_csv(results / PAGE / "runs.csv", index=False)
    return small, results, pd.DataFrame(trials)


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "explorer"
    write_explorer(Published(*published[:2]), folder)
    return folder


def read(file) -> dict:
    name, value = file.read_text().split(" = ", 1)
    assert name in ("explorerIndex", f'explorerData["{file.stem.replace("-", "/")}"]')
    return json.loads(value.removesuffix(";\n"))


def rows_of(columns: dict) -> list[dict]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_every_number_is_that_of_the_rows(published, folder):
    _, results, trials = published
    for trial in trials.itertuples():
        data = read(folder / f"{trial.world}-{trial.seed}.js")
        texts, answers = data["texts"], data["arms"][trial.arm]
        questions = rows_of(data["places"][answers["place"]]["questions"])
        rows = pd.read_parquet(Store(results / "runs").path(trial.run) / "rows.parquet").to_dict("records")
        assert len(rows) == len(questions) == len(answers["chosen"]) == len(answers["log_probs"])
        assert {answers["place"] == "retention"} == {row["retention"] for row in rows}
        for row, question, chosen, log_probs in zip(
            rows, questions, answers["chosen"], answers["log_probs"], strict=True
        ):
            assert log_probs == [round(float(value), 2) for value in row["option_log_probs"]]
            assert (chosen in question["answers"]) == row["correct"] and chosen == row["option_log_probs"].argmax()
            assert question["answers"] == list(row["answers"]) and question["tokens"] == list(row["option_tokens"])
            assert [texts[k] for k in question["options"]] == [option.strip() for option in row["options"]]
            assert [texts[k] for k in question["supports"]] == list(row["supports"])
            for field, name in (("id", "item_id"), ("split",) * 2, ("kind",) * 2, ("query",) * 2, ("rule",) * 2):
                assert texts[question[field]] == row[name]
            assert question["hops"] == row["hops"]


def test_documents_are_quoted_that_state_what_an_answer_rests_on(published, folder):
    for elsewhere in (False, True):
        material = prepare(published[0], "reversals", 0, elsewhere)
        data = read(folder / "reversals-0.js")
        place = data["places"]["retention" if elsewhere else "here"]
        for question in rows_of(place["questions"]):
            for support in question["supports"]:
                stating = place["stated"][str(support)]
                assert stating
                for number, sentence in stating:
                    assert data["texts"][sentence] in material.documents[number - 1].stating
                    fact = material.world.parse(data["texts"][sentence]).fact
                    assert material.world.canonical(fact) == data["texts"][support]


def test_what_was_written_of_a_question_is_what_its_rows_call_covered_and_misled(published, folder):
    small, results, trials = published
    met = set()
    for trial in trials.itertuples():
        data, train = read(folder / f"{trial.world}-{trial.seed}.js"), small.arms[trial.arm].train
        answers, written = data["arms"][trial.arm], rows_of(data["written"])
        rows = pd.read_parquet(Store(results / "runs").path(trial.run) / "rows.parquet")
        assert (
            ("covered" in answers)
            == rows["covered"].notna().all()
            == any(source in train for source in (Source.REPHRASED, Source.LOCAL, Source.GLOBAL))
        )
        if "covered" not in answers:
            continue
        for n, question in enumerate(rows_of(data["places"]["here"]["questions"])):
            has = {
                k in question["answers"]
                for k, numbers in enumerate(question["said"])
                for number in numbers
                if data["texts"][written[number]["source"]] in train
                or (written[number]["rephrased"] and Source.REPHRASED in train)
            }
            said = True in has, False in has
            assert said == (rows["covered"][n], rows["misled"][n]) == (answers["covered"][n], answers["misled"][n])
            met.add((trial.arm, *said))
    assert {said[1:] for said in met} >= {(True, False), (False, True), (False, False)}
    assert any(arm == "ft rephrased" and covered for arm, covered, _ in met)


def test_sentences_are_counted_and_come_with_their_standing(folder):
    data = read(folder / "reversals-0.js")
    written = rows_of(data["written"])
    assert {data["texts"][row["status"]] for row in written} > {"entailed"}
    assert {row["times"] for row in written} == {1, 2}
    assert {data["texts"][row["source"]] for row in written} == {"local", "global"}


def test_no_text_can_end_its_script_or_be_read_as_markup(folder):
    data = read(folder / "reversals-0.js")
    assert HARM in data["texts"]
    for file in folder.iterdir():
        assert "<" not in file.read_text()
    script = (DOCS / "static" / "explorer.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp", script)


def test_a_changed_row_changes_its_file_and_no_other(published, folder, tmp_path):
    small, results, trials = published
    trial = trials[(trials["seed"] == 1) & (trials["arm"] == "icl")]["run"].item()
    file = Store(results / "runs").path(trial) / "rows.parquet"
    before = file.read_bytes()
    rows = pd.read_parquet(file)
    least = rows.loc[0, "option_log_probs"].copy()
    least[least.argmin()] -= 1
    rows["option_log_probs"] = [least, *rows["option_log_probs"][1:]]
    rows.to_parquet(file, index=False)
    try:
        write_explorer(Published(small, results), tmp_path)
    finally:
        file.write_bytes(before)
    changed = [f.name for f in sorted(tmp_path.iterdir()) if f.read_bytes() != (folder / f.name).read_bytes()]
    assert changed == ["reversals-1.js"]


@pytest.mark.nightly
def test_the_files_are_the_same_bytes_in_every_process(published, folder, tmp_path):
    small, results, _ = published
    (tmp_path / "params.json").write_text(json.dumps(small.plain()))
    code = (
        "import json, pathlib, sys; from study.params import Params; from study_explorer import write_explorer\n"
        "from study_published import Published\n"
        "params, results, folder = map(pathlib.Path, sys.argv[1:])\n"
        "write_explorer(Published(Params.parse(json.loads(params.read_text()), 'test'), results), folder)"
    )
    given = [sys.executable, "-c", code, tmp_path / "params.json", results, tmp_path / "again"]
    subprocess.run(
        given, check=True, env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert sorted(f.name for f in folder.iterdir()) == ["index.js", "reversals-0.js", "reversals-1.js"]
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_what_there_is_is_named_in_the_order_of_the_params(folder):
    index = read(folder / "index.js")
    assert index["worlds"] == [{"name": "reversals", "seeds": [0, 1]}] and list(index["arms"]) == list(ARMS)
    assert list(read(folder / "reversals-1.js")["arms"]) == list(ARMS)
    assert index["arms"]["base"] == {"train": [], "trains on": "nothing", "in context": "nothing"}
    assert (
        index["arms"]["icl retention"]["in context"]
        == "all documents, of another dataset, which its questions are about"
    )


def test_params_with_which_it_was_not_run_are_refused(published, tmp_path):
    small, results, _ = published
    other = Params.parse({**small.plain(), "questions": {"per_split": 5, "options": 4}}, "test")
    with pytest.raises(ParamsError, match=r"worlds.reversals: what arm 'base', seed 0, was asked is not .*reproduce"):
        write_explorer(Published(other, results), tmp_path)
    fewer = Params.parse({**small.plain(), "arms": {"base": {}}}, "test")
    with pytest.raises(ParamsError, match=r"has \['ft', .*which these params lack"):
        write_explorer(Published(fewer, results), tmp_path)


def test_the_page_has_every_part_that_its_script_fills():
    page = (DOCS / "explorer.md").read_text()
    script = (DOCS / "static" / "explorer.js").read_text()
    parts = re.search(r"= \[(.*)\]\.map\(\(name\) =>\s*root\.querySelector\(`\.explorer-", script)[1]
    assert re.findall(r'"(\w+)"', parts) and all(f'class="explorer-{p}"' in page for p in re.findall(r'"(\w+)"', parts))
    fields = re.search(r"FIELDS = \[(.*)\]", script)[1]
    assert set(re.findall(r'name="(\w+)"', page)) == set(re.findall(r'"(\w+)"', fields)) - {"item"}


def test_it_opens_on_a_reversal_that_inferences_teach():
    def answered(item, *right):
        common = {"world": "family", "seed": 3, "item_id": item, "split": "reversal", "retention": False}
        return [{**common, "arm": arm, "correct": ok} for arm, ok in zip(("ft", "ft augmented"), right, strict=True)]

    rows = [*answered("a", True, True), *answered("b", False, False), *answered("c", False, True)]
    start = {"world": "family", "seed": "3", "arm": "ft", "split": "reversal", "item": "c"}
    assert start_of(pd.DataFrame(rows)) == start and start_of(pd.DataFrame(rows[:4])) == {}
