"""File systems that cannot do what others do, and failures that damage nothing."""

import errno
import os
import stat
import tempfile

import pandas as pd
import pytest

from study.cli import exit_status
from study.config import ParamsError
from study.runs import executors, store
from study.runs.store import Store, locked

ROWS = pd.DataFrame({"correct": [True]})


def refusing(number: int, real=None, when=lambda *given: True):
    """A function that fails with an error number, or does what the real one does."""

    def does(*given, **named):
        if when(*given):
            raise OSError(number, os.strerror(number))
        return real(*given, **named)

    return does


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM, errno.ENOTSUP])
def test_a_run_is_stored_where_no_folder_is_flushed_and_no_right_is_set(number, tmp_path, monkeypatch):
    a_folder = lambda descriptor: stat.S_ISDIR(os.fstat(descriptor).st_mode)  # noqa: E731
    monkeypatch.setattr(os, "fsync", refusing(number, os.fsync, a_folder))
    monkeypatch.setattr("pathlib.Path.chmod", refusing(errno.EPERM))
    runs = Store(tmp_path / "runs")
    runs.write("0123", ROWS, {"status": "finished"}, "a-name")
    assert runs.has("0123") and list(runs.rows("0123")["correct"]) == [True]


def test_a_disk_that_fails_to_flush_is_no_success(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        Store(tmp_path / "runs").write("0123", ROWS, {"status": "finished"})


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EINVAL])
def test_without_locks_a_study_runs_and_says_so(number, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fcntl.flock", refusing(number))
    locked(tmp_path / "results").release()
    assert "has no locks" in capsys.readouterr().out


def test_with_locks_the_second_is_refused(tmp_path):
    first = locked(tmp_path)
    with pytest.raises(ParamsError, match="another run is working in"):
        locked(tmp_path)
    first.release()
    locked(tmp_path).release()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "let you read and write it"),
        (errno.EIO, "check the disk or the network share"),
        (errno.ESTALE, "check the disk or the network share"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_what_cannot_be_read_now_is_not_called_damaged(number, remedy, tmp_path, monkeypatch, capsys):
    runs = Store(tmp_path / "runs")
    runs.write("0123", ROWS, {"status": "finished"}, "a-name")
    monkeypatch.setattr(store, "sha256_of", refusing(number))
    store._digest.cache_clear()
    with pytest.raises(OSError, match=os.strerror(number)):
        runs.damaged("0123")
    assert exit_status(lambda: runs.has("0123")) == 1
    assert remedy in capsys.readouterr().err
    monkeypatch.undo()
    assert runs.has("0123") and not runs.damaged("0123")


@pytest.mark.nightly
def test_a_long_name_of_the_folder_for_temporary_files_is_no_obstacle(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr("multiprocessing.process._current_process._config", {"authkey": b"key", "semprefix": "/mp"})
    monkeypatch.setattr("multiprocessing.forkserver._forkserver._forkserver_address", None)
    monkeypatch.setattr("multiprocessing.forkserver._forkserver._forkserver_pid", None)
    assert executors._in_process(os.getpid) != os.getpid()
