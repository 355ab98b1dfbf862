"""The simulation held against what was measured, in small: the published trials and the benchmark.

Each check fits what it must on one part of the measurements and foretells another part. Seconds of the published trials
are those of whatever else the machine did meanwhile. Nothing here was measured on a GPU.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.flops import size_of
from study.forecast import Work, memory_of
from study.hub import identity
from study.models import skeleton
from study.params import Params, Source
from study.simulate.schedule import Job, play
from study.store import content_hash
from study.trials import FINISHED

FIRST = "01_generate_data"
PAGES = ("02_in_context", "03_finetune", "04_augmented_finetune", "05_compare", "06_mechanism_and_cost")
LAW = (
    "context tokens",
    "questions",
    "options",
    "weights",
)  # curves; the last point of each is foretold
Record = dict[str, Any]


class Check(NamedTuple):
    """What was foretold and what was measured, pair by pair.

    Attributes:
        of: what.
        fitted: on what.
        predicted: values foretold.
        measured: the same, measured.
        unit: of both.
        note: what a reader must know of it.
    """

    of: str
    fitted: str
    predicted: Sequence[float]
    measured: Sequence[float]
    unit: str
    note: str = ""

    def line(self) -> dict[str, object]:
        """Median, and the middle 80 %, of foretold over measured."""
        ratios = np.divide(self.predicted, self.measured)
        low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9]) if len(ratios) else [float("nan")] * 3
        counts = {"check": self.of, "fitted on": self.fitted, "n": len(ratios)}
        return counts | {"median": middle, "10 %": low, "90 %": high, "note": self.note}


class Measured:
    """The records of a finished study."""

    def __init__(self, params: Params, results: Path):
        """Read them."""
        self.params, self.results = params, results
        self.studies = (params, *params.rungs)
        self.models = [identity(study.model) for study in self.studies]
        files = sorted((results / "trials").glob("*/record.json"))
        found = (json.loads(file.read_text(encoding="utf-8")) for file in files)
        # Of the same work done by different code one record is enough.
        self.records = list({content_hash({**r["recipe"], "code": ""}): r for r in found}.values())

    def of(self, study: Params) -> list[Record]:
        """The records of the study, or of a rung of its ladder."""
        model = self.models[self.studies.index(study)]
        return [record for record in self.records if record["recipe"]["model_sha256"] == model]

    def trials(self, study: Params) -> list[Record]:
        """The finished trials of one model on the seeds of the study."""
        of = (r for r in self.of(study) if not _writes(r) and r["status"] == FINISHED)
        return [record for record in of if record["recipe"]["seed"] in study.seeds]

    @cached_property
    def works(self) -> dict[tuple[str, str, int], Work]:
        """What each world of each model takes, as `study.forecast` counts it."""
        found = {}
        for study, model in zip(self.studies, self.models, strict=True):
            size = size_of(skeleton(study.model))
            for world, seed in {(_world(r), r["recipe"]["seed"]) for r in self.of(study)}:
                found[model, world, seed] = Work(study, world, seed, size)
        return found

    def work(self, record: Record) -> Work:
        """Of a record's world."""
        recipe = record["recipe"]
        return self.works[recipe["model_sha256"], _world(record), recipe["seed"]]

    # Jobs.

    def page(self, record: Record) -> str:
        """The page that is first to run a record's unit."""
        if record["recipe"]["model_sha256"] != self.models[0]:
            return PAGES[4]
        if _writes(record):
            return PAGES[2]
        training = record["recipe"]["training"]
        if training:
            return PAGES[2] if len(training["train"]) > 1 else PAGES[1]
        return PAGES[3] if record["recipe"]["elsewhere"] else PAGES[0]

    @cached_property
    def by_page(self) -> dict[str, list[Record]]:
        """The records of the study and its ladder, by the page that is first to run them."""
        found: dict[str, list[Record]] = defaultdict(list)
        for record in (record for study in self.studies for record in self.of(study)):
            found[self.page(record)].append(record)
        return dict(found)

    def taken(self, page: str) -> float:
        """Seconds of a page's last execution by its stamp; 0 without one."""
        stamp = self.results / "stamps" / f"{page}.json"
        return float(json.loads(stamp.read_text(encoding="utf-8"))["seconds"]) if stamp.is_file() else 0.0

    def waves(self, records: Iterable[Record], rate: float | None = None) -> list[list[Job]]:
        """Jobs as the study makes them: texts, the choice of rates, parts of trials, trials; one training's together.

        Args:
            records: of their units.
            rate: operations a second that give the seconds; by default they are as measured.
        """
        jobs: list[dict[str, list[Record]]] = [defaultdict(list) for _ in range(4)]
        for record in records:
            recipe = record["recipe"]
            if _writes(record):
                jobs[0][content_hash(recipe)].append(record)
            else:
                shard = recipe["shard"]
                wave = (3 if shard is None else 2) if recipe["seed"] in self.params.seeds else 1
                together = [recipe["world"], recipe["seed"], recipe["training"], recipe["model_sha256"], shard]
                jobs[wave][content_hash(together)].append(record)
        return [[Job(1, {"work": self._seconds(job, rate)}) for job in wave.values()] for wave in jobs]

    def _seconds(self, job: Sequence[Record], rate: float | None) -> float:
        training = next((record["training"] for record in job if "training" in record), None)
        if rate:
            return (sum(map(self.asking_flops, job)) + float(training["flops"] if training else 0)) / rate
        looks = sum(len(r.get("curve", ())) * r.get("scoring_seconds", 0.0) for r in job)
        return float(sum(r["seconds"] for r in job) + looks + (training["seconds"] if training else 0))

    def asking_flops(self, record: Record) -> float:
        """Operations of a record's unit besides its training: of its questions behind their context, or of its text."""
        work = self.work(record)
        if _writes(record):
            return work.writing(Source(record["recipe"]["writes"]))
        if record["status"] != FINISHED:
            return 0.0
        looks = len(record.get("curve", ())) * work.asking(0)
        return work.asking(record["context_tokens"]) + looks


