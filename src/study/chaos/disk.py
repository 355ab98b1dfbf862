"""A disk that is full at one write after the other, and results that cannot be written."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from study.chaos.check import finished
from study.chaos.fault import Chaos, Outcome
from study.chaos.kills import resumed

BLOCK = 4096
AMPLE = 2**30
NO_MOUNT = "needs the right to mount a file system"
# The writes that fail in turn, by the first file of each kind in the order in which they are written.
KINDS = ("rows.parquet", "record.json", ".csv", ".png", ".svg", ".txt", ".ipynb", ".json")


def _mount(*arguments: str) -> bool:
    """Whether a call of mount went well."""
    if os.geteuid() != 0:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0  # noqa: S603, S607


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[bool]:
    """Mount something on a folder for a while; whether that is possible."""
    folder.mkdir(parents=True, exist_ok=True)
    able = _mount(*arguments, str(folder))
    try:
        yield able
    finally:
        if able:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607


def full(chaos: Chaos) -> Iterator[Outcome]:
    """No space left at a write of each kind in turn, in one study that is given a little more each time."""
    study, reference = chaos.scratch.study("full"), chaos.reference
    kinds = KINDS[::6] if chaos.quick else KINDS
    sizes = _sizes_up_to(reference.study.results, kinds)
    with mounted(study.results, "-t", "tmpfs", "-o", f"size={BLOCK}", "tmpfs") as able:
        if not able:
            yield Outcome("full disk", [], NO_MOUNT)
            return
        done = study.finish()
        found = [("full disk beforehand", done.unclear("make room|No space left"))]
        for kind, size in sizes.items():
            _mount("-o", f"remount,size={AMPLE}", str(study.results))
            before, running = finished(study), study.start()
            while running.goes_on() and not running.processes("kernel"):  # what is too little beforehand is refused
                time.sleep(0.1)
            _mount("-o", f"remount,size={size}", str(study.results))
            amiss = running.wait().unclear("No space left on device") + reference.amiss(study, before)
            found.append((f"full disk at {kind}", amiss + [f"{name} lives on" for name in running.orphans()]))
        _mount("-o", f"remount,size={AMPLE}", str(study.results))
        done = study.finish()
        unlike = reference.unlike(study)
        unlike += [f"resumed, it ends with status {done.status}: {done.err[-500:]!r}"] if done.status else []
    yield from (Outcome(name, amiss + unlike) for name, amiss in found)


def _sizes_up_to(results: Path, kinds: tuple[str, ...]) -> dict[str, int]:
    """For each kind of file the bytes of a disk on which all is written up to the first of that kind, and not that."""
    written = sorted((file for file in results.rglob("*") if file.is_file()), key=lambda file: file.stat().st_mtime_ns)
    sizes, taken = {}, 0
    for file in written:
        name = str(file.relative_to(results))
        kind = next((kind for kind in kinds if name.endswith(kind)), None)
        blocks = -(-file.stat().st_size // BLOCK)
        if kind and kind not in sizes:
            sizes[kind] = taken + max(BLOCK, blocks // 2 * BLOCK)
        taken += blocks * BLOCK
    return dict(sorted(sizes.items(), key=lambda item: item[1]))


def read_only(chaos: Chaos) -> Iterator[Outcome]:
    """Results that cannot be written: what is there is read as ever, and what is missing is refused in words."""
    study, reference = chaos.scratch.study("read_only", like=chaos.reference.study), chaos.reference
    before = finished(study)
    with mounted(study.results, "--bind", str(study.results)) as able:
        if not able or not _mount("-o", "remount,bind,ro", str(study.results)):
            yield Outcome("read-only results", [], NO_MOUNT)
            return
        for verb in ("reproduce", "plan", "status"):
            done = study.finish(verb=verb)
            amiss = [f"`{verb}` of a finished study fails: {done.err.strip()[-500:]!r}"] if done.status else []
            yield Outcome(f"read-only results, finished, {verb}", amiss + reference.unlike(study))
    study.runs[-1].stamp.unlink()
    removed = sorted(before)[0]
    for file in (study.runs.store.folder / removed).iterdir():
        file.unlink()
    del before[removed]
    with mounted(study.results, "--bind", str(study.results)):
        _mount("-o", "remount,bind,ro", str(study.results))
        running = study.start()
        amiss = running.wait().unclear("[Rr]ead-only") + reference.amiss(study, before)
        amiss += [f"{name} lives on" for name in running.orphans()]
    yield Outcome("read-only results, unfinished", amiss + resumed(chaos, study, study.finish()))
