"""Limits on time and memory for what other people's files make this process do: to read them, or to run a template."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


class Exceeded(Exception):
    """More time or memory than there may be; the message says how much that is."""


class _Stop(BaseException):
    """Raised by the timer; no `except Exception` on the way keeps it."""


@contextmanager
def limited(seconds: float, gigabytes: float) -> Iterator[None]:
    """End what computes too long, or takes too much memory beside what is taken already.

    Signals reach the main thread alone, and not every system counts memory so: elsewhere nothing is limited.

    Raises:
        Exceeded: naming the limit.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGVTALRM"):
        yield
        return
    handler, outer = signal.signal(signal.SIGVTALRM, _stop), (0.0, 0.0)
    try:
        with _memory(gigabytes):
            try:
                # Of computing, not of waiting for other processes; again each second, in case the first is kept.
                outer = signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 1)
                yield
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, *outer)
    except _Stop:
        raise Exceeded(f"takes more than {seconds:g} seconds") from None
    except MemoryError:
        raise Exceeded(f"takes more than {gigabytes:g} GB of memory") from None
    finally:
        signal.signal(signal.SIGVTALRM, handler)


def _stop(number: int, frame: object) -> None:
    raise _Stop


@contextmanager
def _memory(gigabytes: float) -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + int(gigabytes * 2**30)
    with suppress(ValueError):  # there is a lower limit already
        resource.setrlimit(resource.RLIMIT_AS, (most if before[0] < 0 else min(most, before[0]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
