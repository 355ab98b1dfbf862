"""The look of all figures: legible at 900 pixels, distinguishable without colour, and the same bytes each time."""

import base64
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from PIL import Image

from study.arms import Arm, Context, Keep, Source
from study.data.questions import Splitting
from study.worlds.world import Split

WIDTH = 9.0  # inches, shown as 900 pixels or so: 7.5 points are 10 pixels then, and nothing is smaller
SMALL, MIDDLE, LARGE = 7.5, 8.5, 9.5  # points
# Okabe and Ito's palette, which colour-blind readers can distinguish, without its yellow, which is too light for lines.
GREY, BLUE, RED, ORANGE = "#6E6E6E", "#0072B2", "#D55E00", "#E69F00"
SKY, GREEN, PINK, BLACK = "#56B4E9", "#009E73", "#CC79A7", "#000000"
CHANCE: dict[str, Any] = {"color": "black", "linestyle": ":", "linewidth": 1.1, "zorder": 1}
NOTE: dict[str, Any] = {"fontsize": SMALL, "color": "0.3"}
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1)), (0, (6, 2, 1, 2)), (0, (4, 1)), (0, (6, 2, 1, 2, 1, 2)))
MARKERS = "osD^vPX<>"


class Look(NamedTuple):
    """How an arm, or whatever else there are several of, is drawn; `fill` and `marker` are matplotlib's."""

    color: str
    marker: str
    fill: str
    dash: Any

    def point(self, size: float = 6.5) -> dict[str, Any]:
        """Of a marker alone."""
        hollow = self.fill == "none"
        return {
            "color": self.color,
            "marker": self.marker,
            "fillstyle": "full" if hollow else self.fill,
            "markerfacecolor": "white" if hollow else self.color,
            "markerfacecoloralt": "white",
            "markeredgecolor": self.color,
            "markersize": size + 2 * (self.marker[0] in "*$"),
            "linestyle": "none",
            "clip_on": False,  # a marker at the border of a panel is whole
        }

    def line(self, size: float = 5.5) -> dict[str, Any]:
        """Of a line with its markers."""
        return self.point(size) | {"linestyle": self.dash, "linewidth": 1.5}


def arm_look(arm: Arm) -> Look:
    """What an arm trains on decides colour, fill and dashes: its left half for local text, its right one for global.

    How it does so and what it has in context decide the marker: a diamond for documents in context, a
    pentagon for retrieved ones.
    """
    added = set(arm.train) - {Source.DOCUMENTS, Source.REPLAY}
    text = "several" if len(added) > 1 else next(iter(added or arm.train), None)
    looks: dict[str | None, tuple[str, str, Any]] = {
        None: (GREY, "none", DASHES[0]),
        Source.DOCUMENTS: (BLUE, "bottom", DASHES[1]),
        Source.REPHRASED: (SKY, "top", DASHES[5]),
        Source.LOCAL: (ORANGE, "left", DASHES[4]),
        Source.GLOBAL: (PINK, "right", DASHES[3]),
        Source.ORACLE: (GREEN, "full", DASHES[1]),
        Source.QUESTIONS: (SKY, "left", DASHES[2]),
        Source.REVERSED: (SKY, "right", DASHES[4]),
        "several": (RED, "full", DASHES[2]),
    }
    marks = {
        letter_of(arm): letter_of(arm),
        "P": arm.retention,
        "X": arm.context is Context.IRRELEVANT,
        "p": arm.context is Context.RETRIEVED,
        f"${arm.shots}$": arm.shots,
        "D": arm.context,
        "^": arm.method == "lora",
        "s": arm.splitting is Splitting.WHOLE,
        "v": arm.splitting is Splitting.CUMULATIVE,
        ">": arm.as_long_as,
        "<": arm.reseed,
        "*": Source.ORACLE in arm.train,
    }
    color, fill, dash = looks[text]
    return Look(color, next((marker for marker, holds in marks.items() if holds), "o"), fill, dash)


def bar(arm: Arm) -> dict[str, Any]:
    """How an arm's bar is filled: hollow without training, hatched with a context besides."""
    look = arm_look(arm)
    strict = Keep.STRICT in arm.keep
    hatch = "...." if arm.context is Context.RETRIEVED else "////" if arm.train and (arm.context or strict) else ""
    solid = arm.train and not hatch
    return {"facecolor": look.color if solid else "white", "edgecolor": look.color, "hatch": hatch, "linewidth": 1.5}


def letter_of(arm: Arm) -> str:
    """The marker of a variant: a letter, with a hat where there is a context as well, with a bar for retention."""
    letters = {
        "o": arm.context is Context.SUPPORTING,
        "f": arm.context is Context.FALSE,
        "s": Keep.STRICT in arm.keep and Source.ORACLE not in arm.train,
        "c": Keep.STRICT in arm.keep,
        "t": Keep.TRUE in arm.keep,
        "a": Keep.AGREED in arm.keep,
        "h": arm.half,
        "d": arm.distilled,
        "r": 0 < arm.replay < 0.2,
        "R": arm.replay,
        "g": arm.learning_rates and not arm.method,
        "q": Source.QUESTIONS in arm.train,
        "w": Source.REVERSED in arm.train,
    }
    letter = next((letter for letter, holds in letters.items() if holds), "")
    accent = "bar" if arm.retention else "hat" if arm.train and arm.context else "mathrm"
    return rf"$\{accent}{{{letter}}}$" if letter else ""


