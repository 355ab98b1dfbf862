"""The lock files, environment.yml, pyproject and Makefile say the same, and what is installed is what they say."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement

from study.paths import RESULTS, ROOT


class Package(NamedTuple):
    name: str
    version: str
    hashes: list[str]


def packages_of(lock: Path) -> list[Package]:
    lines = re.findall(r"^[^#\s].*", lock.read_text().replace("\\\n", " "), re.MULTILINE)
    pins = [re.fullmatch(r"(\S+?)==(\S+)(.*)", line.strip()).groups() for line in lines]
    return [Package(name, version, re.findall(r"--hash=sha256:(\S+)", rest)) for name, version, rest in pins]


MAIN, TORCH = "main", "torch"
LOCKS = {lock.stem: packages_of(lock) for lock in sorted((ROOT / "requirements").glob("*.lock"))}
RUNS_ON = [*LOCKS[MAIN], *LOCKS[TORCH]]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


PINS = {normal(package.name): package.version for package in RUNS_ON}
ELSEWHERE = {
    name: {normal(package.name): package.version for package in packages}
    for name, packages in LOCKS.items()
    if name not in (MAIN, TORCH)
}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_every_pin_is_exact_and_given_once():
    assert set(LOCKS) == {MAIN, TORCH, "article", "audit", "bench", "fuzz", "ray", "site"}
    assert len(PINS) == len(RUNS_ON) and PINS["torch"] == "2.13.0"
    for packages in LOCKS.values():
        assert packages and len({normal(package.name) for package in packages}) == len(packages)
        assert all(re.fullmatch(r"[\w.]+", package.version) for package in packages)
    for name, pins in ELSEWHERE.items():
        assert not set(pins) & set(PINS), name


def test_two_locks_never_want_two_versions_of_a_package():
    for name, pins in ELSEWHERE.items():
        for other in ELSEWHERE.values():
            assert not {package for package in pins if other.get(package, pins[package]) != pins[package]}, name


def test_every_package_but_torch_has_the_hashes_of_its_files():
    for name, packages in LOCKS.items():
        for package in packages:
            assert bool(package.hashes) == (name != TORCH), package.name
            assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in package.hashes)
            assert len(set(package.hashes)) == len(package.hashes)


def test_a_lock_names_no_place_to_install_from():
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert not re.search(r"://|index|find-links|trusted-host", lock.read_text())


def environments():
    """Where the study may be installed."""
    systems = (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))
    for (platform, system, machine), python in product(systems, ("3.11", "3.12", "3.13", "3.14")):
        here = {"sys_platform": platform, "platform_system": system, "platform_machine": machine, "os_name": "posix"}
        yield {**default_environment(), **here, "python_version": python, "python_full_version": f"{python}.5"}


def needs_of(name: str, extra: str = "") -> list[Requirement]:
    """What a package needs somewhere, with those of an extra; nothing where it is not installed."""
    try:
        needs = [Requirement(need) for need in requires(name) or ()]
    except PackageNotFoundError:
        return []
    return [
        n for n in needs if n.marker is None or any(n.marker.evaluate({**e, "extra": extra}) for e in environments())
    ]


@pytest.mark.parametrize("name", [name for name in LOCKS if name != TORCH])
def test_a_lock_holds_whatever_its_packages_need_on_every_system(name):
    """As they are installed without a look at what they need."""
    pins = PINS | ELSEWHERE.get(name, {}) | {"pip": version("pip")}
    waiting, seen = [(package.name, "") for package in LOCKS[name]], set()
    while waiting:
        wants = waiting.pop()
        if wants not in seen:
            seen.add(wants)
            for need in needs_of(*wants):
                assert need.specifier.contains(pins[normal(need.name)], prereleases=True), f"{wants[0]}: {need}"
                waiting += [(need.name, extra) for extra in need.extras]
    assert len(seen) >= len(LOCKS[name])


def locked_install(wheels: Path, target: Path, lock: Path) -> subprocess.CompletedProcess:
    """What the Makefile does with a lock file, from a folder in place of an index."""
    show = ["make", "--no-print-directory", "--eval", "show: ; @echo $(LOCKED)", "show"]
    command = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert command[0].endswith("/bin/python") and command[1:4] == ["-m", "pip", "install"]
    given = ["--isolated", "--no-index", "--find-links", wheels, "--target", target, "--requirement", lock]
    return subprocess.run([sys.executable, *command[1:], *given], capture_output=True, text=True, check=False)


def test_what_is_not_what_was_locked_is_not_installed(tmp_path):
    wheel, lock = tmp_path / "tiny-1.0-py3-none-any.whl", tmp_path / "tiny.lock"
    files = {
        "tiny.py": "",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny-1.0.dist-info/RECORD": "tiny.py,,\n",
    }

    def publish(**changed: str) -> None:
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, content in {**files, **changed}.items():
                archive.writestr(name, content)

    publish()
    lock.write_text(f"tiny==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    done = locked_install(tmp_path, tmp_path / "sound", lock)
    assert done.returncode == 0 and (tmp_path / "sound" / "tiny.py").is_file(), done.stderr
    publish(**{"tiny.py": "print('another')"})
    done = locked_install(tmp_path, tmp_path / "tampered", lock)
    assert done.returncode and "DO NOT MATCH THE HASHES" in done.stderr and not (tmp_path / "tampered").exists()
    lock.write_text("tiny==1.0\n")
    done = locked_install(tmp_path, tmp_path / "unhashed", lock)
    assert done.returncode and "Hashes are required" in done.stderr


@pytest.mark.parametrize("card", sorted(RESULTS.glob("base_model*/README.md")), ids=lambda path: path.parent.name)
def test_the_card_of_a_bundled_model_names_its_licence(card):
    _, head, _ = card.read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "apache-2.0"


def test_conda_gives_python_and_pip_and_the_rest_is_installed_as_without_it():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert [re.split("[=<>]", name)[0] for name in dependencies] == ["python", "pip"]
    told = ["make", "--no-print-directory", "--dry-run", "--always-make", "setup"]
    there = {"PATH": os.environ["PATH"]}
    commands = [
        subprocess.run(told, cwd=ROOT, env={**there, **conda}, capture_output=True, text=True, check=True).stdout
        for conda in ({}, {"CONDA_PREFIX": sys.prefix})
    ]
    installed = [re.findall(r"-m (pip install .*)", said) for said in commands]
    assert installed[0] == installed[1] and "--require-hashes" in installed[0][0]
    assert [line.split()[-1] for line in installed[0]] == ["requirements/main.lock", "requirements/torch.lock", "."]


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for name in ("dev", "audit", "bench", "fuzz", "ray", "site"):
        here = set(PINS) | set(ELSEWHERE.get(name, {}))
        wanted = [*project["dependencies"], *extras[name]]
        assert {normal(Requirement(need).name) for need in wanted} <= here, name


def test_the_oldest_python_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    makefile = (ROOT / "Makefile").read_text()
    assert f"Python {oldest} or newer" in makefile and f"< ({oldest.replace('.', ', ')})" in makefile
    assert f"--python-version {oldest}" in makefile
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


def made(*given: str, **environment: str) -> tuple[int, str]:
    """Exit status of make, which runs nothing, and what it says."""
    done = subprocess.run(
        ["make", "--dry-run", *given], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


NOT_TAKEN = {"plan": "PARAMS", "reproduce": "DOCS", "verify": "QUESTIONS", "test": "STUDY", "nb": "NBS"}


@pytest.mark.parametrize(("goal", "variable"), NOT_TAKEN.items())
def test_a_variable_that_a_target_does_not_take_is_refused(goal, variable):
    status, said = made(goal, f"{variable}=a b")
    assert status and f"{variable} = 'a b': `make {goal}` does not take it; it takes " in said


def test_every_variable_of_the_makefile_is_taken_by_a_target_that_uses_it():
    text = (ROOT / "Makefile").read_text()
    taken = {goal: set(names.split()) for goal, names in re.findall(r"^TAKES_(\S+) := (.*)", text, re.MULTILINE)}
    variables = set(re.findall(r"^([A-Z_0-9]+) \?=", text, re.MULTILINE)) - {"PYTHON3"}
    assert set().union(*taken.values()) - {"SEED"} == variables
    for goal, recipe in re.findall(r"^([a-z][a-z-]*):.*\n((?:\t.*\n)*)", text, re.MULTILINE):
        assert {name for name in variables if f"$({name})" in recipe} <= taken.get(goal, set()), goal


def test_an_active_conda_environment_is_used_but_for_its_base(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert f"{tmp_path}/bin/ruff" in made("lint", CONDA_PREFIX=str(tmp_path), CONDA_DEFAULT_ENV="own")[1]
    assert ".venv/bin/ruff" in made("lint", CONDA_PREFIX="/opt/conda", CONDA_DEFAULT_ENV="base")[1]
    status, said = made("lint", CONDA_PREFIX="/opt/my own")
    assert status and "a path with a space; run `conda deactivate`" in said


def test_an_environment_that_cannot_be_used_is_named_with_the_remedy(tmp_path):
    for file in ("Makefile", "pyproject.toml"):
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True)
    done = subprocess.run(["make", "lint"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "has no pip, or is older than Python 3.11.5; remove the environment" in done.stderr


def test_a_user_s_settings_of_pip_python_and_jupyter_reach_no_recipe(tmp_path):
    told = {"PIP_USER": "1", "PYTHONPATH": "/elsewhere", "JUPYTER_PATH": "/elsewhere"}
    (tmp_path / "more.mk").write_text(f"include {ROOT}/Makefile\nshow:\n\t@env\nTAKES_show := \n")
    given = {"cwd": ROOT, "env": {**os.environ, **told}, "capture_output": True, "text": True}
    done = subprocess.run(["make", "-f", str(tmp_path / "more.mk"), "show"], **given)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert found["PIP_USER"] == "0" and found["PYTHONNOUSERSITE"] == "1" and "JUPYTER_PATH" not in found
    assert found["PYTHONPATH"] == str(ROOT / "src")


def test_pages_are_executed_by_this_interpreter_whatever_kernels_a_user_has(tmp_path):
    foreign = json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "foreign", "language": "python"})
    for place in (tmp_path / "path", tmp_path / "home" / ".local" / "share" / "jupyter"):
        (place / "kernels" / "python3").mkdir(parents=True)
        (place / "kernels" / "python3" / "kernel.json").write_text(foreign)
    code = (
        "import study.__main__; from jupyter_client.kernelspec import KernelSpecManager as M; import json\n"
        "print(M().get_kernel_spec('python3').argv[0])"
    )
    told = {"JUPYTER_PATH": str(tmp_path / "path"), "HOME": str(tmp_path / "home")}
    given = {"cwd": ROOT, "env": {**os.environ, **told}, "capture_output": True, "text": True, "check": True}
    assert Path(subprocess.run([sys.executable, "-c", code], **given).stdout.strip()).stem.startswith("python")


def test_code_of_another_copy_of_the_project_is_not_run(tmp_path):
    copy = tmp_path / "copy" / "src" / "study"
    copy.mkdir(parents=True)
    (copy / "config.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "study", "status"], cwd=copy.parents[1], capture_output=True, text=True
    )
    assert done.returncode == 1 and f"copy is another copy of the project than {ROOT}" in done.stderr


def test_the_launcher_sets_threads_before_torch_is_imported():
    code = (
        "import runpy, sys; runpy.run_module('study.__main__', run_name='x');"
        "import os; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["passive", "False"]


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("study.cli", ["torch", "transformers", "peft", "pandas", "papermill", "nbformat", "rich"]),
        (
            "study.pages.experiment, study.pages.draw, study.pages.report, study.evidence.verify",
            ["torch", "transformers", "peft"],
        ),
    ],
)
def test_what_needs_no_model_does_not_wait_for_torch(modules, heavy):
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_binder_takes_all_but_torch_with_its_hashes():
    lines = (ROOT / ".binder" / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if line[0] != "#"] == ["--requirement ../requirements/main.lock"]
    assert "torch" not in {package.name for package in LOCKS[MAIN]}
    assert (ROOT / ".binder" / "postBuild").stat().st_mode & 0o111
    assert (ROOT / ".binder" / "runtime.txt").read_text() == "python-3.11\n"


@pytest.mark.nightly
def test_results_are_read_and_figures_drawn_with_what_binder_has():
    """No module is there of torch, of what only it needs, or of another lock."""
    there = {normal(package.name) for package in LOCKS[MAIN]}
    absent = [
        module
        for module, names in packages_distributions().items()
        if not {normal(name) for name in names} & there and module not in ("study", "_distutils_hack")
    ]
    assert "torch" in absent and "pandas" not in absent
    code = f"""
