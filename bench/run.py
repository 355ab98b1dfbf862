"""Run the benchmark."""

from collections.abc import Callable
from pathlib import Path

import torch

from bench import cluster, daily, pretraining, real, scaling, scoring, seeds, tuning, whole, writing
from bench.publish import as_table, publish
from bench.table import Line, Say
from study.config import ParamsError
from study.paths import RESULTS, shown
from study.runs.executors import available_cores

FOLDER = RESULTS / "bench"
GROUPS: dict[str, Callable[[int, bool, Say], list[Line]]] = {
    "scoring": scoring.lines,
    "memory": scoring.memory,
    "tuning": tuning.lines,
    "seeds": seeds.lines,
    "writing": writing.lines,
    "real": real.lines,
    "study": whole.lines,
    "neighbour": daily.beside_a_busy_process,
    "again": daily.with_nothing_to_do,
    "pretraining": pretraining.lines,
    "cluster": cluster.lines,
}
SLOW = {"seeds", "real", "study", "memory", "pretraining"}  # left out of a quick run
ON_DEMAND = {"pretraining", "cluster"}  # left out unless named


def run(quick: bool, only: str, folder: Path = FOLDER, say: Say = print) -> int:
    """Measure, print the table, write it; 1 if a target is missed, in a quick run, of smaller work, if results differ.

    Args:
        quick: the fast rows only, once each; nothing is written.
        only: names of groups, whose rows then replace those of an earlier run; all but those on demand, if it is empty.
        folder: for table, figures and what machine they are from.
        say: takes lines.

    Raises:
        ParamsError: if there is no group of a name.
    """
    named = only.split()
    unknown = set(named) - set(GROUPS)
    if unknown:
        raise ParamsError(f"ONLY = {only!r}: no group {sorted(unknown)}; there are: {', '.join(GROUPS)}")
    torch.set_num_threads(available_cores())
    left_out = ON_DEMAND | (SLOW if quick else set())
    rounds, found = 1 if quick else 3, list[Line]()
    for group in named or [group for group in GROUPS if group not in left_out]:
        say(f"{group}:")
        found += GROUPS[group](rounds, quick, say)
    if not found:
        return 1
    table = as_table(found)
    say("\n" + table.drop(columns=["note"]).to_string(index=False))
    if not quick:
        say("" if named else "scaling:")
        publish(table, None if named else scaling.curves(rounds, say), folder)
        say(f"written to {shown(folder)}")
    met = sum(line.met for line in found)
    say(f"{met} met, {len(found) - met} short")
    return int(not all(line.right if quick else line.met for line in found))
