"""Run the benchmark, and write its table and figures."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure

from study.bench import scaling, scoring, tuning, whole, writing
from study.bench.pretraining import pretraining_line
from study.bench.table import Line, Say
from study.figures import use_style
from study.paths import RESULTS, shown
from study.runner import available_cores
from study.strict import ParamsError

FOLDER = RESULTS / "bench"
PACKAGES = ("torch", "transformers", "peft", "accelerate", "papermill", "lm_eval", "trl")
GROUPS = ("scoring", "memory", "tuning", "seeds", "writing", "study", "neighbour", "again", "pretraining")
SLOW = ("seeds", "study", "memory", "pretraining")  # left out of a quick run
ON_DEMAND = ("pretraining",)  # left out unless named


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
    return [pretraining_line(rounds, say)]


def run(quick: bool, only: str, folder: Path = FOLDER, say: Say = print) -> int:
    """Measure, print the table, write it; 1 if a target is missed.

    Args:
        quick: the fast rows only, once each; nothing is written.
        only: names of groups; all but those on demand, if it is empty.
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
    if not (quick or named):
        folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / "table.csv", index=False, float_format="%.4g")
        (folder / "machine.json").write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")
        say("scaling:")
        curves = scaling.curves(3, say)
        curves.to_csv(folder / "scaling.csv", index=False, float_format="%.4g")
        for name, figure in (("ratios", ratios(found)), ("scaling", scaled(curves))):
            figure.savefig(folder / f"{name}.png", dpi=160, bbox_inches="tight", metadata={"Software": None})
            plt.close(figure)
        say(f"written to {shown(folder)}")
    met = sum(line.met for line in found)
    say(f"{met} met, {len(found) - met} short")
    return int(met < len(found))


def as_table(lines: list[Line]) -> pd.DataFrame:
    """One row for each line, with its target in words and whether it is met."""
    return pd.DataFrame(
        {
            "work": line.work,
            "against": line.against,
            "ours": line.ours,
            "theirs": line.theirs,
            "unit": line.unit,
            "ratio": line.ratio,
            "ratio of processor time": line.cpu_ratio,
            "target": f"{line.target:g} or {'less' if line.at_most else 'more'}",
            "same": line.same,
            "met": line.met,
            "note": line.note,
        }
        for line in lines
    )


def machine() -> dict[str, object]:
    """Where it was measured, and with which versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return {
        "processor": ", ".join(sorted(names)) or platform.processor(),
        "cores": available_cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def ratios(lines: list[Line]) -> Figure:
    """How many times as fast as its peer each kind of work is, beside its target."""
    use_style()
    faster = [line for line in lines if not line.at_most][::-1]
    figure, axes = plt.subplots(figsize=(7.2, 0.42 * len(faster) + 1.0))
    places = [float(k) for k in range(len(faster))]
    axes.barh(places, [line.ratio for line in faster], color="#4477AA", height=0.6)
    axes.scatter(
        [line.target for line in faster],
        places,
        marker="|",
        s=260,
        color="black",
        linewidths=2,
        label="target",
        zorder=3,
    )
    for place, line in zip(places, faster, strict=True):
        axes.text(line.ratio * 1.05, place, f"{line.ratio:.3g}", va="center", fontsize=8)
    axes.set_yticks(places, [f"{line.work}\nagainst {line.against}" for line in faster], fontsize=7)
    axes.set_xscale("log")
    axes.set_xlim(right=max(line.ratio for line in faster) * 2)
    axes.set_xlabel("times as fast as the peer")
    axes.legend(loc="lower right")
    return figure


def scaled(curves: pd.DataFrame) -> Figure:
    """Seconds for scoring along each curve, with the floor of the arithmetic."""
    use_style()
    names = list(dict.fromkeys(curves["curve"]))
    figure, panels = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.6), sharey=True)
    for name, axes in zip(names, panels, strict=True):
        part = curves[curves["curve"] == name]
        axes.plot(part["at"], part["seconds"], "o-", color="#4477AA", label="measured")
        axes.plot(part["at"], part["floor"], "s--", color="#BB5566", label="floor: its products at full speed")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(name)
    panels[0].set_ylabel("seconds")
    panels[0].legend(fontsize=7)
    return figure
