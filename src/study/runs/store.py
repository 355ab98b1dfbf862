"""Finished runs, each stored once under the content hash of all it depends on.

A run's folder is named `<dataset>-<arm>-seed<n>-<key>`, for readers; it is found by its key alone. It holds
`rows.parquet` and `record.json`, which holds the SHA-256 of the rows. It is written beside its place, brought to the
disk and renamed, so it appears whole or not at all, and an interrupted study resumes where it stopped. A run whose
files were damaged later, by a failing disk say, is not finished: it is repeated.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import BaseFileLock, FileLock, Timeout

from study.config import ParamsError
from study.digest import sha256_of
from study.paths import NB, RESULTS, shown
from study.runs.packs import unpacked

if TYPE_CHECKING:  # it is slow to import, and not needed to see what is finished
    import pandas as pd

PUBLISHED = RESULTS / "full"  # what `make verify` and the site show, and others are compared with
HELD = "STUDY_RESULTS_HELD"  # names the results folder that a parent process keeps others out of
SETTLED_NS, FRESH_NS = 10 * 10**9, 10**9  # after its last change, and since it was listed
ROWS, RECORD = "rows.parquet", "record.json"
# What a file system says of what it cannot do; a network share may.
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EPERM, errno.EBADF)

Files = dict[str, dict[str, bytes]]  # by the name of a run's folder, by their own


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def declared(value: Any) -> Any:
    """A recipe without what is None, False or empty: a new option, off by default, makes no finished run stale."""
    if isinstance(value, dict):
        return {name: kept for name, inner in value.items() if not _is_off(kept := declared(inner))}
    return [declared(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _is_off(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, (dict, list, str)) and not value)


@dataclass(frozen=True)
class Store:
    """A folder of finished runs, and others whose runs may be read but are never written.

    Attributes:
        folder: of the runs.
        others: folders of other studies.
    """

    folder: Path
    others: tuple[Path, ...] = ()

    def path(self, key: str) -> Path:
        """The folder of the run of this key, or where it would be if nothing else names it."""
        folders = dict.fromkeys(some for runs in (self.folder, *self.others) for some in (runs, unpacked(runs)))
        places = [found for folder in folders if (found := _folder_of(folder, key))]
        return next((place for place in places if digest_of(place)), places[0] if places else self.folder / key)

    def has(self, key: str) -> bool:
        """Whether the run is finished."""
        return self.digest(key) is not None

    def digest(self, key: str) -> str | None:
        """The hash of the rows of the run; None if it is not finished."""
        return digest_of(self.path(key))

    def damaged(self, key: str) -> bool:
        """Whether there is something in the run's place that is no finished run."""
        return _folder_of(self.folder, key) is not None and not self.has(key)

    def write(self, key: str, rows: "pd.DataFrame", record: dict[str, Any], name: str = "") -> None:
        """Store a run in a folder that begins with its name; one that is there already is left as it is."""
        part = self._part(key)
        try:
            _write_table(rows, part / ROWS)
            text = json.dumps(record | {"rows_sha256": sha256_of(part / ROWS)}, indent=1, sort_keys=True)
            (part / RECORD).write_text(text + "\n", encoding="utf-8")
            self._put_in_place(part, key, f"{name}-{key}" if name else key)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def files_of(self, keys: Iterable[str]) -> Files:
        """The files of the finished ones of these runs, for the store of another machine to `take`."""
        places = [self.path(key) for key in keys if self.has(key)]
        return {place.name: {file: (place / file).read_bytes() for file in (ROWS, RECORD)} for place in places}

    def take(self, files: Files) -> None:
        """Store the runs of another machine's store that are not here."""
        for name, contents in files.items():
            if self.has(key := key_in(name)):  # in a folder that both see, say
                continue
            part = self._part(key)
            try:
                for file, content in contents.items():
                    (part / file).write_bytes(content)
                self._put_in_place(part, key, name)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def sweep(self) -> None:
        """Remove partial runs of killed processes."""
        for part in (part for part in self.folder.glob(".*.*") if not part.name.startswith(".pack.")):
            shutil.rmtree(part, ignore_errors=True)

    def _part(self, key: str) -> Path:
        """A new folder beside the run's place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        with suppress(PermissionError):  # on a file system without rights
            part.chmod(0o755)
        return part

    def _put_in_place(self, part: Path, key: str, name: str) -> None:
        """Rename a whole run into its place; a damaged one there is moved into the folder `damaged`."""
        for file in (part / ROWS, part / RECORD, part):
            _to_disk(file)
        if self.damaged(key):
            place, damaged = self.path(key), self.folder.parent / "damaged"
            damaged.mkdir(parents=True, exist_ok=True)
            place.replace(Path(tempfile.mkdtemp(prefix=f"{key}.", dir=damaged)) / place.name)
        try:
            part.rename(self.folder / name)
        except OSError:
            if not self.has(key):
                raise
        _to_disk(self.folder)

    def rows(self, key: str) -> "pd.DataFrame":
        """The rows of a finished run."""
        import pandas as pd

        return pd.read_parquet(self.path(key) / ROWS)

    def record(self, key: str) -> dict[str, Any]:
        """The record of a finished run."""
        record: dict[str, Any] = json.loads((self.path(key) / RECORD).read_text(encoding="utf-8"))
        return record


def _write_table(rows: "pd.DataFrame", file: Path) -> None:
    """Write rows as Parquet, not compressed, so that a pack compresses what runs share."""
    from pyarrow import Table, parquet

    table = Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    parquet.write_table(table, file, compression="none", write_statistics=False, store_schema=False)


def key_in(name: str) -> str:
    """The key at the end of a folder's name."""
    return name.rpartition("-")[2]


