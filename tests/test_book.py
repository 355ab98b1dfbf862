"""Notebooks as a reader runs them: executed whole or kept apart, skipped when nothing changed."""

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from threading import Barrier

import nbformat
import pytest
import yaml

from study import cli
from study.advice.ask import page_about
from study.arms import ARMS
from study.config import ParamsError
from study.lm.hub import model_folder
from study.lm.scoring import score_options
from study.pages import report
from study.pages.execute import execute
from study.pages.experiment import Experiment, open_experiment
from study.pages.page import NotebookFailed, Page, notebook_path
from study.params import Params, load_params
from study.paths import NOTEBOOKS, RESULTS, ROOT
from study.runs.store import PUBLISHED, locked
from study.worlds.world import Split

ALL = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def cells(path, kind):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@pytest.fixture
def study(params, tmp_path):
    """A params file of the tiny study and a results folder."""
    file = tmp_path / "tiny.yaml"
    values = params.plain()
    values["worlds"] = {"reversals": values["worlds"]["reversals"]}
    file.write_text(yaml.safe_dump(values))
    return file, load_params(file), tmp_path / "results"


def test_there_are_the_eight_notebooks():
    assert [path.stem[:2] for path in ALL] == ["00", "01", "02", "03", "04", "05", "06", "07"]


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_a_source_notebook_holds_no_outputs_and_more_prose_than_code(path):
    code, prose = cells(path, "code"), cells(path, "markdown")
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert sum(len(c.source) for c in prose) > sum(len(c.source) for c in code)
    assert all(len(cell.source.splitlines()) <= 14 for cell in code)


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_the_parameters_of_a_notebook_are_the_launcher_s(path):
    tagged = [cell for cell in cells(path, "code") if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert re.findall(r"^(\w+) = ", tagged[0].source, re.M) == ["PARAMS_FILE", "RESULTS"]


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_a_split_or_an_arm_that_a_cell_names_exists(path):
    source = "\n".join(cell.source for cell in cells(path, "code"))
    assert set(re.findall(r'\["split"\] == "(.+?)"', source)) <= set(map(str, Split))
    assert set(re.findall(r'"((?:ft|icl|base|hybrid)[^"]*)"', source)) <= set(ARMS)


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_no_number_in_prose_is_a_result(path):
    text = " ".join(cell.source for cell in cells(path, "markdown"))
    assert not re.findall(r"\b[01]\.\d+", text)


def by_hand(path) -> dict:
    """What the cells of a notebook that load the bundled model themselves compute."""
    found: dict = {"report": report}
    numbers = [k for k, cell in enumerate(cells(path, "code")) if "load(Model(" in cell.source]
    for cell in cells(path, "code")[numbers[0] : numbers[0] + 2]:
        exec(cell.source, found)  # noqa: S102
    return found


def test_scores_by_hand_are_the_study_s(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = by_hand(notebook_path("02"))
    question = found["question"]
    (scores,) = score_options(
        found["model"], found["tokenizer"], found["context"], [(question.query, question.options)]
    )
    assert list(found["scores"].values()) == pytest.approx(scores.log_probs, abs=1e-3)
    assert max(found["scores"], key=found["scores"].get) == question.options[question.answers[0]]


def test_steps_by_hand_teach_a_sentence(monkeypatch):
    monkeypatch.chdir(ROOT)
    steps = by_hand(notebook_path("03"))["steps"]
    assert steps[0][0] < 0.1 and steps[-1][0] > 0.9


@pytest.mark.nightly
def test_a_notebook_is_executed_once_and_again_when_something_changed(study):
    file, params, results = study
    run = Page(notebook_path("02"), file, params, results)
    assert run.stale() == "not executed yet"
    left = [results / ".05_compare.part.ipynb", run.stamp.with_name("05_compare.part")]  # of a run that was killed
    for part in left:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"{")
    execute(run)
    assert run.stale() is None and not any(part.exists() for part in left)
    assert (results / "02_in_context" / "accuracy.png").stat().st_size > 5_000
    outputs = [o for cell in cells(run.target, "code") for o in cell.outputs]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert str(ROOT) not in json.dumps(outputs)
    assert not list(results.glob(".*.part.ipynb"))
    # A touched file is not a changed one.
    run.notebook.touch()
    assert run.stale() is None
    other = Page(run.notebook, file, params.model_copy(update={"seeds": (1,)}), results)
    assert "changed" in other.stale()
    picture = results / "02_in_context" / "accuracy.png"
    drawn = picture.read_bytes()
    picture.write_bytes(b"")
    assert "accuracy.png was changed" in run.stale()
    picture.unlink()
    assert "accuracy.png is missing" in run.stale()
    picture.write_bytes(drawn)
    assert run.stale() is None
    for folder in (results / "runs").iterdir():
        (folder / "record.json").unlink()
    assert "8 of its runs are missing" in run.stale()
    for torn in ("", run.stamp.read_text()[:99], "[]", "\0"):
        run.stamp.write_text(torn)
        assert "02_in_context.json is damaged" in run.stale()


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for place in ("base_model*", PUBLISHED.name, "documents/handbook")
        for path in RESULTS.glob(f"{place}/*.ipynb")
    ),
    ids=lambda p: p.stem,
)
def test_a_published_notebook_shows_its_figures_no_warning_no_progress_and_no_path_of_a_machine(path):
    outputs = [output for cell in cells(path, "code") for output in cell.outputs]
    assert not re.findall(
        r"\w*Warning\b|site-packages|\d+%\||[\"\s'](?:/tmp|/home|/root|/Users|/work)/", json.dumps(outputs)
    )
    folder = path.with_suffix("") if path.with_suffix("").is_dir() else path.parent
    shown = {base64.b64decode(o["data"]["image/png"]) for o in outputs if "image/png" in o.get("data", {})}
    assert shown == {file.read_bytes() for file in folder.glob("*.png")} and shown


