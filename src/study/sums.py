"""Sums of floats that have the same bits in every Python."""

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any


def added(values: Iterable[Any]) -> Any:
    """Sum from left to right; `sum` compensates for rounding from Python 3.12 on, and so ends in other bits."""
    return reduce(add, values, 0)
