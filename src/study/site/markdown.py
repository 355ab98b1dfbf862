"""Text of pages: escaped values, numbers with intervals, tables."""

import html
from collections.abc import Sequence
from re import sub

import pandas as pd

NO_BREAK = "\N{NO-BREAK SPACE}"


def escaped(value: object) -> str:
    """A value as plain text in Markdown, whatever is in it."""
    return sub(r"([\\`*_{}\[\]<>|~$#])", r"\\\1", " ".join(str(value).split()))


def link(text: str, address: str) -> str:
    """A link that Sphinx leaves alone: to a file beside the pages, or to a state of the explorer."""
    return f'<a href="{html.escape(address)}">{html.escape(text)}</a>'


def number(value: float) -> str:
    """A signed effect with two digits and a true minus sign."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def interval(value: float, low: float, high: float) -> str:
    """An effect with its interval."""
    return f"{number(value)} [{number(low)},{NO_BREAK}{number(high)}]"


def share(value: float, low: float, high: float) -> str:
    """An accuracy with its interval."""
    return f"{value:.2f} [{low:.2f},{NO_BREAK}{high:.2f}]"


def table(lines: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    """A table of cells that are Markdown already."""
    rows = [list(columns), ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain_table(frame: pd.DataFrame) -> str:
    """A table of values; what they hold is text, never markup."""

    def shown(value: object) -> str:
        if isinstance(value, float):
            return "" if pd.isna(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return escaped(value)

    return table(
        [[shown(cell) for cell in row] for row in frame.to_numpy(dtype=object)],
        [escaped(column) for column in frame.columns],
    )
