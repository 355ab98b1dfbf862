"""A scenario on growing numbers of GPUs: wall time, what it costs, and what limits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import pandas as pd

from study.params import Arm
from study.runner import _jobs, waves_of
from study.simulate import FOLDER
from study.simulate.demand import ITEM, METHODS, MOST, Demand, Part
from study.simulate.scenario import GIGA, Scenario
from study.simulate.schedule import SCHEDULER, STORE, UNEVEN, WAITING, Job, Outcome, Rates, play
from study.store import Store
from study.strict import ParamsError
from study.trials import Trial, Unit, Writing

WRITING, TRAINING, READING, ASKING = "writing", "training", "reading the context", "asking"
AGAIN, STARTING = "the context read again", "starting"
USEFUL = (WRITING, TRAINING, READING, ASKING)
LOSSES = (WAITING, AGAIN, STARTING, UNEVEN, SCHEDULER, STORE)
WORK = "the work itself"  # limits where most of the time is work: more GPUs make it shorter
MOST_SHARDS = 2**10
SCALES = 0.5  # share of the GPUs' time that is work, down to which a study is said to scale
WORSE = 1.1  # times as long as what was found: not looked further into
FASTER = (0.5, 2.0)  # than the share of peak arithmetic that is assumed


class Way(NamedTuple):
    """How the work is divided.

    Attributes:
        group: how many times the fewest GPUs that hold a job it is given.
        shards: processes over which the questions of a trial are divided.
    """

    group: int = 1
    shards: int = 1


@dataclass(frozen=True)
class Plan:
    """One scenario, its waves as the study itself makes them."""

    scenario: Scenario

    @cached_property
    def demand(self) -> Demand:
        """What its work takes."""
        return Demand(self.scenario)

    @cached_property
    def waves(self) -> list[list[list[Unit]]]:
        """Waves of jobs of units: what `runner.run` would run with nothing finished."""
        nothing = Store(FOLDER / "trials")
        return [_jobs(wave) for wave in waves_of(self.scenario.study, nothing)]

    @property
    def rates(self) -> Rates:
        """What its jobs share."""
        here = self.scenario.executor
        return Rates(here.jobs_second, here.store_gb_s * GIGA, here.store_seconds)

    def jobs(self, way: Way, faster: float = 1.0) -> list[list[Job]]:
        """The waves, done in some way."""
        costs = _Costs(Demand(self.scenario, faster, way.group), way.shards)
        return [[job for units in wave for job in costs.jobs(units)] for wave in self.waves]

    def outcome(self, gpus: int, way: Way, faster: float = 1.0) -> Outcome:
        """Of so many GPUs."""
        return play(self.jobs(way, faster), gpus, self.rates)

    def best(self, gpus: int) -> Way:
        """The way with the shortest wall time on so many GPUs; of equal ones that with the least group and shards."""
        return self._best(lambda way: self.outcome(gpus, way).seconds, gpus)

    def _best(self, seconds: Callable[[Way], float], gpus: int) -> Way:
        """Groups and shards doubled, each as long as that does not make it clearly worse."""
        best, least, group = Way(), float("inf"), 1
        while group * self.fewest <= gpus:
            lasted, shards = float("inf"), 1
            while shards <= min(MOST_SHARDS, gpus // self.demand.asking_gpus()):
                found = seconds(Way(group, shards))
                if found < least:
                    best, least = Way(group, shards), found
                if found > WORSE * lasted:
                    break
                lasted, shards = min(lasted, found), 2 * shards
            if lasted > WORSE * least:
                break
            group *= 2
        return best

    @cached_property
    def fewest(self) -> int:
        """GPUs that any of its jobs needs.

        Raises:
            ParamsError: if there are fewer.
        """
        needed = max(job.gpus for wave in self.jobs(Way()) for job in wave)
        if needed > self.scenario.gpus:
            raise ParamsError(f"gpus = {self.scenario.gpus}: one trial alone needs {needed} of them; give as many")
        return needed

    @cached_property
    def floor(self) -> float:
        """Seconds that no number of GPUs goes below, whatever is done: every job begins at once."""

        def chains(way: Way) -> float:
            return sum(max((job.chain for job in wave), default=0.0) for wave in self.jobs(way))

        return chains(self._best(chains, MOST))

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each number of GPUs, doubled from the fewest.

        It goes on beyond those that there are for as long as half of their time is work, to where that ends.
        """
        lines: list[dict[str, Any]] = []
        gpus = self.fewest
        while gpus <= MOST and (gpus < self.scenario.gpus or not lines or lines[-1]["useful"] >= SCALES):
            lines.append(self._line(gpus))
            gpus *= 2
        if self.scenario.gpus not in [line["GPUs"] for line in lines]:
            lines.append(self._line(self.scenario.gpus))
        return pd.DataFrame(sorted(lines, key=lambda line: line["GPUs"]))

    def _line(self, gpus: int) -> dict[str, Any]:
        way = self.best(gpus)
        outcome = self.outcome(gpus, way)
        gpu, hours = self.scenario.gpu, outcome.seconds / 3600
        low, high = (self.outcome(gpus, way, faster).seconds / 3600 for faster in FASTER)
        return {
            "GPUs": gpus,
            "group": way.group,
            "shards": way.shards,
            "jobs": outcome.jobs,
            "hours": hours,
            "hours at half": low,
            "hours at twice": high,
            "GPU-hours": gpus * hours,
            "dollars": gpus * hours * gpu.dollars_hour,
            "MWh": gpus * hours * gpu.watts / 1e6 if gpu.watts else float("nan"),
            "useful": outcome.share(*USEFUL),
            "limits": limit(outcome),
            **{name: outcome.share(name) for name in (*USEFUL, *LOSSES)},
        }

    @property
    def scales_to(self) -> int | None:
        """The most GPUs, of those looked at, half of whose time is work; None if there are none such."""
        good = self.table[self.table["useful"] >= SCALES]["GPUs"]
        return int(good.max()) if len(good) else None

    def summary(self) -> dict[str, Any]:
        """In one line: what it takes on the fewest GPUs, and on the most half of whose time is work."""
        table, most = self.table, self.scales_to
        first, last = table.iloc[0], table[table["GPUs"] == (most or self.fewest)].iloc[0]
        beyond = table[table["GPUs"] > last["GPUs"]]
        return {
            "fewest GPUs": self.fewest,
            "hours on these": first["hours"],
            "half of the time is work up to": most,
            "hours on those": last["hours"],
            "dollars on those": last["dollars"],
            "limited beyond by": beyond["limits"].iloc[0] if len(beyond) else "",
            "hours at least": self.floor / 3600,
            "reading dominates from shards": self.shard_law()["reading dominates from"].iloc[0],
        }

    def shard_law(self) -> pd.DataFrame:
        """Seconds of one trial's questions behind the whole context, by number of shards, each on GPUs of its own."""
        here, demand = self.scenario.content, self.demand
        reading, question = demand.reading_seconds(here.context), demand.question_seconds(here.context)
        gpus, asking = demand.asking_gpus(), here.questions * question
        overhead = self.scenario.executor.start_seconds + demand.loading_seconds(gpus)
        lines, shards = [], 1
        while shards <= MOST_SHARDS:
            line = {"shards": shards, "GPUs": shards * gpus, "starting": overhead, "reading": reading}
            line |= {"asking": asking / shards, "seconds": overhead + reading + asking / shards}
            lines.append(line | {"reading dominates from": asking / reading})
            shards *= 2
        return pd.DataFrame(lines)

    def needs(self) -> Iterator[dict[str, Any]]:
        """GB on each GPU, and hours, by kind of work; each on as few GPUs as hold it."""
        demand, here = self.demand, self.scenario
        arms = [arm for arm in here.study.arms.values() if arm.train]
        for method in [method for method in METHODS if method in {demand.method(arm) for arm in arms}]:
            gpus = demand.training_gpus(method)
            parts = demand.step_parts(method, gpus)
            longest = max((arm for arm in arms if demand.method(arm) == method), key=demand.steps)
            yield {
                "work": f"training, {method}, {demand.steps(longest):,} steps",
                "GPUs": gpus,
                **_in_giga(demand.training_memory(method, gpus)),
                "hours": demand.training_seconds(longest, gpus) / 3600,
                "bound by": max(parts, key=lambda name: parts[name]),
            }
        context, questions, gpus = here.content.context, here.content.questions, demand.asking_gpus()
        memory = _in_giga(demand.asking_memory(gpus))
        for work, seconds in (
            (f"reading {context:,} tokens", demand.reading_seconds(context)),
            (f"asking {questions:,} questions", questions * demand.question_seconds(context)),
        ):
            yield {"work": work, "GPUs": gpus, **memory, "hours": seconds / 3600, "bound by": ""}
        other = "fsdp" if here.asking == "tensor" else "tensor"
        line = {"work": f"asking, divided by {other} instead", "hours": float("nan")}
        try:
            gpus = demand.asking_gpus(other)
        except ParamsError:  # a context that no GPU holds whole
            yield {**line, "GPUs": None, "bound by": "never fits"}
        else:
            yield {**line, "GPUs": gpus, **_in_giga(demand.asking_memory(gpus, other)), "bound by": ""}