def test_a_notebook_opened_by_hand_finds_what_the_params_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = open_experiment("params/full.yaml", "results/full", "05_compare")
    assert all(model_folder(model).is_dir() for model in experiment.params.model_sizes.models)
    assert experiment.params.model_sizes.models and Path.cwd() == ROOT


def test_a_failing_cell_keeps_the_last_good_notebook(study, tmp_path):
    file, params, results = study
    source = nbformat.read(notebook_path("01"), as_version=4)
    source.cells = [cell for cell in source.cells if "parameters" in cell.metadata.get("tags", [])]
    source.cells.append(nbformat.v4.new_code_cell("raise ValueError('the cell says why')"))
    broken = tmp_path / "01_generate_data.ipynb"
    nbformat.write(source, broken)
    run = Page(broken, file, params, results)
    results.mkdir()
    run.target.write_text("the last good one")
    with pytest.raises(NotebookFailed, match="ValueError: the cell says why"):
        execute(run)
    assert run.target.read_text() == "the last good one"
    assert (results / "failed" / "01_generate_data.ipynb").is_file()
    assert run.stale() == "not executed yet"


def test_a_page_whose_params_were_edited_meanwhile_is_none(study, monkeypatch):
    file, params, results = study
    run = Page(notebook_path("02"), file, params, results)

    def edited(notebook, part, _):
        part.write_bytes(notebook.read_bytes())
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "seeds": [1]}))

    monkeypatch.setattr("study.pages.execute._by_papermill", edited)
    with pytest.raises(NotebookFailed, match="tiny.yaml was changed while 02_in_context.ipynb was executed"):
        execute(run)
    assert run.stale() == "not executed yet" and not list(results.glob(".*.part.ipynb"))


def test_two_notebooks_are_executed_at_a_time_and_none_after_one_that_fails(study, monkeypatch, capsys):
    file, params, results = study
    pages = [Page(notebook_path(number), file, params, results) for number in ("01", "02", "03")]
    both, begun = Barrier(2), []

    def executed(notebook, part, _):
        begun.append(notebook.name)
        both.wait(60)  # neither goes on without the other
        if notebook == pages[0].notebook:
            raise RuntimeError("Kernel died")
        part.write_bytes(notebook.read_bytes())

    monkeypatch.setattr("study.pages.execute._by_papermill", executed)
    monkeypatch.setattr("study.pages.execute.rows_behind", lambda run: {})
    with pytest.raises(NotebookFailed, match="01_generate_data.ipynb: Kernel died"):
        execute(*pages)
    written = [line for line in capsys.readouterr().out.splitlines() if "written to" in line]
    assert "03_finetune.ipynb" not in begun and [line.partition(":")[0] for line in written] == [pages[1].name]
    assert [page.target.is_file() for page in pages] == [False, True, False]


