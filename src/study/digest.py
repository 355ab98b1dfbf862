"""Contents of files, named by their SHA-256."""

import hashlib
from functools import cache
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; it is read again only where its size or its time of change differ."""
    stat = path.stat()
    return _sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
