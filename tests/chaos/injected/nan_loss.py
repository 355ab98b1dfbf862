"""One training whose weights are no numbers from its first step on."""

from types import ModuleType
from typing import Any

from chaos.injected import after, first


def _spoil(finetune: ModuleType) -> None:
    does, struck = finetune.finetune, finetune.take_step

    def spoiled(model: Any, *given: Any, **named: Any) -> Any:
        if first():
            finetune.take_step = _with_nan(struck)
        return does(model, *given, **named)

    finetune.finetune = spoiled


def _with_nan(take_step: Any) -> Any:
    def spoiled(optimizer: Any, *given: Any) -> Any:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.data[...] = float("nan")
        return take_step(optimizer, *given)

    return spoiled


after("study.lm.finetuning", _spoil)