def _folder_of(runs: Path, key: str) -> Path | None:
    """The folder of a key; where the last listing has none it is listed again, unless that is sure to be in vain."""
    try:
        modified = runs.stat().st_mtime_ns
        found = _listings.get(runs)
        if not found or found.modified != modified or (key not in found.names and not found.holds()):
            names = {key_in(place.name): place.name for place in runs.iterdir() if not place.name.startswith(".")}
            found = _listings[runs] = _Listing(modified, time.time_ns(), names)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return runs / found.names[key] if key in found.names else None


class _Listing(NamedTuple):
    modified: int
    listed: int
    names: dict[str, str]

    def holds(self) -> bool:
        """Whether nothing has come since.

        A folder that had just changed may change again within a tick of its clock, and a network share may show an old
        time for a while.
        """
        return self.listed - self.modified > SETTLED_NS and 0 <= time.time_ns() - self.listed < FRESH_NS


_listings: dict[Path, _Listing] = {}


def digest_of(folder: Path) -> str | None:
    """The hash of the rows of the finished run in a folder; None without a record, or the rows it was written with.

    Raises:
        OSError: if they are there and cannot be read now, which does not make them damaged.
    """
    try:
        stats = [(folder / file).stat() for file in (ROWS, RECORD)]
        return _digest(folder, *((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


@cache
def _digest(folder: Path, *_marks: tuple[int, int, int]) -> str | None:
    """As `digest_of`; files are read again only if their marks differ."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    digest = sha256_of(folder / ROWS)
    return digest if isinstance(record, dict) and record.get("rows_sha256") == digest else None


def locked(results: Path, by: str = ".lock", *, wait: bool = False) -> BaseFileLock:
    """A results folder that others are kept out of by a file; the system lets go even where the process is killed.

    Raises:
        ParamsError: if another run works in it, unless it is to `wait` for that.
    """
    results.mkdir(parents=True, exist_ok=True)
    lock = FileLock(results / by)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise ParamsError(
            f"another run is working in {shown(results)}; wait for it to end, or stop it (a notebook that is open in "
            "Jupyter: shut its kernel down), and run again: what it has finished is not done twice"
        ) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        print(f"{shown(results)}: its file system has no locks, so nothing keeps another run out; run one at a time")
    return lock


def _to_disk(path: Path) -> None:
    """Flush a file or folder to the disk: after a crash, a rename must not be there without its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:  # some file systems flush no folder
            raise
    finally:
        os.close(descriptor)


def store_of(results: Path) -> Store:
    """The runs of the study in a results folder; a notebook alone takes those that the published study shares with it.

    A study does not: to reproduce is to run from scratch, the published one once its folder is removed.
    """
    others = (PUBLISHED / "runs",) if results.parent.name == NB else ()
    return Store(results / "runs", others)
