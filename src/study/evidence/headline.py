"""The study in one table: accuracy of the main methods on the main kinds of questions."""

from collections.abc import Collection, Iterator, Sequence

import pandas as pd

from study.evidence.stats import Estimate, accuracy, of_shared_worlds
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
    """One line for each kind of question and method that has rows, in the order of both, by datasets that all have.

    Returns:
        columns question, method, arm, and those of `stats.Estimate`.
    """
    lines = (
        {"question": question, "method": METHODS[arm], "arm": arm, **accuracy(part, statistics)._asdict()}
        for question, parts in kinds_of(rows, METHODS)
        for arm, part in parts.items()
    )
    return pd.DataFrame(lines, columns=["question", "method", "arm", *Estimate._fields])


def shares(rows: pd.DataFrame, arms: Collection[str], statistics: Statistics) -> pd.DataFrame:
    """Accuracy of those of some arms that have rows, in percent: a line for each kind of question, with chance."""
    lines = []
    for question, parts in kinds_of(rows, arms):
        found = {arm: accuracy(part, statistics) for arm, part in parts.items()}
        values = {arm: estimate.value for arm, estimate in found.items()}
        values["chance"] = added(estimate.chance for estimate in found.values()) / len(found)
        lines.append({"accuracy on": question, **{name: f"{value:.0%}" for name, value in values.items()}})
    return pd.DataFrame(lines)


def kinds_of(rows: pd.DataFrame, arms: Collection[str]) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Each kind of question, with the rows of those of some arms that have any, in the order of the arms.

    Of the datasets that every one of these arms has; the name of the kind tells them, if others are left out.
    Questions about another dataset (retention) are none.
    """
    rows = rows[~rows["retention"] & rows["arm"].isin(list(arms))]
    for question, (splits, worlds) in QUESTIONS.items():
        here = rows[rows["split"].isin(splits)]
        here = here[here["world"].isin(worlds)] if worlds else here
        shared = of_shared_worlds(here, arms)
        only = f" ({' and '.join(dict.fromkeys(shared['world']))} only)" if len(shared) < len(here) else ""
        parts = dict(iter(shared.groupby("arm")))
        if parts:
            yield question + only, {arm: parts[arm] for arm in arms if arm in parts}
