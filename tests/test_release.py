"""A release holds what it lists and lists what it holds, is the same bytes each time, and refuses what is stale."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import replace

import pytest
import yaml

from study.config import ParamsError
from study.digest import sha256_of
from study.pages.page import Page
from study.params import load_params
from study.paths import ROOT
from study.release import METADATA, RUNS_ON, release

PAGES = ("02_in_context", "05_compare")
SOURCE = {"cells": [{"cell_type": "code", "source": ['PARAMS_FILE = "params/default.yaml"\n']}]}


def git(root, *arguments):
    who = {f"GIT_{role}_{part}": "a" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, env={**os.environ, **who})


def commit(root):
    git(root, "add", "--all")
    git(root, "commit", "--message", "All")


def stamp(run):
    """Say that a page is up to date with the files it has."""
    written = [run.target, *sorted((run.results / run.name).rglob("*.csv"))]
    files = {str(path.relative_to(run.results)): sha256_of(path) for path in written}
    trials = [folder.name for folder in sorted((run.results / "runs").iterdir())]
    run.stamp.parent.mkdir(exist_ok=True)
    run.stamp.write_text(json.dumps({"key": run.key, "executed": "", "seconds": 3, "files": files, "trials": trials}))


@pytest.fixture
def repository(published, tmp_path):
    """A small study with its pages, all committed."""
    params, results = published
    for name in ("CITATION.cff", "LICENSE", "pyproject.toml", *RUNS_ON):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(results, tmp_path / "results" / "default")
    file = tmp_path / "params" / "default.yaml"
    values = params.plain()
    values["worlds"] = {name: shape for name, shape in values["worlds"].items() if shape}
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(values))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "a name with spaces.txt").write_text("text\n")
    (tmp_path / ".gitignore").write_text("build/\n")
    runs = []
    for page in PAGES:
        notebook = tmp_path / "notebooks" / f"{page}.ipynb"
        runs.append(Page(notebook, file, load_params(file), tmp_path / "results" / "default"))
        for place in (notebook, runs[-1].target):
            place.write_text(json.dumps(SOURCE))
        stamp(runs[-1])
    git(tmp_path, "init")
    commit(tmp_path)
    return runs, tmp_path


def opened(file):
    with zipfile.ZipFile(file) as crate:
        held = {name: crate.read(name) for name in crate.namelist()}
    graph = json.loads(held[METADATA])["@graph"]
    return held, {entity["@id"]: entity for entity in graph}, graph


def is_file(entity):
    return "File" in (entity["@type"] if isinstance(entity["@type"], list) else [entity["@type"]])


def test_every_file_is_listed_with_its_hash_and_none_is_missing(repository):
    held, entities, graph = opened(release(*repository))
    assert len(entities) == len(graph)
    files = {entity["name"]: entity for entity in graph if is_file(entity)}
    assert set(files) == set(held) - {METADATA}
    assert {part["@id"] for part in entities["./"]["hasPart"]} == {entity["@id"] for entity in files.values()}
    for name, entity in files.items():
        assert entity["sha256"] == hashlib.sha256(held[name]).hexdigest()
        assert entity["contentSize"] == str(len(held[name]))
    assert files["a name with spaces.txt"]["@id"] == "a%20name%20with%20spaces.txt"
    assert "log-probability" in next(e for name, e in files.items() if name.endswith("rows.parquet"))["description"]


def test_every_reference_leads_to_an_entity(repository):
    _, entities, graph = opened(release(*repository))

    def references(value):
        if isinstance(value, dict):
            yield from [value["@id"]] if set(value) == {"@id"} else ()
            value = list(value.values())
        for inner in value if isinstance(value, list) else ():
            yield from references(inner)

    named = {reference for entity in graph for reference in references(list(entity.values()))}
    assert {reference for reference in named if reference not in entities} == {"https://w3id.org/ro/crate/1.1"}


def test_a_page_is_the_result_of_its_source_its_params_and_a_model(repository):
    runs, root = repository
    _, entities, graph = opened(release(runs, root))
    actions = [entity for entity in graph if entity["@type"] == "CreateAction"]
    assert [action["instrument"]["@id"] for action in actions] == [f"notebooks/{page}.ipynb" for page in PAGES]
    assert entities["./"]["mentions"] == [{"@id": action["@id"]} for action in actions]
    results = {result["@id"] for result in actions[1]["result"]}
    assert {"results/default/05_compare.ipynb", "results/default/05_compare/claims.csv"} <= results
    assert sum(name.endswith("record.json") for name in results) == len(
        list((root / "results/default/trials").iterdir())
    )
    params, model = (entities[reference["@id"]] for reference in actions[1]["object"])
    assert params["name"] == "params/default.yaml" and model["identifier"].startswith("sha256:")
    assert entities["./"]["license"] == {"@id": "https://spdx.org/licenses/Apache-2.0"}
    assert entities["#package-torch"]["softwareVersion"] == "2.13.0"
    needed = entities["notebooks/05_compare.ipynb"]["softwareRequirements"]
    assert {"@id": "#package-torch"} in needed


def test_a_model_made_here_is_the_result_of_its_page_and_its_weights_are_what_the_others_read(repository, model_folder):
    runs, root = repository
    folder = root / "results" / "base_model"
    shutil.copytree(model_folder, folder)
    (folder / "stamps").mkdir()
    (folder / "stamps" / "00_base_model.json").write_text(json.dumps({"key": "", "files": {}}))
    for place in (folder, root / "notebooks"):
        (place / "00_base_model.ipynb").write_text(json.dumps(SOURCE))
    file = runs[0].params_file
    file.write_text(file.read_text().replace(str(model_folder), str(folder)))
    runs = [replace(run, params=load_params(file)) for run in runs]
    for run in runs:
        stamp(run)
    commit(root)
    _, entities, graph = opened(release(runs, root))
    made, *pages = [entity for entity in graph if entity["@type"] == "CreateAction"]
    weights = {"@id": "results/base_model/model.safetensors"}
    assert made["instrument"] == {"@id": "notebooks/00_base_model.ipynb"} and weights in made["result"]
    assert len(pages) == 2 and all(page["object"] == [{"@id": "params/default.yaml"}, weights] for page in pages)
    assert entities[weights["@id"]]["description"].startswith("Weights of a model")


def test_the_same_commit_gives_the_same_bytes(repository):
    runs, root = repository
    first = release(runs, root).read_bytes()
    for file in root.rglob("*.csv"):
        os.utime(file, (0, 0))
    (root / "LICENSE").chmod(0o600)
    assert release(runs, root).read_bytes() == first


def test_a_stale_page_is_refused_and_nothing_is_written(repository):
    runs, root = repository
    source = runs[1].notebook
    source.write_text(source.read_text().replace("PARAMS_FILE", "# edited\\nPARAMS_FILE"))
    commit(root)
    with pytest.raises(
        ParamsError, match=r"05_compare is not up to date: its source, .* `make reproduce STUDY=default`"
    ):
        release(runs, root)
    assert not (root / "build").exists()


def test_what_is_not_committed_is_refused(repository):
    runs, root = repository
    (root / "new.txt").write_text("new")
    with pytest.raises(ParamsError, match=r"1 files are not as committed, such as new\.txt; commit them"):
        release(runs, root)


def test_a_verdict_that_does_not_follow_is_refused(repository):
    runs, root = repository
    claims = root / "results" / "default" / "05_compare" / "claims.csv"
    claims.write_text(claims.read_text().replace(",unresolved", ",replicates", 1))
    stamp(runs[1])
    commit(root)
    with pytest.raises(ParamsError, match=r"verdicts on claims \d+ do not follow from the rows"):
        release(runs, root)


def test_a_study_that_is_not_committed_is_refused(repository):
    runs, root = repository
    (root / ".gitignore").write_text("build/\nresults/\n")
    git(root, "rm", "-r", "--cached", "results")
    commit(root)
    with pytest.raises(ParamsError, match="git knows no file in"):
        release(runs, root)


def test_a_folder_without_git_is_refused(repository):
    runs, root = repository
    shutil.rmtree(root / ".git")
    with pytest.raises(ParamsError, match="make it in a clone of the repository"):
        release(runs, root)
