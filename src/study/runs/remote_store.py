"""Finished runs shared by machines without a common folder, at any address that fsspec can reach.

Each run is a folder of files there. The last file written makes it whole, as an object store has no rename.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from study.config import ParamsError


def address(study: str) -> str:
    """The address of a study below that of the environment variable REMOTE_STORE; "" if it is not set."""
    place = os.environ.get("REMOTE_STORE", "").rstrip("/")
    return f"{place}/{study}" if place else ""


def put(folder: Path, place: str) -> None:
    """Upload the files of a run, the record last."""
    files, root = _opened(place)
    files.makedirs(root, exist_ok=True)
    for file in sorted(folder.iterdir(), reverse=True):
        files.put_file(str(file), f"{root}/{file.name}")


def get(place: str, folder: Path, names: Sequence[str]) -> bool:
    """Download these files; whether all were there."""
    files, root = _opened(place)
    try:
        for name in names:
            files.get_file(f"{root}/{name}", str(folder / name))
    except FileNotFoundError:
        return False
    return True


def names(place: str) -> set[str]:
    """Names of the runs there, whole or not."""
    files, root = _opened(place)
    files.invalidate_cache()
    return {Path(name).name for name in files.ls(root, detail=False)} if files.exists(root) else set()


def _opened(place: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address, and the path there.

    Raises:
        ParamsError: if there is no such kind of place, or what reaches it is not installed.
    """
    try:
        files, root = url_to_fs(place)
    except (ValueError, ImportError) as error:
        raise ParamsError(
            f"REMOTE_STORE = {os.environ.get('REMOTE_STORE', place)!r}: {error}; give an address that fsspec can "
            "reach, such as /mnt/shared/study or s3://bucket/study (with s3fs installed)"
        ) from None
    return files, root.rstrip("/")
