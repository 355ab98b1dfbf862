"""Generate continuations of many prompts: their common prefix is cached, rows that have ended are dropped.

Each text is a function of the model, its prompt and its own random state, whatever else is in its batch.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from study.lm.attention import (
    New,
    Pair,
    PrefixCache,
    additive,
    close,
    common_prefix,
    forward,
    positions,
    reads_in_two_parts,
    two_parts,
    unstretched,
)
from study.lm.flops import forward_flops, size_of
from study.lm.packing import packed_weights
from study.lm.parallel import side_by_side, threads_on
from study.lm.scoring import NO_NUMBERS

WORTH_SHARING = 16  # tokens in common
WORTH_DROPPING = 7 / 8  # share of rows still going on
ENCODED_AT_ONCE = 256  # prompts; a tokenizer's own record of a long one is many times its tokens


class Generation(NamedTuple):
    """Generated texts and their cost.

    Attributes:
        texts: one for each prompt.
        prompt_tokens: of all prompts.
        new_tokens: generated, end-of-text tokens included.
        flops: floating-point operations without prompt caching.
        ended: whether each text ended by itself, not at the most tokens it may have.
    """

    texts: list[str]
    prompt_tokens: int
    new_tokens: int
    flops: int
    ended: list[bool]


class Limits(NamedTuple):
    """How texts are generated.

    Attributes:
        tokens: most new ones.
        ends: tokens that end a text.
        temperature: of the sampling; 0 for greedy decoding.
        seed: with an item's number its random state.
    """

    tokens: int
    ends: frozenset[int]
    temperature: float
    seed: int


class Draw:
    """Samples the next token of each item with random numbers of its own, one for each of its tokens."""

    def __init__(self, items: Sequence[int], limits: Limits):
        self.temperature, self.step = limits.temperature, 0
        rngs = {item: np.random.default_rng([limits.seed, item]) for item in items if limits.temperature}
        self.drawn = {item: rng.random(limits.tokens) for item, rng in rngs.items()}

    def __call__(self, logits: torch.Tensor, items: Sequence[int]) -> torch.Tensor:
        """The next token of some items, (items), from their logits, (items, vocabulary).

        Raises:
            FloatingPointError: if a logit is not a number, so that any token would do.
        """
        if bool(logits.isnan().any()):
            raise FloatingPointError(f"the next tokens have {NO_NUMBERS}")
        if not self.temperature:
            return logits.argmax(-1)
        upto = (logits.double() / self.temperature).softmax(-1).cumsum(-1)
        drawn = torch.tensor([self.drawn[item][self.step] for item in items], device=logits.device)
        self.step += 1
        return (upto <= drawn[:, None] * upto[:, -1:]).sum(-1).clamp_(max=logits.shape[-1] - 1)


class _Rows(New):
    """Rows of tokens that follow the cached prefix, padded on the left, with room for those to come.

    Attributes:
        used: whether a place holds a token and no padding, (rows, room).
        end: places that are filled, in every row.
    """

    def __init__(self, prefix_cache: PrefixCache, used: torch.Tensor, room: int):
        super().__init__(prefix_cache, None)
        self.used = torch.ones(len(used), room, dtype=torch.bool)
        self.used[:, : used.shape[1]] = used
        self.end = 0
        self._layers: dict[int, Pair] = {}

    def forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Logits of the next token of each row, (rows, vocabulary), after new ones, (rows, new tokens)."""
        begin, self.end = self.end, self.end + ids.shape[1]
        seen = self.used[:, None, : self.end]
        if ids.shape[1] > 1:
            seen = seen & torch.ones(self.end, self.end, dtype=torch.bool).tril()[begin:]
        # A place that is not used sees itself, so that its numbers are finite.
        seen = seen | ~self.used[:, begin : self.end, None]
        self.mask = None if bool(seen.all()) else additive(seen, self.prefix_cache.model)[:, None]
        return forward(self.prefix_cache.model, self, ids, positions, 1)[:, -1]

    def among(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> Pair:
        """All keys and values of the rows so far, the new ones appended."""
        if layer not in self._layers:
            self._layers[layer] = self._empty(key), self._empty(value)
        held = self._layers[layer]
        for tensor, new in zip(held, (key, value), strict=True):
            tensor[:, :, self.end - new.shape[2] : self.end] = new
        return held[0][:, :, : self.end], held[1][:, :, : self.end]

    def only(self, rows: list[int]) -> None:
        """Drop all other rows."""
        self.used = self.used[rows]
        for layer, (keys, values) in self._layers.items():
            fewer = self._empty(keys[: len(rows)]), self._empty(values[: len(rows)])
            for new, old in zip(fewer, (keys, values), strict=True):
                new[:, :, : self.end] = old[rows, :, : self.end]
            self._layers[layer] = fewer

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_empty(*like.shape[:2], self.used.shape[1], like.shape[3])


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    temperature: float,
    seed: int,
    batch_size: int,
    special_tokens: bool = True,
) -> Generation:
    """Sample one continuation of each prompt, greedily at temperature 0; seed and the prompt's number decide its text.

    Without `special_tokens` the tokenizer adds none to a prompt, because a chat template has put them there already.

    Raises:
        ValueError: if a prompt and its continuation exceed the model's positions; nothing is ever cut.
    """
    if not prompts:
        return Generation([], 0, 0, 0, [])
    encoded: list[list[int]] = []
    for at in range(0, len(prompts), ENCODED_AT_ONCE):
        some = list(prompts[at : at + ENCODED_AT_ONCE])
        encoded += tokenizer(some, add_special_tokens=special_tokens, return_attention_mask=False).input_ids
    longest = max(map(len, encoded)) + max_new_tokens
    limit = positions(model)
    if limit and longest > limit:
        tokens = f"a prompt of {longest - max_new_tokens} tokens and {max_new_tokens} new ones"
        raise ValueError(f"{tokens} exceed the model's {limit} positions")
    model.eval()
    if longest > unstretched(model):
        batch_size = 1  # the longest of a batch would decide on the positions of all
    # The longest first: if memory does not suffice, that is seen at once; and rows of a batch have similar lengths.
    order = sorted(range(len(encoded)), key=lambda k: -len(encoded[k]))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    limits = Limits(max_new_tokens, _ends(model, tokenizer), temperature, seed)
    generated: dict[int, list[int]] = {}
    if reads_in_two_parts(model, longest):
        shared = common_prefix([ids[:-1] for ids in encoded])
        shared = shared if shared >= WORTH_SHARING else 0
        prefix_cache, parts = PrefixCache(model), threads_on(model.device)
        with packed_weights(model), two_parts(model):
            prefix_cache.read(encoded[0][:shared])
            for batch in batches:
                rows = [{k: encoded[k][shared:] for k in batch[part::parts]} for part in range(min(parts, len(batch)))]
                for new in side_by_side(partial(_generate, prefix_cache, limits), rows, model.device):
                    generated |= new
    else:
        for batch in batches if keeps_rows_apart(model) else [[k] for k in order]:
            generated |= _generate_with_transformers(model, tokenizer, limits, {k: encoded[k] for k in batch})
    rows_of_tokens = [generated[k] for k in range(len(encoded))]
    size = size_of(model)
    return Generation(
        texts=tokenizer.batch_decode(rows_of_tokens, skip_special_tokens=True),
        prompt_tokens=sum(map(len, encoded)),
        new_tokens=sum(map(len, rows_of_tokens)),
        flops=sum(
            forward_flops(size, len(ids)) + forward_flops(size, len(new), past=len(ids), predicted=len(new))
            for ids, new in zip(encoded, rows_of_tokens, strict=True)
        ),
        ended=[new[-1] in limits.ends for new in rows_of_tokens],
    )