def test_one_notebook_s_runs_wait_for_another_s(study, monkeypatch):
    _, params, results = study
    experiment, lock = Experiment(params, results, "02_in_context"), locked(results, ".runs.lock")
    monkeypatch.setattr("study.runs.runner.run", lambda *_: "rows")
    with ThreadPoolExecutor(1) as thread:
        rows = thread.submit(experiment.run, ["base"])
        with pytest.raises(NotYet):
            rows.result(timeout=0.5)
        lock.release()
        assert rows.result(timeout=60) == "rows"
    locked(results, ".runs.lock").release()


def test_a_notebook_with_other_parameters_is_refused(study, tmp_path):
    file, params, results = study
    source = nbformat.read(notebook_path("01"), as_version=4)
    tagged = next(c for c in source.cells if "parameters" in c.metadata.get("tags", []))
    tagged.source += "\nLEARNING_RATE = 1.0"
    other = tmp_path / "01_generate_data.ipynb"
    nbformat.write(source, other)
    with pytest.raises(ParamsError, match="LEARNING_RATE"):
        execute(Page(other, file, params, results))


def test_a_typo_ends_before_any_work_and_makes_nothing(tmp_path, capsys):
    file = tmp_path / "typo.yaml"
    file.write_text("finetuning: {learning_rte: 1e-5}\n")
    assert cli.main(["nb", "03", str(file)]) == 1
    assert (
        "finetuning.learning_rte = 1e-05: no such setting; allowed here: checkpoint_evals, chosen, epochs"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nb", "77", "params/smoke.yaml"], "NB = '77': no notebook begins with that number; there are: 00_base_model"),
        (["nb", "", "params/smoke.yaml"], "NB = ''"),
        (["nb", "03", ""], "PARAMS is empty"),
        (["nb", "03", "nowhere.yaml"], "nowhere.yaml: no such params file"),
        (
            ["reproduce", "--study", "nosuch"],
            "STUDY = 'nosuch': no params/nosuch.yaml; there are: berglund, default, development",
        ),
    ],
)
def test_what_the_launcher_cannot_do_it_says(arguments, message, capsys):
    assert cli.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_page_depends_on_what_it_says_and_on_the_version_of_figures_not_on_where_functions_live(
    study, tmp_path, monkeypatch
):
    file, params, results = study
    key = Page(notebook_path("02"), file, params, results).key
    source = nbformat.read(notebook_path("02"), as_version=4)
    code = next(cell for cell in source.cells if "from study" in cell.source)
    code.source = code.source.replace("from study.pages import", "from study.elsewhere import")
    moved = tmp_path / "02_in_context.ipynb"
    nbformat.write(source, moved)
    assert Page(moved, file, params, results).key == key
    code.source += "\nprint(1)"
    nbformat.write(source, moved)
    assert Page(moved, file, params, results).key != key
    monkeypatch.setattr(Params, "claims_file", file)
    assert Page(notebook_path("02"), file, params, results).key != key
    monkeypatch.undo()
    monkeypatch.setattr("study.pages.page.FIGURES", 0)
    assert Page(notebook_path("02"), file, params, results).key != key


def test_a_study_of_documents_is_the_page_that_make_documents_executes():
    assert [run.name for run in cli.study_runs("documents")] == ["07_your_documents"]
    (page,) = cli.study_runs("documents")
    assert page.results == RESULTS / "documents" / "handbook"
    # `make documents` as it stands finds the published page up to date, and changes no file.
    assert page_about("", "", "documents", page.params, RESULTS) == page and page.stale() is None
    assert len(cli.study_runs("default")) == 6
