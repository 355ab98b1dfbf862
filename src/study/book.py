"""Execute notebooks: written beside and renamed when whole, skipped when nothing they depend on has changed."""

import hashlib
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill

from study.experiment import all_arms, augmented_arms, finetuned_arms, in_context_arms, store_of
from study.models import identity
from study.params import Params
from study.paths import NOTEBOOKS, ROOT, shown
from study.runner import trials_of
from study.store import content_hash, imports_hash
from study.strict import ParamsError
from study.trials import Trial

# The arms each notebook runs; a notebook whose trials are gone is not up to date.
ARMS_OF = {
    "02_in_context": in_context_arms,
    "03_finetune": finetuned_arms,
    "04_augmented_finetune": augmented_arms,
    "05_compare": all_arms,
    "06_mechanism_and_cost": all_arms,
}

LADDER = "06_mechanism_and_cost"  # runs the other models of the ladder, too


class NotebookFailed(RuntimeError):
    """A cell of a notebook raised an error; the message holds it."""


def notebook_path(number: str) -> Path:
    """The notebook whose name begins with a number such as 03.

    Raises:
        ParamsError: if there is none.
    """
    found = sorted(NOTEBOOKS.glob(f"{number}_*.ipynb"))
    if not number or not found:
        names = ", ".join(path.name for path in sorted(NOTEBOOKS.glob("*.ipynb")))
        raise ParamsError(f"NB = {number!r}: no notebook begins with that number; there are: {names}")
    return found[0]


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
    def key(self) -> str:
        """Content hash of all the notebook depends on: its source, the resolved params, the package, the model."""
        cells = nbformat.read(self.notebook, as_version=4).cells
        study = isinstance(self.params, Params)
        models = [identity(m) for m in (self.params.model, *self.params.ladder.models)] if study else []
        sources = [[cell.cell_type, cell.source] for cell in cells]
        code = imports_hash("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
        return content_hash([sources, self.params.plain(), code, models])

    def stale(self) -> str | None:
        """Why the notebook must be executed; None if it is up to date."""
        if not self.target.is_file() or not self.stamp.is_file():
            return "not executed yet"
        stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        if stamp["key"] != self.key:
            return "its source, params, package or model changed"
        for name, digest in stamp["files"].items():
            path = self.results / name
            if not path.is_file():
                return f"{shown(path)} is missing"
            if _digest(path) != digest:
                return f"{shown(path)} was changed"
        missing = [trial for trial in self.trials() if not store_of(self.results).has(trial.key)]
        return f"{len(missing)} of its trials are missing" if missing else None

    def trials(self) -> list[Trial]:
        """The trials this notebook runs."""
        if self.name not in ARMS_OF:
            return []
        store, trials = store_of(self.results), []
        for params in (self.params, *(self.params.rungs if self.name == LADDER else ())):
            trials += trials_of(params, store, ARMS_OF[self.name](params))
        return trials

    def execute(self) -> None:
        """Execute the notebook.

        Raises:
            NotebookFailed: if a cell fails; the notebook up to it is kept in the folder `failed`.
        """
        key = self.key  # of what is about to be run, whatever is edited meanwhile
        self.results.mkdir(parents=True, exist_ok=True)
        part = self.results / f".{self.name}.part.ipynb"
        given = {"PARAMS_FILE": shown(self.params_file), "RESULTS": shown(self.results)}
        known = set(papermill.inspect_notebook(str(self.notebook)))
        if known != set(given):
            raise ParamsError(
                f"{shown(self.notebook)}: its parameters cell defines {sorted(known)}, not {sorted(given)}"
            )
        _log_to_stdout()
        try:
            papermill.execute_notebook(
                str(self.notebook),
                str(part),
                given,
                kernel_name="python3",
                cwd=str(ROOT),
                progress_bar=False,
                log_output=True,
                request_save_on_cell_execute=False,
                extra_arguments=["--log-level=50"],  # the kernel's own remarks are not the reader's
            )
        except papermill.PapermillExecutionError as error:
            failed = self.results / "failed" / self.notebook.name
            failed.parent.mkdir(exist_ok=True)
            part.replace(failed)
            raise NotebookFailed(
                f"{self.notebook.name}, cell {error.exec_count}: {error.ename}: {error.evalue}\n"
                f"the notebook up to this cell: {shown(failed)}"
            ) from None
        except BaseException:  # interrupted: half a notebook is of no use to anyone
            part.unlink(missing_ok=True)
            raise
        _tidy(part)
        part.replace(self.target)
        (self.results / "failed" / self.notebook.name).unlink(missing_ok=True)
        written = [path for path in sorted((self.results / self.name).rglob("*")) if path.is_file()]
        files = {str(path.relative_to(self.results)): _digest(path) for path in [self.target, *written]}
        self.stamp.parent.mkdir(exist_ok=True)
        stamp = self.stamp.with_suffix(".part")
        stamp.write_text(json.dumps({"key": key, "files": files}, indent=1) + "\n", encoding="utf-8")
        stamp.replace(self.stamp)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _tidy(path: Path) -> None:
    """Take out what differs between two runs of the same notebook and says nothing to a reader."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for k, cell in enumerate(notebook.cells):
        cell.id = f"cell-{k}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    nbformat.write(notebook, path)


class _CellText(logging.Filter):
    """Lets what cells print through, and nothing papermill says of itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).rstrip("\n")
        return bool(record.msg) and not record.getMessage().startswith(
            (
                "Working directory",
                "Executing",
                "Ending Cell",
                "Input Notebook",
                "Output Notebook",
                "<Figure",
                "<IPython",
            )
        )


def _log_to_stdout() -> None:
    logger = logging.getLogger("papermill")
    if not any(isinstance(f, _CellText) for handler in logger.handlers for f in handler.filters):
        handler = logging.StreamHandler(sys.stdout)
        handler.addFilter(_CellText())
        handler.setFormatter(logging.Formatter("    %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
