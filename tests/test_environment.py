"""The lock file, environment.yml, pyproject and Makefile say the same."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
import yaml

from study.paths import ROOT

PINS = dict(
    line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if line and line[0] != "#"
)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_pin_is_exact_and_given_once():
    names = [normal(name) for name in PINS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w.]+", pin) for pin in PINS.values())
    assert PINS["torch"] == "2.13.0"


def test_conda_takes_python_and_pip_only_and_the_rest_from_the_lock_file():
    *conda, last = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert [re.split("[=<>]", name)[0] for name in conda] == ["python", "pip"]
    assert last == {"pip": ["--requirement requirements.lock", "--editable ."]}


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {normal(name) for name in wanted} <= {normal(name) for name in PINS}


def test_conda_s_python_is_one_the_project_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert "python=3.11" in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


@pytest.mark.parametrize("name", ["torch", "transformers", "peft", "papermill", "datasets", "accelerate"])
def test_what_is_installed_is_what_is_pinned(name):
    assert version(name).split("+")[0] == PINS[name]


def test_make_alone_lists_every_target():
    out = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in (
        "reproduce",
        "smoke",
        "test",
        "nb",
        "help-nb",
        "plan",
        "status",
        "figures",
        "base-model",
        "lab",
        "clean",
    ):
        assert re.search(rf"make {target} +\S", out), target


def test_the_launcher_sets_threads_before_torch_is_imported():
    code = (
        "import runpy, sys; runpy.run_module('study.__main__', run_name='x');"
        "import os; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["passive", "False"]


@pytest.mark.parametrize("module", ["study.cli", "study.experiment", "study.draw", "study.report", "study.verify"])
def test_what_needs_no_model_does_not_wait_for_torch(module):
    heavy = ["torch", "transformers", "peft"] + (
        ["pandas", "papermill", "nbformat", "rich"] if module == "study.cli" else []
    )
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_peers_are_pinned_beside_the_study_s_own_packages():
    lines = (ROOT / "requirements-bench.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and line[0] != "#")
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["bench"]
    assert {normal(name) for name in optional} <= {normal(name) for name in pins}
    assert not {normal(name) for name in pins} & {normal(name) for name in PINS}
