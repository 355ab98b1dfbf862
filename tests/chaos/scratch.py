"""A copy of the project in a scratch folder, with a tiny model and tiny studies of it, each run as a user runs it."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml

from study.arms import ARMS
from study.pages.page import Page
from study.params import load_params
from study.paths import BASE_MODEL, NOTEBOOKS, PACKAGE, PARAMS
from study.runs.store import Store

PAGES = ("02_in_context", "05_compare")  # every arm, figures, tables and claims
LAST = PAGES[1:]  # all of them, too
STUDIED = ("base", "icl", "ft", "ft local", "ft retention")
MARK = "STUDY_CHAOS"  # in the environment of all processes of a run, whoever has adopted them since
GRACE = 120  # seconds that processes have to end after their parent; a busy machine takes most of them
HANG = 900  # seconds after which a run is said to hang
INJECTED = Path(__file__).with_name("injected")
TESTS = INJECTED.parents[1]
EVERY = "all processes"
VICTIMS = (EVERY, "parent", "worker", "kernel")  # the short form kills the first
_marks = itertools.count()


class Done(NamedTuple):
    """How a run ended.

    Attributes:
        status: its exit status, negative for a signal.
        out: what it printed.
        err: what it printed as errors.
        seconds: that it took.
    """

    status: int
    out: str
    err: str
    seconds: float

    def unclear(self, says: str) -> list[str]:
        """What is amiss in how a run that could not go on said so: one error that names what happened, no traceback."""
        amiss = []
        if self.status <= 0:
            amiss.append(f"exit status {self.status} instead of an error")
        if "Traceback" in self.err:
            amiss.append(f"a traceback: ... {self.err.strip().splitlines()[-1]}")
        if not re.search(rf"^(error: |\n?interrupted|\n?terminated)[\s\S]*({says})", self.err, re.MULTILINE):
            amiss.append(f"no error that says {says!r}: {self.err.strip()[-500:]!r}")
        return amiss


def marked(mark: str) -> list[psutil.Process]:
    """The processes that live and have a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def kind_of(process: psutil.Process) -> str:
    """Kernel, worker, or neither: a worker was forked, and has executed nothing since."""
    try:
        parent, command = process.parent(), process.cmdline()
        if parent and parent.cmdline() == command:
            return "worker"
        return "kernel" if any("ipykernel" in word for word in command) else ""
    except psutil.Error:
        return ""


