"""A scenario on growing numbers of GPUs: wall time, what it costs, and what limits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import pandas as pd

from study.attention import PIECE
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
AGAIN, STARTING, ALIKE = "the context read again", "starting", "passes repeated in a group"
USEFUL = (WRITING, TRAINING, READING, ASKING)
LOSSES = (WAITING, ALIKE, AGAIN, STARTING, UNEVEN, SCHEDULER, STORE)
WORK = "the work itself"  # limits where most of the time is work: more GPUs make it shorter
MOST_SHARDS = 2**10
HALF = 0.5  # share of the GPUs' time from which on work limits
SCALES = 0.5  # efficiency, GPU-hours on the fewest GPUs over GPU-hours, down to which a study is said to scale
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
    _waves: dict[int, list[list[list[Unit]]]] = field(default_factory=dict, repr=False, compare=False)
    _made: dict[tuple[Way, float], list[list[Job]]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def demand(self) -> Demand:
        """What its work takes."""
        return Demand(self.scenario)

    def waves(self, parts: int) -> list[list[list[Unit]]]:
        """Waves of jobs of units, as `runner.run` would run them with nothing finished, questions in so many parts."""
        if parts not in self._waves:
            questions = self.scenario.study.questions.model_copy(update={"shards": parts})
            study = self.scenario.study.model_copy(update={"questions": questions})
            self._waves[parts] = [_jobs(wave) for wave in waves_of(study, Store(FOLDER / "trials"))]
        return self._waves[parts]

    @property
    def rates(self) -> Rates:
        """What its jobs share."""
        here = self.scenario.executor
        return Rates(here.jobs_second, here.store_gb_s * GIGA, here.store_seconds)

    def jobs(self, way: Way, faster: float = 1.0) -> list[list[Job]]:
        """The waves, done in some way; of many shards the first is made, and one like all the others."""
        if (way, faster) not in self._made:
            costs = _Costs(Demand(self.scenario, faster, way.group), way.shards)
            waves = self.waves(min(way.shards, 2))
            self._made[way, faster] = [[job for units in wave for job in costs.jobs(units)] for wave in waves]
        return self._made[way, faster]

    def outcome(self, gpus: int, way: Way, faster: float = 1.0) -> Outcome:
        """Of so many GPUs."""
        return play(self.jobs(way, faster), gpus, self.rates)

    def best(self, gpus: int) -> Way:
        """The way with the shortest wall time on so many GPUs; of equal ones that with the least group and shards."""
        return self._best(lambda way: self.outcome(gpus, way).seconds, gpus)

    def _best(self, seconds: Callable[[Way], float], gpus: int) -> Way:
        """Groups and shards doubled, each as long as that does not make it clearly worse."""
        best, least, group = Way(), float("inf"), 1
        while group * self.fewest <= min(gpus, self.demand.most):
            lasted, shards = float("inf"), 1
            while shards <= min(MOST_SHARDS, gpus // self.fewest):
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

    @property
    def fewest(self) -> int:
        """GPUs of one job.

        Raises:
            ParamsError: if there are fewer.
        """
        needed = self.demand.gpus
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

        It goes on beyond those that there are, to where it scales no more.
        """
        lines: list[dict[str, Any]] = []
        gpus = self.fewest
        while gpus <= MOST and (gpus < self.scenario.gpus or not lines or self._scales(lines)):
            lines.append(self._line(gpus))
            gpus *= 2
        if self.scenario.gpus not in [line["GPUs"] for line in lines]:
            lines.append(self._line(self.scenario.gpus))
        table = pd.DataFrame(sorted(lines, key=lambda line: line["GPUs"]))
        return table.assign(efficiency=table["GPU-hours"].iloc[0] / table["GPU-hours"])

    @staticmethod
    def _scales(lines: list[dict[str, Any]]) -> bool:
        """Whether the last line's GPU-hours are no more than those of the fewest GPUs allow."""
        return bool(lines[0]["GPU-hours"] >= SCALES * lines[-1]["GPU-hours"])

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
    def scales_to(self) -> int:
        """The most GPUs, of those looked at, on which it takes no more than twice the GPU-hours of the fewest."""
        return int(self.table[self.table["efficiency"] >= SCALES]["GPUs"].max())

    def summary(self) -> dict[str, Any]:
        """In one line: what it takes on the fewest GPUs, and on the most that it scales to."""
        table, most = self.table, self.scales_to
        first, last = table.iloc[0], table[table["GPUs"] == most].iloc[0]
        beyond = table[table["GPUs"] > last["GPUs"]]
        return {
            "fewest GPUs": self.fewest,
            "hours on these": first["hours"],
            "scales to": most,
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
        asking, overhead = here.questions * question, demand.starting_seconds()
        lines, shards = [], 1
        while shards <= MOST_SHARDS:
            line = {"shards": shards, "GPUs": shards * demand.gpus, "starting": overhead, "reading": reading}
            line |= {"asking": asking / shards, "seconds": overhead + reading + asking / shards}
            lines.append(line | {"reading dominates from": asking / reading})
            shards *= 2
        return pd.DataFrame(lines)

    def needs(self) -> Iterator[dict[str, Any]]:
        """GB on each GPU, and hours, by kind of work, on as few GPUs as hold all of it."""
        demand, here = self.demand, self.scenario
        arms = [arm for arm in here.study.arms.values() if arm.train]
        for method in [method for method in METHODS if method in {demand.method(arm) for arm in arms}]:
            longest = max((arm for arm in arms if demand.method(arm) == method), key=demand.steps)
            yield {
                "work": f"training, {method}, {demand.steps(longest):,} steps",
                "GPUs": demand.gpus,
                **_in_giga(demand.training_memory(method, demand.gpus)),
                "hours": demand.training_seconds(longest) / 3600,
                "bound by": _largest(demand.step_parts(method)),
            }
        context, questions, tensor = here.content.context, here.content.questions, here.changed.tensor
        memory = _in_giga(demand.asking_memory(demand.gpus, tensor))
        asked = demand.together * here.content.question_tokens
        for work, seconds, tokens, past in (
            (f"reading {context:,} tokens", demand.reading_seconds(context), PIECE, context / 2),
            (f"asking {questions:,} questions", questions * demand.question_seconds(context), asked, context),
        ):
            bound = _largest(demand.pass_parts(tokens, past, demand.gpus))
            yield {"work": work, "GPUs": demand.gpus, **memory, "hours": seconds / 3600, "bound by": bound}
        line = {"work": f"asking, by {'FSDP' if tensor else 'tensors'} instead", "hours": float("nan")}
        try:
            gpus = demand.asking_gpus(not tensor)
        except ParamsError:  # on one machine no GPU holds as much
            yield {**line, "GPUs": None, "bound by": "fits no group"}
        else:
            yield {**line, "GPUs": gpus, **_in_giga(demand.asking_memory(gpus, not tensor)), "bound by": ""}


def _largest(parts: dict[str, float]) -> str:
    return max(parts, key=lambda name: parts[name])


def _in_giga(part: Part) -> dict[str, float]:
    return {name: value / GIGA for name, value in {**part._asdict(), "all": part.total}.items()}


def limit(outcome: Outcome) -> str:
    """What limits: the work itself where half of the GPUs' time is work, else what most of the rest is lost to."""
    if outcome.share(*USEFUL) >= HALF:
        return WORK
    return max(LOSSES, key=lambda name: outcome.spent.get(name, 0.0))


class _Costs:
    """Jobs of units, as one scenario has them."""

    def __init__(self, demand: Demand, shards: int):
        self.demand, self.shards, self.content = demand, shards, demand.scenario.content
        self._seconds: dict[object, float] = {}

    def jobs(self, units: list[Unit]) -> list[Job]:
        """What the units of one job come to: one, or several where what is like it is done many times."""
        first, demand = units[0], self.demand
        if isinstance(first, Writing):
            seconds = self._once(("writing", first.source), partial(demand.writing_seconds, first.source))
            return [self._job({WRITING: seconds}, ITEM * self.content.context)]
        trials = [unit for unit in units if isinstance(unit, Trial)]
        asked = [trial for trial in trials if not trial.shards]
        if not asked:  # put together from their parts: no model is loaded
            return [Job(demand.gpus, {STARTING: demand.scenario.executor.start_seconds}, self._rows(trials))]
        shard = trials[0].shard
        if shard is not None:
            job = self._job(self._asking(asked, self.shards, again=shard > 0), self._rows(trials) / self.shards)
            return [job] * (self.shards - 1 if shard else 1)
        arm = asked[0].spec
        if not arm.train:
            return [self._job(self._asking(asked, 1), self._rows(trials))]
        training = {TRAINING: self._once(("training", arm), partial(demand.training_seconds, arm))}
        looks = demand.scenario.study.finetuning.looks * sum(trial.spec.curve for trial in asked)
        seen = {ASKING: looks * self._question(0) * self.content.questions}
        if self.shards == 1 or not demand.scenario.changed.trained_shards:
            parts = self._asking(asked, 1)
            return [self._job(training | parts | {ASKING: parts[ASKING] + seen[ASKING]}, self._rows(trials))]
        # What was trained goes through the store to those who ask it.
        weights = demand.tuned(demand.method(arm))
        stored = self._rows(trials) / self.shards
        one, more = (self._job(self._asking(asked, self.shards, again), stored) for again in (False, True))
        return [self._job(training | seen, ITEM * weights.trained)._replace(then=(one, *[more] * (self.shards - 1)))]

    def _job(self, parts: dict[str, float], stored: float) -> Job:
        """A job on its GPUs; of what each of them does alike, one does the work."""
        gpus, found = self.demand.gpus, {STARTING: self._once("starting", self.demand.starting_seconds), **parts}
        if gpus > 1 and not self.demand.scenario.changed.tensor:
            alike = {name: found[name] for name in (WRITING, READING, ASKING) if name in found}
            found |= {name: seconds / gpus for name, seconds in alike.items()}
            found[ALIKE] = sum(alike.values()) * (1 - 1 / gpus)
        return Job(gpus, found, stored)

    def _rows(self, trials: list[Trial]) -> float:
        """Bytes of the rows of all questions."""
        return len(trials) * self.content.questions * self.demand.scenario.executor.question_bytes

    def _asking(self, trials: list[Trial], shards: int, again: bool = False) -> dict[str, float]:
        """Each context is read once in a process, and the questions of this shard are asked behind it."""
        contexts = {(t.spec.context, t.spec.shots, t.spec.elsewhere): self._context(t.spec) for t in trials}
        reading = sum(self._once(("reading", n), partial(self.demand.reading_seconds, n)) for n in contexts.values())
        asking = sum(self._question(self._context(trial.spec)) for trial in trials)
        return {AGAIN if again else READING: reading, ASKING: asking * self.content.questions / shards}

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
