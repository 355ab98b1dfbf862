"""A release: the repository at one commit as an RO-Crate, a zip whose metadata say what each file is and how it came.

RO-Crate 1.1, and of the Process Page Crate profile 0.5 an action for each page: the source notebook is its instrument,
params and weights its objects, the executed notebook with its figures, tables and trials its results. The same commit
gives the same bytes. What would not be what it says is refused before anything is written.
"""

import json
import re
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

from study.config import ParamsError, read_yaml
from study.digest import sha256_of
from study.evidence.verify import verify
from study.lm.hub import identity, is_weights, model_folder
from study.packages import packages_of
from study.pages.page import Page
from study.runs.store import RECORD, ROWS

METADATA = "ro-crate-metadata.json"
PROFILES = ("https://w3id.org/ro/wfrun/process/0.5",)
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold; when files were checked out says nothing
# The first pattern that fits says what a file is.
DESCRIPTIONS = {
    "results/*/trials/*/rows.parquet": "A row for each question of a trial, with the log-probability of every option.",
    "results/*/trials/*/record.json": "How a trial came about: settings, hashes, versions, device, seconds and tokens.",
    "results/*/claims.csv": "The verdict on each claim.",
    "results/*/effects.csv": "The effects that the verdicts rest on, with intervals and p-values.",
    "results/*/stamps/*.json": "What the last execution of a page depended on, and what it wrote.",
    "results/*.safetensors": "Weights of a model pretrained from nothing by this repository.",
    "results/*/README.md": "Card of a model pretrained by this repository.",
    "results/*.ipynb": "An executed notebook.",
    "notebooks/*.ipynb": "A notebook's source, without outputs.",
    "params/claims/*": "The claims and their bounds, declared before the run.",
    "params/*": "Settings.",
    "requirements-torch.lock": "The exact version of torch.",
    "requirements.lock": "The exact version of every package the study runs on, and its hashes.",
    "LICENCES.csv": "The licence of every package.",
}
RUNS_ON = ("requirements.lock", "requirements-torch.lock")
FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".safetensors": "application/octet-stream",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
Entity = dict[str, Any]


def release(runs: Sequence[Page], root: Path) -> Path:
    """Write the release of a study to build/release.

    Args:
        runs: the study's pages.
        root: of the repository.

    Returns:
        The zip.

    Raises:
        ParamsError: if files are not committed, a page is stale, or a published verdict does not follow from its rows.
    """
    refuse_what_is_not_as_it_says(runs, root)
    files = [root / name for name in _git(root, "ls-files", "-z").split("\0") if name]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    target = root / "build" / "release" / f"{project['name']}-{project['version']}.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as crate:
        _add(crate, METADATA, (json.dumps(_Metadata(runs, files, root).whole(), indent=1) + "\n").encode())
        for file in sorted(files):
            _add(crate, file.relative_to(root).as_posix(), file.read_bytes())
    part.replace(target)
    return target


