"""What a reader sees in the terminal: tables as wide as it is, and plain text where the output goes to a file.

`rich` is imported where a table is shown, so that a verb that shows none starts without it.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from study.pages.page import Page
from study.params import Params
from study.paths import shown
from study.runs.run import DIVERGED, FINISHED, EvaluationRun, Run
from study.runs.store import Store

if TYPE_CHECKING:
    from rich.console import Console

TO_RUN = "to run"
# Texts that the model writes, trials that choose learning rates, and those of the arms (02 in context, 03 documents,
# 04 augmented, 05 asked elsewhere) and of the ladder (06), by the first notebook that runs them.
PARTS = ("texts", "rates", "02", "03", "04", "05", "06")
STYLES = {FINISHED: "green", TO_RUN: "yellow", DIVERGED: "red"}
FILE_WIDTH = 120  # of output that goes to no terminal, in characters


def console() -> "Console":
    """Standard output: colours and the terminal's width in a terminal; neither in a file."""
    from rich.console import Console

    to_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=FILE_WIDTH if to_file else None, highlight=False, markup=False, emoji=False)


class Styled(NamedTuple):
    """A cell in a colour."""

    text: str
    style: str


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Styled]],
    *,
    title: str = "",
    whole: Sequence[str] = (),
    total: int = 0,
) -> None:
    """Print a table; what does not fit into a column goes on in its next line.

    Args:
        columns: their heads.
        rows: the cells of each.
        title: above the table.
        whole: columns whose cells are never broken, such as names that a reader copies.
        total: number of rows at the end that sum the others up, behind a rule.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
    )
    for column in columns:
        table.add_column(column, no_wrap=column in whole, overflow="fold")
    given = list(rows)
    for k, row in enumerate(given, 1):
        table.add_row(
            *(Text(*cell) if isinstance(cell, Styled) else cell for cell in row),
            end_section=bool(total) and k == len(given) - total,
        )
    console().print(table)


def show_text(text: str) -> None:
    """Print prose, broken between words."""
    console().print(text)


def part_of(unit: Run, params: Params) -> str:
    """The part of a study that a unit belongs to, one of PARTS."""
    if unit.params.model != params.model:
        return "06"
    if not isinstance(unit, EvaluationRun):
        return "texts"
    if unit.seed not in params.seeds:
        return "rates"
    if unit.spec.retention:
        return "05"
    return "04" if len(unit.spec.train) > 1 else "03" if unit.spec.train else "02"


def states_of(units: Sequence[Run], store: Store) -> list[str]:
    """Whether each unit is finished, diverged or to run."""
    return [str(store.record(unit.key)["status"]) if store.has(unit.key) else TO_RUN for unit in units]


def show_units(units: Sequence[Run], states: Sequence[str], params: Params) -> None:
    """Print how many units of each world and each part of the study are in which state."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for unit, state in zip(units, states, strict=True):
        part = part_of(unit, params)
        for place in ((unit.world, part), (unit.world, "all"), ("all", part), ("all", "all")):
            found.setdefault(place, Counter())[state] += 1
    parts = [part for part in (*PARTS, "all") if ("all", part) in found]
    worlds = [*dict.fromkeys(unit.world for unit in units), "all"]
    rows = [[world, *(_counted(found.get((world, part), Counter())) for part in parts)] for world in worlds]
    title = "units finished of all, by world and first notebook that runs them"
    show_table(["", *parts], rows, title=title, whole=[""], total=1)


def _counted(states: Counter[str]) -> str | Styled:
    """Finished of all, and how many diverged."""
    if not states:
        return ""
    worst = next(state for state in (DIVERGED, TO_RUN, FINISHED) if states[state])
    diverged = f", {states[DIVERGED]} diverged" if states[DIVERGED] else ""
    return Styled(f"{states[FINISHED]}/{states.total()}{diverged}", STYLES[worst])


def show_pages(runs: Sequence[Page]) -> None:
    """Print of each page whether it is up to date, or why not, and when and for how long it was executed last."""
    show_table(["page", "state", "executed", "took"], map(_page, runs), whole=["page", "executed", "took"])
    for run in runs:
        if _failed(run).exists():
            print(f"{run.name} failed; up to the failing cell it is in {shown(_failed(run))}")


def _failed(run: Page) -> Path:
    return run.results / "failed" / run.notebook.name


def _page(run: Page) -> list[str | Styled]:
    reason = run.stale()
    state = Styled(reason or "up to date", STYLES[TO_RUN if reason else FINISHED])
    if _failed(run).exists():
        state = Styled(f"failed; {state.text}", STYLES[DIVERGED])
    stamp = run.stamped
    return [run.name, state, *((stamp.executed, f"{stamp.seconds} s") if stamp else ("", ""))]