def _in_giga(part: Part) -> dict[str, float]:
    return {name: value / GIGA for name, value in {**part._asdict(), "all": part.total}.items()}


def limit(outcome: Outcome) -> str:
    """What limits: the work itself where half of the GPUs' time is work, else what most of the rest is lost to."""
    if outcome.share(*USEFUL) >= SCALES:
        return WORK
    return max(LOSSES, key=lambda name: outcome.spent.get(name, 0.0))


class _Costs:
    """Jobs of units, as one scenario has them."""

    def __init__(self, demand: Demand, shards: int):
        self.demand, self.shards, here = demand, shards, demand.scenario
        self.content, self.executor = here.content, here.executor
        self.gpus = demand.asking_gpus()
        self._seconds: dict[object, float] = {}

    def jobs(self, units: list[Unit]) -> list[Job]:
        """What the units of one job come to: one, or several where questions are asked in shards."""
        first = units[0]
        if isinstance(first, Writing):
            writing = self._once(("writing", first.source), partial(self.demand.writing_seconds, first.source))
            parts = {**self._start(self.gpus), WRITING: writing}
            return [Job(self.gpus, parts, ITEM * self.content.documents * self.content.document_tokens)]
        trials = [unit for unit in units if isinstance(unit, Trial)]
        arm, train = trials[0].spec, trials[0].spec.train
        parts = self._asking(trials)
        stored = len(trials) * self.content.questions * self.executor.question_bytes / self.shards
        if not train:
            start = self._start(self.gpus)
            again = {AGAIN if name == READING else name: seconds for name, seconds in parts.items()}
            shard = Job(self.gpus, start | again, stored)
            return [Job(self.gpus, start | parts, stored), *[shard] * (self.shards - 1)]
        method = self.demand.method(arm)
        gpus = self.demand.training_gpus(method)
        if self.shards == 1:  # one process group does both
            gpus = max(gpus, self.gpus)
        training = self._once(("training", arm), partial(self.demand.training_seconds, arm, gpus))
        looks = self.demand.scenario.study.finetuning.looks * sum(trial.spec.curve for trial in trials)
        parts[ASKING] += looks * self._question(0) * self.content.questions / self.shards
        if self.shards == 1:
            return [Job(gpus, self._start(gpus) | {TRAINING: training} | parts, stored)]
        # What was trained goes through the store to those who ask it.
        weights = self.demand.tuned(method)
        changed = ITEM * weights.trained if method == "full" else 4 * weights.trained
        again = {AGAIN if name == READING else name: seconds for name, seconds in parts.items()}
        start = self._start(self.gpus)
        one, more = Job(self.gpus, start | parts, stored), Job(self.gpus, start | again, stored)
        return [Job(gpus, self._start(gpus) | {TRAINING: training}, changed, (one, *[more] * (self.shards - 1)))]

    def _start(self, gpus: int) -> dict[str, float]:
        return {STARTING: self.executor.start_seconds + self.demand.loading_seconds(gpus)}

    def _asking(self, trials: list[Trial]) -> dict[str, float]:
        """Each context is read once in a process, and the questions of this shard are asked behind it."""
        contexts = {(t.spec.context, t.spec.shots, t.spec.elsewhere): self._context(t.spec) for t in trials}
        reading = sum(self._once(("reading", n), partial(self.demand.reading_seconds, n)) for n in contexts.values())
        asking = sum(self._question(self._context(trial.spec)) for trial in trials)
        return {READING: reading, ASKING: asking * self.content.questions / self.shards}

    def _context(self, arm: Arm) -> int:
        """Tokens that an arm has in context."""
        if not arm.context:
            return 0
        return min(self.content.context, (arm.shots or self.content.documents) * self.content.document_tokens)

    def _question(self, context: int) -> float:
        return self._once(("question", context), partial(self.demand.question_seconds, context))

    def _once(self, key: object, seconds: Callable[[], float]) -> float:
        if key not in self._seconds:
            self._seconds[key] = seconds()
        return self._seconds[key]
