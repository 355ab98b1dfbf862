"""Figures, drawn from tables alone: no model, no trial is run here."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.world import Split, Status, World

SPLITS = [str(split) for split in Split]
WIDTH = 9.0  # inches
# Okabe and Ito's palette: told apart by colour-blind readers. Grey for the arms that learn nothing.
PALETTE = ("#999999", "#0072B2", "#D55E00", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#000000")
CHANCE: dict[str, Any] = {"color": "black", "linestyle": ":", "linewidth": 1.2}


def use_style() -> None:
    """The look of all figures."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        rc={
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.dpi": 110,
        },
    )


def arm_colors(arms: Sequence[str]) -> dict[str, str]:
    """A colour for each arm, by its place in the table of arms."""
    return {arm: PALETTE[k % len(PALETTE)] for k, arm in enumerate(arms)}


def accuracy_by_arm(table: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Bars of accuracy with intervals, one panel for each world and split, chance dotted.

    Args:
        table: as given by `stats.accuracy_table`.
        arms: all arms of the study, in order; those without rows are left out.
    """
    use_style()
    shown = [arm for arm in arms if arm in set(table["arm"])]
    colors = arm_colors(arms)
    worlds = list(dict.fromkeys(table["world"]))
    panels = [(w, s) for w in worlds for s in SPLITS if len(table[(table["world"] == w) & (table["split"] == s)])]
    columns = max(sum(world == w for world, _ in panels) for w in worlds)
    figure, axes = plt.subplots(
        len(worlds), columns, figsize=(2.5 * columns, 0.7 + 2.9 * len(worlds)), sharey=True, squeeze=False
    )
    for row, world in enumerate(worlds):
        splits = [split for w, split in panels if w == world]
        for column in range(columns):
            axis = axes[row, column]
            if column >= len(splits):
                axis.set_visible(False)
                continue
            _accuracy_panel(axis, table, world, splits[column], shown, colors)
            if column == 0:
                axis.set_ylabel(f"{world}\naccuracy")
    figure.tight_layout()
    return figure


def _accuracy_panel(
    axis: Axes, table: pd.DataFrame, world: str, split: str, arms: Sequence[str], colors: dict[str, str]
) -> None:
    here = table[(table["world"] == world) & (table["split"] == split)].set_index("arm").reindex(arms)
    positions = np.arange(len(arms))
    errors = np.clip([here["value"] - here["low"], here["high"] - here["value"]], 0, None)
    axis.bar(positions, here["value"], color=[colors[arm] for arm in arms], width=0.75)
    axis.errorbar(positions, here["value"], yerr=errors, fmt="none", ecolor="black", elinewidth=1, capsize=2)
    axis.axhline(here["chance"].mean(), **CHANCE)
    axis.set_xticks(positions, arms, rotation=55, ha="right", rotation_mode="anchor")
    axis.set_ylim(0, 1.04)
    first = here.dropna().iloc[0]
    axis.set_title(f"{split}\n", pad=2)
    seeds = "1 seed" if first["seeds"] == 1 else f"{first['seeds']:.0f} seeds"
    counts = f"{first['items']:.0f} items, {first['facts']:.0f} facts, {seeds}"
    axis.text(0.5, 1.02, counts, transform=axis.transAxes, ha="center", va="bottom", fontsize=7.5, color="0.35")


def claims_figure(claims: pd.DataFrame) -> Figure:
    """Paired differences with their intervals, one line for each claim."""
    use_style()
    tested = claims[claims["verdict"] != "not tested"].iloc[::-1]
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.42 * len(tested)))
    color = {"supported": "#009E73", "undecided": "#999999", "contradicted": "#D55E00"}
    for position, claim in enumerate(tested.itertuples()):
        axis.plot([claim.low, claim.high], [position, position], color=color[claim.verdict], linewidth=2)
        axis.plot(claim.value, position, "o", color=color[claim.verdict])
        axis.annotate(
            f"{claim.value:+.2f}  {claim.verdict}", (1.05, position), va="center", fontsize=8.5, annotation_clip=False
        )
    labels = [f"{c.name}\n{c.world}, {c.split}: {c.arm} - {c.other}" for c in tested.itertuples()]
    axis.set_yticks(range(len(tested)), labels, fontsize=8)
    axis.axvline(0, **CHANCE)
    axis.set_xlim(-1.02, 1.02)
    axis.set_xlabel("difference of accuracies, paired by question")
    figure.tight_layout()
    return figure


def training_losses(losses: pd.DataFrame, arms: Sequence[str]) -> Figure:
    """Loss by epoch, a line for each trial, a panel for each world.

    Args:
        losses: columns world, arm, seed, epoch, loss (nats per token).
        arms: all arms of the study, in order.
    """
    use_style()
    grid = sns.relplot(
        losses, x="epoch", y="loss", col="world", hue="arm", units="seed", estimator=None, kind="line",
        palette=arm_colors(arms), hue_order=[arm for arm in arms if arm in set(losses["arm"])], height=2.8, aspect=1.3,
    )  # fmt: skip
    grid.set_titles("{col_name}").set_axis_labels("epoch", "loss (nats per token)")
    figure: Figure = grid.figure
    return figure


def augmentation_figure(inferences: pd.DataFrame) -> Figure:
    """What the generated sentences are worth: shares by standing, one bar for each world and source."""
    use_style()
    order = [*map(str, (Status.ENTAILED, Status.UNSUPPORTED, Status.CONTRADICTED)), "unparseable"]
    colors = dict(zip(order, ("#009E73", "#E69F00", "#D55E00", "#999999"), strict=True))
    shares = (
        inferences.groupby(["world", "source"], sort=False)["status"].value_counts(normalize=True).unstack(fill_value=0)
    ).reindex(columns=order, fill_value=0.0)
    counts = inferences.groupby(["world", "source"], sort=False).size()
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.5 * len(shares)))
    left = np.zeros(len(shares))
    labels = [f"{world}, {source}\n{counts[world, source]} sentences" for world, source in shares.index]
    for status in order:
        axis.barh(labels, shares[status], left=left, color=colors[status], label=status, height=0.65)
        left += shares[status].to_numpy()
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of generated sentences")
    axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=9)
    figure.tight_layout()
    return figure


def family_tree(world: World, members: Sequence[str]) -> Figure:
    """One family as a tree: a line runs from each parent to each child."""
    use_style()
    parents = {f: [g.subject for g in world.facts if g.object == f] for f in members}

    def generation(person: str) -> int:
        return 1 + max((generation(p) for p in parents[person]), default=-1)

    def spouse_generation(person: str) -> int:
        partners = [p for couple in parents.values() if person in couple for p in couple]
        return max(generation(p) for p in [person, *partners])

    levels: dict[int, list[str]] = {}
    for person in members:
        levels.setdefault(spouse_generation(person), []).append(person)
    place = {
        person: ((k + 0.5) / len(level), -depth) for depth, level in levels.items() for k, person in enumerate(level)
    }
    figure, axis = plt.subplots(figsize=(WIDTH, 1 + 1.1 * len(levels)))
    for child, couple in parents.items():
        for parent in couple:
            axis.plot(*zip(place[parent], place[child], strict=True), color="0.7", linewidth=1, zorder=1)
    roles = {fact.subject: fact.relation for fact in world.facts}
    colors = {"father": "#0072B2", "mother": "#D55E00"}
    for person, (x, y) in place.items():
        color = colors.get(roles.get(person, ""), "0.35")
        axis.text(x, y, person, ha="center", va="center", color="white", fontsize=9, zorder=2,
                  bbox={"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "none"})  # fmt: skip
    axis.set_xlim(0, 1)
    axis.set_ylim(-max(levels) - 0.5, 0.5)
    axis.axis("off")
    axis.set_title("blue: a father, red: a mother, grey: neither", fontsize=9, fontweight="normal")
    return figure


def skill_history(table: pd.DataFrame) -> Figure:
    """In-context accuracy along pretraining, stages as grey bands.

    Args:
        table: columns stage, tokens, skill ("world/split"), accuracy.
    """
    use_style()
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6))
    for stage, part in table.groupby("stage"):
        if int(stage) % 2 == 0:
            axis.axvspan(part["tokens"].min() / 1e6, part["tokens"].max() / 1e6, color="0.93", zorder=0)
    for k, (skill, part) in enumerate(table.groupby("skill", sort=False)):
        axis.plot(
            part["tokens"] / 1e6, part["accuracy"], color=PALETTE[(k + 1) % len(PALETTE)], label=skill, linewidth=1.4
        )
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("million tokens (grey bands: every other stage)")
    axis.set_ylabel("in-context accuracy")
    axis.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)
    figure.tight_layout()
    return figure
