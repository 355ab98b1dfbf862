"""Notebooks with params and a results folder, and whether they must be executed; nothing heavy is imported here."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from study.config import ParamsError
from study.digest import sha256_of
from study.lm.hub import identity
from study.params import Params
from study.paths import NB, NOTEBOOKS, PARAMS, RESULTS, ROOT, is_file, shown
from study.runs.run import prompts_of
from study.runs.store import content_hash, declared, store_of
from study.runs.versions import BASE_MODEL, FIGURES

REAL_STUDIES = ("qwen", "qwen_small")  # of pretrained models, on fresh seeds
IMPORTS = re.compile(r"^(import|from) .*\n?", re.MULTILINE)


def real_tables(own: Path | None = None) -> dict[str, list[Path]]:
    """The published accuracies of pretrained models by study, but those of the study in an own folder."""
    tables = {study: RESULTS / study / "05_compare" for study in REAL_STUDIES if RESULTS / study != own}
    files = {study: [folder / "accuracy.csv", folder / "controls.csv"] for study, folder in tables.items()}
    return {study: here for study, some in files.items() if (here := [file for file in some if is_file(file)])}


class NotebookFailed(RuntimeError):
    """A cell of a notebook raised an error; the message holds it."""


def notebook_path(number: str) -> Path:
    """The notebook whose name begins with a number such as 03.

    Raises:
        ParamsError: if there is none.
    """
    found = sorted(NOTEBOOKS.glob(f"{number.zfill(2)}_*.ipynb")) if re.fullmatch("[0-9]{1,2}", number) else []
    if not found:
        names = ", ".join(path.name for path in sorted(NOTEBOOKS.glob("*.ipynb")))
        raise ParamsError(f"NB = {number!r}: no notebook begins with that number; there are: {names}")
    return found[0]


class Stamp(BaseModel):
    """What a whole execution has left.

    Attributes:
        key: of what was executed.
        files: SHA-256 of each file written.
        runs: SHA-256 of the rows of each run that the page rests on, by its key.
    """

    key: str
    files: dict[str, str]
    runs: dict[Annotated[str, Field(pattern="^[0-9a-f]+$")], str]
    executed: str
    seconds: int


def place_about(results: Path, study: str, documents: str, *, given: bool = False) -> Path:
    """The results folder of a study about a folder of documents, named like that; uniquely if a user gave it."""
    folder = (ROOT / documents).resolve()
    return results / study / f"{folder.name or 'root'}{'-' + content_hash(str(folder))[:6] if given else ''}"


def own_results(notebook: str, params_file: Path, params: Any) -> Path:
    """The results folder of a settings file: of a study in params/ its own, of any other one that its content names."""
    if params_file.resolve().parent == PARAMS.resolve():
        if isinstance(params, Params) and params.world_names == ("documents",):
            return place_about(RESULTS, params_file.stem, params.plain()["worlds"]["documents"]["folder"])
        return RESULTS / params_file.stem
    return RESULTS / NB / f"{notebook}-{params_file.stem}-{content_hash(params.plain())[:8]}"


@dataclass(frozen=True)
class Page:
    """One notebook to be executed with one set of params into one results folder."""

    notebook: Path
    params_file: Path
    params: Any
    results: Path

    @property
    def name(self) -> str:
        """Name of the notebook without its ending."""
        return self.notebook.stem

    @property
    def target(self) -> Path:
        """Where the executed notebook goes."""
        return self.results / self.notebook.name

    @property
    def failed(self) -> Path:
        """Where the notebook goes up to the cell that failed."""
        return self.results / "failed" / self.notebook.name

    @property
    def stamp(self) -> Path:
        """The record of the last whole execution."""
        return self.results / "stamps" / f"{self.name}.json"

    @property
    def stamped(self) -> Stamp | None:
        """What the stamp says; None if there is none, or one that cannot be read."""
        try:
            return Stamp.model_validate_json(self.stamp.read_bytes())
        except (OSError, ValidationError):
            return None

    @property
    def key(self) -> str:
        """Content hash of what the notebook declares: its source, the params, what they name, claims, versions.

        Lines that import are left out: where a function lives changes no page.
        """
        cells = json.loads(self.notebook.read_text(encoding="utf-8"))["cells"]
        given: list[Any] = []
        if isinstance(self.params, Params):  # what its settings name, too: models, files of worlds, wordings of prompts
            given += [identity(model) for model in (self.params.model, *self.params.model_sizes.models)]
            given += [self.params.shape(world).recipe for world in self.params.world_names]
            prompts = [text for text in prompts_of(self.params) if text != ()]  # no examples
            given += [prompts, sha256_of(self.params.claims_file)]
            if self.name == "06_mechanism_and_cost":
                given += [sha256_of(file) for files in real_tables(self.results).values() for file in files]
        sources = [[cell["cell_type"], IMPORTS.sub("", "".join(cell["source"]))] for cell in cells]
        version = FIGURES if isinstance(self.params, Params) else BASE_MODEL
        return content_hash([sources, declared(self.params.plain()), version, given])

    def stale(self) -> str | None:
        """Why the notebook must be executed; None if it is up to date."""
        if not self.target.is_file() or not self.stamp.is_file():
            return "not executed yet"
        stamp = self.stamped
        if stamp is None:
            return f"{shown(self.stamp)} is damaged"
        if stamp.key != self.key:
            return "its source, params, model or version changed"
        for name, recorded in stamp.files.items():
            path = self.results / name
            if not is_file(path):
                return f"{shown(path)} is missing"
            if sha256_of(path) != recorded:
                return f"{shown(path)} was changed"
        store = store_of(self.results)
        found = {key: store.digest(key) for key in stamp.runs}
        if missing := [key for key, rows in found.items() if rows is None]:
            return f"{len(missing)} of its runs are missing"
        other = [key for key, rows in found.items() if rows != stamp.runs[key]]
        return f"the rows of {len(other)} of its runs changed" if other else None
