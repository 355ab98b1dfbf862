"""What a user meets daily: a machine that is busy with something else, and a study that is finished."""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from bench import scoring, tuning, writing
from bench.table import Line, Say, Took, median, timed
from study.arms import Source
from study.cli import study_runs
from study.lm.generation import generate
from study.lm.loading import load
from study.lm.scoring import score_options
from study.params import Model
from study.paths import ROOT

HEAVY = {"torch", "transformers", "papermill", "ipykernel", "jupyter_client", "zmq"}


def beside_a_busy_process(rounds: int, quick: bool, say: Say) -> list[Line]:
    """The study's kinds of work with all cores, beside a process that keeps one busy."""
    model, tokenizer = load(Model(device="cpu"))
    context, questions = scoring.context_of(tokenizer, 1024), scoring.questions_of_four(128)
    prompts, encoded = writing.prompts_of(Source.LOCAL, ("reversals",))[:32], tuning.batches_of(tokenizer, 6)

    def work() -> None:
        score_options(model, tokenizer, context, questions)
        generate(model, tokenizer, prompts, 64, 0.0, 0, 32)
        tuning.by_study(copy.deepcopy(model), tokenizer, encoded)

    work()
    alone: list[Took] = []
    beside: list[Took] = []
    for number in range(1, rounds + 1):
        alone.append(timed(work)[1])
        with _busy():
            beside.append(timed(work)[1])
        say(f"  beside a busy process, round {number}: {beside[-1].wall:.2f} s, alone {alone[-1].wall:.2f} s")
    a, b = median(alone), median(beside)
    line = Line("scoring, writing and tuning beside one busy process", "alone", b.wall, a.wall, 2.5, "", True)
    return [line._replace(same="the same work", cpu_ratio=b.cpu / a.cpu, at_most=True)]


@contextmanager
def _busy() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def with_nothing_to_do(rounds: int, quick: bool, say: Say) -> list[Line]:
    """`make reproduce` when all is up to date; nothing is measured when it is not."""
    if stale := [reason for run in study_runs("default") if (reason := run.stale())]:
        say(f"  not measured: run `make reproduce` first ({stale[0]})")
        return []
    heavy = sorted(_imported() & HEAVY)
    times: list[Took] = []
    given = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "QUICK", "ONLY"}  # to the make that runs this
    env = {name: value for name, value in os.environ.items() if name not in given}
    for _ in range(rounds):
        again = partial(subprocess.run, ["make", "reproduce"], cwd=ROOT, capture_output=True, check=True, env=env)
        times.append(timed(again)[1])
        say(f"  second make reproduce: {times[-1].wall:.2f} s")
    same = f"imported: {', '.join(heavy)}" if heavy else "no kernel, no torch"
    line = Line("second `make reproduce`", "a limit in seconds", median(times).wall, 1.0, 1.0, same, not heavy)
    return [line._replace(at_most=True)]


def _imported() -> set[str]:
    """The modules that a run with nothing to do imports."""
    command = [sys.executable, "-X", "importtime", "-m", "study", "reproduce"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "import time:" in line}
