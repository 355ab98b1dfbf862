"""The package's layers hold, and results do not depend on how the source is written."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from study.paths import ROOT
from study.runs.store import PUBLISHED


def test_each_layer_imports_from_those_below_it_alone_and_there_is_no_circle(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports() == EXIT_STATUS_SUCCESS


def test_every_part_of_the_package_is_in_a_layer():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = {name.strip() for line in contracts[0]["layers"] for name in line.split("|")}
    parts = {f"study.{path.stem}" for path in (ROOT / "src" / "study").iterdir() if not path.name.startswith("_")}
    assert parts == layered


def changed(file: Path, pattern: str, by: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.search(pattern, text), f"{file.name}: nothing is {pattern}"
    file.write_text(re.sub(pattern, by, text), encoding="utf-8")


def test_a_docstring_a_private_name_and_the_place_of_a_module_leave_all_published_runs_finished(tmp_path):
    for name in ("src", "notebooks", "params"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (tmp_path / "results").symlink_to(ROOT / "results")
    package = tmp_path / "src" / "study"
    changed(package / "worlds" / "world.py", '^"""', '"""Written otherwise. ')
    changed(package / "lm" / "scoring.py", r"\b_scored\b", "_scores_of_a_chunk")
    (package / "lm" / "flops.py").rename(package / "operations.py")
    for file in [*package.rglob("*.py"), *(tmp_path / "notebooks").glob("*.ipynb")]:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("study.lm.flops", "study.operations"), encoding="utf-8")
    there = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    plan = subprocess.run(
        [sys.executable, "-m", "study", "plan", "--study", PUBLISHED.name],
        cwd=tmp_path,
        env=there,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    finished, count = re.search(r"(\d+) of (\d+) runs are finished", plan).groups()
    assert finished == count and int(count) > 400
    pages = re.findall(r"^0\d_\w+ +(.*?)  ", plan, re.MULTILINE)
    assert pages == ["up to date"] * 6
