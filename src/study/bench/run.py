"""Run the benchmark."""

from pathlib import Path

import torch

from study.bench import scaling, scoring, tuning, whole, writing
from study.bench.cluster import cluster_line
from study.bench.pretraining import pretraining_line
from study.bench.publish import as_table, publish
from study.bench.table import Line, Say
from study.config import ParamsError
from study.paths import RESULTS, shown
from study.runs.executors import available_cores

FOLDER = RESULTS / "bench"
GROUPS = ("scoring", "memory", "tuning", "seeds", "writing", "study", "neighbour", "again", "pretraining", "cluster")
SLOW = ("seeds", "study", "memory", "pretraining")  # left out of a quick run
ON_DEMAND = ("pretraining", "cluster")  # left out unless named


def lines_of(group: str, rounds: int, quick: bool, say: Say) -> list[Line]:
    """The rows of one group."""
    if group == "scoring":
        return scoring.lines(rounds, quick, say)
    if group == "tuning":
        return tuning.lines(rounds, quick, say)
    if group == "writing":
        return writing.lines(rounds, quick, say)
    if group == "memory":
        return [scoring.memory_line(say)]
    if group == "seeds":
        return [whole.seeds_line(rounds, say)]
    if group == "study":
        return [whole.study_line(say)]
    if group == "neighbour":
        return [whole.neighbour_line(rounds, say)]
    if group == "again":
        return [whole.again_line(rounds, say)]
    if group == "cluster":
        return [cluster_line(rounds, say)]
    return [pretraining_line(rounds, say)]


def run(quick: bool, only: str, folder: Path = FOLDER, say: Say = print) -> int:
    """Measure, print the table, write it; 1 if a target is missed.

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
    left_out = set(ON_DEMAND) | (set(SLOW) if quick else set())
    groups = named or [group for group in GROUPS if group not in left_out]
    found: list[Line] = []
    for group in groups:
        say(f"{group}:")
        found += lines_of(group, 1 if quick else 3, quick, say)
    table = as_table(found)
    say("\n" + table.drop(columns=["note"]).to_string(index=False))
    if not quick:
        curves = None
        if not named:
            say("scaling:")
            curves = scaling.curves(3, say)
        publish(table, curves, folder)
        say(f"written to {shown(folder)}")
    met = sum(line.met for line in found)
    say(f"{met} met, {len(found) - met} short")
    return int(met < len(found))
