"""The bundled model before training: a stock Qwen3 whose attention starts out as a retriever would have it.

To look an entity up backwards, a model must gather a fact's subject at its object, find the object again, and
carry the subject over: two layers that are worth nothing without each other. From random weights that comes
after millions of tokens or not at all. The deeper the model, the longer the wait; so a deep one begins shallow and
grows when the skill is there.
"""

import copy
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from study.base_model.recipe import Architecture
from study.config import ParamsError
from study.paths import shown


def build_model(architecture: Architecture, vocabulary: int, layers: int, seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 with weights drawn from `seed`, its attention as `look_up_start` leaves it, if that is asked for."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=architecture.width,
            intermediate_size=3 * architecture.width,
            num_hidden_layers=layers,
            num_attention_heads=architecture.width // architecture.head_width,
            num_key_value_heads=architecture.width // architecture.head_width,
            head_dim=architecture.head_width,
            max_position_embeddings=architecture.positions,
            rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    if architecture.look_up_start:
        look_up_start(model, torch.Generator().manual_seed(seed))
    return model


@torch.no_grad()
def look_up_start(model: Qwen3ForCausalLM, generator: torch.Generator) -> None:
    """Start attention as a retriever would have it; training is free to change every weight.

    In even layers but the last, head h looks h + 1 tokens back: queries and keys read a direction that all
    embeddings share, and the query is turned against the rotary positions. In odd layers queries and keys are one
    orthogonal map, so that a token looks at its own kind. Values and outputs are orthogonal maps everywhere.
    The idea is that of mimetic initialization (Trockman & Kolter 2023, arXiv 2305.09828).
    """
    config = model.config
    width, head_width, heads = config.hidden_size, config.head_dim, config.num_attention_heads
    # Query and key are normalized, so their scale is free: a large one makes the start outlast noisy first steps.
    scale, few = 3.0, min(3, head_width // 2)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def orthogonal() -> torch.Tensor:
        q: torch.Tensor = torch.linalg.qr(normal(width, width))[0]
        return q

    shared = torch.nn.functional.normalize(normal(width), dim=0)
    own = normal(config.vocab_size, width)
    own -= torch.outer(own @ shared, shared)
    model.model.embed_tokens.weight.copy_(0.05 * (own + width**0.5 * shared))
    # The highest rotary frequencies tell neighbouring positions apart best.
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(0, head_width, 2) / head_width)[:few]
    key = torch.zeros(head_width)
    key[:few] = 1.0
    for layer, block in enumerate(model.model.layers[:-1] if len(model.model.layers) > 1 else model.model.layers):
        attention = block.self_attn
        if layer % 2:
            query_map = key_map = orthogonal()
        else:
            query = torch.zeros(heads, head_width)
            angles = torch.outer(torch.arange(1, heads + 1), frequencies)
            query[:, :few] = angles.cos()
            query[:, head_width // 2 : head_width // 2 + few] = -angles.sin()
            query_map = torch.outer(query.flatten(), shared) + normal(width, width) * 0.1 / width**0.5
            key_map = torch.outer(key.repeat(heads), shared) + normal(width, width) * 0.1 / width**0.5
        attention.q_proj.weight.copy_(scale * query_map)
        attention.k_proj.weight.copy_(scale * key_map)
    for block in model.model.layers:
        block.self_attn.v_proj.weight.copy_(orthogonal())
        block.self_attn.o_proj.weight.copy_(0.1 * orthogonal())


def started(folder: Path, architecture: Architecture) -> Qwen3ForCausalLM:
    """A bundled model that is there, to be trained further.

    Raises:
        ParamsError: if there is none, or its shape is not the one of `architecture`.
    """
    if not (folder / "config.json").is_file():
        raise ParamsError(
            f"start = {shown(folder)!r}: no model there; make it with `make base-model SIZE=...`, or leave it out"
        )
    model: Qwen3ForCausalLM = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = model.config
    shape = {
        "width": config.hidden_size,
        "head_width": config.head_dim,
        "positions": config.max_position_embeddings,
        "rope_theta": config.rope_parameters["rope_theta"],
    }
    for name, value in shape.items():
        if (wanted := getattr(architecture, name)) != value:
            raise ParamsError(f"architecture.{name} = {wanted}: the model in start = {shown(folder)!r} has {value}")
    return model


@torch.no_grad()
def grown(model: Qwen3ForCausalLM, layers: int) -> Qwen3ForCausalLM:
    """A model of so many layers that computes what `model` computes.

    The new layers are copies of the old ones, in their order and on top of them, whose outputs start at zero: a second
    look-up begins with the first one's attention. After progressive stacking (Gong et al. 2019, Efficient training of
    BERT by progressively stacking), made function-preserving.
    """
    config = copy.deepcopy(model.config)
    config.num_hidden_layers, config.layer_types = layers, ["full_attention"] * layers
    deeper = Qwen3ForCausalLM(config).to(model.device)
    state = {name: value for name, value in model.state_dict().items() if ".layers." not in name}
    deeper.load_state_dict(state, strict=False)
    old = model.model.layers
    for k, block in enumerate(deeper.model.layers):
        block.load_state_dict(old[k % len(old)].state_dict())
        if k >= len(old):
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
    return deeper
