"""What a reader sees in the terminal: tables as wide as it is, and plain text where the output goes to a file.

`rich` is imported where a table is shown, so that a verb that shows none starts without it.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 120  # of output that goes to no terminal, in characters


def console() -> "Console":
    """Standard output: colours and the terminal's width in a terminal; neither in a file."""
    from rich.console import Console

    to_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=FILE_WIDTH if to_file else None, highlight=False, markup=False, emoji=False)


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", whole: Sequence[str] = (), total: int = 0
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

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in whole, overflow="fold")
    given = list(rows)
    for k, row in enumerate(given, 1):
        table.add_row(*row, end_section=bool(total) and k == len(given) - total)
    console().print(table)


def show_text(text: str) -> None:
    """Print prose, broken between words."""
    console().print(text)
