"""Recompute a published study's verdicts from its per-item rows alone: no model, no world, no stored aggregate."""

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import Table, concat_tables, parquet

from study.config import ParamsError
from study.digest import sha256_of
from study.evidence.claims import BEHIND_EFFECTS, NOT_TESTED, claims_of, declared, effect_table, judge
from study.params import Params
from study.paths import shown
from study.runs.run import FINISHED
from study.runs.store import ROWS, Store

PAGE = "05_compare"
MOST_SHOWN = 200  # letters of another package's message


def listed_runs(results: Path) -> Path:
    """The list of the runs behind a published study's last notebook."""
    return results / PAGE / "runs.csv"


def runs_listed(results: Path) -> pd.DataFrame:
    """The runs behind a published study's last notebook, with world, seed, arm, run and status.

    Raises:
        ParamsError: if there is no such list, or one that cannot be read.
    """
    listed = listed_runs(results)
    if not listed.is_file():
        raise ParamsError(
            f"{shown(results)} holds no published study ({shown(listed)} is missing); "
            f"`make reproduce STUDY={results.name}`"
        )
    runs = _table(listed, ("world", "seed", "arm", "run", "status"))
    odd = runs.loc[~runs["run"].astype(str).str.fullmatch("[0-9a-f]+"), "run"]
    if len(odd):  # it names a folder
        raise ParamsError(
            f"{shown(listed)}: run = {odd.iloc[0]!r} is no key of a run; `make reproduce STUDY={results.name}` makes it"
        )
    return runs


