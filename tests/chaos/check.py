"""What is compared with the undisturbed study: rows of units exactly, tables of pages, what was finished before."""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from chaos.scratch import Done, Scratch, Study
from study.config import ParamsError
from study.runs.store import key_in

MEASURED = ("seconds", "GB")  # columns that differ between any two runs


def rows_digest(folder: Path) -> str:
    """Digest of every value of a unit's rows, with all digits; files of other bytes may hold the same rows.

    The hash of the settings is left out: a new setting that has its default changes it, and no row.
    """
    table = pq.read_table(folder / "rows.parquet")
    rows = table.select([name for name in table.column_names if name != "params_sha256"]).to_pylist()
    return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()


def bytes_digest(folder: Path) -> str:
    """Digest of the files of a unit."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.iterdir()))).hexdigest()


def finished(study: Study) -> dict[str, str]:
    """The units that the store calls finished, by key, with a digest of their files."""
    folders = study.store.folder.glob("[!.]*") if study.store.folder.is_dir() else ()
    return {key_in(folder.name): bytes_digest(folder) for folder in folders if study.store.has(key_in(folder.name))}


def tables(results: Path, page: str = "0*") -> dict[str, str]:
    """The tables of a study's pages, or of one, by name, without the columns of measured time and memory."""
    return {str(file.relative_to(results)): _unmeasured(file) for file in sorted(results.glob(f"{page}/**/*.csv"))}


def _unmeasured(file: Path) -> str:
    try:
        table = pd.read_csv(file)
    except pd.errors.EmptyDataError:
        return ""
    kept = [name for name in table if not any(word in name for word in MEASURED)]
    return str(table[kept].to_csv(index=False))


def files(study: Study) -> frozenset[str]:
    """The files of a results folder."""
    return frozenset(str(file.relative_to(study.results)) for file in study.results.rglob("*") if file.is_file())


def failure(done: Done, what: str = "it") -> list[str]:
    """What is amiss in a run that should have gone through."""
    return [f"{what} ends with status {done.status}: {done.err.strip()[-500:]!r}"] if done.status else []


class Reference(NamedTuple):
    """The undisturbed study.

    Attributes:
        study: itself.
        rows: digest of each unit's rows, by key.
        labels: name of each unit, by key.
        tables: of its pages, as `tables` gives them.
        files: names of all its files.
        seconds: that it took.
    """

    study: Study
    rows: dict[str, str]
    labels: dict[str, str]
    tables: dict[str, str]
    files: frozenset[str]
    seconds: float

    @classmethod
    def run(cls, scratch: Scratch) -> "Reference":
        """Run the tiny study without a fault.

        Raises:
            ParamsError: if it fails, so that nothing could be compared with it.
        """
        study = scratch.study("undisturbed")
        done = study.finish()
        if done.status:
            raise ParamsError(f"the undisturbed study fails:\n{done.err.strip()}")
        rows = {key: rows_digest(study.store.path(key)) for key in finished(study)}
        labels = {key: study.store.record(key)["label"] for key in rows}
        return cls(study, rows, labels, tables(study.results), files(study), done.seconds)

    def new_study(self, name: str, **changes: object) -> Study:
        """A tiny study with nothing finished; settings may be others."""
        return self.study.scratch.study(name, **changes)

    def copied_study(self, name: str) -> Study:
        """A tiny study with all that the undisturbed one has."""
        return self.study.scratch.study(name, like=self.study)

    def amiss(self, study: Study, before: dict[str, str] | None = None) -> list[str]:
        """What is wrong in the results of a disturbed study, and what it has lost.

        Args:
            study: that was disturbed.
            before: what was finished before, as `finished` gives it.
        """
        here, found = finished(study), []
        for key in here:
            if key not in self.rows:
                found.append(f"unit {key} is none of the study's")
            elif rows_digest(study.store.path(key)) != self.rows[key]:
                found.append(f"{self.labels[key]} is marked finished with other rows")
        for key, digest in (before or {}).items():
            if here.get(key) != digest:
                found.append(f"{self.labels.get(key, key)} was finished and is {'changed' if key in here else 'lost'}")
        for run in study.runs:
            if run.stale() is None:
                found += self._other_tables(study, run.name)
        return found

    def unlike(self, study: Study) -> list[str]:
        """In what a study that has ended differs from the undisturbed one."""
        found = self.amiss(study)
        here = finished(study)
        found += [f"{self.labels[key]} is not finished" for key in self.rows if key not in here]
        found += [f"{run.name} is not up to date: {reason}" for run in study.runs if (reason := run.stale())]
        found += [f"{name} is left over" for name in sorted(files(study) - self.files)]
        return found

    def resumed(self, study: Study) -> list[str]:
        """What is amiss in a study once it was resumed and has ended; its results are removed if nothing is."""
        amiss = failure(study.finish(), "resumed, it") + self.unlike(study)
        if not amiss:
            shutil.rmtree(study.results)
        return amiss

    def _other_tables(self, study: Study, page: str) -> Iterable[str]:
        here = tables(study.results, page)
        for name, table in self.tables.items():
            if name.startswith(f"{page}/") and here.get(name) != table:
                yield f"{page} is called up to date with another {name}"