_apart: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def keeps_rows_apart(model: PreTrainedModel) -> bool:
    """Whether transformers continues a text in a batch as it does alone, padded or not: tried once, on short texts."""
    if model not in _apart:
        short, long = ([3 + k * k % 5 for k in range(length)] for length in (9, 70))
        try:
            alone = torch.cat([_two_steps(model, [ids]) for ids in (short, long)])
            _apart[model] = close(_two_steps(model, [short, long]), alone)
        except Exception:  # however a model's code says that it cannot
            _apart[model] = False
    return _apart[model]


def _two_steps(model: PreTrainedModel, texts: Sequence[list[int]]) -> torch.Tensor:
    """Logits of two new tokens of each text, (texts, 2, vocabulary), by transformers."""
    longest = max(map(len, texts))
    pads = [longest - len(ids) for ids in texts]
    how = {"do_sample": False, "pad_token_id": 0, "output_logits": True, "return_dict_in_generate": True}
    logits = model.generate(
        input_ids=torch.tensor([[0] * pad + ids for pad, ids in zip(pads, texts, strict=True)], device=model.device),
        attention_mask=torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads], device=model.device),
        generation_config=GenerationConfig(min_new_tokens=2, max_new_tokens=2, **how),
    ).logits
    return torch.stack(logits, dim=1)


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    ids = model.generation_config.eos_token_id
    ids = tokenizer.eos_token_id if ids is None else ids
    return frozenset(ids if isinstance(ids, list) else [] if ids is None else [ids])


