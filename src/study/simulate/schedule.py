"""A study's waves of jobs played through on so many GPUs: the longest job first, each wave when the one before is done.

A job holds its GPUs from its dispatch until its results are stored. The scheduler dispatches one job after the other,
and the store writes one result after the other. Every second of every GPU is accounted for.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

WAITING, UNEVEN, SCHEDULER, STORE = "waiting for the longest job", "GPUs left over", "the scheduler", "the store"
FREE = float("inf")  # a rate that is no limit


class Job(NamedTuple):
    """What one process, or one group of them, does.

    Attributes:
        gpus: that it holds.
        parts: its seconds, by what they are spent on.
        stored: bytes that it writes at its end.
        then: jobs that can begin when it is done.
    """

    gpus: int
    parts: dict[str, float]
    stored: float = 0.0
    then: tuple["Job", ...] = ()

    @property
    def seconds(self) -> float:
        """From its beginning until it has something to store."""
        return sum(self.parts.values())

    @property
    def chain(self) -> float:
        """Seconds of it and of the longest of what can only follow."""
        return self.seconds + max((job.chain for job in self.then), default=0.0)


class Rates(NamedTuple):
    """What all jobs share.

    Attributes:
        jobs_second: dispatched.
        store_bytes_second: written, by all together.
        store_seconds: of a write besides.
    """

    jobs_second: float = FREE
    store_bytes_second: float = FREE
    store_seconds: float = 0.0


NO_LIMITS = Rates()


class Outcome(NamedTuple):
    """How it went.

    Attributes:
        seconds: wall time.
        gpus: there were.
        spent: GPU-seconds, by what they were spent on; all together GPUs times wall time.
        jobs: done.
    """

    seconds: float
    gpus: int
    spent: dict[str, float]
    jobs: int

    def share(self, *names: str) -> float:
        """Of the GPUs' time spent on some things."""
        return sum(self.spent.get(name, 0.0) for name in names) / (self.gpus * self.seconds)


def play(waves: Sequence[Sequence[Job]], gpus: int, rates: Rates = NO_LIMITS) -> Outcome:
    """Run all waves.

    Raises:
        ValueError: if a job needs more GPUs than there are.
    """
    spent: dict[str, float] = defaultdict(float)
    now, jobs = 0.0, 0
    for wave in waves:
        now, done = _play_wave(wave, gpus, rates, now, spent)
        jobs += done
    return Outcome(now, gpus, dict(spent), jobs)


def _play_wave(wave: Sequence[Job], gpus: int, rates: Rates, now: float, spent: dict[str, float]) -> tuple[float, int]:
    """When a wave that begins now is done, and how many jobs it had; what is spent is added up."""
    queues: dict[int, list[tuple[float, int, Job]]] = defaultdict(list)  # by GPUs, the longest job first
    events: list[tuple[float, int, bool, Job]] = []  # when, in which order, whether it is stored already
    free, dispatched, stored, count = gpus, now, now, 0

    def wait(job: Job) -> None:
        nonlocal count
        if job.gpus > gpus:
            raise ValueError(f"a job needs {job.gpus} GPUs, there are {gpus}")
        heapq.heappush(queues[job.gpus], (-job.chain, count, job))
        count += 1

    for job in wave:
        wait(job)
    while True:
        while fitting := [queue for size, queue in queues.items() if queue and size <= free]:
            _, number, job = heapq.heappop(min(fitting))
            dispatched = max(dispatched, now) + 1 / rates.jobs_second
            free -= job.gpus
            spent[SCHEDULER] += job.gpus * (dispatched - now)
            for name, seconds in job.parts.items():
                spent[name] += job.gpus * seconds
            heapq.heappush(events, (dispatched + job.seconds, number, False, job))
        if not events:
            return now, count
        then, number, is_stored, job = heapq.heappop(events)
        spent[UNEVEN if any(queues.values()) else WAITING] += free * (then - now)
        now = then
        if not is_stored:
            stored = max(stored, now) + job.stored / rates.store_bytes_second
            spent[STORE] += job.gpus * (stored + rates.store_seconds - now)
            heapq.heappush(events, (stored + rates.store_seconds, number, True, job))
            continue
        free += job.gpus
        for following in job.then:
            wait(following)
