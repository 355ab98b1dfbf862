"""What a simulation shows: wall time by GPUs, where their time goes, shards, and the checks; and each in words."""

from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from study.simulate.plan import AGAIN, ALIKE, ASKING, READING, STARTING, TRAINING, WORK, WRITING
from study.simulate.schedule import SCHEDULER, STORE, UNEVEN, WAITING
from study.style import (
    BLACK,
    BLUE,
    CHANCE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SKY,
    SMALL,
    WIDTH,
    heading,
    use_style,
)

ACROSS = 4  # panels in a row
OTHER = "scheduler, store, GPUs left over"
# What the time of the GPUs goes to, work first; in the order of the bars, from below.
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    TRAINING: ((TRAINING,), {"color": BLUE}),
    ASKING: ((ASKING,), {"color": GREEN}),
    "reading and writing": ((READING, WRITING), {"color": SKY}),
    STARTING: ((STARTING,), {"color": ORANGE, "hatch": "///"}),
    ALIKE: ((ALIKE,), {"color": RED, "hatch": "|||"}),
    AGAIN: ((AGAIN,), {"color": PINK, "hatch": "..."}),
    OTHER: ((SCHEDULER, STORE, UNEVEN), {"color": GREY, "hatch": "xxx"}),
    WAITING: ((WAITING,), {"color": "white", "hatch": "\\\\\\"}),
}


