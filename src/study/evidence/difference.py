"""What another run of the study's arms answers otherwise than the published one, with intervals and in words.

Where both answered the same questions, their answers are compared question by question; where they did not, the means
of both are drawn apart. Each word takes all tests of the table into account (Holm 1979), so that of many differences
that are none, none is likely to be called one.
"""

import math
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.evidence.stats import Contrast, bootstrap_means, contrast, holm
from study.evidence.verify import listed_runs, rows_of, runs_listed
from study.params import Statistics
from study.runs.run import FINISHED
from study.runs.store import Store
from study.terminal import show_table

QUESTION = ["seed", "item_id", "query", "offered"]  # what makes two questions of a world the same
FEWEST_PAIRED = 0.5  # of the shorter run's questions; where fewer are the other's too, both are other questions
CHANCE_APART = 0.02  # accuracies whose chances lie further apart mean different things
SPARE = 2  # times as many draws as let the correction find anything at all


class Word(StrEnum):
    """What a difference amounts to; the value is the label in the table."""

    WITHIN = "within noise"
    HIGHER = "higher"
    LOWER = "lower"
    NOT_COMPARABLE = "not comparable (other questions)"
    NOT_PUBLISHED = "not published"


class _Compared(NamedTuple):
    """Both sides of one world, split and arm, and their difference if there is one."""

    where: tuple[str, str, str]
    here: float
    published: float
    paired: bool
    found: Contrast | None