def _writes(record: Record) -> bool:
    return "writes" in record["recipe"]


def _world(record: Record) -> str:
    return str(next(iter(record["recipe"]["world"])))


def _by_rate(of: str, study: Params, pairs: Sequence[tuple[Record, float, float]]) -> Iterable[Check]:
    """Seconds from operations: the rate is the median of the first seed, the other seeds are foretold."""
    fitted = [pair for pair in pairs if pair[0]["recipe"]["seed"] == study.seeds[0]]
    others = [pair for pair in pairs if pair[0]["recipe"]["seed"] != study.seeds[0]]
    if fitted and others:
        rate = float(np.median([flops / seconds for _, flops, seconds in fitted]))
        predicted = [flops / rate for _, flops, _ in others]
        about = f"seed {study.seeds[0]}: {rate / 1e9:.3g} GFLOP/s"
        yield Check(of, about, predicted, [seconds for *_, seconds in others], "s")


def times(measured: Measured, study: Params) -> Iterable[Check]:
    """Seconds of trainings, of asking, and of writing, from their operations."""
    trials, name = measured.trials(study), f"model of {_millions(study)} million"
    trainings = [(r, r["training"]["flops"], r["training"]["seconds"]) for r in _trainings(trials)]
    yield from _by_rate(f"seconds of a training, {name}", study, trainings)
    own = [r for r in trials if not r["recipe"]["elsewhere"]]
    asked = [(r, measured.work(r).asking(r["context_tokens"]), r["scoring_seconds"]) for r in own]
    for what, part in (
        ("without context", [p for p in asked if not p[0]["context_tokens"]]),
        ("behind a context", [p for p in asked if p[0]["context_tokens"]]),
    ):
        yield from _by_rate(f"seconds of asking {what}, {name}", study, part)
    writings = [(r, measured.asking_flops(r), r["seconds"]) for r in measured.of(study) if _writes(r)]
    yield from _by_rate(f"seconds of writing, {name}", study, writings)


