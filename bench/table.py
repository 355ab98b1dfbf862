"""Rows of the benchmark: two ways of the same work, timed in turn in one run, beside a target."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")
Say = Callable[[str], None]


class Took(NamedTuple):
    """Seconds: on the clock, and of all cores of this process together."""

    wall: float
    cpu: float

    def per(self, count: float) -> "Took":
        """For one of `count`."""
        return Took(self.wall / count, self.cpu / count)


def timed(work: Callable[[], Result]) -> tuple[Result, Took]:
    """What some work gives and took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Took(time.perf_counter() - wall, time.process_time() - cpu)


def median(times: list[Took]) -> Took:
    """Medians of wall and of processor time."""
    return Took(statistics.median(t.wall for t in times), statistics.median(t.cpu for t in times))


class Same(NamedTuple):
    """What was compared of two results: the largest difference there was, and the largest there may be."""

    what: str
    tolerance: float = 0.0
    largest: float = 0.0

    @property
    def right(self) -> bool:
        """Whether all were the same; what is not a number is not."""
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        return f"{self.what} within {self.tolerance:g}: {self.largest:.1g}"


class Line(NamedTuple):
    """One row of the table.

    Attributes:
        work: what is done.
        against: the baseline.
        ours: median over the rounds.
        theirs: likewise, of the baseline.
        target: what the ratio is compared with.
        same: what was checked to be the same, and how nearly.
        right: whether it was.
        unit: of `ours` and `theirs`.
        cpu_ratio: the ratio of processor times; NaN where it was not taken.
        at_most: whether the ratio, ours as a share of the baseline's then, may not exceed the target.
        note: how it was measured, where that is not plain.
        floor: what its matrix products alone would take at the speed of a large one; NaN where it was not taken.
    """

    work: str
    against: str
    ours: float
    theirs: float
    target: float
    same: str
    right: bool
    unit: str = "s"
    cpu_ratio: float = float("nan")
    at_most: bool = False
    note: str = ""
    floor: float = float("nan")

    @property
    def ratio(self) -> float:
        """How many times as much the baseline takes; of an upper limit, ours as a share of it."""
        return self.ours / self.theirs if self.at_most else self.theirs / self.ours

    @property
    def met(self) -> bool:
        """Whether the target is met by equal results."""
        return self.right and (self.ratio <= self.target if self.at_most else self.ratio >= self.target)


def compare(
    work: str,
    against: str,
    target: float,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    same: Same,
    difference: Callable[[Any, Any], float],
    rounds: int,
    counts: tuple[float, float] = (1, 1),
    unit: str = "s",
    note: str = "",
    say: Say = print,
) -> Line:
    """Do the work both ways in turn, and compare the medians.

    Args:
        work: as in `Line`.
        against: as in `Line`.
        target: as in `Line`.
        ours: does it our way.
        theirs: does it the baseline's way.
        same: what must be the same.
        difference: of the results of a round.
        rounds: how often.
        counts: how many of what is counted each does in one call.
        unit: as in `Line`.
        note: as in `Line`.
        say: takes a line on each round.
    """
    mine: list[Took] = []
    others: list[Took] = []
    differences: list[float] = []
    for number in range(1, rounds + 1):
        (result, took), (other, other_took) = timed(ours), timed(theirs)
        mine.append(took.per(counts[0]))
        others.append(other_took.per(counts[1]))
        differences.append(difference(result, other))
        times = f"{mine[-1].wall:.4g} {unit}, {against} {others[-1].wall:.4g}"
        say(f"  {work}, round {number}: {times}: {others[-1].wall / mine[-1].wall:.2f} times")
    a, b = median(mine), median(others)
    same = same._replace(largest=largest(differences))
    return Line(work, against, a.wall, b.wall, target, str(same), same.right, unit, b.cpu / a.cpu, note=note)


def largest(differences: list[float]) -> float:
    """The largest of some differences; NaN if one is."""
    return float("nan") if any(d != d for d in differences) else max(differences)
