"""What a reader sees in the terminal: tables as wide as it is, and plain text where the output goes to a file.

`rich` is imported where a table is shown, so that a verb that shows none starts without it.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.pages.page import Page
from study.params import BUNDLED, Finetuning, Params
from study.paths import shown
from study.runs.run import DIVERGED, FINISHED, Run
from study.runs.store import store_of

if TYPE_CHECKING:
    from rich.console import Console

TO_RUN = "to run"
STYLES = {FINISHED: "green", TO_RUN: "yellow", DIVERGED: "red"}
FILE_WIDTH = 120  # of output that goes to no terminal, in characters
Cell = str | tuple[str, str]  # its text, or that and its colour


def console() -> "Console":
    """Standard output: colours and the terminal's width in a terminal; neither in a file."""
    from rich.console import Console

    to_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=FILE_WIDTH if to_file else None, highlight=False, markup=False, emoji=False)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    title: str | None = None,
    whole: Sequence[str] = (),
    total: bool = False,
) -> None:
    """Print a table; a cell too long for its column continues on the next line.

    Cells of the columns `whole`, such as names that a reader copies, are never broken. A last row that sums the others
    up, a `total`, is below a rule.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.title, table.title_justify = title, "left"
    for column in columns:
        table.add_column(column, no_wrap=column in whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(*cell) if isinstance(cell, tuple) else cell for cell in row))
    if total and len(table.rows) > 1:
        table.rows[-2].end_section = True
    console().print(table)


def show_text(text: str) -> None:
    """Print prose, broken between words."""
    console().print(text)


def show_units(units: Sequence[Run], states: Sequence[str], notebooks: Sequence[str]) -> None:
    """Print how many runs of each world are in which state, by the notebook that runs them first."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for unit, state, notebook in zip(units, states, notebooks, strict=True):
        for world in (unit.world, "all"):
            for column in (notebook[:2], "all"):
                found.setdefault((world, column), Counter())[state] += 1
    columns = [*sorted({notebook[:2] for notebook in notebooks}), "all"]
    worlds = [*dict.fromkeys(unit.world for unit in units), "all"]
    rows = [[world, *(_counted(found.get((world, column), Counter())) for column in columns)] for world in worlds]
    title = "runs finished, by world and first notebook"
    show_table(["", *columns], rows, title=title, whole=[""], total=True)


def _counted(states: Counter[str]) -> Cell:
    """Finished of all, and how many diverged."""
    if not states:
        return ""
    worst = next(state for state in (DIVERGED, TO_RUN, FINISHED) if states[state])
    diverged = f", {states[DIVERGED]} diverged" if states[DIVERGED] else ""
    return f"{states[FINISHED]}/{states.total()}{diverged}", STYLES[worst]


def show_pages(runs: Sequence[Page]) -> None:
    """Print of each page whether it is up to date, or why not, and when and for how long it was executed last."""
    show_table(["page", "state", "executed", "took"], map(_page, runs), whole=["page", "executed", "took"])
    for run in runs:
        if run.failed.exists():
            print(f"{run.name} failed; up to the failing cell it is in {shown(run.failed)}")


def _page(run: Page) -> list[Cell]:
    reason, stamp = run.stale(), run.stamped
    state, style = reason or "up to date", STYLES[TO_RUN if reason else FINISHED]
    if run.failed.exists():
        state, style = f"failed; {state}", STYLES[DIVERGED]
    return [run.name, (state, style), *((stamp.executed, f"{stamp.seconds} s") if stamp else ("", ""))]


def show_cautions(params: Params) -> None:
    """Print what is allowed in settings and most likely not meant."""
    tuning, own = params.finetuning, params.model.name != BUNDLED and "results/base_model" not in params.model.name
    full = [label for label, arm in params.arms.items() if arm.train and (arm.method or tuning.method) == "full"]
    if own and full and tuning.learning_rates == Finetuning().learning_rates:
        rates = ", ".join(f"{rate:g}" for rate in tuning.learning_rates)
        print(
            f"caution: finetuning.learning_rates = [{rates}] are those of the bundled model of 5 million parameters; "
            f"for {params.model.name}, trained whole in {full[0]!r}, give rates of its own, such as [1e-5, 3e-5]",
            flush=True,
        )


def show_accuracy(params: Params, results: Path) -> None:
    """Print the accuracy of the main methods on the main kinds of questions, and where the rest is."""
    from study.evidence.headline import METHODS, shares
    from study.runs.runner import evaluation_runs_of, rows_of

    store = store_of(results)
    rows = rows_of(evaluation_runs_of(params, store, [arm for arm in METHODS if arm in params.arms]), store)
    table = shares(rows, METHODS, params.statistics)
    if len(table):
        title = f"accuracy, seeds {', '.join(map(str, params.seeds))}"
        show_table(list(table.columns), table.fillna("").to_numpy().tolist(), title=title)
    print(f"all of it, with intervals: {shown(results / '05_compare.ipynb')}")
