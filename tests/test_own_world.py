"""The walkthrough of CONTRIBUTING.md, a first own dataset, is executed here, in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from study.paths import ROOT

pytestmark = pytest.mark.nightly
SECTION = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Your first own dataset")[1].split("\n## ")[0]
MODULE, LOOK = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
(DIFF,) = re.findall(r"```diff\n(.*?)```", SECTION, re.DOTALL)
(PRINTED,) = re.findall(r"```text\n(.*?)```", SECTION, re.DOTALL)
(SETTINGS,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
TRIAL = """
import sys
from pathlib import Path
import study
from study.params import load_params
from study.runs.runner import run
from study.runs.store import Store
if __name__ == "__main__":
    assert Path(study.__file__).is_relative_to(Path.cwd()), study.__file__
    rows = run(load_params(Path("mine.yaml")), Store(Path("runs")), ["base"])
    print(rows.groupby("split", sort=False).size().to_dict(), rows["correct"].notna().all(), set(rows["world"]))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory, model_folder):
    """The package with the world of the text: its module, its rows, its params on the tiny model."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("src", "tests", "bench"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "params").symlink_to(ROOT / "params")
    path = re.search(r"Write `(src/study/worlds/\w+\.py)`", SECTION)[1]
    (root / path).write_text(MODULE)
    subprocess.run(["git", "apply", "-"], input=DIFF, text=True, cwd=root, check=True)
    (root / "look.py").write_text(LOOK)
    (root / "trial.py").write_text(TRIAL)
    small = {"model": {"name": str(model_folder), "device": "cpu"}, "questions": {"per_split": 6}}
    (root / "mine.yaml").write_text(yaml.safe_dump(yaml.safe_load(SETTINGS) | small))
    return root


def environment(copy):
    return {**os.environ, "PYTHONPATH": str(copy / "src")}


def python(copy, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment(copy),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_look_at_the_world_prints_what_is_written(copy):
    assert python(copy, "look.py") == PRINTED


def test_the_world_passes_the_tests_of_every_world_and_its_closure_is_the_solver_s(copy):
    printed = python(
        copy,
        *("-m", "pytest", "-vv", "-p", "no:cacheprovider", "-k", "housemates"),
        *("tests/test_world.py", "tests/test_logic.py", "tests/test_data.py", "tests/test_augment.py"),
    )
    assert "test_closure_is_clingos[housemates-" in printed
    assert "test_no_distractor_is_entailed_and_none_stands_in_its_sentence[housemates]" in printed
    assert int(re.search(r"(\d+) passed", printed)[1]) > 10


def test_a_model_is_asked_about_the_world(copy):
    *_, last = python(copy, "trial.py").splitlines()
    assert last == "{'as stated': 6, 'rephrased': 6, 'reversal': 6} True {'housemates'}"


def test_its_settings_are_listed_and_held_to_their_bounds(copy):
    code = (
        "from study.paths import NOTEBOOKS; from study.help import settings_of; from study.params import Params;"
        "print([s.allowed for s in settings_of(NOTEBOOKS / '01_x.ipynb') if s.field == 'worlds.housemates.size']);"
        "Params.parse({'worlds': {'housemates': {'size': 1}}}, 'mine.yaml')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, env=environment(copy), capture_output=True, text=True, check=False
    )
    assert done.stdout == "['whole number, >= 2, <= 290']\n"
    assert "worlds.housemates.size = 1: Input should be greater than or equal to 2" in done.stderr


def test_its_module_is_in_the_style_of_the_others(copy):
    python(copy, "-m", "ruff", "check", "src", "tests")
    python(copy, "-m", "ruff", "format", "--check", "src", "tests")
