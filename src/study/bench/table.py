"""Rows of the benchmark: two ways of the same work, measured in turn in one run, beside a target."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
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
    """Of wall and processor time apart."""
    return Took(statistics.median(t.wall for t in times), statistics.median(t.cpu for t in times))


class Line(NamedTuple):
    """One row of the table.

    Attributes:
        work: what is done.
        against: the peer.
        unit: what `ours` and `theirs` are of.
        ours: median over the rounds.
        theirs: likewise.
        ratio: how many times as much the peer takes; where less is asked for (`at most`), ours as a share of it.
        cpu_ratio: the ratio of processor times; not a number where it was not taken.
        target: that the ratio is held against.
        at_most: whether the ratio may not exceed the target, instead of reaching it.
        same: what was checked to be the same, and how nearly.
        right: whether it was.
        note: how it was measured, where that is not plain.
    """

    work: str
    against: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    cpu_ratio: float
    target: float
    at_most: bool
    same: str
    right: bool
    note: str

    @property
    def met(self) -> bool:
        """Whether the target is met by equal results."""
        return self.right and (self.ratio <= self.target if self.at_most else self.ratio >= self.target)


@dataclass
class Same:
    """What was compared of two results: the largest difference there was."""

    what: str
    tolerance: float
    largest: float = 0.0

    def add(self, difference: float) -> None:
        """Take another difference in; one that is not a number is not the same."""
        self.largest = max(self.largest, difference if difference == difference else float("inf"))

    @property
    def right(self) -> bool:
        """Whether all were the same."""
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        return f"{self.what} within {self.tolerance:g}: {self.largest:.1g}"


def compare(
    work: str,
    against: str,
    target: float,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    same: Same,
    differences: Callable[[Any, Any, Same], None],
    rounds: int,
    counts: tuple[float, float] = (1, 1),
    unit: str = "s",
    note: str = "",
    say: Say = print,
) -> Line:
    """Do the work both ways in turn, and hold the medians together.

    Args:
        work: as in `Line`.
        against: as in `Line`.
        target: as in `Line`.
        ours: does it our way.
        theirs: does it the peer's way.
        same: what must be the same.
        differences: adds to `same` how two results differ.
        rounds: how often.
        counts: of units that each does in one call.
        unit: as in `Line`.
        note: as in `Line`.
        say: takes a line on each round.
    """
    mine: list[Took] = []
    peers: list[Took] = []
    for number in range(rounds):
        result, took = timed(ours)
        other, other_took = timed(theirs)
        differences(result, other, same)
        mine.append(took.per(counts[0]))
        peers.append(other_took.per(counts[1]))
        say(
            f"  {work}, round {number + 1}: {mine[-1].wall:.4g} {unit}, {against} {peers[-1].wall:.4g}: "
            f"{peers[-1].wall / mine[-1].wall:.2f} times"
        )
    a, b = median(mine), median(peers)
    return Line(
        work=work,
        against=against,
        unit=unit,
        ours=a.wall,
        theirs=b.wall,
        ratio=b.wall / a.wall,
        cpu_ratio=b.cpu / a.cpu,
        target=target,
        at_most=False,
        same=str(same),
        right=same.right,
        note=note,
    )
