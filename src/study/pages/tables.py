"""How notebooks show tables: without row numbers, and what few readers need folded away."""

from html import escape

import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML

MOST_ROWS = 60  # of a longer table the first and last ones


def as_html(table: pd.DataFrame) -> str:
    """A table as HTML; rows that have no names get no numbers either, and what is missing is left empty."""
    named = bool(table.index.name) or not isinstance(table.index, pd.RangeIndex)
    with pd.option_context("display.max_colwidth", None):  # sentences are shown whole
        return str(table.to_html(index=named, border=0, na_rep="", max_rows=MOST_ROWS, notebook=True))


def folded(said: str, table: pd.DataFrame) -> HTML:
    """A table that a click opens, under what it says in short."""
    return HTML(f"<details><summary>{escape(said)}</summary>\n{as_html(table)}\n</details>")


def show_plainly(shell: InteractiveShell) -> None:
    """Have a notebook show every table by `as_html`."""
    shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, as_html)


def with_intervals(table: pd.DataFrame, form: str) -> list[str]:
    """Values with their intervals as text, from three columns: "+0.12 [-0.03, +0.27]"."""
    return [f"{value:{form}} [{low:{form}}, {high:{form}}]" for value, low, high in table.itertuples(index=False)]
