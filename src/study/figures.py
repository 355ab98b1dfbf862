"""Figures, drawn from tables alone: no model, no trial is run here."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from study.world import Split, Status
from study.worlds.family import Families
from study.worlds.semantic import IS_A, Semantic

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
        len(worlds), columns, figsize=(2.5 * columns, 0.4 + 1.95 * len(worlds)), sharey=True, squeeze=False
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
    boxes = [Patch(color=colors[arm], label=arm) for arm in shown]
    title = "from left to right" if len(shown) > 1 else None
    figure.legend(
        handles=boxes, title=title, ncols=len(shown), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False
    )
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
    axis.set_xticks([])
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


def tree_layout(below: Mapping[str, Sequence[str]], roots: Sequence[str]) -> dict[str, tuple[float, float]]:
    """(x, y) of each node: leaves side by side, a node above the middle of those below it, roots at y = 0."""
    place: dict[str, tuple[float, float]] = {}
    leaves = 0

    def put(node: str, depth: int) -> float:
        nonlocal leaves
        under = [put(child, depth + 1) for child in below.get(node, ()) if child not in place]
        leaves += not under
        place[node] = (float(np.mean(under)) if under else float(leaves), -float(depth))
        return place[node][0]

    for root in roots:
        if root not in place:
            put(root, 0)
    return place


def _node(axis: Axes, place: tuple[float, float], text: str, color: str) -> None:
    box = {"boxstyle": "round,pad=0.3", "facecolor": color, "edgecolor": "none"}
    axis.text(*place, text, ha="center", va="center", color="white", fontsize=8, zorder=2, bbox=box)


def _framed(axis: Axes, place: Mapping[str, tuple[float, float]], title: str) -> None:
    xs, ys = zip(*place.values(), strict=True)
    axis.set_xlim(min(xs) - 0.7, max(xs) + 0.7)
    axis.set_ylim(min(ys) - 0.5, max(ys) + 0.4)
    axis.axis("off")
    axis.set_title(title, fontsize=9, fontweight="normal")


def family_tree(world: Families, number: int) -> Figure:
    """One family: lines run from each couple to its children; a spouse who married in stands below the partner."""
    use_style()
    members = [person for person, family in world.family.items() if family == number]
    parents: dict[str, list[str]] = {m: [f.subject for f in world.theory.matching("parent", None, m)] for m in members}
    born = [m for m in members if parents[m]]
    spouse = {f.subject: f.object for f in world.theory.matching("spouse")}
    # The founders' line: who married in has no parents and a partner who has some.
    line = [m for m in members if parents[m] or not parents.get(spouse.get(m, ""), [])]
    below = {m: [child for child in born if m in parents[child]] for m in line}
    roots = [m for m in line if not parents[m]]
    place = tree_layout(below, roots[:1] + [m for m in roots if spouse.get(m) not in roots[:1]])
    for person in members:
        if person not in place:
            x, y = place.get(spouse.get(person, ""), (0.0, 0.0))
            place[person] = (x, y - 0.34)
    figure, axis = plt.subplots(figsize=(WIDTH, 1 + 1.05 * len({round(y) for _, y in place.values()})))
    for child, couple in parents.items():
        if couple:
            lower = min((place[parent] for parent in couple), key=lambda at: at[1])
            axis.plot(*zip(lower, place[child], strict=True), color="0.7", linewidth=1, zorder=1)
    colors = {"man": PALETTE[1], "woman": PALETTE[2]}
    for person in members:
        _node(axis, place[person], person, colors.get(world.classes.get(person, ""), "0.35"))
    _framed(axis, place, "blue: men, red: women; couples stand one below the other, lines lead to their children")
    return figure


def hierarchy(world: Semantic) -> Figure:
    """The kinds, each with what is stated of it: nothing, for those held out."""
    use_style()
    links = [fact for fact in world.facts if fact.relation == IS_A]
    below: dict[str, list[str]] = {}
    for fact in links:
        below.setdefault(fact.object, []).append(fact.subject)
    children = {fact.subject for fact in links}
    place = tree_layout(
        below, [kind for kind in world.entities if world.classes[kind] == "kind" and kind not in children]
    )
    own: dict[str, list[str]] = {}
    for fact in world.facts:
        if fact.relation != IS_A:
            own.setdefault(fact.subject, []).append(f"{fact.relation} {fact.object}")
    figure, axis = plt.subplots(
        figsize=(max(WIDTH, 0.85 * max(x for x, _ in place.values())), 1 + 1.3 * len({y for _, y in place.values()}))
    )
    for fact in links:
        axis.plot(*zip(place[fact.object], place[fact.subject], strict=True), color="0.7", linewidth=1, zorder=1)
    for kind, (x, y) in place.items():
        _node(axis, (x, y), kind, PALETTE[2] if kind in world.held_out else PALETTE[1])
        if kind in own:
            axis.text(x, y - 0.17, "\n".join(own[kind]), ha="center", va="top", fontsize=6.5, color="0.3", zorder=2,
                      bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"})  # fmt: skip
    _framed(axis, place, "blue: kinds with what is stated of them, red: held-out kinds, which must inherit everything")
    return figure


def skill_history(table: pd.DataFrame) -> Figure:
    """In-context accuracy along pretraining, a panel for each split, stages as grey bands.

    Args:
        table: columns stage, tokens, skill ("world/split"), accuracy.
    """
    use_style()
    names = table["skill"].str.split("/", expand=True)
    table = table.assign(world=names[0], split=names[1])
    worlds = list(dict.fromkeys(table["world"]))
    splits = [split for split in SPLITS if split in set(table["split"])]
    figure, axes = plt.subplots(len(splits), figsize=(WIDTH, 0.8 + 1.9 * len(splits)), sharex=True, squeeze=False)
    for axis, split in zip(axes[:, 0], splits, strict=True):
        for stage, part in table.groupby("stage"):
            if int(stage) % 2 == 0:
                axis.axvspan(part["tokens"].min() / 1e6, part["tokens"].max() / 1e6, color="0.93", zorder=0)
        for world, part in table[table["split"] == split].groupby("world", sort=False):
            color, dashed = PALETTE[(worlds.index(world) + 1) % len(PALETTE)], worlds.index(world) + 1 >= len(PALETTE)
            axis.plot(
                part["tokens"] / 1e6, part["accuracy"], "--" if dashed else "-", color=color, label=world, linewidth=1.4
            )
        axis.set_ylim(0, 1.02)
        axis.set_ylabel(f"{split}\naccuracy")
    axes[-1, 0].set_xlabel("million tokens (grey bands: every other stage)")
    lines = {label: line for axis in axes[:, 0] for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        lines.values(), lines, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8
    )
    figure.tight_layout()
    return figure


def loss_history(table: pd.DataFrame) -> Figure:
    """Loss along pretraining, a line for each seed.

    Args:
        table: columns seed, stage, tokens, loss; a line for each check.
    """
    use_style()
    figure, axis = plt.subplots(figsize=(WIDTH, 2.8))
    for k, (seed, part) in enumerate(table.groupby("seed", sort=False)):
        axis.plot(part["tokens"] / 1e6, part["loss"], color=PALETTE[(k + 1) % len(PALETTE)], label=f"seed {seed}")
    axis.set_xlabel("million tokens")
    axis.set_ylabel("loss, nats per\nlabelled token")
    axis.set_ylim(0)
    axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def skill_by_facts(table: pd.DataFrame) -> Figure:
    """In-context accuracy against the number of facts in context, a panel for each world, chance dotted.

    Args:
        table: columns world, split, facts, value, low, high and chance.
    """
    use_style()
    worlds = list(dict.fromkeys(table["world"]))
    figure, axes = plt.subplots(-(-len(worlds) // 3), 3, figsize=(WIDTH, 2.5 * -(-len(worlds) // 3)), squeeze=False)
    splits = [split for split in SPLITS if split in set(table["split"])]
    for axis, world in zip(axes.flat, worlds, strict=False):
        here = table[table["world"] == world]
        for split in splits:
            part = here[here["split"] == split].sort_values("facts")
            color = PALETTE[(splits.index(split) + 1) % len(PALETTE)]
            axis.plot(part["facts"], part["value"], "o-", color=color, label=split, linewidth=1.4, markersize=3)
            axis.fill_between(part["facts"], part["low"], part["high"], color=color, alpha=0.15, linewidth=0)
        axis.axhline(here["chance"].median(), **CHANCE)
        axis.set_xscale("log", base=2)
        ticks = sorted(set(here["facts"]))
        axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
        axis.minorticks_off()
        axis.set_ylim(0, 1.04)
        axis.set_title(world)
    for axis in axes.flat[len(worlds) :]:
        axis.set_visible(False)
    figure.supxlabel("facts in context", fontsize=10)
    figure.supylabel("accuracy", fontsize=10)
    lines = {label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        lines.values(), lines, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8
    )
    figure.tight_layout()
    return figure
