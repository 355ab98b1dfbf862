"""Figures along a quantity: text, steps, tokens, facts, parameters, questions; drawn from tables alone."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from study.figures.style import (
    CHANCE,
    GREEN,
    GREY,
    MIDDLE,
    ORANGE,
    RED,
    SKY,
    SMALL,
    WIDTH,
    arm_look,
    counted,
    heading,
    legend_above,
    level_chance,
    looks_of,
    name_level,
    use_style,
)
from study.params import Arm
from study.worlds.world import Split, Status

SPLITS = [str(split) for split in Split]
STANDINGS: dict[str, dict[str, Any]] = {
    str(Status.ENTAILED): {"color": GREEN},
    str(Status.UNSUPPORTED): {"color": ORANGE, "hatch": "///"},
    str(Status.CONTRADICTED): {"color": RED, "hatch": "xxx"},
    "unparseable": {"color": GREY, "hatch": "..."},
    "unjudged": {"color": SKY},
}
# The splits whose learning is shown.
ON_THE_WAY = (str(Split.STATED), str(Split.REVERSAL), str(Split.TWO_HOPS), str(Split.ONE_STEP))


def costs_figure(costs: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Operations in all against the number of questions, with the context kept and with it read anew for each.

    Args:
        costs: one row for each trial, as given by `cost.cost_lines`.
        arms: all arms of the study, in order.
    """
    use_style()
    questions = np.logspace(0, 6, 61)
    means = costs.groupby("arm")[["once", "writing", "tuning", "query", "query, context read anew"]].mean()
    shown = {arm: arm_look(arms[arm]) for arm in arms if arm in means.index}
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4), sharex=True, sharey=True, layout="constrained")
    for k, (arm, look) in enumerate(shown.items()):
        line = means.loc[arm]
        kept = line["once"] + questions * line["query"]
        anew = line["writing"] + line["tuning"] + questions * line["query, context read anew"]
        for axis, spent in zip(axes, (kept, anew), strict=True):
            axis.plot(questions, spent, markevery=(2 * k, 12), **look.line())
    for axis, title in zip(axes, ("context kept between questions", "context read anew for each"), strict=True):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("questions")
        axis.set_title(title)
        axis.minorticks_off()
        axis.grid(color="0.92", linewidth=0.8)
    axes[0].set_ylabel("10$^9$ operations in all\n(mean of worlds and seeds)")
    legend_above(figure, shown, columns=6)
    return figure


