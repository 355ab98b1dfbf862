"""Finished work, stored once under the content hash of all it depends on.

A unit's folder holds `rows.parquet` and `record.json`, which holds the SHA-256 of the rows. It is written beside its
place, brought to the disk and renamed, so it appears whole or not at all, and an interrupted study goes on where it
stopped. A unit whose files were torn later, by a failing disk say, is not finished: it is made again.
"""

import ast
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import depot
from study.digest import sha256_of
from study.paths import PACKAGE, RESULTS

if TYPE_CHECKING:  # it is slow to import, and of no use to whoever only asks what is finished
    import pandas as pd

PUBLISHED = RESULTS / "default"
WORLDS_TABLE = "worlds/__init__.py"
ROWS, RECORD = "rows.parquet", "record.json"


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_hash(*modules: str) -> str:
    """SHA-256 of the sources of `modules` and of all modules of this package they import, however deep.

    Work depends on the code it runs and on no other: a change to a figure leaves finished trials alone. The table of
    worlds is left out: whoever works on one names its module, and another one leaves their work alone.
    """
    return _hash_with_imports([PACKAGE / f"{module}.py" for module in modules], without=WORLDS_TABLE)


def imports_hash(source: str) -> str:
    """SHA-256 of the sources of all modules of this package that a source, a notebook's say, imports."""
    return _hash_with_imports(_imported(source))


def _hash_with_imports(files: list[Path], without: str = "") -> str:
    sources: dict[str, str] = {}
    waiting = list(files)
    while waiting:
        path = waiting.pop()
        name = path.relative_to(PACKAGE).as_posix()
        if name not in sources and name != without:
            sources[name] = path.read_text(encoding="utf-8")
            waiting += _imported(sources[name])
    return content_hash(sources)


@cache
def _imported(source: str) -> list[Path]:
    """The files of this package that a source imports with `from study.x import y`."""
    files = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "study":
            module = PACKAGE.joinpath(*node.module.split(".")[1:])
            for place in (module, *(module / alias.name for alias in node.names)):
                files += [f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()]
    return files


@dataclass(frozen=True)
class Store:
    """A folder of finished units, and others whose units may be read but are never written.

    Attributes:
        folder: of the units.
        others: folders of other studies.
        shared: the address of a depot, such as s3://bucket/study, that every finished unit is brought to.
    """

    folder: Path
    others: tuple[Path, ...] = ()
    shared: str = ""

    def path(self, key: str) -> Path:
        """Where the unit of this key is, or would be."""
        places = [folder / key for folder in (self.folder, *self.others)]
        return next((place for place in places if whole(place)), places[0])

    def has(self, key: str) -> bool:
        """Whether the unit is finished."""
        return whole(self.path(key))

    def damaged(self, key: str) -> bool:
        """Whether there is something in the unit's place that is no finished unit."""
        return (self.folder / key).exists() and not self.has(key)

    def write(self, key: str, rows: "pd.DataFrame", record: dict[str, Any]) -> None:
        """Store a unit; one that is there already is left as it is."""
        part = self._part(key)
        try:
            rows.to_parquet(part / ROWS, index=False)
            text = json.dumps(record | {"rows_sha256": sha256_of(part / ROWS)}, indent=1, sort_keys=True)
            (part / RECORD).write_text(text + "\n", encoding="utf-8")
            self._put_in_place(part, key)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        if self.shared:
            depot.put(self.path(key), f"{self.shared}/{key}")

    def fetch(self, keys: Iterable[str]) -> None:
        """Bring what the depot has of these units and this folder has not; what is torn there is not taken."""
        missing = {key for key in keys if not self.has(key)}
        for key in sorted(missing & depot.names(self.shared)) if self.shared and missing else ():
            part = self._part(key)
            try:
                if depot.get(f"{self.shared}/{key}", part, (ROWS, RECORD)) and whole(part):
                    self._put_in_place(part, key)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed processes left half written."""
        for part in self.folder.glob(".*.*"):
            shutil.rmtree(part, ignore_errors=True)

    def _part(self, key: str) -> Path:
        """A new folder beside the unit's place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        part.chmod(0o755)
        return part

    def _put_in_place(self, part: Path, key: str) -> None:
        """Rename a whole unit into its place; what is damaged there goes aside, into the folder `damaged`."""
        place = self.folder / key
        for file in (part / ROWS, part / RECORD, part):
            _to_disk(file)
        if self.damaged(key):
            aside = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=_made(self.folder.parent / "damaged")))
            place.replace(aside / place.name)
        try:
            part.rename(place)
        except OSError:
            if not self.has(key):
                raise
        _to_disk(self.folder)

    def rows(self, key: str) -> "pd.DataFrame":
        """The rows of a finished unit."""
        import pandas as pd

        return pd.read_parquet(self.path(key) / ROWS)

    def record(self, key: str) -> dict[str, Any]:
        """The record of a finished unit."""
        record: dict[str, Any] = json.loads((self.path(key) / RECORD).read_text(encoding="utf-8"))
        return record


def whole(folder: Path) -> bool:
    """Whether a folder holds a finished unit: a record, and the very rows that it was written with."""
    try:
        stats = [(folder / file).stat() for file in (ROWS, RECORD)]
        return _whole(folder, *((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats))
    except OSError:
        return False


@cache
def _whole(folder: Path, *_marks: tuple[int, int, int]) -> bool:
    """As `whole`; files are read again only where something of them differs."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("rows_sha256") == sha256_of(folder / ROWS)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _to_disk(path: Path) -> None:
    """Have the system write what it holds of a file or a folder: a rename must not outlive what it renames."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def store_of(results: Path) -> Store:
    """Finished trials of the study in a results folder, and those that the published study shares with it."""
    others = () if results == PUBLISHED else (PUBLISHED / "trials",)
    return Store(results / "trials", others, depot.address(results.name))
