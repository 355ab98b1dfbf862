"""Attention in two parts: to a cached prefix, and among the new tokens that follow it.

The parts are computed separately and merged by their log-sum-exp (as in FlashAttention and cascade inference): no key
or value is copied or repeated, however many rows or branches share the prefix. transformers' models take the function
through `AttentionInterface`; `reads_in_two_parts` says whether a model supports it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel

NAME = "two_parts"
PIECE = 512
UNKNOWN = ("softcap", "s_aux", "position_bias", "head_mask")  # what models may pass to their attention; not done here
Pair = tuple[torch.Tensor, torch.Tensor]


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> Pair:
    """Attention with its log-sum-exp.

    Args:
        query: (rows, heads, new tokens, width).
        key: (rows, key heads, tokens, width); a key head serves several query heads in grouped-query attention.
        value: as key.
        mask: added to the scores, broadcast to (rows, heads, new tokens, tokens); None where all is seen.
        scale: of the scores.

    Returns:
        The weighted sum, (rows, heads, new tokens, width), and the log-sum-exp, (rows, heads, new tokens).

    Raises:
        NotImplementedError: on a device without such a kernel.
    """
    if query.device.type == "cpu" and query.shape[2] == 1 < query.shape[0]:
        # One token in each of many rows: plain products are faster than the kernel made for many tokens in a row.
        grouped = query.reshape(*key.shape[:2], -1, query.shape[3])
        scores = (grouped * scale) @ key.transpose(2, 3)
        scores = scores if mask is None else scores + mask
        lse = scores.logsumexp(-1)
        return (scores.softmax(-1) @ value).reshape(*query.shape[:3], -1), lse.reshape(query.shape[:3])
    if query.device.type == "cpu":
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, lse = kernel(query, key, value, attn_mask=mask, scale=scale)
        return out, lse
    if query.device.type != "cuda":
        raise NotImplementedError(f"no attention with log-sum-exp on {query.device.type}")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if mask is not None:  # the kernel wants whole rows, of a multiple of eight
        mask = nn.functional.pad(mask, (0, -key.shape[2] % 8)).expand(*query.shape[:3], -1)[..., : key.shape[2]]
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    out, lse, *_ = kernel(query, key, value, mask, True, 0.0, False, scale=scale)
    return out, lse[..., : query.shape[2]]


def attend_shared(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> Pair:
    """As `attend`, of all rows and heads to one prefix's keys (1, key heads, tokens, width): one product for each."""
    rows, heads, new, width = query.shape
    kinds = key.shape[1]
    folded = query.reshape(rows, kinds, -1, new, width).permute(1, 2, 0, 3, 4).reshape(1, kinds, -1, width)
    out, lse = attend(folded, key, value, None, scale)
    shape = (kinds, heads // kinds, rows, new)
    return (
        out.reshape(*shape, -1).permute(2, 0, 1, 3, 4).reshape(rows, heads, new, -1),
        lse.reshape(shape).permute(2, 0, 1, 3).reshape(rows, heads, new),
    )


class New:
    """The new tokens of one forward pass, given a cached prefix.

    Attributes:
        prefix_cache: of the prefix.
        mask: added to the scores among the new tokens, broadcast to (rows, heads, new tokens, tokens).
        cached: whether the new tokens extend the prefix.
    """

    def __init__(self, prefix_cache: "PrefixCache", mask: torch.Tensor | None, cached: bool = False):
        self.prefix_cache, self.mask, self.cached = prefix_cache, mask, cached

    def among(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> Pair:
        """The keys and values that the new tokens see besides the prefix; here their own."""
        if self.cached:
            self.prefix_cache.write(layer, key, value)
        return key, value


class PrefixCache:
    """Keys and values of one prefix, computed once; of another prefix only what differs is computed.

    The prefix is read in pieces that begin at multiples of their length. So the values do not depend, to the last bit,
    on what was read before, and an interrupted study gives the same rows as an uninterrupted one.

    Attributes:
        model: that reads.
        piece: tokens in one forward pass.
        ids: the tokens held.
    """

    def __init__(self, model: PreTrainedModel, piece: int = PIECE):
        self.model, self.piece = model, piece
        self.ids: list[int] = []
        self._layers: dict[int, Pair] = {}  # (1, key heads, room, width), filled as far as tokens are held
        self._room = 0

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> None:
        """Hold exactly these tokens: whole pieces that are in common with those held stay, the rest is computed."""
        if self.ids != list(ids):
            del self.ids[common_prefix([self.ids, ids]) // self.piece * self.piece :]
        if len(ids) > self._room:
            self._room = len(ids)
            self._layers = {layer: (self._larger(k), self._larger(v)) for layer, (k, v) in self._layers.items()}
        while len(self.ids) < len(ids):
            piece = ids[len(self.ids) : len(self.ids) + self.piece]
            positions = range(len(self.ids), len(self.ids) + len(piece))
            new = New(self, causal(len(piece), self.model), cached=True)
            forward(self.model, new, [list(piece)], [list(positions)], logits_to_keep=1)
            self.ids += piece

    def of(self, layer: int) -> Pair:
        """Views of the keys and values of a layer, (1, key heads, tokens held, width)."""
        key, value = self._layers[layer]
        return key[:, :, : len(self.ids)], value[:, :, : len(self.ids)]

    def write(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Append keys and values of a layer to those held."""
        if layer not in self._layers:
            self._layers[layer] = (self._larger(key[:, :, :0]), self._larger(value[:, :, :0]))
        for held, new in zip(self._layers[layer], (key, value), strict=True):
            held[:, :, len(self.ids) : len(self.ids) + new.shape[2]] = new

    def _larger(self, tensor: torch.Tensor) -> torch.Tensor:
        larger = tensor.new_empty(1, tensor.shape[1], self._room, tensor.shape[3])
        used = min(len(self.ids), tensor.shape[2])
        larger[:, :, :used] = tensor[:, :, :used]
        return larger


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the longest prefix that all sequences share."""
    shortest = min(sequences, key=len)
    for k, token in enumerate(shortest):
        if any(sequence[k] != token for sequence in sequences):
            return k
    return len(shortest)


def additive(seen: torch.Tensor, model: PreTrainedModel) -> torch.Tensor:
    """A mask to be added to scores, from one that is true where a token is seen."""
    return torch.zeros(seen.shape, dtype=model.dtype).masked_fill_(~seen, float("-inf")).to(model.device)


def causal(count: int, model: PreTrainedModel) -> torch.Tensor:
    """The additive causal mask, (1, 1, count, count)."""
    return additive(torch.ones(count, count, dtype=torch.bool).tril(), model)[None, None]


_new: ContextVar[New] = ContextVar("new")


def _two_parts(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    unknown = [name for name in UNKNOWN if options.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"the model's attention takes {unknown}")
    new, scale, layer = _new.get(), scaling or query.shape[-1] ** -0.5, int(module.layer_idx)  # type: ignore[arg-type]
    mask = None if new.mask is None else new.mask.to(query.device)  # layers may lie on several devices
    out, lse = attend(query, *new.among(layer, key, value), mask, scale)
    if new.prefix_cache.ids:
        other, other_lse = attend_shared(query, *new.prefix_cache.of(layer), scale)
        out = torch.lerp(out, other, torch.sigmoid(other_lse - lse).unsqueeze(-1).to(out.dtype))
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _two_parts)


@contextmanager
def two_parts(model: PreTrainedModel) -> Iterator[None]:
    """Give the model this attention, and its own one again afterwards."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def forward(
    model: PreTrainedModel,
    new: New,
    ids: Sequence[Sequence[int]] | torch.Tensor,
    positions: Sequence[Sequence[int]] | torch.Tensor,
    logits_to_keep: int | torch.Tensor,
) -> torch.Tensor:
    """Logits of new tokens given a cached prefix, within `two_parts`; ids and positions are (rows, new tokens)."""
    token = _new.set(new)
    try:
        logits: torch.Tensor = model(
            input_ids=torch.as_tensor(ids, device=model.device),
            position_ids=torch.as_tensor(positions, device=model.device),
            use_cache=False,
            logits_to_keep=logits_to_keep,
        ).logits
    finally:
        _new.reset(token)
    return logits


def window(model: PreTrainedModel) -> float:
    """Tokens in the narrowest attention window of all layers; infinite if every layer sees all."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if not getattr(config, "use_sliding_window", True) or (kinds is not None and set(kinds) <= {"full_attention"}):
        return math.inf
    names = ("sliding_window", "attention_chunk_size", "window_size", "attention_window_size")
    widths = [getattr(config, name, None) for name in names]
    return min((width for width in widths if isinstance(width, int)), default=math.inf)


def positions(model: PreTrainedModel) -> int | None:
    """How many tokens a text may have; None where nothing limits it, as in recurrent models."""
    config = model.config.get_text_config()
    limits = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len"))
    return next((limit for limit in limits if limit), None)


def unstretched(model: PreTrainedModel) -> float:
    """Up to how many tokens rotary positions do not depend on the text's length; infinite if they never do.

    In a longer text no prefix can be cached before the length of all of it is known.
    """
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]  # of each kind of layer, in some models
    lengths = [
        kind.get("original_max_position_embeddings") or config.max_position_embeddings
        for kind in kinds
        if kind.get("rope_type") in ("longrope", "dynamic")
    ]
    return min(lengths, default=math.inf)


_known: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def reads_in_two_parts(model: PreTrainedModel, tokens: int) -> bool:
    """Whether attention in two parts equals the model's own for so many tokens: tried once, on a short text."""
    if tokens > min(window(model), unstretched(model)):
        return False
    if model not in _known:
        _known[model] = _same(model)
    return _known[model]


@torch.inference_mode()
def _same(model: PreTrainedModel) -> bool:
    """Whether two branches behind a prefix, packed, give what each gives alone, and only the logits asked for."""
    ids = [3 + 5 * k % (model.config.get_text_config().vocab_size - 3) for k in range(16)]
    prefix, branches = ids[:9], (ids[9:12], ids[12:])
    texts = [torch.tensor([prefix + branch], device=model.device) for branch in branches]
    kept = torch.tensor([0, 2, 3, 6], device=model.device)
    whole = torch.cat([model(input_ids=text, use_cache=False).logits[:, 9:] for text in texts], dim=1)[:, kept]
    seen = torch.ones(7, 7, dtype=torch.bool).tril()
    seen[3:, :3] = False
    positions = [9 + k for branch in branches for k in range(len(branch))]
    try:
        with two_parts(model):
            prefix_cache = PrefixCache(model, piece=4)
            prefix_cache.read(prefix)
            new = New(prefix_cache, additive(seen, model)[None, None])
            apart = forward(model, new, [ids[9:]], [positions], kept)
    except Exception:  # the model's code does not support another attention, however it says so
        return False
    return apart.shape == whole.shape and close(apart, whole)


def close(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two logits differ by no more than rounding."""
    rounding = max(1e-4, 8 * torch.finfo(tensor.dtype).eps) * float(other.abs().max())
    return bool((tensor - other).abs().max() <= rounding)