import sys
from importlib.machinery import PathFinder

class Present(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {absent} else super().find_spec(name, path, target)

sys.meta_path[:] = [Present if finder is PathFinder else finder for finder in sys.meta_path]
import study.pages.draw, study.evidence.verify, study.cli
"""
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


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_runs_actions_pinned_by_commit(workflow):
    said = yaml.safe_load(workflow.read_text())
    assert said["permissions"] == {"contents": "read"}
    for name, job in said["jobs"].items():
        assert job.get("permissions", {}) == ({"pages": "write", "id-token": "write"} if name == "deploy" else {})
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step.get("uses", "actions/x@" + "0" * 40))
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    assert not re.search(r"uses: \S+ *$", workflow.read_text(), re.MULTILINE)  # each says which version that is


def test_every_line_of_the_log_is_dated_and_none_is_older_than_the_one_before():
    dates = re.findall(r"^- (\S+)", (ROOT / "docs" / "log.md").read_text(), re.MULTILINE)
    assert len(dates) > 40 and all(re.fullmatch(r"\d{4}-\d\d-\d\d\.", date) for date in dates)
    assert dates == sorted(dates)


@pytest.mark.parametrize(
    "text",
    [
        *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".github/SECURITY.md"),
        *("docs/guide.md", "docs/log.md", "docs/deviations.md", "docs/cluster.md"),
    ],
)
def test_every_link_within_the_repository_leads_somewhere(text):
    targets = re.findall(r"\]\(([^)#]+)", (ROOT / text).read_text())
    missing = [name for name in targets if "://" not in name and not (ROOT / text).parent.joinpath(name).exists()]
    # A run removes a results file while it makes it again.
    assert not [name for name in missing if not name.removeprefix("../").startswith("results/")]


def test_every_marker_of_slow_tests_has_a_nightly_job():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    markers = [line.partition(":")[0] for line in options["markers"]]
    markers.remove("long")  # a part of chaos
    assert sorted(re.findall(r"not (\w+)", options["addopts"])) == sorted(markers)
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text())["jobs"]
    run = [job["strategy"]["matrix"]["marker"] for job in jobs.values()]
    assert sorted(marker for matrix in run for marker in matrix) == sorted(markers)
