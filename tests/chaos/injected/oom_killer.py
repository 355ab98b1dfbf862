"""Jobs of one arm that are killed each time, as the system's kernel does where memory has run out."""

import os
import signal
from types import ModuleType
from typing import Any

from chaos.injected import after


def _kill(work: ModuleType) -> None:
    does = work.work

    def killed(units: Any, *given: Any) -> Any:
        if any(getattr(unit, "arm", "") == "ft local" for unit in units):
            os.kill(os.getpid(), signal.SIGKILL)
        return does(units, *given)

    work.work = killed


after("study.runs.perform", _kill)
