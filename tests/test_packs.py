"""Packs hold the very files of the runs, and a study reads on from them alone."""

import shutil

import pytest

from study.config import ParamsError
from study.evidence.verify import published_rows, verify
from study.runs import packs
from study.runs.packs import PACKS, pack
from study.runs.store import Store


@pytest.fixture
def packed(published, tmp_path):
    """A published study of which only the tables and the packs are there, and the files that its runs were."""
    small, results = published
    folders = [folder for folder in (results / "runs").iterdir() if folder.name[0] != "."]
    files = {(folder.name, file.name): file.read_bytes() for folder in folders for file in folder.iterdir()}
    copy = tmp_path / "copy"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("runs"))
    written = pack(folders, copy / PACKS)
    assert copy / PACKS / "reversals-seed0.tar.xz" in written
    assert sum(file.stat().st_size for file in written) < sum(map(len, files.values())) / 2
    before = [file.stat().st_ino for file in written]  # the same bytes, so left as they are
    assert [file.stat().st_ino for file in pack(folders[::-1], copy / PACKS)] == before
    return small, copy, files


def test_a_packed_study_is_read_as_it_was(packed):
    small, results, files = packed
    assert verify(small, results)[1]["follows"].all()
    there = {(file.parent.name, file.name): file.read_bytes() for file in (results / "runs").glob("*/*")}
    assert there == files
    # A run that is removed is made again, not unpacked again.
    key = next(iter(there))[0].rpartition("-")[2]
    assert Store(results / "runs").has(key)
    shutil.rmtree(Store(results / "runs").path(key))
    packs._unpacked.cache_clear()
    assert not Store(results / "runs").has(key)


def test_a_folder_that_cannot_be_written_is_read_too(packed, monkeypatch):
    small, results, _ = packed
    put, refused = packs._unpack, []

    def unpack(source, place):
        if place.parent == source.parent:
            refused.append(place)
            raise OSError(30, "Read-only file system")
        put(source, place)

    monkeypatch.setattr(packs, "_unpack", unpack)
    assert verify(small, results)[1]["follows"].all() and len(refused) == 1 and not (results / "runs").exists()


def test_a_damaged_pack_is_named(packed):
    _, results, files = packed
    file = results / PACKS / "reversals-seed0.tar.xz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ParamsError, match=r"reversals-seed0.tar.xz: damaged .*restore it"):
        published_rows(results)
    file.write_bytes(whole)
    assert len(published_rows(results)) > 0
    assert len(list((results / "runs").glob("*/*"))) == len(files)


def test_a_pack_that_would_lose_runs_is_left_as_it_is(packed):
    _, results, _ = packed
    assert verify(*packed[:2])[1]["follows"].all()
    folders = list((results / "runs").glob("*-seed0-*"))
    before = (results / PACKS / "reversals-seed0.tar.xz").read_bytes()
    with pytest.raises(ParamsError, match=r"reversals-seed0.tar.xz: would lose 1 runs, such as reversals-"):
        pack(folders[1:], results / PACKS)
    assert (results / PACKS / "reversals-seed0.tar.xz").read_bytes() == before
