"""Figures that hold arms against each other, drawn from tables alone."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.figures.style import (
    BLACK,
    CHANCE,
    GREEN,
    GREY,
    MIDDLE,
    RED,
    SMALL,
    WIDTH,
    Look,
    arm_look,
    counted,
    heading,
    legend_above,
    level_chance,
    use_style,
)
from study.params import Arm
from study.sums import added
from study.worlds.world import Split

SPLITS = [str(split) for split in Split]
GROUPS = {
    (True, False): "answer\nalone",
    (True, True): "answer and\na false one",
    (False, False): "neither",
    (False, True): "a false one\nalone",
}


def accuracy_by_arm(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Accuracy with intervals, a row of panels for each world, one for each split, chance dotted.

    Args:
        table: as given by `stats.accuracy_table`.
        arms: all arms of the study, in order; those without rows are left out.
    """
    figure, panels = _panels(table, "arm", [arm for arm in arms if arm in set(table["arm"])])
    for axis, part, rows in panels:
        _intervals(axis, part, rows, {arm: arm_look(arms[arm]) for arm in rows})
        _named_line(axis, part["chance"].mean(), "chance", rows)
        axis.set_xlim(-0.04, 1.04)
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    markers = {arm_look(arms[arm]).marker for arm in set(table["arm"])}
    diamonds = "; diamonds: documents in context" if "D" in markers else ""
    figure.supxlabel(f"accuracy, with intervals over facts and seeds ({_seeds(table)}){diamonds}")
    return figure