def learning_curves(curves: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Accuracy along the training, a column for each world: a thin line for each seed, a thick one for their mean.

    Args:
        curves: as given by `Experiment.curves`.
        arms: all arms of the study, in order.
    """
    use_style()
    shown = {arm: arm_look(arms[arm]) for arm in arms if arm in set(curves["arm"])}
    curves = curves[curves["split"].isin(ON_THE_WAY)]
    worlds = list(dict.fromkeys(curves["world"]))
    splits = {w: [s for s in SPLITS if s in set(curves[curves["world"] == w]["split"])] for w in worlds}
    height = max(map(len, splits.values()))
    figure, axes = plt.subplots(
        height, len(worlds), figsize=(min(WIDTH, 1 + 2.4 * len(worlds)), 0.8 + 1.55 * height), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for column, world in zip(axes.T, worlds, strict=True):
        for axis, split in zip(column, splits[world], strict=False):
            here = curves[(curves["world"] == world) & (curves["split"] == split)]
            for arm, look in shown.items():
                points = here[here["arm"] == arm].pivot_table("accuracy", "trained", "seed")
                axis.plot(points.index, points, color=look.color, linewidth=0.7, alpha=0.6)
                axis.plot(points.index, points.mean(axis=1), **look.line())
            level_chance(axis, here["chance"].mean())
            told = here.drop_duplicates("seed")
            counts = f"{counted(told['items'].sum(), 'item')}, {counted(told['facts'].sum(), 'fact')}"
            heading(axis, split, counts, size=8)
        for axis in column[len(splits[world]) :]:
            axis.set_visible(False)
        column[len(splits[world]) - 1].tick_params(labelbottom=True)
        column[0].annotate(
            world, (0.5, 1), xytext=(0, 30), xycoords="axes fraction", textcoords="offset points", ha="center",
            fontweight="bold", fontsize=MIDDLE, color="0.35",
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
    legend_above(figure, shown)
    return figure


def model_sizes_figure(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Accuracy by the size of the model, a panel for each split, chance dotted.

    Args:
        table: as given by `Experiment.model_sizes`.
        arms: all arms of the study, in order.
    """
    use_style()
    splits = [split for split in SPLITS if split in set(table["split"])]
    shown = {arm: arm_look(arms[arm]) for arm in arms if arm in set(table["arm"])}
    sizes = sorted(set(table["parameters"] / 1e6))
    along = f"million parameters; intervals over facts and seeds ({counted(table['seeds'].max(), 'seed')})"
    figure, grid = _grid(len(splits), 4, 1.95, along)
    for axis, split in zip(grid, splits, strict=True):
        here = table[table["split"] == split]
        for k, (arm, look) in enumerate(shown.items()):
            part = here[here["arm"] == arm].sort_values("parameters")
            size = part["parameters"] / 1e6 * 1.04 ** (k - (len(shown) - 1) / 2)  # beside each other, not behind
            axis.plot(size, part["value"], **look.line(6))
            axis.vlines(size, part["low"], part["high"], color=look.color, linewidth=1.4, alpha=0.7)
        level_chance(axis, here["chance"].mean())
        counts = f"{counted(here['items'].max(), 'item')}, {counted(here['facts'].max(), 'fact')}"
        heading(axis, split, counts, width=24)
        axis.set_ylim(-0.03, 1.06)
        axis.set_xscale("log")
        axis.set_xticks(sizes, [f"{value:.3g}" for value in sizes])
        axis.minorticks_off()
        axis.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
    legend_above(figure, shown)
    return figure


def _grid(panels: int, columns: int, height: float, along: str) -> tuple[Figure, list[Axes]]:
    """As many panels as are needed in some columns, all with accuracy as their height."""
    rows = -(-panels // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.7 + height * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[panels:]:
        axis.set_visible(False)
    figure.supxlabel(along)
    figure.supylabel("accuracy")
    return figure, list(axes.flat[:panels])


def training_losses(losses: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Loss by step, a line for each trial, a panel for each world.

    Args:
        losses: columns world, arm, seed, step, loss (nats per token).
        arms: all arms of the study, in order.
    """
    use_style()
    shown = {arm: arm_look(arms[arm]) for arm in arms if arm in set(losses["arm"])}
    worlds = list(dict.fromkeys(losses["world"]))
    columns = min(3, len(worlds))
    figure, axes = plt.subplots(
        -(-len(worlds) // columns), columns, figsize=(WIDTH, 0.9 + 2.2 * -(-len(worlds) // columns)), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis, world in zip(axes.flat, worlds, strict=False):
        here = losses[losses["world"] == world]
        for arm, look in shown.items():
            for _, trial in here[here["arm"] == arm].groupby("seed"):
                axis.plot(trial["step"], trial["loss"], markevery=[-1], **look.line(5) | {"linewidth": 1})
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        heading(axis, world, counted(here["seed"].nunique(), "seed"))
    for axis in axes.flat[len(worlds) :]:
        axis.set_visible(False)
    figure.supxlabel("step")
    figure.supylabel("loss, nats per token (logarithmic)")
    legend_above(figure, shown)
    return figure


def augmentation_figure(table: pd.DataFrame) -> Figure:
    """What the generated sentences are worth: shares by standing, one bar for each world and source.

    Args:
        table: columns world, source, sentences, and the share of each standing.
    """
    use_style()
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.3 * len(table)), layout="constrained")
    left = np.zeros(len(table))
    for standing in (standing for standing in STANDINGS if table[standing].any()):
        axis.barh(
            range(len(table)), table[standing], left=left, height=0.72, edgecolor="white", label=standing,
            **STANDINGS[standing],
        )  # fmt: skip
        left += table[standing].to_numpy()
    labels = [f"{line.world}, {line.source}: {line.sentences:,}" for line in table.itertuples()]
    axis.set_yticks(range(len(table)), labels)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of the generated sentences, whose number stands on the left")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def skill_history(table: pd.DataFrame) -> Figure:
    """In-context accuracy along pretraining, a panel for each split, stages as grey bands.

    Args:
        table: columns stage, tokens, skill ("world/split"), accuracy, and chance, which is drawn if it is there.
    """
    use_style()
    names = table["skill"].str.split("/", expand=True)
    table = table.assign(world=names[0], split=names[1], million=table["tokens"] / 1e6)
    looks = looks_of(list(dict.fromkeys(table["world"])))
    splits = [split for split in SPLITS if split in set(table["split"])]
    below = "million tokens read in pretraining, on a log scale; grey bands: every other stage"
    figure, grid = _grid(len(splits), 2, 1.55, below)
    for axis, split in zip(grid, splits, strict=True):
        here = table[table["split"] == split]
        ends = table.groupby("stage")["million"].max()
        for begins, end in zip(ends.shift(fill_value=0)[::2], ends[::2], strict=True):
            axis.axvspan(begins, end, color="0.93", linewidth=0, zorder=0)
        for world, part in here.groupby("world", sort=False):
            axis.plot(part["million"], part["accuracy"], markevery=4, **looks[world].line(4.5))
        if "chance" in table:
            chance = table.drop_duplicates("million").sort_values("million")
            axis.step(chance["million"], chance["chance"], where="post", **CHANCE)
            name_level(axis, chance["chance"].iloc[-1])
        axis.set_ylim(-0.03, 1.05)
        axis.set_xscale("log")
        axis.set_xlim(table["million"].min(), table["million"].max())
        axis.xaxis.set_major_formatter("{x:g}")
        heading(axis, split)
    legend_above(figure, looks)
    return figure


def loss_history(table: pd.DataFrame) -> Figure:
    """Loss along pretraining, a line for each seed.

    Args:
        table: columns seed, stage, tokens, loss; a line for each check.
    """
    use_style()
    seeds = list(dict.fromkeys(table["seed"]))
    looks = looks_of([f"seed {seed}" for seed in seeds])
    figure, axis = plt.subplots(figsize=(WIDTH, 3), layout="constrained")
    for seed, look in zip(seeds, looks.values(), strict=True):
        part = table[table["seed"] == seed]
        axis.plot(part["tokens"] / 1e6, part["loss"], markevery=4, **look.line(4.5))
    axis.set_xlabel("million tokens")
    axis.set_ylabel("loss, nats per labelled token")
    axis.set_ylim(0)
    legend_above(figure, looks)
    return figure


def skill_by_facts(table: pd.DataFrame) -> Figure:
    """In-context accuracy against the number of facts in context, a panel for each world, chance dotted.

    Args:
        table: columns world, split, facts, value, low, high and chance.
    """
    use_style()
    worlds = list(dict.fromkeys(table["world"]))
    splits = [split for split in SPLITS if split in set(table["split"])]
    looks = looks_of(splits)
    along = "facts in context; chance: median of a panel's splits"
    figure, grid = _grid(len(worlds), 3, 2.1, along)
    for axis, world in zip(grid, worlds, strict=True):
        here = table[table["world"] == world]
        for split, part in here.sort_values("facts").groupby("split"):
            axis.plot(part["facts"], part["value"], **looks[split].line(4.5))
            axis.fill_between(
                part["facts"], part["low"], part["high"], color=looks[split].color, alpha=0.12, linewidth=0
            )
        level_chance(axis, here["chance"].median())
        axis.set_xscale("log", base=2)
        ticks = sorted(set(here["facts"]))
        axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=SMALL)
        axis.minorticks_off()
        axis.set_ylim(-0.03, 1.05)
        heading(axis, world)
    legend_above(figure, looks)
    return figure
