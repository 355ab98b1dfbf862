"""What a model does in one process, or sharded over a group of them; `test_sharding` compares the two.

accelerate launch --config_file FILE --module in_step FOLDER
"""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary
from transformers import PreTrainedModel

from study import group
from study.finetune import finetune
from study.generate import generate
from study.models import load
from study.params import Finetuning, Model, Params
from study.score import OptionScores, score_options
from study.sharding import enter, sharded

CASES, DONE, PEAKS = "cases.pickle", "done.pickle", "peaks.pickle"
CONTEXT = "vazed sees ditav. bafed sees dakok. ditav is fast."
QUESTIONS = [("vazed sees", [" ditav.", " dakok.", " bafed."]), ("is ditav fast?", [" yes.", " no."])]
# One more than two processes can share evenly, and one longer than a step.
TEXTS = ["vazed sees ditav.", "in being fast, bafed is ahead of dakok.", "the teacher of vazed is bafed. " * 4]


class Case(NamedTuple):
    """A model on disk, how it is loaded, and how it is tuned."""

    folder: str
    dtype: str
    method: str


class Done(NamedTuple):
    """What came of it; `held` is the share of all weights that this process has."""

    before: list[OptionScores]
    held: float
    written: list[str]
    weights: dict[str, torch.Tensor]
    losses: tuple[float, ...]
    on_the_way: list[list[OptionScores]]
    after: list[OptionScores]
    dtype: torch.dtype
    tuned_held: float


def done(case: Case) -> Done:
    """Ask a model, let it write, tune it and ask again."""
    model, tokenizer = load(Model(name=case.folder, dtype=case.dtype, device="cpu"))
    model = sharded(model)
    held = share(model)
    before = score_options(model, tokenizer, CONTEXT, QUESTIONS)
    written = generate(model, tokenizer, [query for query, _ in QUESTIONS], 6, 1.0, seed=1, batch_size=4).texts
    encoded = [tokenizer(text).input_ids for text in TEXTS]
    how = Finetuning.parse({"method": case.method, "step_tokens": 24, "warmup_steps": 0, "looks": 1}, "test")
    looks: list[list[OptionScores]] = []
    model, _ = load(Model(name=case.folder, dtype=case.dtype, device="cpu"))
    tuned, training = finetune(
        model,
        tokenizer,
        encoded,
        how,
        1e-3,
        4,
        0,
        lambda _, m: looks.append(score_options(m, tokenizer, "", QUESTIONS)),
    )
    tuned_held = share(tuned)
    after = score_options(tuned, tokenizer, CONTEXT, QUESTIONS)
    weights = {
        name: (weight.full_tensor() if isinstance(weight, DTensor) else weight).detach().clone()
        for name, weight in tuned.named_parameters()
    }
    return Done(before, held, written, weights, training.losses, looks, after, tuned.dtype, tuned_held)


def share(model: PreTrainedModel) -> float:
    """Of a model's weights, the part that this process has."""
    held = [w.to_local().numel() if isinstance(w, DTensor) else w.numel() for w in model.parameters()]
    return sum(held) / sum(weight.numel() for weight in model.parameters())


class Held(TorchDispatchMode):
    """Counts the bytes that new tensors hold at once, whichever thread lets them go.

    What an operation takes within itself is not seen. Torch's profiler sees that, but not what is let go by threads
    that speak with other processes, which differs from run to run.

    Attributes:
        most: bytes, so far.
    """

    def __init__(self, model: PreTrainedModel):
        """Leave out what the model has."""
        super().__init__()
        self.most = 0
        self._before = WeakIdKeyDictionary({weight.untyped_storage(): None for weight in model.parameters()})
        self._found = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Do what is to be done, and count."""
        if DTensor in types:  # which does it with tensors of its own, that are seen then
            return NotImplemented
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.device.type == "cpu":
                storage = tensor.untyped_storage()
                if storage not in self._before:
                    self._found[storage] = None
        self.most = max(self.most, sum(storage.nbytes() for storage in self._found))
        return result


def to_tune(params: Params) -> tuple[PreTrainedModel, Callable[[], object]]:
    """A model as it is loaded, and what tunes it for two steps."""
    model, tokenizer = load(params.model)
    encoded = [tokenizer("vazed sees ditav. " * k).input_ids for k in range(2, 12)]
    return model, lambda: finetune(model, tokenizer, encoded, params.finetuning, 1e-4, 2, 0)


def peak(params: Params) -> int:
    """Most bytes that tensors of a tuning hold at once, beside the model as it is loaded."""
    model, tune = to_tune(params)
    with Held(model) as held:
        tune()
    return held.most


def main(folder: Path) -> None:
    """Do the cases that lie in a folder, as one process of a group."""
    enter(cpu=True)
    torch.set_num_threads(1)
    found = [done(case) for case in pickle.loads((folder / CASES).read_bytes())]  # noqa: S301
    (folder / f"{group.rank()}.{DONE}").write_bytes(pickle.dumps(found))
    measured = [peak(params) for params in pickle.loads((folder / PEAKS).read_bytes())]  # noqa: S301
    (folder / f"{group.rank()}.{PEAKS}").write_bytes(pickle.dumps(measured))
    group.leave()


if __name__ == "__main__":
    import in_step  # by the name that pickles are read by

    in_step.main(Path(sys.argv[1]))
