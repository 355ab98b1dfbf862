"""Figures along a quantity: text, steps, tokens, facts, parameters, questions; drawn from tables alone.

`arms` are all arms of the study, in order; those without rows are left out.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from study.arms import Arm
from study.evidence.cost import CACHING, PAID, both_ways
from study.figures import style
from study.worlds.world import Split, Status

STANDINGS: dict[str, dict[str, Any]] = {
    str(Status.ENTAILED): {"color": style.GREEN},
    str(Status.UNSUPPORTED): {"color": style.ORANGE, "hatch": "///"},
    str(Status.CONTRADICTED): {"color": style.RED, "hatch": "xxx"},
    "unparseable": {"color": style.GREY, "hatch": "..."},
    "unjudged": {"color": style.SKY},
}
# The splits whose learning is shown.
ON_THE_WAY = (str(Split.STATED), str(Split.REVERSAL), str(Split.TWO_HOPS), str(Split.ONE_STEP))


def costs_figure(costs: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Of `cost.cost_lines`, one row for each run: total GFLOP against the number of questions."""
    questions = np.logspace(0, 6, 61)
    means, looks = both_ways(costs).groupby("arm").mean(numeric_only=True), style.looks_in(costs, arms)
    figure, axes = style.subplots(1, 2, style.WIDTH, 4, sharex=True, sharey=True)
    for axis, (cached, (once, query)) in zip(axes[0], PAID.items(), strict=True):
        for k, (arm, look) in enumerate(looks.items()):
            spent = means.loc[arm, once] + questions * means.loc[arm, query]
            axis.plot(questions, spent, markevery=(2 * k, 12), **look.line())
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("questions")
        axis.set_title(CACHING[cached])
        axis.minorticks_off()
        axis.grid(color="0.92", linewidth=0.8)
    axes[0, 0].set_ylabel("total GFLOP\n(mean of datasets and seeds)")
    style.legend_above(figure, looks, columns=6)
    return figure


