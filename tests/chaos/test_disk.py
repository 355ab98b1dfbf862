"""A disk that is full at one write after the other, and results that cannot be written."""

import os
import subprocess
import time
from contextlib import contextmanager

import pytest

from chaos.check import failure, finished
from chaos.conftest import QUICK

pytestmark = pytest.mark.chaos
BLOCK = 4096
AMPLE = 2**30
# The writes that fail in turn, by the first file of each kind in the order in which they are written.
KINDS = ("rows.parquet", "record.json", ".csv", ".png", ".svg", ".txt", ".ipynb", ".json")


def mount(*arguments):
    """Whether a call of mount went well."""
    return os.geteuid() == 0 and subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@contextmanager
def mounted(folder, *arguments):
    """Mount something on a folder for a while; the test is skipped where that is not possible."""
    folder.mkdir(parents=True, exist_ok=True)
    if not mount(*arguments, str(folder)):
        pytest.skip("needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder):
    """A folder that cannot be written to for a while."""
    with mounted(folder, "--bind", str(folder)):
        if not mount("-o", "remount,bind,ro", str(folder)):
            pytest.skip("needs the right to mount a file system")
        yield


def test_full_disk(reference, all_survived):
    """No space left at a write of each kind in turn, in one study that is given a little more each time."""
    study = reference.new_study("full")
    sizes = sizes_up_to(reference.study.results, KINDS[::6] if QUICK else KINDS)
    with mounted(study.results, "-t", "tmpfs", "-o", f"size={BLOCK}", "tmpfs"):

        def resize(size):
            assert mount("-o", f"remount,size={size}", str(study.results))

        outcomes = [("full disk beforehand", study.finish().unclear("make room|No space left"))]
        for kind, size in sizes.items():
            resize(AMPLE)
            before, running = finished(study), study.start()
            while running.goes_on() and not running.processes("kernel"):  # what is too little beforehand is refused
                time.sleep(0.1)
            resize(size)
            amiss = running.wait().unclear("No space left on device") + reference.amiss(study, before)
            outcomes.append((f"full disk at {kind}", amiss + running.orphans()))
        resize(AMPLE)
        unlike = failure(study.finish(), "resumed, it") + reference.unlike(study)
    all_survived((name, amiss + unlike) for name, amiss in outcomes)


def sizes_up_to(results, kinds):
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


@pytest.mark.long
def test_read_only_results(reference, all_survived):
    """Results that cannot be written: what is there is read as ever, and what is missing is refused in words."""
    study = reference.copied_study("read_only")
    before, outcomes = finished(study), []
    with read_only(study.results):
        for verb in ("reproduce", "plan", "status"):
            done = study.finish(verb=verb)
            outcomes.append((f"finished, {verb}", failure(done, f"`{verb}`") + reference.unlike(study)))
    study.runs[-1].stamp.unlink()
    removed = sorted(before)[0]
    for file in study.store.path(removed).iterdir():
        file.unlink()
    del before[removed]
    with read_only(study.results):
        running = study.start()
        amiss = running.wait().unclear("[Rr]ead-only") + reference.amiss(study, before) + running.orphans()
    outcomes.append(("unfinished", amiss + reference.resumed(study)))
    all_survived(outcomes)