def counts(measured: Measured, study: Params) -> Iterable[Check]:
    """Operations of trainings as foreseen before anything is written, against those done."""
    trainings = _trainings(measured.trials(study))
    foreseen = [measured.work(record).training(study.arms[record["arm"]]) for record in trainings]
    if foreseen:
        done = [record["training"]["flops"] for record in trainings]
        yield Check(f"operations of a training, model of {_millions(study)} million", "nothing", foreseen, done, "FLOP")


def _trainings(trials: Iterable[Record]) -> list[Record]:
    """One record of each training."""
    trained = (record for record in trials if "training" in record)
    return list({content_hash([r["recipe"][k] for k in ("world", "seed", "training")]): r for r in trained}.values())


def _millions(study: Params) -> str:
    return f"{skeleton(study.model).num_parameters() / 1e6:.1f}"


def memory(measured: Measured) -> Iterable[Check]:
    """Peak resident memory: what a process has without a model is fitted on untrained trials of the first seed."""
    base: float | None = None
    for study in measured.studies:
        needed = _Needed(study)
        parts: dict[str, list[tuple[float, float]]] = {"fit": [], "asking": [], "training": []}
        for record in measured.trials(study):
            training, first = record["recipe"]["training"], record["recipe"]["seed"] == study.seeds[0]
            part = "training" if training else "fit" if first and base is None else "asking"
            pair = needed.of(training, record["context_tokens"]), record["peak_memory_bytes"]
            parts[part].append(pair)
        if base is None and parts["fit"]:
            base = float(np.median([peak - foreseen for foreseen, peak in parts["fit"]]))
        for what in ("asking", "training"):
            if base is not None and parts[what]:
                foreseen, peaks = zip(*parts[what], strict=True)
                of = f"peak memory, {what}, model of {_millions(study)} million"
                fitted = f"a process without a model: {base / 1e6:.0f} MB"
                yield Check(of, fitted, [base + one for one in foreseen], peaks, "bytes")


class _Needed:
    """Bytes of a trial, as `study.forecast` foresees them; those of a training do not depend on its context."""

    def __init__(self, study: Params):
        self.study = study
        self._known: dict[tuple[str | None, int], float] = {}

    def of(self, training: Record | None, context: int) -> float:
        method = training["finetuning"]["method"] if training else None
        place = method, 0 if method else context
        if place not in self._known:
            arm = next(arm for arm in self.study.arms.values() if bool(arm.train) == bool(method))
            one = {"arms": {"one": arm.model_copy(update={"method": method})}}
            found = memory_of(self.study.model_copy(update=one), place[1], 0, 0, 1)
            self._known[place] = max(found.tuning if method else 0, found.asking)
        return self._known[place]


def schedule(measured: Measured, workers: int) -> Iterable[Check]:
    """Wall time of each page, its jobs played through, against what its stamp says it took.

    A page that found units done by an earlier, interrupted run took less than they: then nothing is told.
    """
    by_page, own = measured.by_page, measured.taken(FIRST)
    alone = {
        page: sum(job.seconds for wave in measured.waves(records) for job in wave) / workers
        for page, records in by_page.items()
    }
    told = [page for page in alone if measured.taken(page) >= alone[page]]
    for what, rate in (("jobs' own seconds", None), ("operations", _rate(measured))):
        of, fitted = f"wall time of a page from {what}, {workers} workers", f"{FIRST}, which runs none: {own:.0f} s"
        if len(told) < len(alone):
            note = f"{len(alone) - len(told)} pages found units done; remade from nothing they tell"
            yield Check(of, fitted, [], [], "s", note)
        else:
            predicted = [own + play(measured.waves(by_page[page], rate), workers).seconds for page in told]
            yield Check(of, fitted, predicted, [measured.taken(page) for page in told], "s")


