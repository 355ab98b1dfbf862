"""A notebook given to papermill, nbconvert or nbclient guards results as the launcher does."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from chaos.scratch import Scratch
from study.runs.store import locked

NOTEBOOK = "01_generate_data"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A copy of the project with one notebook, a published results folder, and settings of somebody's own."""
    copy = Scratch.make(tmp_path_factory.mktemp("by_hand"), (NOTEBOOK,))
    study = copy.study("mine")
    study.file.rename(copy.folder / "mine.yaml")
    published = copy.folder / "results" / "default" / NOTEBOOK
    published.mkdir(parents=True)
    (published / "questions.csv").write_text("published\n")
    return copy


def executed(scratch: Scratch, *command: str) -> tuple[int, str]:
    """Exit status and output of a command of the environment, in the copied project."""
    program = str(Path(sys.executable).with_name(command[0]))
    given = {"cwd": scratch.folder, "env": scratch.environment(), "capture_output": True, "text": True}
    done = subprocess.run([program, *command[1:]], check=False, **given)
    return done.returncode, done.stdout + done.stderr


def published(scratch: Scratch) -> dict[str, str]:
    """The files of the published results by name."""
    files = (scratch.folder / "results" / "default").rglob("*.*")
    return {file.name: file.read_text() for file in files if file.is_file() and not file.name.endswith(".lock")}


@pytest.mark.nightly
def test_other_settings_go_to_a_folder_of_their_own(scratch):
    before = published(scratch)
    out = scratch.folder / "out.ipynb"
    status, said = executed(
        scratch, "papermill", f"notebooks/{NOTEBOOK}.ipynb", str(out), "-p", "PARAMS_FILE", "mine.yaml"
    )
    assert status == 0, said
    (own,) = (scratch.folder / "results" / "nb").iterdir()
    text = nbformat.writes(nbformat.read(out, as_version=4))
    assert f"those of mine.yaml go to results/nb/{own.name}" in text and own.name.startswith(f"{NOTEBOOK}-mine-")
    assert list((own / NOTEBOOK).glob("*.csv")) and published(scratch) == before


@pytest.mark.nightly
def test_what_is_no_parameter_is_refused(scratch):
    (scratch.folder / "settings.yaml").write_text(yaml.safe_dump({"finetuning": {"epochs": 3}}))
    before = published(scratch)
    status, said = executed(scratch, "papermill", f"notebooks/{NOTEBOOK}.ipynb", "-", "-f", "settings.yaml")
    assert status and "finetuning = {'epochs': 3}: no parameter of this notebook" in said
    assert published(scratch) == before


BY = {"jupyter-nbconvert": ("--execute", "--to", "notebook", "--stdout"), "jupyter-execute": ()}


@pytest.mark.parametrize("command", [pytest.param((n, *o), marks=pytest.mark.nightly, id=n) for n, o in BY.items()])
def test_nobody_works_where_another_run_does(scratch, command):
    before, lock = published(scratch), locked(scratch.folder / "results" / "default")
    try:
        status, said = executed(scratch, *command, f"notebooks/{NOTEBOOK}.ipynb")
    finally:
        lock.release()
    assert status and "another run is working in results/default" in said
    assert published(scratch) == before
