"""The table of the benchmark, its figures, and what machine they are from."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from bench.table import Line
from study.config import ParamsError
from study.figures.style import use_style
from study.paths import shown
from study.provenance import cpu_name
from study.runs.executors import available_cores

ENGINES = ("ctranslate2", "openvino-genai")
PACKAGES = ("torch", "transformers", "peft", "accelerate", "papermill", "lm_eval", "trl", *ENGINES)


def publish(table: pd.DataFrame, curves: pd.DataFrame | None, folder: Path) -> None:
    """Write rows, curves if there are any, and their figures; without curves, rows of an earlier run are kept.

    Raises:
        ParamsError: if the earlier rows are of another machine or other versions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about, earlier = folder / "machine.json", folder / "table.csv"
    if curves is None and earlier.is_file():
        if json.loads(about.read_text(encoding="utf-8")) != machine():
            raise ParamsError(
                f"{shown(earlier)} is of another machine or other versions; run `make bench` without ONLY"
            )
        order = list(dict.fromkeys([*(rows := pd.read_csv(earlier))["work"], *table["work"]]))
        both = pd.concat([rows, table], ignore_index=True).drop_duplicates("work", keep="last")
        table = both.sort_values("work", key=lambda works: works.map(order.index), ignore_index=True)
    table.to_csv(earlier, index=False, float_format="%.4g")
    about.write_text(json.dumps(machine(), indent=1) + "\n", encoding="utf-8")
    pictures = {"ratios": ratios(table)}
    if curves is not None:
        curves.to_csv(folder / "scaling.csv", index=False, float_format="%.4g")
        pictures["scaling"] = scaled(curves)
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", dpi=160, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)


def as_table(lines: list[Line]) -> pd.DataFrame:
    """One row for each line, with its target in words and whether it is met."""
    return pd.DataFrame(
        {
            "work": line.work,
            "against": line.against,
            "ours": line.ours,
            "theirs": line.theirs,
            "floor": line.floor,
            "unit": line.unit,
            "ratio": line.ratio,
            "ratio of processor time": line.cpu_ratio,
            "target": line.target,
            "is": "at most" if line.at_most else "at least",
            "same": line.same,
            "met": line.met,
            "note": line.note,
        }
        for line in lines
    )


def machine() -> dict[str, object]:
    """Where it was measured, and with which versions."""
    return {
        "processor": cpu_name(),
        "cores": available_cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def ratios(table: pd.DataFrame) -> Figure:
    """How many times as fast as the baseline each kind of work is, beside its target."""
    use_style()
    faster = table[table["is"] == "at least"][::-1]
    figure, axes = plt.subplots(figsize=(7.2, 0.42 * len(faster) + 1.0))
    places = [float(k) for k in range(len(faster))]
    axes.barh(places, faster["ratio"], color="#4477AA", height=0.6)
    axes.scatter(faster["target"], places, marker="|", s=260, color="black", linewidths=2, label="target", zorder=3)
    for place, ratio, target in zip(places, faster["ratio"], faster["target"], strict=True):
        axes.text(max(ratio, target) * 1.07, place, f"{ratio:.3g}", va="center", fontsize=8)
    names = [f"{work}\nagainst {against}" for work, against in zip(faster["work"], faster["against"], strict=True)]
    axes.set_yticks(places, names, fontsize=7)
    axes.set_xscale("log")
    axes.set_xlim(right=faster["ratio"].max() * 2)
    axes.set_xlabel("times as fast as the baseline")
    axes.legend(loc="lower right")
    return figure


def scaled(curves: pd.DataFrame) -> Figure:
    """Seconds for scoring along each curve, with the floor of the arithmetic."""
    use_style()
    names = list(dict.fromkeys(curves["curve"]))
    figure, panels = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.6), sharey=True)
    for name, axes in zip(names, panels, strict=True):
        part = curves[curves["curve"] == name]
        axes.plot(part["at"], part["seconds"], "o-", color="#4477AA", label="measured")
        axes.plot(part["at"], part["floor"], "s--", color="#BB5566", label="floor: its products at full speed")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(name)
    panels[0].set_ylabel("seconds")
    panels[0].legend(fontsize=7)
    return figure