def _generate(prefix_cache: PrefixCache, limits: Limits, rows: dict[int, list[int]]) -> dict[int, list[int]]:
    """New tokens of each item, given its prompt after the cached prefix; the last one an end, if there is one."""
    prompts, held = list(rows.values()), list(rows)  # the items whose rows are held
    longest = max(map(len, prompts))
    used = torch.tensor([[k >= longest - len(row) for k in range(longest)] for row in prompts])
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in prompts])
    positions = (used.cumsum(1) - 1).clamp_(min=0) + len(prefix_cache.ids)
    draw, state = Draw(held, limits), _Rows(prefix_cache, used, longest + limits.tokens)
    generated: dict[int, list[int]] = {item: [] for item in held}
    live = set(held)
    for _ in range(limits.tokens):
        tokens = draw(state.forward(ids, positions), held)
        for item, token in zip(held, tokens.tolist(), strict=True):
            if item in live:
                generated[item].append(token)
                live -= {item} if token in limits.ends else set()
        if not live:
            break
        going = [k for k, item in enumerate(held) if item in live]
        positions = positions[:, -1:] + 1
        if len(going) <= len(held) * WORTH_DROPPING:  # a row that has ended costs less than to copy all others
            state.only(going)
            held, tokens, positions = [held[k] for k in going], tokens[going], positions[going]
        ids = tokens[:, None]
    return generated


def _generate_with_transformers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, limits: Limits, rows: dict[int, list[int]]
) -> dict[int, list[int]]:
    """As `_generate`, with whole prompts, for models that cache something else than keys and values."""
    batch = tokenizer.pad({"input_ids": list(rows.values())}, padding_side="left", return_tensors="pt").to(model.device)
    items, draw = list(rows), Draw(list(rows), limits)
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": sorted(limits.ends)}
    own, model.generation_config = model.generation_config, GenerationConfig()  # its penalties would go into the draw
    try:
        out = model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            generation_config=GenerationConfig(max_new_tokens=limits.tokens, do_sample=False, **ends),
            logits_processor=[lambda _, scores: torch.zeros_like(scores).scatter_(1, draw(scores, items)[:, None], 1)],
        )
    finally:
        model.generation_config = own
    generated = {}
    for item, ids in zip(items, out[:, batch.input_ids.shape[1] :].tolist(), strict=True):
        end = next((k + 1 for k, token in enumerate(ids) if token in limits.ends), len(ids))
        generated[item] = ids[:end]
    return generated
