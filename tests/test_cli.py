"""The verbs of the command line, and the exit status and message of each way to end."""

import errno
import signal
import subprocess
import sys

import pytest

from study import cli
from study.config import ParamsError
from study.pages.page import NotebookFailed
from study.paths import ROOT

VERBS = {*"reproduce plan status figures verify pack nb help-nb fetch base-model base-report documents".split()}


def test_the_help_lists_the_verbs_and_the_options_of_one(capsys):
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert {line.split()[0] for line in printed.split("Commands:\n")[1].splitlines()} == VERBS
    assert cli.main(["fetch", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"--{option} " in printed for option in ("model", "revision", "data"))


@pytest.mark.parametrize("arguments", [[], ["nosuch"], ["plan", "--nosuch"], ["nb", "03"], ["plan", "default"]])
def test_what_is_no_verb_or_no_option_ends_with_2(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "Usage: python -m study" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ParamsError("seeds = -1: give 0 or more"), 1, "error: seeds = -1: give 0 or more\n"),
        (NotebookFailed("03, cell 4: ValueError"), 1, "error: 03, cell 4: ValueError\n"),
        (
            OSError(errno.ENOSPC, "No space left", "a.csv"),
            1,
            "error: No space left (a.csv); what is finished is kept: make",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            1,
            "error: Permission denied; what is finished is kept: have its owner let you read and write it",
        ),
        (KeyboardInterrupt(), 130, "\ninterrupted; finished runs are kept"),
        (cli.Terminated(), 143, "terminated; finished runs are kept"),
    ],
)
def test_a_verb_that_fails_says_why_and_its_status_says_how(error, status, message, capsys):
    def fail():
        raise error

    assert cli.exit_status(fail) == status
    assert capsys.readouterr().err.startswith(message)


def test_another_error_of_the_system_is_not_hidden():
    def fail():
        raise OSError(errno.ENOTTY, "no terminal")

    with pytest.raises(OSError, match="no terminal"):
        cli.exit_status(fail)


LAUNCHED = """
import signal, sys, time
from study import cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background begins with it ignored

def slow(study):
    print("begun", flush=True)
    while True:
        time.sleep(0.01)
        {work}

cli.study_file = slow
sys.exit(cli.main(["status"]))
"""


def launch(work, **given):
    code = LAUNCHED.format(work=work)
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, **given)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_verb_with_its_status(sent, status):
    with launch("pass", stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status and "finished runs are kept" in said


def test_a_reader_of_the_output_that_has_gone_ends_it_with_141():
    with launch("print('line', flush=True)", stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 141
