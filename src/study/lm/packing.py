"""Weights of large linear layers in oneDNN's own layout, in which products with few rows take half the time on a CPU.

torch's `linear` reads a weight as it lies, so with a few rows it is busy rearranging it each time.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from study.lm.attention import close

WORTH_PACKING = 2**19  # weights of a layer
ROWS = 16  # for which the layout is made; others lose little with it
TYPES = (torch.float32, torch.bfloat16)
PROBE = [[3, 4, 5, 6]]
Packed = list[tuple[nn.Linear, torch.Tensor]]


@contextmanager
def packed_weights(model: PreTrainedModel) -> Iterator[None]:
    """Let linear layers on a CPU hold their weights packed, and as they were afterwards, to the last bit.

    One layer after the other, so that memory holds each weight once; one that other layers share is held twice.
    Meanwhile nothing can be trained. A model whose code reads such a weight past its layer, as is seen on a short text,
    is left as it is.
    """
    layers = [pair for pair in _worth_packing(model) if pair[0].weight.device.type == "cpu"]
    if not (layers and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        yield
        return
    packed: Packed = []
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor(PROBE)).logits
    try:
        _pack(layers, packed)
        if not _computes(model, expected):
            _unpack(packed)
        yield
    finally:
        _unpack(packed)


@torch.inference_mode(False)
@torch.no_grad()
def _pack(layers: list[tuple[nn.Linear, bool]], packed: Packed) -> None:
    for layer, shared in layers:
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.data, ROWS)
        packed.append((layer, weight))
        layer.forward = partial(_product, weight, layer.bias)  # type: ignore[method-assign]
        if not shared:
            layer.weight.data = layer.weight.data.new_empty(0)


@torch.inference_mode(False)
@torch.no_grad()
def _unpack(packed: Packed) -> None:
    while packed:
        layer, weight = packed.pop()
        del layer.forward
        if not layer.weight.numel():
            layer.weight.data = weight.to_dense()


def _product(weight: torch.Tensor, bias: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor:
    """What a layer gives for rows, its weight packed."""
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return found


@torch.inference_mode()
def _computes(model: PreTrainedModel, expected: torch.Tensor) -> bool:
    try:
        return close(model(input_ids=torch.tensor(PROBE)).logits, expected)
    except Exception:  # whatever its code makes of a weight that holds nothing
        return False


def packing_bytes(model: PreTrainedModel) -> int:
    """Bytes that packing takes above the weights: those held twice, and a copy of the largest layer in turn."""
    sizes = [(layer.weight.nbytes, shared) for layer, shared in _worth_packing(model)]
    return max((size for size, _ in sizes), default=0) + sum(size for size, shared in sizes if shared)


def _worth_packing(model: PreTrainedModel) -> list[tuple[nn.Linear, bool]]:
    """Large linear layers of a type that can be packed, and whether their weight is another layer's as well."""
    users = Counter(id(weight) for part in model.modules() for weight in part.parameters(recurse=False))
    return [
        (part, users[id(part.weight)] > 1)
        for part in model.modules()
        if type(part) is nn.Linear and "forward" not in vars(part)  # which a package may have put there
        if part.weight.dtype in TYPES and part.weight.numel() >= WORTH_PACKING
    ]
