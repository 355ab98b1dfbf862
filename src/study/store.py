"""Finished work, stored once under the content hash of all it depends on.

A unit's folder holds `rows.parquet` and `record.json`. It is written beside its place and renamed, so it appears
whole or not at all, and an interrupted study goes on where it stopped.
"""

import ast
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.paths import PACKAGE, RESULTS

if TYPE_CHECKING:  # it is slow to import, and of no use to whoever only asks what is finished
    import pandas as pd

PUBLISHED = RESULTS / "default"
WORLDS_TABLE = "worlds/__init__.py"


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_hash(*modules: str) -> str:
    """SHA-256 of the sources of `modules` and of all modules of this package they import, however deep.

    Work depends on the code it runs and on no other: a change to a figure leaves finished trials alone. The table of
    worlds is not followed: whoever works on one names its module, and a change to one leaves the others' work alone.
    """
    return _hash_with_imports([PACKAGE / f"{module}.py" for module in modules], closed=WORLDS_TABLE)


def imports_hash(source: str) -> str:
    """SHA-256 of the sources of all modules of this package that a source, a notebook's say, imports."""
    return _hash_with_imports(_imported(source))


def _hash_with_imports(files: list[Path], closed: str = "") -> str:
    sources: dict[str, str] = {}
    waiting = list(files)
    while waiting:
        path = waiting.pop()
        name = path.relative_to(PACKAGE).as_posix()
        if name not in sources:
            sources[name] = path.read_text(encoding="utf-8")
            waiting += _imported(sources[name]) if name != closed else []
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
    """A folder of finished units, and others whose units may be read but are never written."""

    folder: Path
    others: tuple[Path, ...] = ()

    def path(self, key: str) -> Path:
        """Where the unit of this key is, or would be."""
        places = [folder / key for folder in (self.folder, *self.others)]
        return next((place for place in places if (place / "record.json").is_file()), places[0])

    def has(self, key: str) -> bool:
        """Whether the unit is finished."""
        return (self.path(key) / "record.json").is_file()

    def write(self, key: str, rows: "pd.DataFrame", record: dict[str, Any]) -> None:
        """Store a unit; one that is there already is left as it is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        try:
            rows.to_parquet(part / "rows.parquet", index=False)
            (part / "record.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            part.chmod(0o755)
            try:
                part.rename(self.path(key))
            except OSError:
                if not self.has(key):
                    raise
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def rows(self, key: str) -> "pd.DataFrame":
        """The rows of a finished unit."""
        import pandas as pd

        return pd.read_parquet(self.path(key) / "rows.parquet")

    def record(self, key: str) -> dict[str, Any]:
        """The record of a finished unit."""
        record: dict[str, Any] = json.loads((self.path(key) / "record.json").read_text(encoding="utf-8"))
        return record


def store_of(results: Path) -> Store:
    """Finished trials of the study in a results folder, and those that the published study shares with it."""
    return Store(results / "trials", () if results == PUBLISHED else (PUBLISHED / "trials",))
