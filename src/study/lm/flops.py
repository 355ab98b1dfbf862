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
    config, output = model.config.get_text_config(), model.get_output_embeddings()
    matrices = [pair for module in model.modules() if module is not output for pair in _met(module, config)]
    everything = [*matrices, (output.weight, output.weight.numel())]
    heads, width = heads_of(config)
    return Size(
        body=sum(met for _, met in matrices),
        head=output.weight.numel(),
        attention=attention_layers(config) * heads * width,
        trained=sum(met for weight, met in everything if weight.requires_grad) / sum(met for _, met in everything),
    )


def _met(module: nn.Module, config: PretrainedConfig) -> Iterator[tuple[nn.Parameter, int]]:
    """The matrices a module has itself, whatever its class, each with the number of its weights that a token uses."""
    if isinstance(module, nn.Embedding):
        return
    for name, weight in module.named_parameters(recurse=False):
        if isinstance(module, nn.Linear) and name == "weight":  # quantized weights have another shape
            yield weight, module.in_features * module.out_features
        elif name == "weight" and weight.ndim > 1:
            yield weight, weight.numel()
        elif weight.ndim == 3:  # (experts, ...)
            chosen = next(getattr(config, key) for key in EXPERTS if hasattr(config, key))
            yield weight, weight.numel() // len(weight) * chosen


def heads_of(config: PretrainedConfig) -> tuple[int, int]:
    """Number and width of attention heads in a layer; none in a model without attention."""
    heads = getattr(config, "num_attention_heads", None) or 0
    return heads, heads and (getattr(config, "head_dim", None) or config.hidden_size // heads)


def attention_layers(config: PretrainedConfig) -> int:
    """Number of layers with attention; in a hybrid model those whose type says so."""
    kinds = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None)
    if kinds is None:
        return int(config.num_hidden_layers)
    return sum("attention" in kind and "linear" not in kind for kind in kinds)


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
