"""How the skills of a bundled model came in its pretraining, check by check."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from study.paths import ROOT


def has_history(folder: Path) -> bool:
    """Whether a folder tells how the skills of its model came."""
    return (folder / "history.jsonl").is_file()


def checks(folder: Path) -> pd.DataFrame:
    """Every check of every seed: a line for each skill.

    Returns:
        Columns seed, stage, tokens, loss, skill ("world/split"), accuracy, and facts, the most in a text of the stage.
    """
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    table = pd.DataFrame(lines).melt(["seed", "stage", "tokens", "loss"], var_name="skill", value_name="accuracy")
    stages = _recipe(folder)["stages"]
    return table.dropna(subset="accuracy").assign(facts=lambda t: [stages[stage]["facts"] for stage in t["stage"]])


def shipped_checks(folder: Path) -> pd.DataFrame:
    """The checks of the run that was shipped, as in `checks`, behind those of the model that it goes on from, if any.

    Tokens and stages are counted from the first of these models on.
    """
    table = checks(folder)
    table = table[table["seed"] == table["seed"].iloc[-1]]
    start = _recipe(folder).get("start")
    if not start or not has_history(ROOT / start):
        return table
    before = shipped_checks(ROOT / start)
    tokens, stages = before["tokens"].max(), before["stage"].max() + 1
    table = table.assign(tokens=table["tokens"] + tokens, stage=table["stage"] + stages)
    return pd.concat([before.assign(seed=table["seed"].iloc[-1]), table], ignore_index=True)


def _recipe(folder: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))["recipe"]
    return recipe
