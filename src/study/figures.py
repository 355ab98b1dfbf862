"""Figures, drawn from tables alone: no model, no trial is run here."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.params import Arm, Source
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


def arm_color(arm: Arm) -> str:
    """The colour of what an arm is trained on: grey for nothing, blue for documents, and one for each addition."""
    added = set(arm.train) - {Source.DOCUMENTS}
    if not arm.train:
        return "#777777"
    colors = {Source.REPHRASED: "#56B4E9", Source.LOCAL: "#E69F00", Source.GLOBAL: "#CC79A7", Source.ORACLE: "#009E73"}
    return "#0072B2" if not added else colors[added.pop()] if len(added) == 1 else "#D55E00"


def accuracy_by_arm(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Accuracy with intervals, a row of panels for each world, one for each split, chance dotted.

    Args:
        table: as given by `stats.accuracy_table`.
        arms: all arms of the study, in order; those without rows are left out.
    """
    use_style()
    shown = [arm for arm in arms if arm in set(table["arm"])]
    worlds = list(dict.fromkeys(table["world"]))
    here = {
        world: [split for split in SPLITS if split in set(table[table["world"] == world]["split"])] for world in worlds
    }
    columns = max(map(len, here.values()))
    figure, axes = plt.subplots(
        len(worlds),
        columns,
        figsize=(1.4 + 1.9 * columns, 0.5 + len(worlds) * (0.75 + 0.17 * len(shown))),
        sharex=True,
        squeeze=False,
    )
    for row, world in enumerate(worlds):
        part = table[table["world"] == world]
        rows = [arm for arm in shown if arm in set(part["arm"])]
        for column, axis in enumerate(axes[row]):
            if column >= len(here[world]):
                axis.set_visible(False)
                continue
            split = here[world][column]
            _accuracy_panel(axis, part[part["split"] == split], split, rows, arms)
            axis.set_yticks(range(len(rows)), rows if column == 0 else [], fontsize=8)
        axes[row, 0].set_ylabel(world, fontweight="bold")
    figure.supxlabel("accuracy; diamonds: with facts in context, dotted: chance", fontsize=9)
    figure.tight_layout()
    figure.align_ylabels(axes[:, 0])
    return figure


def _accuracy_panel(axis: Axes, table: pd.DataFrame, split: str, rows: Sequence[str], arms: Mapping[str, Arm]) -> None:
    for line in table.itertuples():
        place, color = rows.index(line.arm), arm_color(arms[line.arm])
        axis.plot([line.low, line.high], [place, place], color=color, linewidth=1.6, alpha=0.6)
        axis.plot(line.value, place, "D" if arms[line.arm].context else "o", color=color, markersize=4.5)
    axis.axvline(table["chance"].mean(), **CHANCE)
    axis.set_xlim(-0.03, 1.03)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="y", color="0.92", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.set_title(f"{split}\n", pad=2, fontsize=9.5)
    first = table.iloc[0]
    seeds = "1 seed" if first["seeds"] == 1 else f"{first['seeds']:.0f} seeds"
    counts = f"{first['items']:.0f} items, {first['facts']:.0f} facts, {seeds}"
    axis.text(0.5, 1.02, counts, transform=axis.transAxes, ha="center", va="bottom", fontsize=7, color="0.35")