def _panels(table: pd.DataFrame, height: float) -> Iterator[tuple[Figure, Axes, str, pd.DataFrame]]:
    """A panel for each scenario."""
    use_style()
    names = list(dict.fromkeys(table["scenario"]))
    rows = -(-len(names) // ACROSS)
    figure, axes = plt.subplots(
        rows, min(ACROSS, len(names)), figsize=(WIDTH, height * rows + 0.6), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        heading(axis, name.replace("_", " "))
        yield figure, axis, name, table[table["scenario"] == name]


def scaling(table: pd.DataFrame) -> Figure:
    """Wall time against GPUs, a panel for each scenario, and what limits at each number.

    Args:
        table: rows of `Plan.table` with the scenario, its floor in hours, and how many GPUs there are.
    """
    for figure, axis, _, part in _panels(table, 2.3):  # noqa: B007 (the last figure is the only one)
        gpus, hours = part["GPUs"].to_numpy(float), part["hours"].to_numpy(float)
        axis.fill_between(gpus, part["hours at twice"], part["hours at half"], color=SKY, alpha=0.35, linewidth=0)
        axis.plot(gpus, hours[0] * gpus[0] / gpus, **CHANCE)
        axis.axhline(part["floor"].iloc[0], color=RED, linestyle=(0, (6, 2)), linewidth=1.1)
        axis.plot(gpus, hours, color=BLUE, linewidth=1.5, zorder=2)
        for works, face in ((True, BLUE), (False, "white")):
            here = part[(part["limits"] == WORK) == works]
            axis.plot(
                here["GPUs"],
                here["hours"],
                "o",
                color=BLUE,
                markerfacecolor=face,
                markersize=5,
                zorder=3,
            )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        ticks = [int(n) for n in part["GPUs"].iloc[:: -(-len(part) // 4)]]
        axis.set_xticks(ticks, [f"{g:,}" for g in ticks])
        axis.minorticks_off()
        axis.grid(color="0.92", linewidth=0.8)
    figure.supxlabel("GPUs")
    figure.supylabel("hours")
    handles = [
        Line2D([], [], color=BLUE, marker="o", markersize=5, label=f"limited by {WORK}"),
        Line2D([], [], color=BLUE, marker="o", markersize=5, markerfacecolor="white", label="by what is lost"),
        Patch(color=SKY, alpha=0.35, label="arithmetic half to twice as fast"),
        Line2D([], [], **CHANCE, label="GPUs times hours constant"),
        Line2D([], [], color=RED, linestyle=(0, (6, 2)), linewidth=1.1, label="no number of GPUs goes below"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def scaling_told(table: pd.DataFrame, scales: Mapping[str, int]) -> str:
    """Of `scaling`."""
    said = []
    for name, part in table.groupby("scenario", sort=False):
        first, last = part.iloc[0], part.iloc[-1]
        most = scales[str(name)]
        said.append(
            f"{str(name).replace('_', ' ')} from {first['hours']:.3g} hours on {first['GPUs']:,} to "
            f"{last['hours']:.2g} on {last['GPUs']:,} ({last['limits']}), twice the GPU-hours of the fewest beyond "
            f"{most:,}, floor {last['floor']:.2g} hours"
        )
    return (
        "Wall time against the number of GPUs, both logarithmic, a panel for each scenario, with a band for arithmetic "
        f"half and twice as fast as assumed, and the time that no number of GPUs goes below. {'; '.join(said)}."
    )


def losses(table: pd.DataFrame) -> Figure:
    """Shares of all GPUs' time by what it goes to, a panel for each scenario, a bar for each number of GPUs.

    Args:
        table: as `scaling` takes it.
    """
    for figure, axis, _, part in _panels(table, 2.2):  # noqa: B007 (the last figure is the only one)
        places, bottom = np.arange(len(part)), np.zeros(len(part))
        for parts, look in KINDS.values():
            share = part[list(parts)].sum(axis=1).to_numpy(float)
            axis.bar(places, share, bottom=bottom, width=0.85, edgecolor=BLACK, linewidth=0.4, **look)
            bottom += share
        axis.set_xticks(places[::2], [f"{g:,}" for g in part["GPUs"].iloc[::2]], fontsize=SMALL, rotation=45)
        axis.set_ylim(0, 1)
        axis.axhline(0.5, **CHANCE)
    figure.supxlabel("GPUs")
    figure.supylabel("share of the GPUs' time")
    handles = [Patch(edgecolor=BLACK, linewidth=0.4, label=name, **_faced(look)) for name, (_, look) in KINDS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _faced(look: dict[str, Any]) -> dict[str, Any]:
    return {"facecolor": look["color"], **({"hatch": look["hatch"]} if "hatch" in look else {})}


def losses_told(table: pd.DataFrame) -> str:
    """Of `losses`."""
    said = []
    for name, part in table.groupby("scenario", sort=False):
        last = part.iloc[-1]
        shares = {kind: float(last[list(parts)].sum()) for kind, (parts, _) in KINDS.items()}
        largest = sorted(shares, key=lambda kind: -shares[kind])[:3]
        told = ", ".join(f"{kind} {shares[kind]:.2f}" for kind in largest)
        said.append(f"{str(name).replace('_', ' ')} on {last['GPUs']:,}: {told}")
    return (
        "Bars of what the time of all GPUs goes to, a panel for each scenario, a bar for each number of GPUs, work "
        f"below and losses above. Largest shares at the most GPUs looked at: {'; '.join(said)}."
    )


def shards(table: pd.DataFrame) -> Figure:
    """Seconds of one trial's questions by the number of shards, and the parts that do not shrink.

    Args:
        table: rows of `Plan.shard_law` with the scenario.
    """
    parts: dict[str, tuple[str, dict[str, Any]]] = {
        "seconds": ("in all", {"color": BLUE, "linewidth": 1.6}),
        "asking": ("asking a shard", {"color": GREEN, "linestyle": (0, (6, 2))}),
        "reading": ("reading the context", {"color": RED, "linestyle": (0, (2, 1))}),
        "starting": ("starting", {"color": ORANGE, "linestyle": (0, (6, 2, 1, 2))}),
    }
    for figure, axis, _, part in _panels(table, 2.2):  # noqa: B007 (the last figure is the only one)
        for column, (_, look) in parts.items():
            axis.plot(part["shards"], part[column], **look)
        dominates = part["reading dominates from"].iloc[0]
        if dominates <= part["shards"].max():
            axis.axvline(dominates, **CHANCE)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks([1, 2**3, 2**6, 2**9], ["1", "8", "64", "512"])
        axis.minorticks_off()
        axis.grid(color="0.92", linewidth=0.8)
    figure.supxlabel("shards of one trial's questions, each on GPUs of its own")
    figure.supylabel("seconds")
    handles = [Line2D([], [], label=name, **look) for name, look in parts.values()]
    handles.append(Line2D([], [], **CHANCE, label="from here reading takes more than asking"))
    figure.legend(handles=handles, loc="outside upper center", ncols=5)
    return figure


def shards_told(table: pd.DataFrame) -> str:
    """Of `shards`."""
    said = [
        f"{str(name).replace('_', ' ')} {part['seconds'].iloc[0]:,.0f} seconds in one shard, reading more than asking "
        f"from {part['reading dominates from'].iloc[0]:,.0f} shards on"
        for name, part in table.groupby("scenario", sort=False)
    ]
    return (
        "Seconds of one trial's questions behind the whole context against the number of shards, both logarithmic, a "
        f"panel for each scenario: what is asked shrinks, the context is read in each shard. {'; '.join(said)}."
    )


def checks(table: pd.DataFrame) -> Figure:
    """Foretold over measured: median and the middle 80 % of each check.

    Args:
        table: a line of each check that could be made, as `Check.line` gives it.
    """
    use_style()
    figure, axis = plt.subplots(figsize=(WIDTH, 0.25 * len(table) + 0.9), layout="constrained")
    places = np.arange(len(table))[::-1]
    axis.axvline(1, **CHANCE)
    axis.hlines(places, table["10 %"], table["90 %"], color=BLUE, linewidth=1.6)
    axis.plot(table["median"], places, "o", color=BLUE, markersize=5)
    axis.set_yticks(places, [f"{check}  (n = {n})" for check, n in zip(table["check"], table["n"], strict=True)])
    axis.set_xscale("log", base=2)
    ticks = [0.25, 0.5, 1, 2, 4]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xlim(min(0.24, table["10 %"].min() / 1.1), max(4.2, table["90 %"].max() * 1.1))
    axis.minorticks_off()
    axis.grid(axis="x", color="0.92", linewidth=0.8)
    axis.set_xlabel("foretold over measured: median, and the middle 80 %")
    return figure


def checks_told(table: pd.DataFrame) -> str:
    """Of `checks`."""
    said = [
        f"{line['check']} {line['median']:.2f} ({line['10 %']:.2f} to {line['90 %']:.2f}, {line['n']})"
        for line in table.to_dict("records")
    ]
    return (
        "What the simulation foretells over what was measured, a line for each check: median, the middle 80 %, and the "
        f"number of pairs. {'; '.join(said)}."
    )
