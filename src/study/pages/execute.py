"""Execute notebooks: written beside and renamed when whole."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError

from study.config import ParamsError
from study.digest import sha256_of
from study.pages.notebook_arms import studies_of
from study.pages.page import NotebookFailed, Page
from study.params import Params, load_params
from study.paths import ROOT, shown
from study.runs.runner import evaluation_runs_of
from study.runs.store import HELD, locked, store_of

START_SECONDS = 600  # that a kernel may take to answer; a busy machine needs more than papermill's 60


def rows_behind(run: Page) -> dict[str, str]:
    """SHA-256 of the rows of each run that a notebook rests on, by its key; none of one whose params are a recipe."""
    store, studies = store_of(run.results), studies_of(run.name, run.params) if isinstance(run.params, Params) else []
    trials = [trial for params, arms in studies for trial in evaluation_runs_of(params, store, arms)]
    return {trial.key: store.record(trial.key)["rows_sha256"] for trial in trials}


def execute(run: Page) -> None:
    """Execute a notebook; others are kept out of its results folder, but for the kernel that is begun here.

    Raises:
        NotebookFailed: if a cell fails; the notebook up to it is kept in the folder `failed`.
        ParamsError: if another run works in the same folder.
    """
    lock = locked(run.results)
    os.environ[HELD] = str(run.results)
    try:
        store_of(run.results).sweep()
        for left in (*run.results.glob(".*.part.ipynb"), *run.stamp.parent.glob("*.part")):  # by a run that was killed
            left.unlink()
        _execute(run)
    finally:
        del os.environ[HELD]
        lock.release()


def _execute(run: Page) -> None:
    begun, key = time.monotonic(), run.key  # the key of what is about to be run, whatever is edited meanwhile
    part = run.results / f".{run.name}.part.ipynb"
    given = {"PARAMS_FILE": shown(run.params_file), "RESULTS": shown(run.results)}
    known = set(papermill.inspect_notebook(str(run.notebook)))
    if known != set(given):
        raise ParamsError(f"{shown(run.notebook)}: its parameters cell defines {sorted(known)}, not {sorted(given)}")
    try:
        _by_papermill(run.notebook, part, given)
    except RuntimeError as error:  # of the kernel, and what a cell raises is not among them
        part.unlink(missing_ok=True)
        why = "it was killed, most often for want of memory: free some" if isinstance(error, DeadKernelError) else ""
        remedy = f"{why or 'look at the messages above'}, and run again: what is finished is kept"
        raise NotebookFailed(f"{run.notebook.name}: {error}; {remedy}") from None
    except papermill.PapermillExecutionError as error:
        run.failed.parent.mkdir(exist_ok=True)
        part.replace(run.failed)
        raise NotebookFailed(
            f"{run.notebook.name}, cell {error.exec_count}: {error.ename}: {error.evalue}\n"
            f"the notebook up to this cell: {shown(run.failed)}"
        ) from None
    except BaseException:  # interrupted: half a notebook is of no use to anyone
        part.unlink(missing_ok=True)
        raise
    if isinstance(run.params, Params) and load_params(run.params_file) != run.params:
        part.unlink()
        raise NotebookFailed(
            f"{shown(run.params_file)} was changed while {run.notebook.name} was executed, which may have read either; "
            "run again: what is finished is kept"
        )
    _tidy(part)
    part.replace(run.target)
    run.failed.unlink(missing_ok=True)
    written = [path for path in sorted((run.results / run.name).rglob("*")) if path.is_file()]
    files = {str(path.relative_to(run.results)): sha256_of(path) for path in [run.target, *written]}
    run.stamp.parent.mkdir(exist_ok=True)
    stamp = run.stamp.with_suffix(".part")
    when = {"executed": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "seconds": round(time.monotonic() - begun)}
    made = {"key": key, **when, "files": files, "runs": rows_behind(run)}
    stamp.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    stamp.replace(run.stamp)


def _by_papermill(notebook: Path, part: Path, given: dict[str, str]) -> None:
    """Execute a notebook in a thread, where nobody else handles signals: the main one is interrupted as ever."""
    with ThreadPoolExecutor(1) as thread:
        executed = thread.submit(
            papermill.execute_notebook,
            str(notebook),
            str(part),
            given,
            kernel_name="python3",
            start_timeout=START_SECONDS,
            cwd=str(ROOT),
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stdout,
            request_save_on_cell_execute=False,
            extra_arguments=["--log-level=50"],  # the kernel's own remarks are not the reader's
        )
        try:
            executed.result()
        except KeyboardInterrupt:
            for process in psutil.Process().children(recursive=True):  # the kernel, and what it has begun
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            raise


def _tidy(path: Path) -> None:
    """Take out what differs between two runs of the same notebook and says nothing to a reader."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for k, cell in enumerate(notebook.cells):
        cell.id = f"cell-{k}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    nbformat.write(notebook, path)
