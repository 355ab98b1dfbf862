"""Floating-point operations of a transformer, from its shape alone.

A token that meets a weight matrix costs two operations for each weight: one product, one sum. A token that attends to
another costs four for each unit of attention width in each layer: two for the score, two for the weighted sum. Norms,
activations and the softmax are left out (Kaplan et al. 2020, section 2.1). The tests hold this against a profiler.
"""

from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel


class Size(NamedTuple):
    """What the cost of a model depends on.

    Attributes:
        body: weights of the matrices that every token meets.
        head: weights of the matrix that only a token meets from which another is predicted.
        attention: units of attention width, over all layers.
        trained: share of the matrices' weights that training changes.
    """

    body: int
    head: int
    attention: int
    trained: float


def size_of(model: PreTrainedModel) -> Size:
    """The size of a model as it stands, an adapter's matrices included."""
    config = model.config
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    output = model.get_output_embeddings()
    matrices = [module.weight for module in model.modules() if isinstance(module, nn.Linear) and module is not output]
    everything = [*matrices, output.weight]
    return Size(
        body=sum(weight.numel() for weight in matrices),
        head=output.weight.numel(),
        attention=config.num_hidden_layers * config.num_attention_heads * head_width,
        trained=sum(w.numel() for w in everything if w.requires_grad) / sum(w.numel() for w in everything),
    )


def forward_flops(size: Size, tokens: int, past: int = 0, predicted: int = 1) -> int:
    """Operations for reading a sequence.

    Args:
        size: of the model.
        tokens: read, each attending to the others and to the past, as the unmasked product does.
        past: tokens whose keys and values are cached.
        predicted: how many tokens are predicted.
    """
    return 2 * size.body * tokens + 2 * size.head * predicted + 4 * size.attention * tokens * (past + tokens)


def training_flops(size: Size, tokens: int) -> float:
    """Operations for one forward and backward pass over a sequence, a prediction from each of its tokens.

    The backward pass costs as much again for the gradients of activations, and for those of the trained weights.
    """
    products = 2 * (size.body + size.head) * tokens
    return products * (2 + size.trained) + 3 * 4 * size.attention * tokens * tokens
