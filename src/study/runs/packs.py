"""Packs: the finished runs of one dataset and seed in one compressed file, as a study is published.

Such runs share their questions, so together they take a quarter of the bytes that they take one by one, and git keeps
every file for ever. A pack is unpacked when its runs are first looked for, byte for byte.
"""

import atexit
import errno
import io
import lzma
import re
import shutil
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from study.config import ParamsError
from study.digest import sha256_of
from study.paths import shown

PACKS, ENDING = "packs", ".tar.xz"
UNPACKED = ".unpacked"  # in a folder of runs: the SHA-256 of each pack whose runs were put there
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def pack(folders: Iterable[Path], packs: Path) -> list[Path]:
    """Write runs as packs, one for each dataset and seed; one that would hold the same bytes is left as it is.

    Args:
        folders: of the runs, named `<dataset>-<arm>-seed<n>-<key>`.
        packs: folder to write to.

    Raises:
        ParamsError: if a pack there holds runs that are not among them.
    """
    together: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        seed = re.findall(r"-(seed\d+)-", folder.name)[-1]
        together[f"{folder.name.partition('-')[0]}-{seed}"].append(folder)
    packs.mkdir(parents=True, exist_ok=True)
    for name, some in sorted(together.items()):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:xz", preset=9) as archive:
            for file in sorted(file for folder in some for file in folder.iterdir()):
                member = tarfile.TarInfo(f"{file.parent.name}/{file.name}")  # of no time and no owner
                member.size = file.stat().st_size
                archive.addfile(member, io.BytesIO(file.read_bytes()))
        place = packs / f"{name}{ENDING}"
        if place.exists() and (lost := _names(place) - {folder.name for folder in some}):
            raise ParamsError(
                f"{shown(place)}: would lose {len(lost)} runs, such as {sorted(lost)[0]}; remove it first if they are "
                "no longer of the study"
            )
        if not place.exists() or place.read_bytes() != packed.getvalue():
            part = place.with_suffix(".part")
            part.write_bytes(packed.getvalue())
            part.replace(place)
    return [packs / f"{name}{ENDING}" for name in sorted(together)]


def _names(pack: Path) -> set[str]:
    with tarfile.open(pack) as archive:
        return {name.partition("/")[0] for name in archive.getnames()}


def unpacked(runs: Path) -> Path:
    """The folder that holds the runs of the packs beside a folder of runs: that folder, once they are unpacked.

    Where it cannot be written, they are unpacked to a temporary folder, which ends with the process.

    Raises:
        ParamsError: if a pack is damaged.
    """
    try:
        modified_ns = (runs.parent / PACKS).stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return runs
    return _unpacked(runs, modified_ns)


@cache
def _unpacked(runs: Path, _modified_ns: int) -> Path:
    try:
        _unpack(runs.parent / PACKS, runs)
        return runs
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
    place = Path(tempfile.mkdtemp(prefix="study-runs-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    _unpack(runs.parent / PACKS, place)
    return place


def _unpack(packs: Path, place: Path) -> None:
    done = place / UNPACKED
    known = done.read_text(encoding="utf-8").split() if done.exists() else []
    for file in sorted(packs.glob(f"*{ENDING}")):
        if sha256_of(file) in known:
            continue
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pack.", dir=place) as part:
            try:
                with tarfile.open(file) as archive:
                    archive.extractall(part, filter="data")
            except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
                raise ParamsError(
                    f"{shown(file)}: damaged ({error}); restore it, or remove it and `make reproduce` its runs again"
                ) from None
            for run in Path(part).iterdir():
                try:
                    run.rename(place / run.name)
                except OSError:  # it is there, or another process has put it there
                    if not (place / run.name).exists():
                        raise
        with done.open("a", encoding="utf-8") as stream:
            stream.write(f"{sha256_of(file)}\n")
