"""The processes that do one trial together, in step: each takes part in every pass of a model whose weights they share.

A process alone is a group of one, for which nothing here does anything. What decides how work goes on must be the same
in all of them, or one waits for ever for what another one does not do.
"""

from typing import TypeVar

import torch
from accelerate import PartialState
from torch import distributed

Value = TypeVar("Value")


def size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return distributed.get_rank() if size() > 1 else 0


def device() -> torch.device:
    """Where this process of a group computes."""
    here: torch.device = PartialState().device
    return here


def leave() -> None:
    """End the group, when its work is done."""
    distributed.destroy_process_group()


def told(value: Value) -> Value:
    """What the first process has for a value."""
    if size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, device=device())
    return values[0]


def as_first(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that the first process has; here it is overwritten."""
    if size() > 1:
        distributed.broadcast(tensor, 0)
    return tensor


def least(value: int) -> int:
    """The smallest of what the processes have."""
    return int(_reduced(torch.tensor(value), distributed.ReduceOp.MIN)) if size() > 1 else value


def mean(value: torch.Tensor) -> torch.Tensor:
    """The mean of what the processes have."""
    return _reduced(value, distributed.ReduceOp.SUM) / size() if size() > 1 else value


def _reduced(value: torch.Tensor, operation: distributed.ReduceOp.RedOpType) -> torch.Tensor:
    value = value.detach().clone().to(device())
    distributed.all_reduce(value, operation)
    return value