def differences_figure(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Paired differences of two arms, a row of panels for each world, one for each split.

    Args:
        table: as given by `stats.difference_table`.
        arms: all arms of the study; a pair has the look of its first.
    """
    pairs = dict(zip(table["difference"], table["arm"], strict=True))
    figure, panels = _panels(table, "difference", list(pairs))
    for axis, part, rows in panels:
        _intervals(axis, part, rows, {pair: arm_look(arms[pairs[pair]]) for pair in rows})
        _named_line(axis, 0.0, "equal", rows)
        axis.set_xlim(-1.06, 1.06)
    figure.supxlabel(
        f"difference of accuracies, paired by question, with intervals over facts and seeds ({_seeds(table)})"
    )
    return figure


def _panels(
    table: pd.DataFrame, column: str, names: Sequence[str]
) -> tuple[Figure, Iterator[tuple[Axes, pd.DataFrame, list[str]]]]:
    """A row of panels for each world, one for each split: each with its part of the table and the names of its rows."""
    use_style()
    worlds = dict(iter(table.groupby("world", sort=False)))
    rows = {world: [name for name in names if name in set(part[column])] for world, part in worlds.items()}
    splits = {world: [split for split in SPLITS if split in set(part["split"])] for world, part in worlds.items()}
    columns, heights = max(map(len, splits.values())), [len(here) + 1.7 for here in rows.values()]
    figure, axes = plt.subplots(
        len(worlds), columns, figsize=(min(WIDTH, 1.9 + 1.9 * columns), 0.3 + added(0.42 + 0.155 * h for h in heights)),
        sharex=True, squeeze=False, layout="constrained", gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for row, world in zip(axes, worlds, strict=True):
        row[0].set_ylabel(world, fontweight="bold")
        for axis in row[len(splits[world]) :]:
            axis.set_visible(False)
    for line in axes.T:
        [axis for axis in line if axis.get_visible()][-1].tick_params(labelbottom=True)
    figure.align_ylabels(axes[:, 0])

    def panels() -> Iterator[tuple[Axes, pd.DataFrame, list[str]]]:
        for row, (world, part) in zip(axes, worlds.items(), strict=True):
            for axis, split in zip(row, splits[world], strict=False):
                here = part[part["split"] == split]
                counts = f"{counted(here['items'].max(), 'item')}, {counted(here['facts'].max(), 'fact')}"
                heading(axis, split, counts, width=17, size=MIDDLE)
                axis.set_yticks(range(len(rows[world])), rows[world] if axis is row[0] else [], fontsize=8)
                yield axis, here.rename(columns={column: "row"}), rows[world]

    return figure, panels()


def _intervals(axis: Axes, table: pd.DataFrame, rows: list[str], looks: Mapping[str, Look]) -> None:
    for line in table.itertuples():
        place, look = rows.index(line.row), looks[line.row]
        axis.plot([line.low, line.high], [place, place], color=look.color, linewidth=1.6, alpha=0.7)
        axis.plot(line.value, place, **look.point())
    axis.grid(axis="y", color="0.92", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)


def _named_line(axis: Axes, place: float, name: str, rows: list[str]) -> None:
    """An upright line, with its name below the last row."""
    axis.axvline(place, **CHANCE)
    axis.set_ylim(len(rows) + 0.55, -0.6)
    axis.annotate(
        name, (place, len(rows)), xytext=(2, 0), textcoords="offset points", va="center", fontsize=SMALL, color="0.3"
    )


def _seeds(table: pd.DataFrame) -> str:
    least, most = table["seeds"].min(), table["seeds"].max()
    return counted(most, "seed") if least == most else f"{least:.0f} to {most:.0f} seeds"


def effects_figure(effects: pd.DataFrame, claims: pd.DataFrame) -> Figure:
    """Every effect with its interval, claim by claim, in the colour of the claim's verdict; bounds as ticks.

    Args:
        effects: as given by `claims.effect_table`.
        claims: as given by `claims.judge`.
    """
    use_style()
    claims = claims.set_index("number")
    colors = {"replicates": GREEN, "unresolved": GREY, "refuted": RED}
    effects = effects[effects["effect"].abs() <= 1]  # accuracies; what is in other units is in the table
    heads = {
        number: textwrap.wrap(f"{number}. {claims.loc[number, 'claim']} ({claims.loc[number, 'verdict']})", 118)
        for number in effects["number"].unique()
    }
    rows = len(effects) + added(0.7 + len(head) for head in heads.values())
    figure, axis = plt.subplots(figsize=(WIDTH, 0.6 + 0.16 * rows), layout="constrained")
    place, places = 0.0, []
    for number, part in effects.groupby("number", sort=False):
        color, head = colors[claims.loc[number, "verdict"]], heads[number]
        axis.annotate(
            "\n".join(head), (0, place + 0.7), xycoords=("figure fraction", "data"), fontsize=8, fontweight="bold",
            va="top", color=color, annotation_clip=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
        place += len(head)
        for line in part.itertuples():
            place += 1
            places.append(place)
            axis.plot([line.low, line.high], [place, place], color=color, linewidth=1.6, alpha=0.7)
            axis.plot(line.effect, place, "o", color=color, markersize=4.5)
            for bound in (line.above, line.below):
                if not np.isnan(bound):
                    axis.plot(bound, place, "|", color=BLACK, markersize=8)
        place += 0.7
    wheres = [
        compared if world == "all" else f"{world}, {split}: {compared}"
        for world, split, compared in zip(effects["world"], effects["split"], effects["compared"], strict=True)
    ]
    axis.set_yticks(places, wheres, fontsize=SMALL)
    axis.axvline(0, **CHANCE)
    axis.set_xlim(-1.05, 1.05)
    axis.set_ylim(place + 0.5, -0.3)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("difference, paired by question; black ticks: the bounds claimed")
    return figure


def coverage_figure(table: pd.DataFrame, arms: Mapping[str, Arm], other: str) -> Figure:
    """Accuracy by whether the arm's text has the answer, a panel for each split; bars: the arm without text.

    Args:
        table: as given by `Experiment.coverage`.
        arms: all arms of the study, in order.
        other: name of the arm without text.
    """
    use_style()
    places = {group: k for k, group in enumerate(GROUPS)}
    splits = [split for split in SPLITS if split in set(table["split"])]
    shown = [arm for arm in arms if arm in set(table["arm"])]
    height = -(-len(splits) // 3)
    figure, axes = plt.subplots(
        height, 3, figsize=(WIDTH, 0.6 + 2.05 * height), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, split in zip(axes.flat, splits, strict=False):
        here = table[table["split"] == split]
        for line in here.to_dict("records"):
            group = places[bool(line["text has the answer"]), bool(line["text has a false one"])]
            place, look = group + 0.8 * (shown.index(line["arm"]) + 0.5) / len(shown) - 0.4, arm_look(arms[line["arm"]])
            axis.plot([place, place], [line["low"], line["high"]], color=look.color, linewidth=1.4, alpha=0.7)
            axis.plot(place, line[f"accuracy of {other}"], "_", color=BLACK, markersize=9, markeredgewidth=1.6)
            axis.plot(place, line["value"], **look.point())
            axis.text(
                place, 1.07, f"{line['items']:,}", rotation=90, ha="center", va="bottom", fontsize=SMALL, color="0.3"
            )
        level_chance(axis, here["chance"].mean())
        axis.set_xticks(range(len(GROUPS)), list(GROUPS.values()), fontsize=SMALL)
        axis.set_xlim(-0.5, len(GROUPS) - 0.5)
        axis.set_ylim(-0.03, 1.36)
        axis.set_yticks([0, 0.5, 1])
        heading(axis, split)
    for axis in axes.flat[len(splits) :]:
        axis.set_visible(False)
    figure.supylabel("accuracy")
    beside = f"black bars: {other} on the same questions; small: items, of {_seeds(table)}"
    figure.supxlabel(f"what the arm's text says of a question; {beside}")
    legend_above(figure, {arm: arm_look(arms[arm]) for arm in shown})
    return figure


def cost_accuracy(table: pd.DataFrame, arms: Mapping[str, Arm], other: str) -> Figure:
    """Accuracy against what a question costs in all, at some numbers of questions; from how many on an arm pays.

    Args:
        table: as given by `cost.cost_accuracy`.
        arms: all arms of the study, in order.
        other: the arm that the others are held against.
    """
    use_style()
    volumes, ways = list(dict.fromkeys(table["questions"])), list(dict.fromkeys(table["context"]))
    figure, axes = plt.subplots(
        len(ways), len(volumes), figsize=(WIDTH, 0.6 + 2.5 * len(ways)), sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, volume in zip(axes[0], volumes, strict=True):
        heading(axis, f"{volume:,} questions", f"{table['items'].max():,} items, {table['facts'].max():,} facts")
    for row, way in zip(axes, ways, strict=True):
        for axis, volume in zip(row, volumes, strict=True):
            here = table[(table["context"] == way) & (table["questions"] == volume)]
            for line in here.to_dict("records"):
                look, cost = arm_look(arms[line["arm"]]), line["GFLOP a question"]
                axis.plot([cost, cost], [line["low"], line["high"]], color=look.color, linewidth=1.4, alpha=0.7)
                axis.plot(cost, line["value"], label=f"{line['arm']}\n{_pays(line, other)}", **look.point(7.5))
            axis.set_xscale("log")
            axis.set_ylim(-0.03, 1.03)
            level_chance(axis, here["chance"].mean())
        row[0].set_ylabel(f"context {way}\naccuracy")
        row[-1].legend(
            loc="center left", bbox_to_anchor=(1, 0.5), title=f"costs less than {other}", title_fontsize=8, fontsize=8
        )
    figure.supxlabel("10$^9$ operations a question, with what was spent before the first (logarithmic)")
    return figure


def _pays(line: Mapping[str, Any], other: str) -> str:
    if line["arm"] == other:
        return "what the others are held against"
    if np.isinf(line["pays from"]):
        return "never"
    return "from {:,.0f} [{:,.0f}, {:,.0f}] on".format(line["pays from"], line["pays low"], line["pays high"])