def _add(crate: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
    crate.writestr(entry, content)


def _git(root: Path, *arguments: str) -> str:
    """What git prints.

    Raises:
        ParamsError: if there is no git, or this is no checkout of it.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError) as error:
        raise ParamsError(
            f"`git {' '.join(arguments)}` fails in {root}: {getattr(error, 'stderr', '') or error}; a release is that "
            "of a commit, so make it in a clone of the repository"
        ) from None
    return done.stdout


def refuse_what_is_not_as_it_says(runs: Sequence[Page], root: Path) -> None:
    """Refuse a release whose files are not those of its commit, or whose results are not those of its files.

    Raises:
        ParamsError: with the remedy.
    """
    study = runs[0].params_file.stem
    again = f"`make reproduce STUDY={study}`, and commit what it writes"
    if changed := _git(root, "status", "--porcelain").splitlines():
        raise ParamsError(
            f"{len(changed)} files are not as committed, such as {changed[0][3:]}; commit them or put them away, so "
            "that the release is what its commit says"
        )
    for run in runs:
        if reason := run.stale():
            raise ParamsError(f"{run.name} is not up to date: {reason}; {again}")
    if not _git(root, "ls-files", str(runs[0].results)):
        raise ParamsError(f"git knows no file in {runs[0].results}; a release holds what is committed, so commit them")
    try:
        claims = verify(runs[0].params, runs[0].results)[1]
    except ValueError as error:
        raise ParamsError(f"what is published does not follow from its rows: {error}; {again}") from None
    if wrong := [str(number) for number in claims[~claims["follows"]]["number"]]:
        raise ParamsError(
            f"the published verdicts on claims {', '.join(wrong)} do not follow from the rows (`make verify "
            f"STUDY={study}`); {again}"
        )


class _Metadata:
    """The metadata of a crate: a list of entities that refer to each other.

    Attributes:
        root: of the repository.
        files: all that it holds.
        runs: the study's pages.
        citation: what CITATION.cff says.
        models: the models of the study, by their folders.
    """

    def __init__(self, runs: Sequence[Page], files: Sequence[Path], root: Path):
        self.root, self.files, self.runs = root, sorted(files), runs
        self.citation = read_yaml(root / "CITATION.cff")
        params = runs[0].params
        models = (params.model, *params.model_sizes.models)
        self.models = {root / model_folder(model, weights=False): model for model in models}

    def id_of(self, file: Path) -> str:
        """The name of a file in the crate, as a URI."""
        return quote(file.relative_to(self.root).as_posix())

    def whole(self) -> Entity:
        """All entities."""
        authors, packages, models, actions = ([*of()] for of in (self.authors, self.packages, self.hubs, self.actions))
        licence = {"@id": "https://spdx.org/licenses/Apache-2.0", "@type": "CreativeWork", "name": "Apache-2.0"}
        described = {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        }
        profiles = [{"@id": profile, "@type": "CreativeWork", "name": "Process Page Crate"} for profile in PROFILES]
        works = [
            {"@id": work["url"], "@type": "ScholarlyArticle", "name": work["title"]}
            for work in self.citation["references"]
        ]
        whole: Entity = {
            "@id": "./",
            "@type": "Dataset",
            "name": self.citation["title"],
            "description": self.citation["abstract"].strip(),
            "version": self.citation["version"],
            "identifier": _git(self.root, "rev-parse", "HEAD").strip(),
            "datePublished": _git(self.root, "show", "--no-patch", "--format=%cI").strip(),
            "keywords": ", ".join(self.citation["keywords"]),
            "license": _references([licence])[0],
            "author": _references(authors),
            "citation": _references(works),
            "conformsTo": _references(profiles),
            "hasPart": [{"@id": self.id_of(file)} for file in self.files],
            "mentions": _references(actions),
        }
        language = {"@id": "#python", "@type": "ComputerLanguage", "name": "Python"}
        parts = [self.file(file, packages) for file in self.files]
        graph = [described, whole, licence, *profiles, *works, *authors, language, *packages, *models]
        return {"@context": CONTEXT, "@graph": [*graph, *actions, *parts]}

    def authors(self) -> Iterator[Entity]:
        """The authors, people or not."""
        for number, author in enumerate(self.citation["authors"], 1):
            names = [author[part] for part in ("given-names", "family-names") if part in author]
            kind = "Person" if names else "Organization"
            entity = {"@id": author.get("orcid", f"#author-{number}"), "@type": kind}
            yield {**entity, "name": " ".join(names) or author["name"]}

    def packages(self) -> Iterator[Entity]:
        """The packages that the study runs on."""
        for lock in RUNS_ON:
            for package in packages_of(self.root / lock):
                about = {"name": package.name, "softwareVersion": package.version}
                yield {"@id": f"#package-{package.name}", "@type": "SoftwareApplication", **about}

    def file(self, file: Path, packages: Sequence[Entity]) -> Entity:
        """A file with its size, its hash and what it is; of a source notebook also what runs it."""
        name = file.relative_to(self.root).as_posix()
        entity: Entity = {
            "@id": self.id_of(file),
            "@type": "File",
            "name": name,
            "contentSize": str(file.stat().st_size),
            "encodingFormat": FORMATS.get(file.suffix, "text/plain"),
            "sha256": sha256_of(file),
        }
        description = next((said for pattern, said in DESCRIPTIONS.items() if fnmatch(name, pattern)), "")
        if description:
            entity["description"] = description
        if fnmatch(name, "notebooks/*.ipynb"):
            entity["@type"] = ["File", "SoftwareSourceCode"]
            entity |= {"programmingLanguage": {"@id": "#python"}, "softwareRequirements": _references(packages)}
        return entity

    def weights(self, folder: Path) -> list[Path]:
        """The files of the crate that hold a model's weights."""
        return [file for file in self.files if file.parent == folder and is_weights(file.name)]

    def hubs(self) -> Iterator[Entity]:
        """The models whose weights are not in the crate: name, commit, and the hash over all files."""
        for folder, model in self.models.items():
            if not self.weights(folder):
                entity = {"@id": f"#model-{quote(model.name, safe='')}", "@type": "CreativeWork", "name": model.name}
                yield {**entity, "version": model.revision or "", "identifier": f"sha256:{identity(model)}"}

    def actions(self) -> Iterator[Entity]:
        """The execution of each page, before them that of the pages which made the models."""
        for folder in self.models:
            if folder / "stamps" / "00_base_model.json" in self.files:
                # The model is what this page writes, and so it lies beside it.
                yield self.action(folder, "00_base_model", [], [file for file in self.files if file.parent == folder])
        weights = [{"@id": self.id_of(file)} for folder in self.models for file in self.weights(folder)]
        for run, stamp in ((run, run.stamped) for run in self.runs):
            if stamp is None:
                continue  # a release of it is refused before
            rows = [f"trials/{key}/{name}" for key in stamp.trials for name in (ROWS, RECORD)]
            written = [run.results / name for name in (*stamp.files, *rows)]
            yield self.action(run.results, run.name, [*weights, *_references([*self.hubs()])], written)

    def action(self, results: Path, name: str, objects: Sequence[Entity], written: Sequence[Path]) -> Entity:
        """The execution of one page.

        Args:
            results: the folder it was executed into.
            name: of the notebook, without its ending.
            objects: references to what it read besides its params.
            written: its files.
        """
        params = self.root / _params_of(results / f"{name}.ipynb")
        return {
            "@id": f"#execution-of-{quote(results.name)}-{name}",
            "@type": "CreateAction",
            "name": f"Execution of {name} into {results.relative_to(self.root).as_posix()}",
            "instrument": {"@id": self.id_of(self.root / "notebooks" / f"{name}.ipynb")},
            "object": [{"@id": self.id_of(params)}, *objects],
            "result": [{"@id": self.id_of(file)} for file in sorted(set(written) & set(self.files))],
        }


def _params_of(page: Path) -> str:
    """The params file that a page was executed with: what the launcher put behind the defaults counts."""
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return str(re.findall(r'^PARAMS_FILE = "(.+?)"', source, re.MULTILINE)[-1])


def _references(entities: Sequence[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]