def seeds(measured: Measured, folder: Path, workers: int) -> Iterable[Check]:
    """Wall time of many trainings side by side, as in the benchmark, from the seconds of a step and of asking."""
    table = pd.read_csv(folder / "table.csv")
    line = table[table["work"].str.fullmatch(r"\d+ seeds of one arm")]
    step = table[table["work"].str.startswith("full fine-tuning")]
    asking = [
        record["seconds"]
        for record in measured.trials(measured.params)
        if _world(record) == "reversals" and record["recipe"]["training"] and not record["context_tokens"]
    ]
    if len(line) and len(step) and asking:
        count, steps = int(str(line["work"].iloc[0]).split()[0]), measured.params.finetuning.fewest_steps
        seconds = steps * step["ours"].iloc[0] + float(np.median(asking))
        wall = play([[Job(1, {"work": seconds})] * count], workers).seconds
        yield Check(
            f"wall time of {count} trainings, {workers} workers", "seconds of a step, and of asking, each alone",
            [wall / count], [line["ours"].iloc[0]], "s", f"{steps} steps of {step['ours'].iloc[0]:.3g} s",
        )  # fmt: skip


def _rate(measured: Measured) -> float:
    trainings = [r["training"] for r in measured.trials(measured.params) if "training" in r]
    return float(np.median([training["flops"] / training["seconds"] for training in trainings]))


def cluster(measured: Measured, file: Path) -> Iterable[Check]:
    """Wall time of the study on several nodes of one core, from nothing, by a table of `nodes` and `seconds`.

    The records' seconds may be of another day than the table's.
    """
    if not file.is_file():
        return
    table = pd.read_csv(file).groupby("nodes")["seconds"].median()
    own = measured.taken(FIRST)
    walls = {
        int(nodes): own + sum(own + play(measured.waves(r), int(nodes)).seconds for r in measured.by_page.values())
        for nodes in table.index
    }
    of = f"wall time of the study on {' and '.join(map(str, walls))} Ray nodes"
    fitted = f"jobs' own seconds, and {FIRST} for each page: {own:.0f} s"
    yield Check(of, fitted, list(walls.values()), list(table), "s")
    several = [nodes for nodes in walls if nodes > 1]
    if 1 in walls and several:
        predicted = [walls[1] / walls[nodes] for nodes in several]
        found = [table[1] / table[nodes] for nodes in several]
        yield Check("speed-up by Ray nodes", fitted, predicted, found, "times", f"measured: {max(found):.3g}")


def law(folder: Path) -> Iterable[Check]:
    """Scoring in the benchmark: a constant and a multiple of the arithmetic, fitted on all but the largest."""
    curves, table = pd.read_csv(folder / "scaling.csv"), pd.read_csv(folder / "table.csv")
    for name in LAW:
        part = curves[curves["curve"] == name].sort_values("at")
        small, large = part.iloc[:-1], part.iloc[-1]
        slope, constant = np.polyfit(small["floor"], small["seconds"], 1)
        fitted = f"{small['at'].iloc[0]:,.0f} to {small['at'].iloc[-1]:,.0f}"
        at = f"{large['at']:,.0f}"
        yield Check(
            f"scoring, {name}: {at}", fitted, [constant + slope * large["floor"]], [large["seconds"]], "s",
            f"{slope:.2f} times the arithmetic and {constant:.2f} s",
        )  # fmt: skip
        if name == "context tokens":  # the same work, measured apart, as seconds for each of its questions
            work = table[table["work"].str.fullmatch(f"4 options of several tokens behind {at}")]
            for line in work.itertuples():
                count = int(str(line.note).split()[0])
                seconds = [(constant + slope * large["floor"]) / count]
                yield Check(f"seconds a question behind {at}", fitted, seconds, [line.ours], "s", "measured apart")


def all_checks(params: Params, results: Path, bench: Path, file: Path, workers: int) -> list[Check]:
    """Every check that the published results allow."""
    measured = Measured(params, results)
    found = [*schedule(measured, workers), *seeds(measured, bench, workers), *cluster(measured, file)]
    for study in measured.studies:
        found += [*times(measured, study), *counts(measured, study)]
    return [*found, *memory(measured), *law(bench)]
