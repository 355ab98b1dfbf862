"""The study in one table: accuracy of the main methods on the main kinds of questions."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from study.evidence.stats import Estimate, accuracy
from study.params import Statistics
from study.sums import added
from study.worlds.world import Split

METHODS = {  # by arm
    "icl": "in context",
    "retrieved": "retrieved passages",
    "ft": "fine-tuned",
    "ft augmented": "fine-tuned + inferences",
    "ft augmented strict": "fine-tuned + strict inferences",
}
OFFERED = METHODS | {"hybrid": "inferences and context"}  # what one could use
# Of each kind of question its splits, and its datasets where it is not of all.
QUESTIONS: dict[str, tuple[Sequence[Split], Sequence[str]]] = {
    "facts as stated": ([Split.STATED], ()),
    "reversals": ([Split.REVERSAL], ()),
    "reversal or contradiction": ([Split.CONTRADICTION], ()),
    "process steps": ([Split.ONE_STEP, Split.TWO_STEPS], ()),
    "two hops, syllogisms": ([Split.TWO_HOPS], ["syllogisms"]),
    "two hops, families": ([Split.TWO_HOPS], ["family"]),
    "two hops, hierarchies": ([Split.TWO_HOPS], ["semantic"]),
    "three hops, families": ([Split.MORE_HOPS], ["family"]),
}


def headline_table(rows: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each kind of question and method that has rows, in the order of both.

    Returns:
        columns question, method, arm, and those of `stats.Estimate`.
    """
    lines = (
        {"question": question, "method": METHODS[arm], "arm": arm, **accuracy(part, statistics)._asdict()}
        for question, here in kinds_of(rows)
        for arm, part in here.groupby("arm", sort=False)
        if arm in METHODS
    )
    table = pd.DataFrame(lines, columns=["question", "method", "arm", *Estimate._fields])
    order = [*QUESTIONS, *METHODS]
    return table.sort_values(["question", "arm"], key=lambda names: names.map(order.index), ignore_index=True)


def shares(rows: pd.DataFrame, arms: Iterable[str], statistics: Statistics) -> pd.DataFrame:
    """Accuracy of those of some arms that have rows, in percent: a line for each kind of question, with chance."""
    lines = []
    for question, here in kinds_of(rows):
        parts = dict(iter(here.groupby("arm")))
        found = {arm: accuracy(parts[arm], statistics) for arm in arms if arm in parts}
        if found:
            values = {arm: estimate.value for arm, estimate in found.items()}
            values["chance"] = added(estimate.chance for estimate in found.values()) / len(found)
            lines.append({"accuracy on": question, **{name: f"{value:.0%}" for name, value in values.items()}})
    return pd.DataFrame(lines)


def kinds_of(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each kind of question that has any; questions about another dataset (retention) are none."""
    for question, (splits, worlds) in QUESTIONS.items():
        here = rows[rows["split"].isin(splits) & ~rows["retention"]]
        here = here[here["world"].isin(worlds)] if worlds else here
        if len(here):
            yield question, here