def effects_figure(effects: pd.DataFrame, claims: pd.DataFrame) -> Figure:
    """Every effect with its interval, claim by claim, in the colour of the claim's verdict; bounds as ticks.

    Args:
        effects: as given by `claims.effect_table`.
        claims: as given by `claims.judge`.
    """
    use_style()
    claims = claims.set_index("number")
    verdicts = claims["verdict"]
    colors = {"replicates": "#009E73", "unresolved": "#777777", "refuted": "#D55E00"}
    effects = effects[effects["effect"].abs() <= 1]  # accuracies; what is in other units is in the table
    figure, axis = plt.subplots(figsize=(WIDTH, 0.8 + 0.165 * (len(effects) + 2.2 * effects["number"].nunique())))
    place, ticks, labels = 0.0, [], []
    for number, part in effects.groupby("number", sort=False):
        place += 2.2
        said = f"{number}. {claims.loc[number, 'claim']} ({verdicts[number]})"
        axis.text(-1.04, place, said, fontsize=7.5, fontweight="bold", va="center", color=colors[verdicts[number]])
        for line in part.itertuples():
            place += 1
            axis.plot([line.low, line.high], [place, place], color=colors[verdicts[number]], linewidth=1.6, alpha=0.6)
            axis.plot(line.effect, place, "o", color=colors[verdicts[number]], markersize=4)
            for bound in (line.above, line.below):
                if not np.isnan(bound):
                    axis.plot(bound, place, "|", color="black", markersize=7)
            where = "" if line.world == "all" else f"{line.world}, {line.split}: "
            ticks.append(place)
            labels.append(f"{where}{line.compared}")
    axis.set_yticks(ticks, labels, fontsize=6.5)
    axis.axvline(0, **CHANCE)
    axis.set_xlim(-1.05, 1.05)
    axis.set_ylim(place + 1, 0)
    axis.set_xlabel("difference, paired by question; black ticks: the bounds claimed")
    figure.tight_layout()
    return figure


