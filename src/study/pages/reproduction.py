"""What a study that was run here says of the published one: its rows, run by run, and its verdicts, claim by claim."""

from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd

from study.evidence.claims import NOT_TESTED, Claim, claims_of, effect_table, judge
from study.evidence.verify import listed_runs, rows_listed
from study.pages.terminal import show_table
from study.params import Params
from study.paths import shown
from study.runs.runner import evaluation_runs_of, rows_of
from study.runs.store import store_of

TOLERANCE = 1e-4  # of a log-probability, in nats; another processor or library rounds otherwise
COMPARED = ("worlds", "questions", "model", "augmentation", "prompts")  # settings that rows of both must share
PLACE = ["world", "seed", "arm"]


class Word(StrEnum):
    """How the rows of a run agree with the published ones."""

    EQUAL = "equal to the bit"
    WITHIN = f"within {TOLERANCE:g} nats, every answer the same"
    DIFFERENT = "different"
    NEW = "not published"


def compare(here: pd.DataFrame, published: pd.DataFrame) -> tuple[Word, int]:
    """How the rows of one run agree with the published ones, and how many answers differ."""
    if published.empty:
        return Word.NEW, 0
    if list(here["item_id"]) != list(published["item_id"]):
        return Word.DIFFERENT, len(here)
    one, other = (np.concatenate([*rows["option_log_probs"]]).astype(float) for rows in (here, published))
    changed = int((here["correct"].to_numpy() != published["correct"].to_numpy()).sum())
    if one.shape == other.shape and np.array_equal(one, other):
        return Word.EQUAL, 0
    close = one.shape == other.shape and np.allclose(one, other, rtol=0, atol=TOLERANCE)
    return (Word.WITHIN if close and not changed else Word.DIFFERENT), changed


def row_table(here: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """One line for each run: dataset, seed, arm, how its rows agree, answers that differ, questions."""
    theirs = dict(iter(published.groupby(PLACE))) if len(published) else {}
    lines = []
    for place, mine in here.groupby(PLACE, sort=False):
        word, changed = compare(mine, theirs.get(place, pd.DataFrame()))
        lines.append({**dict(zip(PLACE, place, strict=True)), "rows": word, "changed": changed, "questions": len(mine)})
    return pd.DataFrame(lines)


def verdict_table(params: Params, here: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """One line for each claim that both can test: verdicts with the published rows, and with these in their place.

    Rows of runs that are not published are added, of arms that a claim needs alone, so that each keeps its pairs.
    """
    lines = []
    for claim in claims_of(params):
        arms = {arm for effect in claim.effects for arm in effect.arms}
        ours = here[here["arm"].isin(arms)]
        if not arms <= set(ours["arm"]):
            continue
        theirs = published[published["arm"].isin(arms)] if len(published) else published
        if len(theirs) and not arms <= set(theirs["arm"]):  # its rows would be half of a pair
            theirs = published.iloc[:0]
        line = {"number": claim.number, "claim": claim.claim}
        line["published"] = _judged(claim, theirs, params)["verdict"] if len(theirs) else NOT_TESTED
        line["with these rows"] = _judged(claim, in_place(ours, theirs), params)["verdict"]
        alone = _judged(claim, ours, params)
        # How many effects are on the claim's side here, and how many beyond doubt on the other.
        line["here"] = f"{alone['in']:.0f} and {alone['beyond']:.0f} of {alone['tests']}" if alone["tests"] else "none"
        lines.append(line)
    return pd.DataFrame(lines)


def in_place(here: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """The published rows, with those of the same runs replaced and the others added."""
    if published.empty:
        return here
    taken = pd.MultiIndex.from_frame(published[PLACE]).isin(pd.MultiIndex.from_frame(here[PLACE]))
    return pd.concat([published[~taken], here], ignore_index=True)


def _judged(claim: Claim, rows: pd.DataFrame, params: Params) -> pd.Series:
    """A claim alone, without correction for others."""
    return judge([claim], effect_table([claim], rows, params.statistics), params.statistics).iloc[0]


def report(params: Params, results: Path, published: Path, published_params: Params) -> None:
    """Print how a study agrees with the published one.

    A study of other datasets, questions or models is not compared.
    """
    if results == published or not listed_runs(published).is_file():
        return
    if other := [field for field in COMPARED if getattr(params, field) != getattr(published_params, field)]:
        print(f"\nnot compared with {shown(published)}: its {', '.join(other)} are others")
        return
    store = store_of(results)
    here = rows_of(evaluation_runs_of(params, store), store)
    if here.empty:
        return
    public = rows_listed(published, params.arms)
    runs = row_table(here, public)
    print(f"\nReproduction: this study beside {shown(published)}\n")
    counts = runs["rows"].value_counts()
    show_table(
        ["rows", "runs", "answers that differ"],
        [
            [str(word), f"{counts[word]}", _changed(runs[runs["rows"] == word]) if word is not Word.NEW else ""]
            for word in Word
            if word in counts
        ],
    )
    table = verdict_table(params, here, public)
    print("\nVerdicts, each claim alone, with the published rows and with these in their place or added")
    show_table(
        ["claim", "published", "with these rows", "effects shown here, and shown against"],
        [
            [f"{line['number']}. {line['claim']}", line["published"], line["with these rows"], line["here"]]
            for line in table.to_dict("records")
        ],
        whole=["published"],
    )
    tested = table[table["published"] != NOT_TESTED] if len(table) else table
    changed = tested[tested["published"] != tested["with these rows"]] if len(tested) else tested
    print(f"\n{len(tested) - len(changed)} of {len(tested)} verdicts stand")


def _changed(runs: pd.DataFrame) -> str:
    return f"{runs['changed'].sum()} of {runs['questions'].sum()}"
