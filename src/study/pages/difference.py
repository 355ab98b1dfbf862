"""How another run of the study's arms differs from the published one, with intervals and in words.

Where both answered the same questions, their answers are compared question by question; where they did not, their
means are independent. Each word is corrected for all tests of the table (Holm 1979).
"""

import math
from collections.abc import Iterator
from enum import StrEnum

import pandas as pd

from study.evidence.stats import Contrast, contrast, holm, independent
from study.evidence.verify import listed_runs, rows_listed
from study.pages.experiment import Experiment
from study.pages.page import Page
from study.pages.terminal import show_table
from study.params import Params, Statistics
from study.paths import shown
from study.runs.store import PUBLISHED

KEYS = ["world", "split", "arm"]
QUESTION = ["seed", "item_id", "query", "offered"]  # what makes two questions of a world the same
FEWEST_PAIRED = 0.5  # of the shorter run's questions; with fewer in common, both are compared as other questions
CHANCE_APART = 0.02  # accuracies whose chances differ by more mean different things
COLUMNS = [*KEYS, "here", "published", "difference", "low", "high", "items", "paired", "word"]


class Word(StrEnum):
    """What a difference amounts to; the value is the label in the table."""

    WITHIN = "within noise"
    HIGHER = "higher"
    LOWER = "lower"
    NOT_COMPARABLE = "not comparable (other questions)"
    NOT_PUBLISHED = "not published"


def difference_table(here: pd.DataFrame, published: pd.DataFrame, statistics: Statistics) -> pd.DataFrame:
    """One line for each world, split and arm of a run: both accuracies, and what their difference amounts to.

    Args:
        here: rows of the run, one for each question of each arm.
        published: rows of the published study, likewise.
        statistics: confidence.

    Returns:
        columns world, split, arm, here, published, difference, low, high, items, paired and word. Where questions are
        paired, accuracies are those on the shared ones.
    """
    here, published = _answers(here), _answers(published)
    groups = dict(iter(published.groupby(KEYS))) if len(published) else {}
    compared = [(where, *_compare(mine, groups.get(where))) for where, mine in here.groupby(KEYS, sort=False)]
    found = [test for *_, test in compared if test]
    p_values = iter(holm([min(1.0, 2 * min(test.p_above(0), test.p_below(0))) for test in found]))
    lines = [
        dict(zip(KEYS, where, strict=True)) | means | (_judged(test, next(p_values), statistics) if test else {})
        for where, means, test in compared
    ]
    return pd.DataFrame(lines, columns=COLUMNS)


def _answers(rows: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        return rows
    return rows.assign(value=rows["correct"].astype(float), offered=rows["options"].map(tuple))


def _compare(here: pd.DataFrame, published: pd.DataFrame | None) -> tuple[dict[str, object], Contrast | None]:
    """The means of both sides, and their difference if there is one."""
    if published is None:
        means = {"here": here["value"].mean(), "published": math.nan, "paired": False}
        return {**means, "word": Word.NOT_PUBLISHED}, None
    mine, theirs = (pd.MultiIndex.from_frame(rows[QUESTION]) for rows in (here, published))
    shared = mine.isin(theirs)
    paired = bool(shared.sum() >= FEWEST_PAIRED * min(len(here), len(published)))
    if paired:
        here, published = here[shared], published[theirs.isin(mine)]
    means = {"here": here["value"].mean(), "published": published["value"].mean(), "paired": paired}
    if not paired and abs(here["chance"].mean() - published["chance"].mean()) > CHANCE_APART:
        return {**means, "word": Word.NOT_COMPARABLE}, None
    return means, (contrast if paired else independent)(here, published)


def _judged(test: Contrast, p_value: float, statistics: Statistics) -> dict[str, object]:
    low, high = test.interval(statistics.confidence)
    significant = p_value < 1 - statistics.confidence
    word = Word.WITHIN if not significant else Word.HIGHER if test.value > 0 else Word.LOWER
    return {"difference": test.value, "low": low, "high": high, "items": test.items, "word": word}


def in_short(table: pd.DataFrame, confidence: float) -> str:
    """The table in a few sentences: how many differences are significant, and by which test."""
    count = {word: int((table["word"] == word).sum()) for word in Word}
    significant = count[Word.HIGHER] + count[Word.LOWER]
    tests = significant + count[Word.WITHIN]
    if not tests:
        return "Nothing here can be compared with the published study."
    directions = f"{count[Word.HIGHER]} higher, {count[Word.LOWER]} lower"
    said = [
        f"{significant} of {tests} differences are significant: {directions}."
        if significant
        else f"None of {tests} differences is significant.",
        f"Words: at {confidence:.0%} over all {tests} tests together (Holm). Intervals: of each difference alone.",
    ]
    unpaired = int((table["difference"].notna() & ~table["paired"].astype(bool)).sum())
    if tests > unpaired:
        said.append(f"{tests - unpaired} differences are of answers to the same questions, paired one by one.")
    if unpaired:
        said.append(f"{unpaired} are of other questions: two independent means, which tell less.")
    said += [f"{count[word]}: {word}." for word in (Word.NOT_COMPARABLE, Word.NOT_PUBLISHED) if count[word]]
    return "\n".join(said)


def show(table: pd.DataFrame) -> None:
    """Print the table."""
    lines = []
    for line in table.itertuples():
        tested = not math.isnan(line.difference)
        questions = f"{line.items:.0f} {'the same' if line.paired else 'others'}" if tested else ""
        difference = f"{line.difference:+.2f} [{line.low:+.2f}, {line.high:+.2f}]" if tested else ""
        published = "" if math.isnan(line.published) else f"{line.published:.2f}"
        where = [line.world, line.split, line.arm]
        lines.append([*where, f"{line.here:.2f}", published, difference, questions, str(line.word)])
    columns = [*KEYS, "here", "published", "difference", "questions", ""]
    show_table(columns, lines, whole=["difference"])


def changed_settings(theirs: object, mine: object, path: str = "") -> Iterator[str]:
    """A line for each setting that differs, by its dotted path; what only one side has is one line."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for key in {**theirs, **mine}:
            yield from changed_settings(theirs.get(key), mine.get(key), f"{path}.{key}" if path else key)
    elif mine is None and isinstance(theirs, dict):
        yield f"  {path}: left out"
    elif theirs != mine:
        yield f"  {path}: {theirs!r} -> {mine!r}"


def show_differences(run: Page, default: Params) -> None:
    """Print how an executed notebook's settings differ from the published study's, and the accuracies of its arms."""
    experiment = Experiment(run.params, run.results, run.name)
    arms = experiment.arms
    print(f"\nparams that differ from params/{PUBLISHED.name}.yaml")
    print("\n".join(changed_settings(default.plain(), run.params.plain())) or "  none")
    here = experiment.rows(arms)
    if here.empty:
        print("\nthis notebook runs no trials, so no accuracy is compared")
        return
    statistics = run.params.statistics
    published = rows_listed(PUBLISHED, arms) if listed_runs(PUBLISHED).is_file() else pd.DataFrame()
    table = difference_table(here, published, statistics)
    print(f"\naccuracy here and in {shown(PUBLISHED)}\n{in_short(table, statistics.confidence)}\n")
    show(table)
