"""`python -m study chaos`: every fault in turn, and how the study came through."""

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from study.chaos import company, disk, kills, machine, torn
from study.chaos.check import Reference
from study.chaos.fault import Chaos, Outcome
from study.chaos.scratch import LAST, PAGES, Scratch
from study.config import ParamsError
from study.pages.terminal import Styled, show_table

FAULTS: dict[str, Callable[[Chaos], Iterator[Outcome]]] = {
    "kills": kills.kills,
    "signals": kills.signals,
    "torn results": torn.results,
    "leftovers": torn.leftovers,
    "torn params": torn.settings,
    "torn model": torn.model,
    "full disk": disk.full,
    "read-only": disk.read_only,
    "two runs": company.two_runs,
    "two studies": company.two_studies,
    "clock": machine.clock,
    "memory": machine.memory,
    "numbers": machine.numbers,
    "node lost": company.node_lost,
}
# What the short form leaves out, to end in minutes.
LONG = (
    "signals", "leftovers", "torn model", "read-only", "two studies", "clock", "memory", "numbers", "node lost",
)  # fmt: skip


def run(faults: int, only: Sequence[str] = (), seed: int = 0, quick: bool = False) -> int:
    """Make faults and say how many the study survived; 1 if it did not survive one.

    Args:
        faults: how many processes are killed.
        only: names of faults; all by default.
        seed: decides on moments and files.
        quick: leave out what takes long.

    Raises:
        ParamsError: if there is no fault of a name.
    """
    for name in only:
        if name not in FAULTS:
            raise ParamsError(f"ONLY = {name!r}: no such fault; there are: {', '.join(FAULTS)}")
    names = [name for name in FAULTS if name in only or (not only and not (quick and name in LONG))]
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    reference = undisturbed(Scratch.make(folder, LAST if quick else PAGES))
    print(f"undisturbed: {len(reference.rows)} units, {reference.seconds:.0f} s, in {folder}", flush=True)
    outcomes, lines = [], []
    for name in names:
        begun = time.monotonic()
        chaos = Chaos(reference.study.scratch, reference, Random(f"{seed}/{name}"), faults, quick)
        here = []
        for outcome in _made(name, chaos):
            here.append(outcome)
            print(_line(outcome), flush=True)
        outcomes += here
        lines.append([name, *map(str, _counts(here)), f"{time.monotonic() - begun:.0f} s"])
    survived, failed, skipped = _counts(outcomes)
    print()
    show_table(["fault", "survived", "failed", "skipped", "took"], [_coloured(line) for line in lines], whole=["fault"])
    print(f"\n{survived} survived, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    if not failed:
        shutil.rmtree(folder)
    return int(failed > 0)


def _made(name: str, chaos: Chaos) -> Iterator[Outcome]:
    """The outcomes of faults of a name; results that cannot even be looked at were not survived."""
    try:
        yield from FAULTS[name](chaos)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        yield Outcome(name, [f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"])


def undisturbed(scratch: Scratch) -> Reference:
    """The reference: the study as it is without a fault.

    Raises:
        ParamsError: if it does not go through, so that nothing could be held against it.
    """
    study = scratch.study("undisturbed")
    done = study.finish()
    if done.status:
        raise ParamsError(f"the undisturbed study fails:\n{done.err.strip()}")
    return Reference.of(study, done.seconds)


def _counts(outcomes: Sequence[Outcome]) -> tuple[int, int, int]:
    """How many faults were survived, were not, and could not be made."""
    skipped = sum(bool(outcome.skipped) for outcome in outcomes)
    failed = sum(bool(outcome.amiss) for outcome in outcomes)
    return len(outcomes) - failed - skipped, failed, skipped


def _line(outcome: Outcome) -> str:
    if outcome.skipped:
        return f"skipped   {outcome.fault}: {outcome.skipped}"
    return "\n          ".join([f"{'FAILED   ' if outcome.amiss else 'survived '} {outcome.fault}", *outcome.amiss])


def _coloured(line: Sequence[str]) -> list[str | Styled]:
    return [*line[:2], Styled(line[2], "red" if line[2] != "0" else ""), *line[3:]]
