"""Figures that hold arms against each other, drawn from tables alone.

`arms` are all arms of the study, in order; those without rows are left out.
"""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from study.arms import Arm
from study.evidence.cost import BreakEven
from study.figures import style
from study.sums import added

GROUPS = {
    (True, False): "answer\nalone",
    (True, True): "answer and\na false one",
    (False, False): "neither",
    (False, True): "a false one\nalone",
}


def headline_figure(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Of `headline.headline_table`: a panel for each kind of question, a bar for each method, in large type."""
    methods = dict(zip(table["method"], table["arm"], strict=True))
    questions = list(dict.fromkeys(table["question"]))
    figure, axes = style.panels(len(questions), min(4, len(questions)), 1.75, 0.8, width=7.4)
    for axis, question in zip(axes, questions, strict=True):
        here = table[table["question"] == question]
        for line in here.to_dict("records"):
            place = list(methods).index(line["method"])
            axis.bar(place, line["value"], 0.84, **style.bar(arms[line["arm"]]))
            axis.plot([place, place], [line["low"], line["high"]], color=style.BLACK, linewidth=1)
            axis.text(place, line["high"] + 0.03, f"{100 * line['value']:.0f}", ha="center", fontsize=style.LARGE)
        axis.axhline(here["chance"].mean(), **style.CHANCE)
        title = re.sub(r" (?=or |and |\()|(?<=,) ", "\n", question)
        axis.set_title(title, fontsize=style.LARGE, pad=4)
        axis.set_xticks([])
        axis.set_xlim(-0.6, len(methods) - 0.4)
        axis.set_ylim(0, 1.17)
        axis.set_yticks([0, 0.5, 1], ["0", "50", "100 %"])
    handles = [Patch(label=name, **style.bar(arms[arm])) for name, arm in methods.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, handlelength=1.2, fontsize=style.LARGE)
    size, seeds = style.million(table["parameters"].max()), style.span(table["seeds"], "seed")
    model = f"a model of {size} million parameters, {seeds}"
    figure.supxlabel(f"accuracy in % with intervals, chance dotted: {model}", fontsize=style.MIDDLE)
    return figure


def accuracy_by_arm(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Of `stats.accuracy_table`: intervals, a row of panels for each world, one for each split, chance dotted."""
    looks = style.looks_in(table, arms)
    figure, panels = _panels(table, "arm", looks)
    for axis, part, rows in panels:
        _named_line(axis, part["chance"].mean(), "chance", rows)
        axis.set_xlim(-0.04, 1.04)
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    shapes = {"D": "; diamonds: documents in context", "p": "; pentagons: retrieved"}
    said = "".join(meaning for marker, meaning in shapes.items() if marker in {look.marker for look in looks.values()})
    figure.supxlabel(f"accuracy, with intervals over seeds ({style.span(table['seeds'], 'seed')}){said}")
    return figure


def differences_figure(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Of `stats.difference_table`: a row of panels for each world, one for each split.

    A pair of arms has the look of its first.
    """
    pairs = zip(table["difference"], table["arm"], strict=True)
    looks = {pair: style.arm_look(arms[arm]) for pair, arm in pairs}
    figure, panels = _panels(table, "difference", looks)
    for axis, _, rows in panels:
        _named_line(axis, 0.0, "equal", rows)
        axis.set_xlim(-1.06, 1.06)
    seeds = style.span(table["seeds"], "seed")
    figure.supxlabel(f"difference of accuracies, paired by question, with intervals over seeds ({seeds})")
    return figure


def _panels(
    table: pd.DataFrame, column: str, looks: Mapping[str, style.Look]
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame, int]]]:
    """Intervals, a row of panels for each world, one for each split; of each its part of the table and number of rows.

    The column holds the names of rows, which stand in the order of their looks.
    """
    worlds = dict(iter(table.groupby("world", sort=False)))
    rows = {world: [name for name in looks if name in set(part[column])] for world, part in worlds.items()}
    splits = {world: style.splits_in(part) for world, part in worlds.items()}
    columns = max(map(len, splits.values()))
    heights = [max(len(here), len(world) / 5) + 1.7 for world, here in rows.items()]  # a world's name stands upright
    figure, axes = style.subplots(
        len(worlds), columns, min(style.WIDTH, 1.9 + 1.9 * columns), 0.3 + added(0.42 + 0.155 * h for h in heights),
        sharex=True, gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    panels = []
    for row, (world, part) in zip(axes, worlds.items(), strict=True):
        row[0].set_ylabel(world, fontweight="bold")
        for axis in row[len(splits[world]) :]:
            axis.set_visible(False)
        for axis, split in zip(row, splits[world], strict=False):
            here = part[part["split"] == split]
            counts = f"{style.counted(here['items'].max(), 'item')}, {style.counted(here['facts'].max(), 'fact')}"
            style.heading(axis, split, counts, width=17, size=style.MIDDLE)
            axis.set_yticks(range(len(rows[world])), rows[world] if axis is row[0] else [], fontsize=8)
            for line in here.to_dict("records"):
                place, look = rows[world].index(line[column]), looks[line[column]]
                axis.plot([line["low"], line["high"]], [place, place], color=look.color, linewidth=1.6, alpha=0.7)
                axis.plot(line["value"], place, **look.point())
            axis.grid(axis="y", color="0.92", linewidth=0.8)
            axis.set_axisbelow(True)
            axis.tick_params(axis="y", length=0)
            panels.append((axis, here, len(rows[world])))
    for below in axes.T:
        [axis for axis in below if axis.get_visible()][-1].tick_params(labelbottom=True)
    figure.align_ylabels(axes[:, 0])
    return figure, panels


def _named_line(axis: Axes, place: float, name: str, rows: int) -> None:
    """An upright line, with its name below the last row."""
    axis.axvline(place, **style.CHANCE)
    axis.set_ylim(rows + 0.55, -0.6)
    axis.annotate(name, (place, rows), (2, 0), textcoords="offset points", va="center", **style.NOTE)


def effects_figure(effects: pd.DataFrame, claims: pd.DataFrame) -> Figure:
    """Of `claims.effect_table`: intervals, claim by claim, in the colour of the verdict by `claims.judge`.

    The bounds claimed are ticks.
    """
    claims = claims.set_index("number")
    colors = {"supported": style.GREEN, "inconclusive": style.GREY, "contradicted": style.RED}
    heads = {
        number: textwrap.wrap(f"{number}. {claims.loc[number, 'claim']} ({claims.loc[number, 'verdict']})", 118)
        for number in effects["number"].unique()
    }
    rows = len(effects) + added(0.7 + len(head) for head in heads.values())
    figure, (axis,) = style.panels(1, 1, 0.16 * rows, 0.6)
    place, places, wheres = 0.0, [], []
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
            where = f"{line.world}, {line.split}"
            wheres.append(f"{textwrap.shorten(where, 44, placeholder=' ...', break_on_hyphens=False)}: {line.compared}")
            axis.plot([line.low, line.high], [place, place], color=color, linewidth=1.6, alpha=0.7)
            axis.plot(line.effect, place, "o", color=color, markersize=4.5)
            for bound in (line.above, line.below):
                if not np.isnan(bound):
                    axis.plot(bound, place, "|", color=style.BLACK, markersize=8)
        place += 0.7
    axis.set_yticks(places, wheres, fontsize=style.SMALL)
    axis.axvline(0, **style.CHANCE)
    axis.set_xlim(-1.05, 1.05)
    axis.set_ylim(place + 0.5, -0.3)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("difference, paired by question; black ticks: the bounds claimed")
    return figure


def coverage_figure(table: pd.DataFrame, arms: Mapping[str, Arm], other: str) -> Figure:
    """Of `Experiment.coverage`: accuracy by whether an arm's text has the answer, a panel for each split.

    Bars are those of the other arm, which has no text.
    """
    places = {group: k for k, group in enumerate(GROUPS)}
    looks, splits = style.looks_in(table, arms), style.splits_in(table)
    figure, axes = style.panels(len(splits), 3, 2.05, 0.6)
    for axis, split in zip(axes, splits, strict=True):
        here = table[table["split"] == split]
        for line in here.to_dict("records"):
            group = places[bool(line["text has the answer"]), bool(line["text has a false one"])]
            place, look = group + 0.8 * (list(looks).index(line["arm"]) + 0.5) / len(looks) - 0.4, looks[line["arm"]]
            axis.plot([place, place], [line["low"], line["high"]], color=look.color, linewidth=1.4, alpha=0.7)
            axis.plot(place, line[f"accuracy of {other}"], "_", color=style.BLACK, markersize=9, markeredgewidth=1.6)
            axis.plot(place, line["value"], **look.point())
            axis.text(place, 1.07, f"{line['items']:,}", rotation=90, ha="center", va="bottom", **style.NOTE)
        style.level_chance(axis, here["chance"].mean())
        axis.set_xticks(range(len(GROUPS)), list(GROUPS.values()), fontsize=style.SMALL)
        axis.set_xlim(-0.5, len(GROUPS) - 0.5)
        axis.set_ylim(-0.03, 1.36)
        axis.set_yticks([0, 0.5, 1])
        style.heading(axis, split)
    figure.supylabel("accuracy")
    beside = f"black bars: {other} on the same questions; small: items, of {style.span(table['seeds'], 'seed')}"
    figure.supxlabel(f"what the arm's text says of a question; {beside}")
    style.legend_above(figure, looks)
    return figure


def cost_accuracy(table: pd.DataFrame, arms: Mapping[str, Arm], other: str) -> Figure:
    """Of `cost.cost_accuracy`: accuracy against what a question costs in all, at some numbers of questions.

    The legend tells from how many on an arm costs less than the other one, the baseline.
    """
    volumes, ways = list(dict.fromkeys(table["questions"])), table.groupby("context", sort=False)
    height = 0.6 + len(ways) * max(2.5, 0.38 * table["arm"].nunique())  # the legend beside each row
    figure, axes = style.subplots(len(ways), len(volumes), style.WIDTH, height, sharex=True, sharey=True)
    for axis, volume in zip(axes[0], volumes, strict=True):
        style.heading(axis, f"{volume:,} questions", f"{table['items'].max():,} items, {table['facts'].max():,} facts")
    for row, (way, part) in zip(axes, ways, strict=True):
        for axis, volume in zip(row, volumes, strict=True):
            here = part[part["questions"] == volume]
            for line in here.to_dict("records"):
                look, cost = style.arm_look(arms[line["arm"]]), line["GFLOP a question"]
                axis.plot([cost, cost], [line["low"], line["high"]], color=look.color, linewidth=1.4, alpha=0.7)
                axis.plot(cost, line["value"], label=f"{line['arm']}\n{_pays(line, other)}", **look.point(7.5))
            axis.set_xscale("log")
            axis.set_ylim(-0.03, 1.03)
            style.level_chance(axis, here["chance"].mean())
        row[0].set_ylabel(f"{way}\naccuracy")
        row[-1].legend(
            loc="center left", bbox_to_anchor=(1, 0.5), title=f"costs less than {other}", title_fontsize=8, fontsize=8
        )
    figure.supxlabel("GFLOP per question, costs before the first one included (logarithmic)")
    return figure


def _pays(line: Mapping[str, Any], other: str) -> str:
    if line["arm"] == other:
        return "baseline"
    return BreakEven(line["pays from"], line["pays low"], line["pays high"]).said("from {} on")
