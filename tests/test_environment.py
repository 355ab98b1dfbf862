"""The lock file, environment.yml, pyproject and Makefile say the same."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires, version

import pytest
import yaml
from packaging.requirements import Requirement

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


def test_binder_takes_the_study_s_pins_and_nothing_that_runs_a_model():
    lines = (ROOT / ".binder" / "requirements.txt").read_text().splitlines()
    assert "--constraint ../requirements.lock" in lines
    names = {normal(line) for line in lines if line and not line.startswith(("#", "--"))}
    assert names <= {normal(name) for name in PINS}
    assert not names & {"torch", "transformers", "peft", "accelerate"}
    assert (ROOT / ".binder" / "postBuild").stat().st_mode & 0o111
    assert (ROOT / ".binder" / "runtime.txt").read_text() == "python-3.11\n"


def test_results_are_read_and_figures_drawn_with_what_binder_has():
    """Every package that is not needed by Binder's is kept from being imported."""
    wanted = [line for line in (ROOT / ".binder" / "requirements.txt").read_text().splitlines() if line[:1].isalpha()]
    there: set[str] = set()
    while wanted:
        name = normal(re.match(r"[\w.-]+", wanted.pop())[0])
        if name not in there:
            there.add(name)
            needs = [need for need in requires(name) or () if "extra ==" not in need]
            wanted += [
                need for need in needs if Requirement(need).marker is None or Requirement(need).marker.evaluate()
            ]
    absent = [
        module
        for module, names in packages_distributions().items()
        if not {normal(name) for name in names} & there and module not in ("study", "setuptools", "_distutils_hack")
    ]
    assert "torch" in absent and "pandas" not in absent
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import study.draw, study.verify, study.cli"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_citation_the_changelog_and_the_package_are_of_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert citation["version"] == project["version"] == newest
    assert citation["license"] == project["license"] == "Apache-2.0"
    assert {"cff-version", "title", "message", "type", "authors", "keywords", "abstract"} <= set(citation)
    identifiers = {work["identifiers"][0]["value"] for work in citation["references"]}
    assert identifiers == {"arXiv:2505.00661", "arXiv:2309.12288"}
    assert all(author["family-names"] for work in citation["references"] for author in work["authors"])


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_an_issue_form_asks_something_that_must_be_answered(form):
    asked = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(asked)
    ids = [field["id"] for field in asked["body"]]
    assert len(set(ids)) == len(ids)
    assert any(field.get("validations", {}).get("required") for field in asked["body"])


def test_ci_does_what_a_newcomer_does_within_a_time():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["timeout-minutes"] <= 90 and workflow["permissions"] == {"contents": "read"}
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    python = next(step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert python == "3.11"


def test_every_line_of_the_log_is_dated_and_none_is_older_than_the_one_before():
    dates = re.findall(r"^- (\S+)", (ROOT / "LOG.md").read_text(), re.MULTILINE)
    assert len(dates) > 40 and all(re.fullmatch(r"\d{4}-\d\d-\d\d\.", date) for date in dates)
    assert dates == sorted(dates)


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LOG.md", "DEVIATIONS.md"])
def test_every_link_within_the_repository_leads_somewhere(text):
    targets = re.findall(r"\]\(([^)#]+)", (ROOT / text).read_text())
    missing = [name for name in targets if "://" not in name and not (ROOT / name).exists()]
    # What a run makes may be absent while it is made anew.
    assert not [name for name in missing if not name.startswith("results/")]
