"""What the tests of faults are given, which of them run, and how many faults the study survived."""

import os
from collections import Counter
from collections.abc import Iterable
from random import Random

import pytest

from chaos.check import Reference
from chaos.scratch import LAST, PAGES, Scratch

QUICK = bool(os.environ.get("QUICK"))
STATES = ("survived", "failed", "skipped")


def wanted(faults: dict[str, bool], only: str, quick: bool) -> set[str]:
    """The faults to make: those whose names begin with one of the words between commas, or all.

    Args:
        faults: whether each takes long, by name.
        only: names, or how they begin; all by default.
        quick: leave out what takes long, unless it is named.

    Raises:
        UsageError: if there is no fault of a name.
    """
    found = set()
    for start in filter(None, (name.strip() for name in only.split(","))):
        named = {name for name in faults if f"{name} ".startswith(f"{start.replace('-', ' ')} ")}
        if not named:
            raise pytest.UsageError(f"ONLY = {start!r}: no such fault; there are: {', '.join(faults)}")
        found |= named
    return found or {name for name, long in faults.items() if not (quick and long)}


def fault_of(test: str) -> str:
    """The name of a fault from that of its test."""
    return test.partition("[")[0].removeprefix("test_").replace("_", " ")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    here = [item for item in items if item.get_closest_marker("chaos")]
    if here:
        long = {fault_of(item.name): item.get_closest_marker("long") is not None for item in here}
        chosen = wanted(long, os.environ.get("ONLY", ""), QUICK)
        left_out = [item for item in here if fault_of(item.name) not in chosen]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The tiny study without a fault, in a copy of the project."""
    return Reference.run(Scratch.make(tmp_path_factory.mktemp("chaos"), LAST if QUICK else PAGES))


@pytest.fixture
def random(request):
    """Decides on moments and files; SEED gives others."""
    return Random(f"{os.environ.get('SEED') or 0}/{request.node.name}")


@pytest.fixture
def all_survived(record_property):
    """Counts the faults of a test, given what was amiss after each; it fails if anything was."""

    def check(outcomes: Iterable[tuple[str, list[str]]]) -> None:
        wrong = []
        for fault, amiss in outcomes:
            record_property("failed" if amiss else "survived", fault)
            wrong += [f"{fault}: {line}" for line in amiss]
        assert not wrong, "\n".join(wrong)

    return check


def counts_of(report: pytest.TestReport) -> Counter[str]:
    """How many faults of a test were survived, were not, or could not be made; a test is one if it did not count."""
    counted = Counter(name for name, _ in report.user_properties if name in STATES)
    if report.failed:
        return counted if counted["failed"] else counted + Counter(failed=1)
    return Counter(skipped=1) if report.skipped else counted or Counter(survived=1)


def pytest_terminal_summary(terminalreporter):
    lines, seconds = {}, Counter()
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            if "chaos" in report.keywords and report.when != "teardown":
                fault = fault_of(report.nodeid.rpartition("::")[2])
                lines[fault] = lines.get(fault, Counter()) + counts_of(report)
                seconds[fault] += report.duration
    if lines:
        terminalreporter.section("faults")
        for fault, counted in lines.items():
            states = ", ".join(f"{counted[state]} {state}" for state in STATES)
            terminalreporter.write_line(f"{fault:24} {states}, {seconds[fault]:.0f} s")
        total = sum(lines.values(), Counter())
        terminalreporter.write_line(", ".join(f"{total[state]} {state}" for state in STATES))
