"""One training that runs out of memory and says so."""

from types import ModuleType
from typing import Any

from chaos.injected import after, first


def _raise(finetune: ModuleType) -> None:
    does = finetune.finetune

    def struck(*given: Any, **named: Any) -> Any:
        if first():
            raise MemoryError("Unable to allocate 9.31 GiB")
        return does(*given, **named)

    finetune.finetune = struck


after("study.lm.finetuning", _raise)
