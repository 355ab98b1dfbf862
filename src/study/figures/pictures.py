"""Pictures of worlds: a family and a hierarchy."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.figures.style import BLUE, RED, SMALL, WIDTH, use_style
from study.worlds.family import Families
from study.worlds.semantic import IS_A, Semantic


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


def _node(axis: Axes, place: tuple[float, float], text: str, color: str, *, marked: bool) -> None:
    """A name in a box: full and round, or white with a coloured frame and corners if it is marked."""
    shape, face, ink = ("square", "white", color) if marked else ("round", color, "white")
    box = {"boxstyle": f"{shape},pad=0.3", "facecolor": face, "edgecolor": color}
    axis.text(*place, text, ha="center", va="center", color=ink, fontsize=9, zorder=2, bbox=box)


def _framed(axis: Axes, place: Mapping[str, tuple[float, float]], title: str) -> None:
    xs, ys = zip(*place.values(), strict=True)
    axis.set_xlim(min(xs) - 0.7, max(xs) + 0.7)
    axis.set_ylim(min(ys) - 0.5, max(ys) + 0.4)
    axis.axis("off")
    axis.set_title(title, fontweight="normal")


def family_tree(world: Families, number: int) -> Figure:
    """One family: lines run from each couple to its children; a spouse who married in stands below the partner."""
    use_style()
    members = [person for person, family in world.family.items() if family == number]
    parents: dict[str, list[str]] = {m: [f.subject for f in world.theory.matching("parent", None, m)] for m in members}
    spouse = {f.subject: f.object for f in world.theory.matching("spouse")}
    # The founders' line: who married in has no parents and a partner who has some.
    line = [m for m in members if parents[m] or not parents.get(spouse.get(m, ""), [])]
    below = {m: [child for child in members if m in parents[child]] for m in line}
    roots = [m for m in line if not parents[m]]
    place = tree_layout(below, roots[:1] + [m for m in roots if spouse.get(m) not in roots[:1]])
    for person in members:
        if person not in place:
            x, y = place.get(spouse.get(person, ""), (0.0, 0.0))
            place[person] = (x, y - 0.38)
    figure, axis = plt.subplots(figsize=(WIDTH, 0.4 + 0.85 * len({round(y) for _, y in place.values()})))
    for child, couple in parents.items():
        if couple:
            lower = min((place[parent] for parent in couple), key=lambda at: at[1])
            axis.plot(*zip(lower, place[child], strict=True), color="0.7", linewidth=1, zorder=1)
    for person in members:
        woman = world.classes.get(person) == "woman"
        _node(axis, place[person], person, RED if woman else BLUE, marked=woman)
    _framed(axis, place, "full: men, framed: women; couples stand one below the other, lines lead to their children")
    return figure


def hierarchy(world: Semantic) -> Figure:
    """The kinds, each with what is stated of it: nothing, for those held out."""
    use_style()
    links = [fact for fact in world.facts if fact.relation == IS_A]
    below, own = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for fact in world.facts:
        if fact.relation == IS_A:
            below[fact.object].append(fact.subject)
        else:
            own[fact.subject].append(f"{fact.relation} {fact.object}")
    children = {fact.subject for fact in links}
    roots = [kind for kind in world.entities if world.classes[kind] == "kind" and kind not in children]
    place = tree_layout(below, roots)
    figure, axis = plt.subplots(
        figsize=(max(WIDTH, 0.85 * max(x for x, _ in place.values())), 0.4 + 1.05 * len({y for _, y in place.values()}))
    )
    for fact in links:
        x, y = place[fact.object]
        foot = (x, y - 0.12 - 0.14 * len(own.get(fact.object, ())))  # below what is stated of it
        axis.plot(*zip(foot, place[fact.subject], strict=True), color="0.7", linewidth=1, zorder=1)
    for kind, (x, y) in place.items():
        held_out = kind in world.held_out
        _node(axis, (x, y), kind, RED if held_out else BLUE, marked=held_out)
        if kind in own:
            axis.text(x, y - 0.17, "\n".join(own[kind]), ha="center", va="top", fontsize=SMALL, color="0.2", zorder=2,
                      bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"})  # fmt: skip
    _framed(
        axis, place, "full: kinds with what is stated of them, framed: held-out kinds, which must inherit everything"
    )
    return figure
