"""Continuations of many prompts at once: what they begin with in common is read once, a row that has ended is dropped.

Each text is a function of the model, its prompt and its own random state, whatever is written beside it.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from study.lm.attention import (
    New,
    Pair,
    PrefixCache,
    additive,
    beyond,
    common_prefix,
    forward,
    positions,
    reads_in_two_parts,
    two_parts,
    unstretched,
)
from study.lm.flops import forward_flops, size_of
from study.lm.parallel import side_by_side, threads_on
from study.lm.scoring import NO_NUMBERS

WORTH_SHARING = 16  # tokens that all prompts begin with
WORTH_DROPPING = 7 / 8  # of rows still going on
ENCODED_AT_ONCE = 256  # prompts; a tokenizer's own record of a long one is many times its tokens


class Generation(NamedTuple):
    """Generated texts and what they took.

    Attributes:
        texts: one for each prompt.
        prompt_tokens: read.
        new_tokens: written, ends of text included.
        flops: floating-point operations, each prompt read alone.
        ended: whether each text ended by itself, not at the most tokens it may have.
    """

    texts: list[str]
    prompt_tokens: int
    new_tokens: int
    flops: int
    ended: list[bool]


class Limits(NamedTuple):
    """How texts are written.

    Attributes:
        tokens: most new ones.
        ends: tokens that end a text.
        temperature: of the sampling; 0 for the likeliest token each time.
        seed: with an item's number its random state.
    """

    tokens: int
    ends: frozenset[int]
    temperature: float
    seed: int


class Draw:
    """Draws the next token of each item with random numbers of its own, one for each of its tokens."""

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
    """Rows of tokens behind the kept text, each right-aligned, with room for those to come.

    Attributes:
        end: places that are filled, in every row.
    """

    def __init__(self, prefix_cache: PrefixCache, used: torch.Tensor, room: int):
        """Begin with (rows, tokens) places, of which some are used, and room for so many."""
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
        """All keys and values of the rows so far, the new ones put behind the others."""
        if layer not in self._layers:
            self._layers[layer] = self._empty(key), self._empty(value)
        held = self._layers[layer]
        for tensor, new in zip(held, (key, value), strict=True):
            tensor[:, :, self.end - new.shape[2] : self.end] = new
        return held[0][:, :, : self.end], held[1][:, :, : self.end]

    def only(self, rows: list[int]) -> None:
        """Drop all other rows."""
        self.used = self.used[rows]
        for layer, pair in self._layers.items():
            fewer = tuple(self._empty(tensor[: len(rows)]) for tensor in pair)
            for new, old in zip(fewer, pair, strict=True):
                new[:, :, : self.end] = old[rows, :, : self.end]
            self._layers[layer] = fewer[0], fewer[1]

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
    """Sample one continuation of each prompt.

    Args:
        model: that writes.
        tokenizer: of the model.
        prompts: to be continued.
        max_new_tokens: at most.
        temperature: of the sampling; 0 for the likeliest token each time.
        seed: with a prompt's number the random state of its text.
        batch_size: most rows at once.
        special_tokens: whether the tokenizer puts its own around a prompt; a chat template has put them there already.

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
    if beyond(longest, limit):
        raise ValueError(
            f"a prompt of {longest - max_new_tokens} tokens and {max_new_tokens} new ones exceed the model's "
            f"{limit} positions"
        )
    model.eval()
    if beyond(longest, unstretched(model)):
        batch_size = 1  # the longest of a batch would decide on the positions of all
    # The longest first: if memory does not suffice, that is seen at once; and rows of a batch are of like length.
    order = sorted(range(len(encoded)), key=lambda k: -len(encoded[k]))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    limits = Limits(max_new_tokens, _ends(model, tokenizer), temperature, seed)
    written: dict[int, list[int]] = {}
    if reads_in_two_parts(model, longest):
        shared = common_prefix([ids[:-1] for ids in encoded])
        shared = shared if shared >= WORTH_SHARING else 0
        prefix_cache, parts = PrefixCache(model), threads_on(model.device)
        with two_parts(model):
            prefix_cache.read(encoded[0][:shared])
            for batch in batches:
                rows = [{k: encoded[k][shared:] for k in batch[part::parts]} for part in range(min(parts, len(batch)))]
                for new in side_by_side(partial(_write, prefix_cache, limits), rows, model.device):
                    written |= new
    else:
        for batch in batches:
            written |= _write_with_transformers(model, tokenizer, limits, {k: encoded[k] for k in batch})
    size = size_of(model)
    return Generation(
        texts=tokenizer.batch_decode([written[k] for k in range(len(encoded))], skip_special_tokens=True),
        prompt_tokens=sum(map(len, encoded)),
        new_tokens=sum(map(len, written.values())),
        flops=sum(
            forward_flops(size, len(ids))
            + forward_flops(size, len(written[k]), past=len(ids), predicted=len(written[k]))
            for k, ids in enumerate(encoded)
        ),
        ended=[written[k][-1] in limits.ends for k in range(len(encoded))],
    )


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    ids = model.generation_config.eos_token_id
    ids = tokenizer.eos_token_id if ids is None else ids
    return frozenset(ids if isinstance(ids, list) else [] if ids is None else [ids])


def _write(prefix_cache: PrefixCache, limits: Limits, rows: dict[int, list[int]]) -> dict[int, list[int]]:
    """New tokens of each item, whose prompts go on behind the kept text; the last one an end, if there was one."""
    prompts, held = list(rows.values()), list(rows)  # the items whose rows are held
    longest, behind = max(map(len, prompts)), len(prefix_cache.ids)
    used = torch.tensor([[k >= longest - len(row) for k in range(longest)] for row in prompts])
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in prompts])
    positions = (used.cumsum(1) - 1).clamp_(min=0) + behind
    draw, state = Draw(held, limits), _Rows(prefix_cache, used, longest + limits.tokens)
    written: dict[int, list[int]] = {item: [] for item in held}
    live = set(held)
    for _ in range(limits.tokens):
        tokens = draw(state.forward(ids, positions), held)
        for item, token in zip(held, tokens.tolist(), strict=True):
            if item in live:
                written[item].append(token)
                live -= {item} if token in limits.ends else set()
        if not live:
            break
        going = [k for k, item in enumerate(held) if item in live]
        positions = positions[:, -1:] + 1
        if len(going) <= len(held) * WORTH_DROPPING:  # a row that has ended costs less than to copy all others
            state.only(going)
            held, tokens, positions = [held[k] for k in going], tokens[going], positions[going]
        ids = tokens[:, None]
    return written


def _write_with_transformers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, limits: Limits, rows: dict[int, list[int]]
) -> dict[int, list[int]]:
    """As `_write`, with whole prompts, for models that keep something else of a text than keys and values."""
    batch = tokenizer.pad({"input_ids": list(rows.values())}, padding_side="left", return_tensors="pt").to(model.device)
    draw, longest = Draw(list(rows), limits), batch.input_ids.shape[1]
    config = GenerationConfig(
        max_new_tokens=limits.tokens,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=sorted(limits.ends),
    )
    own, model.generation_config = model.generation_config, GenerationConfig()  # its penalties would go into the draw
    try:
        out = model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            generation_config=config,
            logits_processor=[
                lambda _, scores: torch.zeros_like(scores).scatter_(1, draw(scores, list(rows))[:, None], 1)
            ],
        )
    finally:
        model.generation_config = own
    written = {}
    for item, ids in zip(rows, out[:, longest:].tolist(), strict=True):
        end = next((k + 1 for k, token in enumerate(ids) if token in limits.ends), len(ids))
        written[item] = ids[:end]
    return written