def coverage_figure(table: pd.DataFrame, arms: Mapping[str, Arm], other: str) -> Figure:
    """Accuracy by whether the arm's text has the answer, a panel for each split; hollow: the arm without text.

    Args:
        table: as given by `Experiment.coverage`.
        arms: all arms of the study, in order.
        other: name of the arm without text.
    """
    use_style()
    groups = [(covered, misled) for covered in (True, False) for misled in (False, True)]
    names = ["answer alone", "answer and a false one", "neither", "a false one alone"]
    splits = [split for split in SPLITS if split in set(table["split"])]
    shown = [arm for arm in arms if arm in set(table["arm"])]
    figure, axes = plt.subplots(
        -(-len(splits) // 3), 3, figsize=(WIDTH, 0.6 + 2.3 * -(-len(splits) // 3)), sharey=True, squeeze=False
    )
    for axis, split in zip(axes.flat, splits, strict=False):
        for line in table[table["split"] == split].itertuples(name=None, index=False):
            arm, _, covered, misled, value, low, high, *_, beside = line
            place = groups.index((bool(covered), bool(misled))) + 0.8 * (shown.index(arm) + 0.5) / len(shown) - 0.4
            color = arm_color(arms[arm])
            axis.plot([place, place], [low, high], color=color, linewidth=1.2, alpha=0.6)
            axis.plot(place, value, "o", color=color, markersize=4, label=arm)
            axis.plot(place, beside, "o", markerfacecolor="none", markeredgecolor=color, markersize=4)
        axis.axhline(table[table["split"] == split]["chance"].mean(), **CHANCE)
        axis.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=7)
        axis.set_xlim(-0.5, len(names) - 0.5)
        axis.set_ylim(-0.02, 1.04)
        axis.set_title(split, fontsize=9.5)
    for axis in axes.flat[len(splits) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy")
    lines = {label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        [lines[arm] for arm in shown], shown, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False,
        fontsize=8, title=f"what the arm's text says of a question; hollow: {other} on the same questions",
        title_fontsize=8,
    )  # fmt: skip
    figure.tight_layout()
    return figure


def costs_figure(costs: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Operations in all against the number of questions; dashes: the context is read anew for each.

    Args:
        costs: one row for each trial, as given by `cost.cost_lines`.
        arms: all arms of the study, in order.
    """
    use_style()
    questions = np.logspace(0, 6, 61)
    means = costs.groupby("arm")[["once", "writing", "tuning", "query", "query, context read anew"]].mean()
    figure, axis = plt.subplots(figsize=(WIDTH, 4))
    for arm in (name for name in arms if name in means.index):
        line, color, both = means.loc[arm], arm_color(arms[arm]), bool(arms[arm].train and arms[arm].context)
        axis.plot(questions, line["once"] + questions * line["query"], ":" if both else "-", color=color, label=arm)
        if arms[arm].context:
            anew = line["writing"] + line["tuning"] + questions * line["query, context read anew"]
            axis.plot(questions, anew, "-." if both else "--", color=color, label=f"{arm}, context read anew")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("questions")
    axis.set_ylabel("operations in all, 10$^9$\n(mean of worlds and seeds)")
    axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def learning_curves(curves: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Accuracy along the training, means over seeds, a panel for each world.

    Args:
        curves: as given by `Experiment.curves`.
        arms: all arms of the study, in order.
    """
    use_style()
    shown = [arm for arm in arms if arm in set(curves["arm"])]
    splits = [split for split in SPLITS if split in set(curves["split"])]
    few = [split for split in splits if split in (str(Split.TRAINED), str(Split.REVERSAL), str(Split.TWO_HOPS))]
    grid = sns.relplot(
        curves[curves["split"].isin(few)], x="trained", y="accuracy", col="world", hue="arm", style="split",
        kind="line", errorbar=None, markers=True, col_wrap=3, height=2.6, aspect=1.2, style_order=few,
        palette={arm: arm_color(arms[arm]) for arm in shown}, hue_order=shown,
    )  # fmt: skip
    grid.set_titles("{col_name}").set_axis_labels("share of the training", "accuracy").set(ylim=(-0.02, 1.04))
    figure: Figure = grid.figure
    return figure


def ladder_figure(table: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Accuracy by the size of the model, a panel for each split, chance dotted.

    Args:
        table: as given by `Experiment.ladder`.
        arms: all arms of the study, in order.
    """
    use_style()
    splits = [split for split in SPLITS if split in set(table["split"])]
    shown = [arm for arm in arms if arm in set(table["arm"])]
    height = -(-len(splits) // 4)
    figure, axes = plt.subplots(height, 4, figsize=(WIDTH, 0.7 + 2.1 * height), sharey=True, squeeze=False)
    for axis, split in zip(axes.flat, splits, strict=False):
        here = table[table["split"] == split]
        for arm in shown:
            part = here[here["arm"] == arm].sort_values("parameters")
            color, size = arm_color(arms[arm]), part["parameters"] / 1e6
            axis.plot(size, part["value"], "o-", color=color, label=arm, linewidth=1.4, markersize=4)
            axis.vlines(size, part["low"], part["high"], color=color, linewidth=1.2, alpha=0.6)
        axis.axhline(here["chance"].mean(), **CHANCE)
        axis.set_title(split, fontsize=9.5)
        axis.set_ylim(-0.02, 1.04)
        axis.set_xscale("log")
        sizes = sorted(set(table["parameters"] / 1e6))
        axis.set_xticks(sizes, [f"{value:.3g}" for value in sizes])
        axis.minorticks_off()
    for axis in axes.flat[len(splits) :]:
        axis.set_visible(False)
    figure.supxlabel("million parameters", fontsize=10)
    figure.supylabel("accuracy", fontsize=10)
    lines = {label: line for line, label in zip(*axes[0, 0].get_legend_handles_labels(), strict=True)}
    figure.legend(lines.values(), lines, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    figure.tight_layout()
    return figure


def training_losses(losses: pd.DataFrame, arms: Mapping[str, Arm]) -> Figure:
    """Loss by step, a line for each trial, a panel for each world.

    Args:
        losses: columns world, arm, seed, step, loss (nats per token).
        arms: all arms of the study, in order.
    """
    use_style()
    shown = [arm for arm in arms if arm in set(losses["arm"])]
    grid = sns.relplot(
        losses, x="step", y="loss", col="world", hue="arm", style="arm", units="seed", estimator=None,
        kind="line", col_wrap=3, style_order=shown,
        palette={arm: arm_color(arms[arm]) for arm in shown}, hue_order=shown, height=2.6, aspect=1.2,
        facet_kws={"sharex": False},
    )  # fmt: skip
    grid.set_titles("{col_name}").set_axis_labels("step", "loss (nats per token)")
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
