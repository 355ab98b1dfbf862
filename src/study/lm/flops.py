"""Floating-point operations of a transformer, from its shape alone.

A token costs two operations for each weight of a matrix that it is multiplied with: one product, one sum. A token that
attends to another costs four for each unit of attention width in each layer: two for the score, two for the weighted
sum. Norms, activations, the softmax and the scan of a state space are left out (Kaplan et al. 2020, section 2.1). The
tests compare this with a profiler.
"""

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

# What configurations call the number of experts that a token is routed to.
EXPERTS = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_top_k", "moe_topk", "moe_k")


class Size(NamedTuple):
    """What the cost of a model depends on.

    Attributes:
        body: weights of all matrices but the head; of experts, those that a token is routed to.
        head: weights of the output matrix, used only where a token is predicted.
        attention: units of attention width, over all layers.
        trained: share of the matrices' weights that are trained.
    """

    body: int
    head: int
    attention: int
    trained: float


def size_of(model: PreTrainedModel) -> Size:
    """The size of a model, with an adapter's matrices if it has one."""
    output, used = model.get_output_embeddings(), list(matrices(model))
    everything = [*used, (output.weight, output.weight.numel())]
    return Size(
        body=sum(met for _, met in used),
        head=output.weight.numel(),
        attention=sum(heads.number * heads.width for heads in heads_by_layer(model.config)),
        trained=sum(met for weight, met in everything if weight.requires_grad) / sum(met for _, met in everything),
    )


def matrices(model: PreTrainedModel) -> Iterator[tuple[nn.Parameter, int]]:
    """The matrices of a model but its embeddings, each with the number of its weights that a token uses."""
    for module in model.modules():
        if module is not model.get_output_embeddings() and not isinstance(module, nn.Embedding):
            yield from _own(module, model.config.get_text_config())


def _own(module: nn.Module, config: PretrainedConfig) -> Iterator[tuple[nn.Parameter, int]]:
    for name, weight in module.named_parameters(recurse=False):
        if isinstance(module, nn.Linear) and name == "weight":  # quantized weights have another shape
            yield weight, module.in_features * module.out_features
        elif name == "weight" and weight.ndim > 1:
            yield weight, weight.numel()
        elif weight.ndim == 3:  # (experts, ...)
            chosen = next((getattr(config, key) for key in EXPERTS if hasattr(config, key)), len(weight))
            yield weight, weight.numel() // len(weight) * chosen


class Heads(NamedTuple):
    """The attention heads of a layer: their number, that of the key heads, and the width of one.

    Where keys and values differ in width, it is their mean.
    """

    number: int
    keys: int
    width: int


def heads_by_layer(config: PretrainedConfig) -> list[Heads]:
    """The heads of each layer that has attention; none of a model without."""
    config = config.get_text_config()
    kinds = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None)
    layers = list(config.per_layer_config)
    if kinds:
        layers = [layer for layer, kind in zip(layers, kinds, strict=False) if _attends(kind)]
    return [_heads(layer) for layer in layers if getattr(layer, "num_attention_heads", None)]


def _attends(kind: str) -> bool:
    return kind == "hybrid" or ("attention" in kind and "linear" not in kind)


def _heads(config: PretrainedConfig) -> Heads:
    number = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // number
    if latent := getattr(config, "qk_nope_head_dim", None):  # keys and values come from a latent vector
        width = (latent + config.qk_rope_head_dim + config.v_head_dim) // 2
    return Heads(number, getattr(config, "num_key_value_heads", None) or number, width)


def forward_flops(size: Size, tokens: int, past: int = 0, predicted: int = 1) -> int:
    """Operations of a forward pass over `tokens`, given a cached prefix of `past`, with `predicted` tokens' logits.

    Each token attends to all others and to the past, as the unmasked product does.
    """
    return 2 * size.body * tokens + 2 * size.head * predicted + 4 * size.attention * tokens * (past + tokens)


def training_flops(size: Size, tokens: int) -> float:
    """Operations of a forward and backward pass over a sequence, with logits of each token.

    The backward pass costs as much again for the gradients of activations, and for those of the trained weights.
    """
    products = 2 * (size.body + size.head) * tokens
    return products * (2 + size.trained) + 3 * 4 * size.attention * tokens * tokens
