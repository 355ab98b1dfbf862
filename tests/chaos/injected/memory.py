"""Jobs that may take hardly more memory than they begin with."""

import resource
from types import ModuleType
from typing import Any

import psutil

from chaos.injected import after

ROOM = 2**23


def _limit(work: ModuleType) -> None:
    does = work.work

    def limited(*given: Any) -> Any:
        limit = psutil.Process().memory_info().vms + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return does(*given)

    work.work = limited


after("study.runs.perform", _limit)
