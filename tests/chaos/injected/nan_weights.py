"""One training that ends well and leaves weights that are no numbers."""

from types import ModuleType
from typing import Any

from chaos.injected import after, first


def _spoil(finetune: ModuleType) -> None:
    does = finetune.finetune

    def spoiled(*given: Any, **named: Any) -> Any:
        model, training = does(*given, **named)
        if first():
            for weight in model.parameters():
                weight.data[...] = float("nan")
        return model, training

    finetune.finetune = spoiled


after("study.lm.finetuning", _spoil)
