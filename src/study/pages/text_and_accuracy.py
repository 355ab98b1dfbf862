"""Accuracy of fine-tuned arms by what their training text says of the question."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from study.evidence.cost import STATED
from study.evidence.stats import accuracy
from study.pages.experiment import Experiment
from study.worlds.world import Split

SAID, NAMED_IN_TURN, NEITHER = "says the answer", "names both in that order", "not at all"  # what a text does


def coverage(experiment: Experiment, other: str) -> pd.DataFrame:
    """Questions by what the arm's text says of them: its accuracy there, and that of another arm on the same."""
    rows = experiment.rows()
    if rows.empty:
        return rows
    key = ["world", "seed", "split", "item_id"]
    beside = rows[rows["arm"] == other].set_index(key)["correct"]
    told = rows[rows["covered"].notna() & ~rows["split"].isin(STATED)]
    told = told.join(beside.rename("other"), on=key, validate="m:1")
    lines = []
    for (arm, split, covered, misled), part in told.groupby(["arm", "split", "covered", "misled"], sort=False):
        estimate = accuracy(part, experiment.params.statistics)._asdict()
        place = {"arm": arm, "split": split, "text has the answer": covered, "text has a false one": misled}
        lines.append({**place, **estimate, f"accuracy of {other}": part["other"].astype(float).mean()})
    return pd.DataFrame(lines)


def named_in_turn(experiment: Experiment, arms: Sequence[str]) -> pd.DataFrame:
    """Accuracy of fine-tuned arms without a context on reversals, by what their training text says of the two.

    The text says the answer in some wording; or it only names both in the order of the question, whatever it says of
    them; or it does neither.
    """
    from study.runs import training_text  # they load torch
    from study.runs.texts import texts_of

    parts = [pd.DataFrame(columns=["world", "arm", "text"])]
    for trial, _ in experiment.finished(arms):
        material, rows = experiment.material(trial.world, trial.seed), experiment.store.rows(trial.key)
        rows = rows[(rows["split"] == Split.REVERSAL) & rows["exposure"].notna()]
        if material.world and len(rows):
            texts = texts_of(trial, material, experiment.store)
            named = training_text.named_in_turn(texts, material.world.entities)
            asked = (row.query + row.options[row.answers[0]] for row in rows.itertuples())
            only = np.where([named(sentence) for sentence in asked], NAMED_IN_TURN, NEITHER)
            parts.append(rows.assign(text=np.where(rows["exposure"] == training_text.NOT_AT_ALL, only, SAID)))
    return pd.DataFrame(
        {"world": world, "arm": arm, "text": text, **accuracy(part, experiment.params.statistics)._asdict()}
        for (world, arm, text), part in pd.concat(parts).groupby(["world", "arm", "text"], sort=False)
    )


def told_or_named(table: pd.DataFrame) -> pd.DataFrame:
    """Of `named_in_turn`, datasets together: the share right of how many, by arm and what its text does."""
    if table.empty:
        return table
    right = table.assign(right=table["value"] * table["items"])
    found = right.groupby(["arm", "text"], sort=False)[["right", "items"]].sum()
    shown = [f"{right / items:.0%} of {items:,.0f}" for right, items in found.itertuples(index=False)]
    wide = pd.Series(shown, found.index).unstack(fill_value="")
    return wide.reindex(index=dict.fromkeys(table["arm"]), columns=[SAID, NAMED_IN_TURN, NEITHER], fill_value="")
