"""The comparison that readers filter: accuracy and cost of each method, by model, dataset and kind of question."""

import html
import json
from collections.abc import Iterator
from typing import Any

from study_published import Published

from study.evidence.cost import UNCACHED, both_ways
from study.figures.style import counted, million
from study.pages.costs import cost_table
from study.pages.experiment import Experiment
from study.pages.real_models import real_models

NUMBERS = ["value", "low", "high", "chance"]


def comparison(published: Published) -> str:
    """The place of the comparison, with all it shows."""
    data = html.escape(json.dumps(list(points(published)), separators=(",", ":")))
    return f'<div class="compare" data-compare="{data}"></div>\n<script src="_static/compare.js" defer></script>'


def points(published: Published) -> Iterator[dict[str, Any]]:
    """A point for each model, dataset, split and method; costs in GFLOP where they are published."""
    params = published.params
    size = f"{million(published.headline['parameters'].max())} M parameters, {len(params.seeds)} seeds"
    costs = both_ways(cost_table(Experiment(params, published.results, "06_mechanism_and_cost")))
    spent = costs.groupby(["world", "arm"])[["once", "query", "without context", UNCACHED]].mean()
    elsewhere = {name for name, arm in params.arms.items() if arm.retention}
    for line in published.accuracy[~published.accuracy["arm"].isin(elsewhere)].to_dict("records"):
        cost = spent.loc[(line["world"], line["arm"])] if (line["world"], line["arm"]) in spent.index else None
        yield _point(size, line) | ({} if cost is None else {"cost": [float(f"{value:.4g}") for value in cost]})
    real = real_models()
    for line in real[~real["arm"].isin(elsewhere)].to_dict("records"):
        yield _point(f"{short_name(line['model'])}, {counted(line['seeds'], 'seed')}", line)


def short_name(model: str) -> str:
    """A model's name without its owner and its file's kind."""
    return model.rpartition("/")[2].removesuffix("-GGUF")


def _point(model: str, line: dict[Any, Any]) -> dict[str, Any]:
    names = {"model": model, "dataset": line["world"], "questions": line["split"], "method": line["arm"]}
    return names | {name: round(float(line[name]), 6) for name in NUMBERS}