def _table(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A published table, keys of runs as text.

    Raises:
        ParamsError: if it cannot be read, or lacks a column.
    """
    remedy = f"restore it, or `make reproduce STUDY={file.parents[1].name}` makes it again"
    try:
        table = pd.read_csv(file, dtype={"run": str})
    except (OSError, ValueError) as error:  # pandas raises a ValueError for any malformed file
        raise ParamsError(f"{shown(file)}: cannot be read ({' '.join(str(error).split())}); {remedy}") from None
    if lacking := [column for column in columns if column not in table]:
        raise ParamsError(f"{shown(file)}: has no column {lacking[0]!r}; {remedy}")
    return table


# What the columns behind verdicts must hold.
HOLDS: dict[str, Callable[[pd.Series], bool]] = {
    **dict.fromkeys(("world", "split", "cluster", "item_id", "query"), pd.api.types.is_string_dtype),
    **dict.fromkeys(("seed", "chance"), pd.api.types.is_numeric_dtype),
    "correct": pd.api.types.is_bool_dtype,
    "option_log_probs": lambda column: all(map(len, column)) and bool(np.isfinite([*chain(*column)]).all()),
    "answers": lambda column: all(map(len, column)),
}
BEHIND_VERDICTS = {*HOLDS, *BEHIND_EFFECTS}


def _read(file: Path, columns: Collection[str] | None) -> Table:
    """The rows of a run, of all columns or of those wanted that it has."""
    try:
        with parquet.ParquetFile(file) as rows:
            return rows.read(columns and [name for name in rows.schema_arrow.names if name in columns])
    except Exception as error:  # a damaged file may raise anything
        raise _unreadable(file, _said(error)) from None


def _together(tables: Sequence[Table]) -> tuple[pd.DataFrame, str]:
    """The rows of some runs, and what is wrong with them: a column that does not hold what a verdict needs."""
    try:
        rows = concat_tables(tables, promote_options="permissive").to_pandas()
        return rows, next((name for name, holds in HOLDS.items() if name not in rows or not holds(rows[name])), "")
    except Exception as error:
        return pd.DataFrame(), _said(error)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_SHOWN]


def _unreadable(file: Path, what: str) -> ParamsError:
    return ParamsError(
        f"{shown(file)}: cannot be read ({what}); remove {file.parent.name} and "
        f"`make reproduce STUDY={file.parents[2].name}`"
    )


def rows_listed(
    results: Path, arms: Collection[str] | None = None, columns: Collection[str] | None = None
) -> pd.DataFrame:
    """The rows of every finished run, or of those of some arms, that a published study's last notebook lists.

    Raises:
        ParamsError: naming a run whose rows cannot be read, or lack something that a verdict needs.
    """
    store, runs = Store(results / "runs"), runs_listed(results)
    runs = runs[(runs["status"] == FINISHED) & (True if arms is None else runs["arm"].isin(arms))]
    if runs.empty:
        return pd.DataFrame()
    files = [store.path(key) / ROWS for key in runs["run"]]
    tables = [_read(file, columns) for file in files]
    rows, wrong = _together(tables)  # all at once: one by one takes four times as long
    if wrong:
        for file, table in zip(files, tables, strict=True):
            if what := _together([table])[1]:
                raise _unreadable(file, what)
        raise ParamsError(
            f"{shown(results)}: columns differ from run to run ({wrong}); `make reproduce STUDY={results.name}`"
        )
    return rows.assign(arm=np.repeat(runs["arm"].to_numpy(), [len(table) for table in tables]))


def published_rows(results: Path, columns: Collection[str] | None = None) -> pd.DataFrame:
    """The rows of every run that the study's last notebook lists, of some columns or of all.

    Raises:
        ParamsError: if nothing is published there, or something that cannot be read, or if a row's `correct` is
            inconsistent with its log-probabilities.
    """
    rows = rows_listed(results, columns=columns)
    if rows.empty:
        raise ParamsError(
            f"{shown(listed_runs(results))}: lists no finished run; `make reproduce STUDY={results.name}` makes it"
        )
    found = pd.Series(0, rows.index)
    for _, some in rows["option_log_probs"].groupby(rows["option_log_probs"].map(len)):  # of so many options
        found[some.index] = np.stack([*some]).argmax(axis=1)
    right = [option in answers for option, answers in zip(found, rows["answers"], strict=True)]
    for row in rows[rows["correct"] != right].head(1).itertuples():
        raise ParamsError(
            f"{row.world} / seed {row.seed} / {row.arm}: `correct` is inconsistent with the log-probabilities; restore "
            f"its rows, or `make reproduce STUDY={results.name}`"
        )
    return rows


def _refuse_a_list_of_others(params: Params, results: Path) -> None:
    """Refuse a list of runs that is not that of the study: verdicts of a part of it, or of another, mean nothing.

    Raises:
        ParamsError: naming a run that is missing or is none of the study's.
    """
    listed = runs_listed(results)
    found = set(zip(listed["world"], listed["seed"], listed["arm"], strict=True))
    due = {(w, seed, arm) for w in params.world_names for seed in params.seeds for arm in params.arms_in(w)}
    for wrong, what in ((due - found, "lacks"), (found - due, "has, of other settings,")):
        if wrong:
            world, seed, arm = sorted(wrong)[0]
            raise ParamsError(
                f"{shown(listed_runs(results))}: {what} {len(wrong)} runs, such as {world} / seed {seed} / {arm}; "
                f"`make reproduce STUDY={results.name}` makes it again"
            )


def verify(params: Params, results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every effect and every claim's verdict from the rows, beside the verdict that is published.

    Returns:
        effects: as given by `claims.effect_table`.
        claims: as given by `claims.judge`, with the columns published and follows.
    """
    _refuse_a_list_of_others(params, results)
    rows, claims = published_rows(results, BEHIND_VERDICTS), claims_of(params)
    try:
        effects = effect_table(claims, rows, params.statistics)
    except ValueError as error:
        raise ParamsError(
            f"{shown(results)}: {error}; restore its rows, or `make reproduce STUDY={results.name}`"
        ) from None
    verdicts = judge(claims, effects, params.statistics)
    if (verdicts["verdict"] == NOT_TESTED).all():
        raise ParamsError(f"{shown(results)}: its rows test none of {len(claims)} claims; give a study with their arms")
    published = _table(results / PAGE / "claims.csv", ("number", "verdict"))
    verdicts["published"] = verdicts["number"].map(dict(zip(published["number"], published["verdict"], strict=True)))
    verdicts["follows"] = verdicts["verdict"] == verdicts["published"]
    return effects, verdicts


def seeds_by_freshness(params: Params, results: Path) -> dict[str, list[int]]:
    """The seeds of a published study: fresh ones, whose every run names the claims as they stand, and the others.

    A development seed was seen before the claims were declared. Any other is fresh if all its runs were made after the
    claims had their present text.
    """
    file = params.claims_file
    development, text = set(declared(file).development_seeds), sha256_of(file)
    store, runs = Store(results / "runs"), runs_listed(results)
    found: dict[str, list[int]] = {"fresh": [], "development": [], "run before the claims had this text": []}
    for seed, part in runs.groupby("seed"):
        after = all(store.record(key).get("claims_sha256") == text for key in part["run"])
        late = "fresh" if after else "run before the claims had this text"
        found["development" if seed in development else late].append(int(seed))
    return found