def rows_listed(results: Path, arms: list[str]) -> pd.DataFrame:
    """The rows of some arms of a published study, as its last page lists them; none if nothing is published."""
    if not listed_runs(results).is_file():
        return pd.DataFrame()
    store, trials = Store(results / "runs"), runs_listed(results)
    chosen = trials[trials["arm"].isin(arms) & (trials["status"] == FINISHED)]
    parts = [rows_of(store, trial.run).assign(arm=trial.arm) for trial in chosen.itertuples()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def difference_table(here: pd.DataFrame, published: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each world, split and arm of a run: both accuracies, and what their difference amounts to.

    Args:
        here: rows of the run, one for each question of each arm.
        published: rows of the published study, likewise.
        statistics: confidence, resamples and seed; more is drawn where there are many tests.

    Returns:
        columns world, split, arm, here, published, difference, low, high, items, paired and word. Where questions are
        paired, accuracies are those on the shared ones.
    """
    keys = ["world", "split", "arm"]
    here, published = (_answers(rows) for rows in (here, published))
    groups = dict(iter(published.groupby(keys))) if len(published) else {}
    tests = sum(where in groups for where, _ in here.groupby(keys))
    needed = math.ceil(2 * SPARE * tests / (1 - statistics.confidence))
    drawn = statistics.model_copy(update={"resamples": max(statistics.resamples, needed)})
    compared = [_compare(where, mine, groups.get(where), drawn) for where, mine in here.groupby(keys, sort=False)]
    columns = [*keys, "here", "published", "difference", "low", "high", "items", "paired", "word"]
    return pd.DataFrame(_lines(compared, statistics.confidence), columns=columns)


def _answers(rows: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        return rows
    return rows.assign(value=rows["correct"].astype(float), offered=rows["options"].map(tuple))


def _compare(
    where: tuple[str, str, str], here: pd.DataFrame, published: pd.DataFrame | None, statistics: Statistics
) -> _Compared:
    if published is None:
        return _Compared(where, here["value"].mean(), math.nan, False, None)
    asked, answered = (pd.MultiIndex.from_frame(rows[QUESTION]) for rows in (here, published))
    shared = asked.isin(answered)
    paired = shared.sum() >= FEWEST_PAIRED * min(len(here), len(published))
    if paired:
        here, published = here[shared], published[answered.isin(asked)]
    found = None
    if paired or abs(here["chance"].mean() - published["chance"].mean()) <= CHANCE_APART:
        found = contrast(here, published, statistics) if paired else _unpaired(here, published, statistics)
    return _Compared(where, here["value"].mean(), published["value"].mean(), paired, found)


def _unpaired(here: pd.DataFrame, published: pd.DataFrame, statistics: Statistics) -> Contrast:
    """Difference of two means that are drawn apart, each from its own facts and seeds."""
    apart = statistics.model_copy(update={"seed": statistics.seed + 1})  # the same draws would go together
    means = _drawn(here, statistics) - _drawn(published, apart)
    facts, seeds = (min(rows[name].nunique() for rows in (here, published)) for name in ("cluster", "seed"))
    return Contrast(float(here["value"].mean() - published["value"].mean()), means, len(here), facts, seeds)


def _drawn(rows: pd.DataFrame, statistics: Statistics) -> np.ndarray:
    """Means of one side, (resamples,), drawn again.

    Of answers that are all right, or all wrong, no draw differs; theirs are drawn from what so many facts could still
    hide (the rule of three, Hanley & Lippman-Hand 1983).
    """
    means = bootstrap_means(rows, statistics)
    if len(set(rows["value"])) > 1:
        return means
    hidden = 1 - np.random.default_rng(statistics.seed).random(len(means)) ** (1 / len(set(rows["cluster"])))
    return means - hidden if means[0] else means + hidden


def _lines(compared: list[_Compared], confidence: float) -> Iterator[dict[str, object]]:
    found = [line.found for line in compared if line.found]
    p_values = iter(holm([min(1.0, 2 * min(test.p_above(0), test.p_below(0))) for test in found]))
    for (world, split, arm), here, published, paired, test in compared:
        line = {"world": world, "split": split, "arm": arm, "here": here, "published": published, "paired": paired}
        if test is None:
            yield {**line, "word": Word.NOT_PUBLISHED if math.isnan(published) else Word.NOT_COMPARABLE}
            continue
        low, high = test.interval(confidence)
        beyond = next(p_values) < 1 - confidence
        word = Word.WITHIN if not beyond else Word.HIGHER if test.value > 0 else Word.LOWER
        yield {**line, "difference": test.value, "low": low, "high": high, "items": test.items, "word": word}


def in_short(table: pd.DataFrame, confidence: float) -> str:
    """The table in a few sentences: how many differences lie beyond noise, and by which test."""
    words = [*table["word"]]
    count = {word: words.count(word) for word in Word}
    tests = sum(count[word] for word in (Word.WITHIN, Word.HIGHER, Word.LOWER))
    if not tests:
        return "Nothing here can be compared with the published study."
    beyond = tests - count[Word.WITHIN]
    said = f"None of {tests} differences lies beyond noise."
    if beyond:
        higher, lower = count[Word.HIGHER], count[Word.LOWER]
        said = f"{beyond} of {tests} differences lie beyond noise: {higher} higher, {lower} lower."
    said += f"\nWords: at {confidence:.0%} over all {tests} tests together (Holm). Intervals: of each difference alone."
    unpaired = int((table["difference"].notna() & ~table["paired"].astype(bool)).sum())
    if tests > unpaired:
        said += f"\n{tests - unpaired} differences are of answers to the same questions, paired one by one."
    if unpaired:
        said += f"\n{unpaired} are of other questions: two means drawn apart, which tells less."
    for word in (Word.NOT_COMPARABLE, Word.NOT_PUBLISHED):
        if count[word]:
            said += f"\n{count[word]}: {word}."
    return said


def show(table: pd.DataFrame) -> None:
    """Print the table."""
    lines = []
    for line in table.itertuples():
        tested = not math.isnan(line.difference)
        asked = f"{line.items:.0f} {'the same' if line.paired else 'others'}" if tested else ""
        difference = f"{line.difference:+.2f} [{line.low:+.2f}, {line.high:+.2f}]" if tested else ""
        published = "" if math.isnan(line.published) else f"{line.published:.2f}"
        lines.append(
            [line.world, line.split, line.arm, f"{line.here:.2f}", published, difference, asked, str(line.word)]
        )
    columns = ["world", "split", "arm", "here", "published", "difference", "questions", ""]
    show_table(columns, lines, whole=["difference"])