def learning_curves(curves: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Of `Experiment.curves`, a column for each world: a thin line for each seed, a thick one for their mean."""
    looks = style.looks_in(curves, arms)
    curves = curves[curves["split"].isin(ON_THE_WAY)]
    worlds = dict(iter(curves.groupby("world", sort=False)))
    splits = {world: style.splits_in(part) for world, part in worlds.items()}
    rows, width = max(map(len, splits.values())), min(style.WIDTH, 1 + 2.4 * len(worlds))
    figure, axes = style.subplots(rows, len(worlds), width, 0.8 + 1.55 * rows, sharex=True, sharey=True)
    for column, (world, part) in zip(axes.T, worlds.items(), strict=True):
        for axis, split in zip(column, splits[world], strict=False):
            here = part[part["split"] == split]
            for arm, look in looks.items():
                points = here[here["arm"] == arm].pivot_table("accuracy", "trained", "seed")
                if points.empty:  # a line without points has no place, and the layout none for what is around it
                    continue
                axis.plot(points.index, points, color=look.color, linewidth=0.7, alpha=0.6)
                axis.plot(points.index, points.mean(axis=1), **look.line())
            style.level_chance(axis, here["chance"].mean())
            counted = here.drop_duplicates("seed")
            counts = f"{style.counted(counted['items'].sum(), 'item')}, {style.counted(counted['facts'].sum(), 'fact')}"
            style.heading(axis, split, counts, size=8)
        for axis in column[len(splits[world]) :]:
            axis.set_visible(False)
        column[len(splits[world]) - 1].tick_params(labelbottom=True)
        column[0].annotate(
            world, (0.5, 1), xytext=(0, 30), xycoords="axes fraction", textcoords="offset points", ha="center",
            fontweight="bold", fontsize=style.MIDDLE, color="0.35",
        )  # fmt: skip
    for row in axes:
        next(axis for axis in row if axis.get_visible()).tick_params(labelleft=True)
    axes[0, 0].set_ylim(-0.03, 1.06)
    axes[0, 0].set_xticks([0, 0.5, 1], ["0", "½", "1"])
    seeds = curves["seed"].nunique()
    figure.supxlabel(
        "share of the training" + (f"; thin: each of {seeds} seeds, thick: their mean" if seeds > 1 else "")
    )
    figure.supylabel("accuracy")
    style.legend_above(figure, looks)
    return figure


def model_sizes_figure(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Of `Experiment.model_sizes` or `beside_real_models`: accuracy by size, a panel for each split, chance dotted.

    If the table tells datasets apart, a panel for each split of each dataset: its models differ in more than size, so
    they stand side by side, and no line joins them.
    """
    looks, sizes = style.looks_in(table, arms), sorted(set(table["parameters"]))
    joined = "world" not in table
    places = [size / 1e6 for size in sizes] if joined else [10.0**k for k, _ in enumerate(sizes)]
    parts = {split: table[table["split"] == split] for split in style.splits_in(table)}
    if not joined:
        parts = {f"{world}: {split}": part for (world, split), part in table.groupby(["world", "split"], sort=False)}
    figure, axes = _of_accuracy(len(parts), 4, 1.95, f"million parameters; {_over(table)}")
    for axis, (split, here) in zip(axes, parts.items(), strict=True):
        _lines_along(axis, here, here["parameters"].map(dict(zip(sizes, places, strict=True))), looks, joined)
        counts = f"{style.span(here['items'], 'item')}, {style.span(here['facts'], 'fact')}"
        style.heading(axis, split, counts, width=24)
        axis.set_ylim(-0.03, 1.06)
        axis.set_xscale("log")
        axis.set_xticks(places, [style.million(size) for size in sizes])
        axis.minorticks_off()
        axis.set_xlim(places[0] / (1.3 if joined else 2), places[-1] * (1.3 if joined else 2))
    style.legend_above(figure, looks)
    return figure


def _lines_along(
    axis: Axes, table: pd.DataFrame, along: pd.Series, looks: Mapping[str, style.Look], joined: bool = True
) -> None:
    """Points with intervals for each arm along a quantity, joined by a line or not, and chance."""
    table = table.assign(along=along).sort_values("along", kind="stable")
    for k, (arm, look) in enumerate(looks.items()):
        part = table[table["arm"] == arm]
        if part.empty:  # lines of nothing would have no size, and the layout none either
            continue
        apart = (1.04 if joined else 1.25) ** (k - (len(looks) - 1) / 2)  # beside each other, not behind
        places = part["along"] * apart
        axis.plot(places, part["value"], **(look.line(6) if joined else look.point(6)))
        axis.vlines(places, part["low"], part["high"], color=look.color, linewidth=1.4, alpha=0.7)
    if joined:
        style.level_chance(axis, table["chance"].mean())
    else:
        chances = table.groupby("along")["chance"].mean()
        axis.hlines(chances, chances.index / 1.9, chances.index * 1.9, **style.CHANCE)
        style.name_chance(axis, chances.iloc[-1])


def models_by_facts(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Of `Experiment.model_sizes` with several sizes of the datasets: a column for each model, a row for each split."""
    looks, splits = style.looks_in(table, arms), style.splits_in(table)
    models = table.drop_duplicates("model").sort_values("parameters", kind="stable")["model"]
    size = min(style.WIDTH, 1 + 2 * len(models)), 1.3 + 1.6 * len(splits)
    figure, axes = style.subplots(len(splits), len(models), *size, sharex=True, sharey=True)
    ticks = sorted(set(table["in the dataset"]))
    for (row, split), (column, model) in itertools.product(enumerate(splits), enumerate(models)):
        axis, here = axes[row, column], table[(table["split"] == split) & (table["model"] == model)]
        _lines_along(axis, here, here["in the dataset"], looks)
        if row == 0:
            name = model.rsplit("/", 1)[-1].removesuffix("-GGUF").removesuffix("-Instruct")
            style.heading(axis, name, f"{style.million(here['parameters'].max())} million", 16, style.MIDDLE)
        if column == 0:
            axis.set_ylabel(split)
    axes[0, 0].set_xscale("log", base=2)
    axes[0, 0].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[0, 0].set_ylim(-0.03, 1.06)
    figure.supxlabel(f"facts in the dataset; {_over(table)}")
    figure.supylabel("accuracy")
    style.legend_above(figure, looks)
    return figure


def _over(table: pd.DataFrame) -> str:
    """What intervals are over: seeds, and facts where there is one seed only."""
    of_one = ", of one over facts" if table["seeds"].min() == 1 else ""
    return f"intervals over seeds ({style.span(table['seeds'], 'seed')}{of_one})"


def _of_accuracy(count: int, columns: int, height: float, along: str) -> tuple[Figure, list[Axes]]:
    """Panels with accuracy as their height."""
    figure, axes = style.panels(count, columns, height, 0.7)
    figure.supxlabel(along)
    figure.supylabel("accuracy")
    return figure, axes


def training_losses(losses: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Of world, arm, seed, step, loss (nats per token): a line for each run, a panel for each world."""
    looks, worlds = style.looks_in(losses, arms), losses.groupby("world", sort=False)
    figure, axes = style.panels(len(worlds), min(3, len(worlds)), 2.2, 0.9)
    for axis, (world, here) in zip(axes, worlds, strict=True):
        for arm, look in looks.items():
            for _, run in here[here["arm"] == arm].groupby("seed"):
                axis.plot(run["step"], run["loss"], markevery=[-1], **look.line(5) | {"linewidth": 1})
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        style.heading(axis, world, style.counted(here["seed"].nunique(), "seed"))
    figure.supxlabel("step")
    figure.supylabel("loss, nats per token (logarithmic)")
    style.legend_above(figure, looks)
    return figure


def augmentation_figure(table: pd.DataFrame) -> Figure:
    """Of world, source, sentences and the share of each standing: one bar for each world and source."""
    figure, (axis,) = style.panels(1, 1, 0.3 * len(table), 0.9)
    left = np.zeros(len(table))
    for standing, bar in STANDINGS.items():
        if table[standing].any():
            axis.barh(range(len(table)), table[standing], 0.72, left, edgecolor="white", label=standing, **bar)
            left += table[standing].to_numpy()
    labels = [f"{line.world}, {line.source}: {line.sentences:,}" for line in table.itertuples()]
    axis.set_yticks(range(len(table)), labels)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of the generated sentences, whose number stands on the left")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def skill_history(table: pd.DataFrame) -> Figure:
    """Of stage, tokens, skill ("world/split"), accuracy, and chance if it is known: a panel for each split.

    Grey bands are stages of pretraining.
    """
    names = table["skill"].str.split("/", expand=True)
    table = table.assign(world=names[0], split=names[1], million=table["tokens"] / 1e6)
    looks, splits = style.looks_of(dict.fromkeys(table["world"])), style.splits_in(table)
    ends = table.groupby("stage")["million"].max()
    along = "million tokens read in pretraining, on a log scale; grey bands: every other stage"
    figure, axes = _of_accuracy(len(splits), 2, 1.55, along)
    for axis, split in zip(axes, splits, strict=True):
        for begins, end in zip(ends.shift(fill_value=0)[::2], ends[::2], strict=True):
            axis.axvspan(begins, end, color="0.93", linewidth=0, zorder=0)
        for world, part in table[table["split"] == split].groupby("world", sort=False):
            axis.plot(part["million"], part["accuracy"], markevery=4, **looks[world].line(4.5))
        if "chance" in table:
            chance = table.drop_duplicates("million").sort_values("million")
            axis.step(chance["million"], chance["chance"], where="post", **style.CHANCE)
            style.name_chance(axis, chance["chance"].iloc[-1])
        axis.set_ylim(-0.03, 1.05)
        axis.set_xscale("log")
        axis.set_xlim(table["million"].min(), table["million"].max())
        axis.xaxis.set_major_formatter("{x:g}")
        style.heading(axis, split)
    style.legend_above(figure, looks)
    return figure


def loss_history(table: pd.DataFrame) -> Figure:
    """Of seed, tokens, loss, a row for each check of pretraining: a line for each seed."""
    seeds = table.groupby("seed", sort=False)
    looks = style.looks_of(f"seed {seed}" for seed, _ in seeds)
    figure, (axis,) = style.panels(1, 1, 3, 0)
    for (_, part), look in zip(seeds, looks.values(), strict=True):
        axis.plot(part["tokens"] / 1e6, part["loss"], markevery=4, **look.line(4.5))
    axis.set_xlabel("million tokens")
    axis.set_ylabel("loss, nats per labelled token")
    axis.set_ylim(0)
    style.legend_above(figure, looks)
    return figure


def skill_by_facts(table: pd.DataFrame) -> Figure:
    """Of world, split, facts in context, value, low, high, chance: accuracy by facts, a panel for each world."""
    looks, worlds = style.looks_of(style.splits_in(table)), table.groupby("world", sort=False)
    along = "facts in context; chance: median of a panel's splits"
    figure, axes = _of_accuracy(len(worlds), 3, 2.1, along)
    for axis, (world, here) in zip(axes, worlds, strict=True):
        for split, part in here.sort_values("facts", kind="stable").groupby("split"):
            axis.plot(part["facts"], part["value"], **looks[split].line(4.5))
            axis.fill_between(
                part["facts"], part["low"], part["high"], color=looks[split].color, alpha=0.12, linewidth=0
            )
        style.level_chance(axis, here["chance"].median())
        axis.set_xscale("log", base=2)
        ticks = sorted(set(here["facts"]))
        axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=style.SMALL)
        axis.minorticks_off()
        axis.set_ylim(-0.03, 1.05)
        style.heading(axis, world)
    style.legend_above(figure, looks)
    return figure