class Running:
    """A run that goes on in processes of its own."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str], log: Path):
        self.mark = f"{os.getpid()}-{next(_marks)}"
        self.started, self.ended = time.monotonic(), float("inf")
        self._files = (log.with_suffix(".out"), log.with_suffix(".err"))
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment | {MARK: self.mark}, stdout=out, stderr=err, start_new_session=True
            )

    def processes(self, kind: str = "") -> list[psutil.Process]:
        """Its processes that live, all or those of a kind: parent, kernel, worker."""
        return [
            p
            for p in marked(self.mark)
            if not kind
            or ((p.pid == self.process.pid) == (kind == "parent") and (kind == "parent" or kind_of(p) == kind))
        ]

    def goes_on(self) -> bool:
        """Whether the parent lives."""
        return self.process.poll() is None

    def kill(self, victim: str = EVERY, signum: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to all its processes, or to one of a kind; how many there are."""
        found = self.processes("" if victim == EVERY else victim)
        for process in found if victim == EVERY else found[:1]:
            try:
                process.send_signal(signum)
            except psutil.Error:
                return 0
        return len(found)

    def wait(self, seconds: float = HANG) -> Done:
        """How it ended; a run that hangs is killed, and its status says so."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        self.ended = min(self.ended, time.monotonic())
        out, err = (file.read_text(errors="replace") for file in self._files)
        return Done(self.process.returncode, out, err, self.ended - self.started)

    def orphans(self) -> list[str]:
        """What still runs some seconds after its parent has ended; it is killed then."""
        deadline = self.ended + GRACE
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        names = []
        for process in left:
            try:
                names.append(f"{' '.join(process.cmdline())[:120]} lives on")
                process.kill()
            except psutil.Error:
                continue
        return names


def strike(running: Running, victim: str, moment: float, signum: signal.Signals = signal.SIGKILL) -> bool:
    """Wait for a moment, and until there is such a process, and send it a signal; whether it was sent.

    Args:
        running: whose process it is.
        victim: one of `VICTIMS`.
        moment: seconds from the run's beginning on.
        signum: the signal.
    """
    while running.goes_on() and time.monotonic() - running.started < moment:
        time.sleep(0.02)
    while running.goes_on():
        if running.kill(victim, signum):
            return True
        time.sleep(0.02)
    return False


@dataclass(frozen=True)
class Study:
    """One study in the scratch project."""

    scratch: "Scratch"
    name: str

    @property
    def file(self) -> Path:
        """Its params."""
        return self.scratch.folder / "params" / f"{self.name}.yaml"

    @property
    def results(self) -> Path:
        """Its results folder."""
        return self.scratch.folder / "results" / self.name

    @property
    def store(self) -> Store:
        """Its finished units."""
        return Store(self.results / "runs")

    @property
    def runs(self) -> list[Page]:
        """Its pages."""
        pages = sorted((self.scratch.folder / "notebooks").glob("*.ipynb"))
        return [Page(page, self.file, load_params(self.file), self.results) for page in pages]

    def start(self, inject: str = "", verb: str = "reproduce", **environment: str) -> Running:
        """Begin `python -m study reproduce`, as `make reproduce` does.

        Args:
            inject: name of a module in `injected`, which each Python process of the run executes before all else.
            verb: another one.
            environment: variables besides.
        """
        log = self.scratch.folder / "logs" / f"{self.name}-{next(_marks)}"
        command = [sys.executable, "-m", "study", verb, "--study", self.name]
        return Running(command, self.scratch.folder, self.scratch.environment(inject) | environment, log)

    def finish(self, inject: str = "", verb: str = "reproduce", **environment: str) -> Done:
        """The same, until it ends."""
        return self.start(inject, verb, **environment).wait()


@dataclass(frozen=True)
class Scratch:
    """The copied project.

    Attributes:
        folder: of it.
        arms: of its tiny studies.
        studies: numbers for their names.
    """

    folder: Path
    arms: tuple[str, ...] = STUDIED
    studies: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    def make(cls, folder: Path, pages: Sequence[str] = PAGES, arms: tuple[str, ...] = STUDIED) -> "Scratch":
        """Copy what a study of these pages needs of the project into an empty folder."""
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, folder / "src" / "study", ignore=ignored)
        shutil.copytree(PARAMS, folder / "params")
        for name in ("notebooks", "results", "logs"):
            (folder / name).mkdir()
        (folder / "results" / "base_model").symlink_to(BASE_MODEL)  # notebooks 02 and 03 show a step of its by hand
        for page in pages:
            shutil.copy(NOTEBOOKS / f"{page}.ipynb", folder / "notebooks")
        for module in INJECTED.glob("[a-z]*.py"):
            place = folder / "injected" / module.stem
            place.mkdir(parents=True)
            shutil.copy(module, place / "sitecustomize.py")
        return cls(folder, arms)

    def environment(self, inject: str = "") -> dict[str, str]:
        """Of its processes: what is injected and the copied package come before all else."""
        places = [self.folder / "src"]
        if inject:
            places = [self.folder / "injected" / inject, *places, TESTS]
        return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONUNBUFFERED": "1"}

    def study(self, name: str, like: Study | None = None, **changes: object) -> Study:
        """A new tiny study, with nothing finished or all that another one has; settings may be others."""
        import tiny  # it needs torch, and a soak does not

        if not (self.folder / "model").is_dir():
            tiny.save_model(self.folder / "model")
        study = Study(self, f"{name}_{next(self.studies)}")
        settings = tiny.settings(self.folder / "model") | {"arms": {arm: ARMS[arm].plain() for arm in self.arms}}
        settings["finetuning"]["selection_seeds"] = [1000]
        study.file.write_text(yaml.safe_dump(settings | changes), encoding="utf-8")
        if like:
            shutil.copytree(like.results, study.results)
        return study
