"""Notebooks with params and a results folder, and whether they must be executed; nothing heavy is imported here."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from study.digest import sha256_of
from study.hub import identity
from study.params import Params
from study.paths import NOTEBOOKS, ROOT, is_file, shown
from study.store import content_hash, imports_hash, store_of
from study.strict import ParamsError
from study.trials import prompts_of


class NotebookFailed(RuntimeError):
    """A cell of a notebook raised an error; the message holds it."""


def notebook_path(number: str) -> Path:
    """The notebook whose name begins with a number such as 03.

    Raises:
        ParamsError: if there is none.
    """
    is_number = re.fullmatch("[0-9]{1,2}", number)
    found = sorted(NOTEBOOKS.glob(f"{number.zfill(2)}_*.ipynb")) if is_number else []
    if not found:
        names = ", ".join(path.name for path in sorted(NOTEBOOKS.glob("*.ipynb")))
        raise ParamsError(f"NB = {number!r}: no notebook begins with that number; there are: {names}")
    return found[0]


class Stamp(BaseModel):
    """What a whole execution has left: the key of what was run, the hash of each file written, the keys of trials."""

    key: str
    files: dict[str, str]
    trials: tuple[Annotated[str, Field(pattern="^[0-9a-f]+$")], ...]
    executed: str
    seconds: int


def place_about(results: Path, documents: str) -> Path:
    """The folder of results about a folder of documents, named like that; ".." names one, too."""
    return results / "documents" / ((ROOT / documents).resolve().name or "root")


@dataclass(frozen=True)
class Run:
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
        """Content hash of all the notebook depends on: its source, the resolved params, what they name, the package."""
        cells = json.loads(self.notebook.read_text(encoding="utf-8"))["cells"]
        given: list[Any] = []
        if isinstance(self.params, Params):  # what its settings name, too: models, files of worlds, wordings of prompts
            given += [identity(model) for model in (self.params.model, *self.params.ladder.models)]
            given += [self.params.shape(world).recipe for world in self.params.world_names]
            given += [list(prompts_of(self.params))]
        sources = [[cell["cell_type"], "".join(cell["source"])] for cell in cells]
        code = imports_hash("\n".join(source for kind, source in sources if kind == "code"))
        return content_hash([sources, self.params.plain(), code, given])

    def stale(self) -> str | None:
        """Why the notebook must be executed; None if it is up to date."""
        if not self.target.is_file() or not self.stamp.is_file():
            return "not executed yet"
        stamp = self.stamped
        if stamp is None:
            return f"{shown(self.stamp)} is damaged"
        if stamp.key != self.key:
            return "its source, params, package or model changed"
        for name, recorded in stamp.files.items():
            path = self.results / name
            if not is_file(path):
                return f"{shown(path)} is missing"
            if sha256_of(path) != recorded:
                return f"{shown(path)} was changed"
        missing = [key for key in stamp.trials if not store_of(self.results).has(key)]
        return f"{len(missing)} of its trials are missing" if missing else None
