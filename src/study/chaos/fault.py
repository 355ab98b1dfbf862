"""What a fault is given, and how it ended."""

from random import Random
from typing import NamedTuple

from study.chaos.check import Reference
from study.chaos.scratch import Scratch


class Chaos(NamedTuple):
    """What faults are made with.

    Attributes:
        scratch: project that they happen in.
        reference: the undisturbed study.
        random: decides on moments and files.
        faults: how many processes are killed.
        quick: whether the short form is asked for.
    """

    scratch: Scratch
    reference: Reference
    random: Random
    faults: int
    quick: bool


class Outcome(NamedTuple):
    """How the study came through one fault.

    Attributes:
        fault: its name.
        amiss: what was not as it should be; nothing if the study survived.
        skipped: why the fault could not be made here, if so.
    """

    fault: str
    amiss: list[str]
    skipped: str = ""
