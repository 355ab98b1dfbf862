"""Execute notebooks, two at a time: written beside and renamed when whole."""

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import chdir, suppress
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
ABREAST = 2  # notebooks: the figures of one are drawn by one core, while the runs of the next go on


def rows_behind(run: Page) -> dict[str, str]:
    """SHA-256 of the rows of each run that a notebook rests on, by its key; none of one whose params are a recipe."""
    store, studies = store_of(run.results), studies_of(run.name, run.params) if isinstance(run.params, Params) else []
    trials = [trial for params, arms in studies for trial in evaluation_runs_of(params, store, arms)]
    return {trial.key: store.record(trial.key)["rows_sha256"] for trial in trials}


def execute(*runs: Page) -> None:
    """Execute notebooks of one results folder; others are kept out of it, but for the kernels that are begun here.

    Args:
        runs: begun in this order; after one has failed no other is begun.

    Raises:
        NotebookFailed: if a cell fails; the notebook up to it is kept in the folder `failed`.
        ParamsError: if another run works in the same folder.
    """
    results = runs[0].results
    lock = locked(results)
    os.environ[HELD] = str(results)
    try:
        store_of(results).sweep()
        for left in (*results.glob(".*.part.ipynb"), *runs[0].stamp.parent.glob("*.part")):  # by a run that was killed
            left.unlink()
        with chdir(ROOT):
            _execute_all(runs)
    finally:
        del os.environ[HELD]
        lock.release()


def _execute_all(runs: Sequence[Page]) -> None:
    """Execute notebooks in threads, where nobody else handles signals: the main one is interrupted as ever."""
    begun: list[Future[None]] = []
    with ThreadPoolExecutor(ABREAST) as threads:
        try:
            for run in runs:
                while len(busy := [future for future in begun if not future.done()]) == ABREAST:
                    wait(busy, return_when=FIRST_COMPLETED)
                if any(future.done() and future.exception() for future in begun):
                    break
                begun.append(threads.submit(_execute, run))
            wait(begun)
        except KeyboardInterrupt:
            while wait(begun, timeout=1).not_done:
                for process in psutil.Process().children(recursive=True):  # the kernels, and what they have begun
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            raise
    for future in begun:
        future.result()


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
    print(f"{run.name}: written to {shown(run.target)} in {time.monotonic() - begun:.0f} s", flush=True)


def _by_papermill(notebook: Path, part: Path, given: dict[str, str]) -> None:
    papermill.execute_notebook(
        str(notebook),
        str(part),
        given,
        kernel_name="python3",
        start_timeout=START_SECONDS,
        progress_bar=False,
        stdout_file=sys.stdout,
        stderr_file=sys.stdout,
        request_save_on_cell_execute=False,
        extra_arguments=["--log-level=50"],  # the kernel's own remarks are not the reader's
    )


def _tidy(path: Path) -> None:
    """Take out what differs between two runs of the same notebook and says nothing to a reader."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for k, cell in enumerate(notebook.cells):
        cell.id = f"cell-{k}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    nbformat.write(notebook, path)