def looks_in(table: pd.DataFrame, arms: Mapping[str, Arm]) -> dict[str, Look]:
    """The look of each arm that has rows, in the order of the study."""
    return {name: arm_look(arm) for name, arm in arms.items() if name in set(table["arm"])}


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """A look for each of some names that are no arms, such as worlds or splits."""
    colors = (BLUE, RED, ORANGE, SKY, GREEN, PINK, BLACK, GREY)
    return {
        name: Look(colors[k % 8], MARKERS[k % 9], ("full", "none")[k // 2 % 2], DASHES[k % 6])
        for k, name in enumerate(names)
    }


def splits_in(table: pd.DataFrame) -> list[str]:
    """The splits that have rows, in the order of all."""
    return [str(split) for split in Split if split in set(table["split"])]


def use_style() -> None:
    """Set the look of all figures, whatever a user's own settings of matplotlib say, in memory alone."""
    matplotlib.use("agg")
    matplotlib.rcdefaults()
    sns.set_theme(
        context="notebook",
        style="ticks",
        rc={
            **dict.fromkeys(("font.size", "axes.labelsize", "figure.labelsize", "legend.fontsize"), MIDDLE),
            **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), MIDDLE),
            "axes.titlesize": LARGE,
            "axes.titleweight": "bold",
            "legend.frameon": False,
            "legend.handlelength": 3.2,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.major.size": 3.5,
            "ytick.major.size": 3.5,
            "figure.dpi": 110,
            "svg.hashsalt": "study",  # names of parts, random otherwise
            "svg.fonttype": "none",  # text stays text, to be searched and edited
        },
    )


def subplots(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches and its panels, (rows, columns)."""
    use_style()
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **more)


def panels(count: int, columns: int, height: float, rest: float, width: float = WIDTH) -> tuple[Figure, list[Axes]]:
    """So many panels in rows of some columns; a row takes `height` inches, and what stands around them the rest."""
    rows = -(-count // columns)
    figure, axes = subplots(rows, columns, width, rest + height * rows, sharey=True)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


class SteadyLayout(ConstrainedLayoutEngine):
    """Constrained layout with each panel's place rounded.

    Its solver sums in an order that follows addresses in memory, and names in an SVG are hashes of places.
    """

    def execute(self, fig: Figure) -> Any:
        """Lay out; what the solver returns."""
        solved = super().execute(fig)
        for axis in fig.axes:
            left, bottom, width, height = axis.get_position().bounds
            axis.set_position((round(left, 8), round(bottom, 8), round(width, 8), round(height, 8)))
            axis.set_in_layout(True)
        return solved


def save(figure: Figure, file: Path) -> None:
    """Save a figure as PNG or SVG, by the ending; nothing in it tells when or by what it was made."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.set_layout_engine(SteadyLayout())
    metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    figure.savefig(file, dpi=160, bbox_inches="tight", pad_inches=0.06, metadata=metadata[file.suffix])
    if file.suffix == ".png":  # of few colours: with a palette of 256 it takes a third of the bytes
        with Image.open(file) as picture:
            flat, dpi = picture.convert("RGB"), picture.info["dpi"]
        flat = flat.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        flat.save(file, optimize=True, dpi=dpi)


def show(figure: Figure, file: Path, alt: str) -> None:
    """Close a figure; in a notebook, show its saved PNG, with what it shows in words."""
    plt.close(figure)
    if get_ipython() is not None:
        picture = base64.b64encode(file.read_bytes()).decode()
        publish_display_data({"image/png": picture, "text/plain": alt})


def heading(axis: Axes, title: str, counts: str = "", width: int = 40, size: float = LARGE) -> None:
    """A title of as many lines as it takes, and smaller what the panel rests on."""
    axis.set_title("\n".join(textwrap.wrap(title, width)), pad=14 if counts else 4, fontsize=size)
    axis.annotate(
        counts, (0.5, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha="center", va="bottom", **NOTE
    )


def name_chance(axis: Axes, chance: float) -> None:
    """The name of the line of chance, upright behind its end, where no data are."""
    axis.annotate(
        "chance", (1, chance), (2, 0), xycoords=axis.get_yaxis_transform(), textcoords="offset points", rotation=90,
        ha="left", va="center", **NOTE,
    )  # fmt: skip


def level_chance(axis: Axes, chance: float) -> None:
    """Chance, drawn and named, where accuracy is the height."""
    axis.axhline(chance, **CHANCE)
    name_chance(axis, chance)


def legend_above(figure: Figure, looks: Mapping[str, Look], columns: int = 4) -> None:
    """One legend of all panels, above them."""
    handles = [Line2D([], [], label=name, **look.line()) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def counted(number: float, what: str) -> str:
    """A number of things in words: 1 seed, 3 seeds."""
    return f"{number:,.0f} {what}" + ("" if number == 1 else "s")


def million(count: float) -> str:
    """A number of parameters, in millions: "5.34", "1,544"."""
    return f"{count / 1e6:.3g}" if count < 1e9 else f"{count / 1e6:,.0f}"


def span(numbers: pd.Series, what: str) -> str:
    """A number of things or, where it differs, the least and the most: "16 to 1,920 items"."""
    least, most = numbers.min(), numbers.max()
    return counted(most, what) if least == most else f"{least:,.0f} to {counted(most, what)}"
