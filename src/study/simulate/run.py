"""`make simulate`: the tables in the terminal, and all of it in a folder."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from study.params import load_params
from study.paths import PARAMS, RESULTS, shown
from study.simulate import FOLDER, figures
from study.simulate.checks import all_checks
from study.simulate.demand import Part
from study.simulate.plan import WORK, Plan
from study.simulate.scenario import GIGA, load_scenario, scenarios
from study.store import PUBLISHED
from study.strict import ParamsError
from study.style import save
from study.terminal import Styled, show_table, show_text

BENCH = RESULTS / "bench"
CLUSTER = "cluster.csv"  # wall times on several machines, put there by who measured them: nodes, seconds


def show_plan(name: str, plan: Plan) -> None:
    """Print what a scenario needs and how it scales."""
    here, gpu = plan.scenario, plan.scenario.gpu
    print(f"\n{name}: {here.about}")
    if here.content.context > here.model.positions:
        print(
            f"note: the context has {here.content.context:,} tokens, the model was made for {here.model.positions:,}",
            file=sys.stderr,
        )
    columns = ["work", "GPUs", *Part._fields, "all", "hours", "bound by"]
    rows: list[list[str | Styled]] = [
        [line["work"], _count(line["GPUs"]), *(_number(line[c]) for c in columns[2:-1]), line["bound by"]]
        for line in pd.DataFrame(plan.needs()).to_dict("records")
    ]
    title = f"GB on each GPU, of {plan.demand.room / GIGA:.0f} usable ones, and hours, on as few as hold it"
    show_table(columns, rows, title=title, whole=columns)
    columns = [
        "GPUs",
        "hours",
        "half / twice",
        "GPU-hours",
        "dollars",
        "MWh",
        "scaling",
        "work",
        "group",
        "shards",
        "limited by",
    ]
    rows = [
        [
            _count(line["GPUs"]) + (" *" if line["GPUs"] > here.gpus else ""),
            _number(line["hours"]),
            f"{_number(line['hours at half'])} / {_number(line['hours at twice'])}",
            *(_number(line[name]) for name in ("GPU-hours", "dollars", "MWh")),
            f"{line['efficiency']:.0%}",
            f"{line['useful']:.0%}",
            str(line["group"]),
            str(line["shards"]),
            Styled(line["limits"], "green" if line["limits"] == WORK else "yellow"),
        ]
        for line in plan.table.to_dict("records")
    ]
    show_table(columns, rows, title=f"on so many GPUs (there are {here.gpus:,})", whole=columns)
    most, dominates = plan.scales_to, plan.shard_law()["reading dominates from"].iloc[0]
    show_text(
        f"Up to {most:,} GPUs it takes no more than twice the GPU-hours of {plan.fewest:,}; no number goes below "
        f"{_number(plan.floor / 3600)} hours. From {dominates:,.0f} shards of a trial's questions on, reading the "
        f"context takes longer than asking. Energy is that of the GPUs alone, at full load. An hour costs "
        f"{gpu.dollars_hour:g} dollars ({gpu.price_source}, {gpu.price_date}). Assumed shares of the peak: arithmetic "
        f"{here.reached.arithmetic:g}, half and twice of it beside; memory {here.reached.memory:g}, network "
        f"{here.reached.network:g}."
    )


def _count(value: float | None) -> str:
    return "" if value is None or pd.isna(value) else f"{value:,.0f}"


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def show_checks(table: pd.DataFrame) -> None:
    """Print the checks."""
    numbers = ["median", "10 %", "90 %"]
    rows = [
        [line["check"], line["fitted on"], str(line["n"]), *(_number(line[name]) for name in numbers), line["note"]]
        for line in table.to_dict("records")
    ]
    print()
    show_table(["foretold over measured", "fitted on", "n", *numbers, "note"], rows, whole=["median"])


def checked(folder: Path) -> pd.DataFrame:
    """A line for each check against the published study and the benchmark."""
    params = load_params(PARAMS / "default.yaml")
    workers = int(json.loads((BENCH / "machine.json").read_text(encoding="utf-8"))["cores"])
    found = all_checks(params, PUBLISHED, BENCH, folder / CLUSTER, workers)
    return pd.DataFrame([check.line() for check in found])


def publish(plans: dict[str, Plan], checks: pd.DataFrame, folder: Path) -> None:
    """Write tables and figures."""
    folder.mkdir(parents=True, exist_ok=True)
    needs = pd.concat([pd.DataFrame([{"scenario": name, **line} for line in p.needs()]) for name, p in plans.items()])
    scaling = pd.concat([plan.table.assign(scenario=name, floor=plan.floor / 3600) for name, plan in plans.items()])
    shards = pd.concat([plan.shard_law().assign(scenario=name) for name, plan in plans.items()])
    made = checks[checks["n"] > 0]
    scales = {name: plan.scales_to for name, plan in plans.items()}
    plt.switch_backend("Agg")
    _table(needs, folder / "needs.csv")
    _table(pd.DataFrame([{"scenario": name, **plan.summary()} for name, plan in plans.items()]), folder / "summary.csv")
    _figure("scaling", figures.scaling(scaling), _named(scaling), figures.scaling_told(scaling, scales), folder)
    _figure("losses", figures.losses(scaling), _named(scaling), figures.losses_told(scaling), folder)
    _figure("shards", figures.shards(shards), _named(shards), figures.shards_told(shards), folder)
    _figure("checks", figures.checks(made), checks, figures.checks_told(made), folder)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The scenario first."""
    return table[["scenario", *(column for column in table.columns if column != "scenario")]]


def _table(table: pd.DataFrame, file: Path) -> None:
    table.to_csv(file, index=False, float_format="%.5g")


def _figure(name: str, figure: Figure, numbers: pd.DataFrame, told: str, folder: Path) -> None:
    _table(numbers, folder / f"{name}.csv")
    for kind in ("png", "svg"):
        save(figure, folder / f"{name}.{kind}")
    (folder / f"{name}.txt").write_text(told + "\n", encoding="utf-8")
    plt.close(figure)


def run(name: str, folder: Path = FOLDER) -> int:
    """Simulate one scenario and print it, or all of them, which are written, too.

    Args:
        name: of the scenario; all, if it is empty.
        folder: for tables and figures.

    Raises:
        ParamsError: if there is no such scenario, or it cannot be run.
    """
    plans = {each: Plan(load_scenario(each)) for each in ([name] if name else scenarios())}
    for each, plan in plans.items():
        try:
            show_plan(each, plan)
        except ParamsError as error:
            raise ParamsError(f"{each}: {error}") from None
    checks = checked(folder)
    show_checks(checks)
    if not name:
        publish(plans, checks, folder)
        print(f"written to {shown(folder)}")
    return 0
