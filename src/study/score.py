"""Log-likelihood of each option of each question, the context computed once.

Questions are packed behind the cached context: a query once, its options as branches. A 4D mask lets every
token see the context, its own query and its own option only, at the positions it would have alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase


class OptionScores(NamedTuple):
    """Sum of the option's token log-probabilities and the number of those tokens, for each option."""

    log_probs: tuple[float, ...]
    tokens: tuple[int, ...]


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the longest prefix that all sequences share."""
    shortest = min(sequences, key=len)
    for k, token in enumerate(shortest):
        if any(sequence[k] != token for sequence in sequences):
            return k
    return len(shortest)


def score_options(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    context: str,
    questions: Sequence[tuple[str, Sequence[str]]],
    chunk_tokens: int = 512,
) -> list[OptionScores]:
    """Score the options of (query, options) pairs after a context ("" for none).

    An option's tokens are those of context + query + option beyond the longest token prefix it shares with
    context + query, so a tokenizer that merges across the boundary is scored right.

    Raises:
        ValueError: if a text does not fit the model's positions, or an option adds no token of its own.
    """
    if not questions:
        return []
    lead = f"{context} " if context else ""
    stems = tokenizer([(lead + query).rstrip() for query, _ in questions]).input_ids
    wholes = [tokenizer([lead + query + option for option in options]).input_ids for query, options in questions]
    limit = model.config.max_position_embeddings
    longest = max(len(ids) for group in wholes for ids in group)
    if longest > limit:
        raise ValueError(f"context and question take {longest} tokens, but the model has {limit} positions")

    starts = []
    for (query, options), stem, group in zip(questions, stems, wholes, strict=True):
        start = min(common_prefix([stem, ids]) for ids in group)
        if start < 1 or any(len(ids) <= start for ids in group):
            raise ValueError(f"no token to score in one of {options!r} after {query!r}")
        starts.append(start)
    # The token that predicts an option's first token must stay outside the cache.
    prefix = min(common_prefix([ids for group in wholes for ids in group]), *(start - 1 for start in starts), 10**9)

    model.eval()
    scores: list[OptionScores] = []
    with torch.inference_mode():
        cache = DynamicCache(config=model.config)
        if prefix:
            ids = torch.tensor([wholes[0][0][:prefix]], device=model.device)
            model(input_ids=ids, past_key_values=cache, logits_to_keep=1)
        chunk: list[tuple[list[list[int]], int]] = []
        size = 0
        for group, start in zip(wholes, starts, strict=True):
            own = start - prefix + sum(len(ids) - start for ids in group)
            if chunk and size + own > chunk_tokens:
                scores += _score_chunk(model, cache, prefix, chunk)
                chunk, size = [], 0
            chunk.append((group, start))
            size += own
        scores += _score_chunk(model, cache, prefix, chunk)
    return scores


def _score_chunk(
    model: PreTrainedModel, cache: DynamicCache, prefix: int, chunk: Sequence[tuple[list[list[int]], int]]
) -> list[OptionScores]:
    """Score the options of one packed chunk and leave the cache as it was."""
    ids: list[int] = []
    positions: list[int] = []
    visible: list[tuple[int, int, int, int]] = []  # rows from, to; columns from, to (offset by prefix)
    branches: list[list[tuple[int, list[int]]]] = []  # per option: (row that predicts, its tokens' rows)
    for group, start in chunk:
        query_from = len(ids)
        ids += group[0][prefix:start]
        positions += range(prefix, start)
        query_to = len(ids)
        visible.append((query_from, query_to, query_from, query_to))
        options = []
        for whole in group:
            option_from = len(ids)
            ids += whole[start:]
            positions += range(start, len(whole))
            visible.append((option_from, len(ids), query_from, query_to))
            visible.append((option_from, len(ids), option_from, len(ids)))
            options.append((query_to - 1, list(range(option_from, len(ids)))))
        branches.append(options)

    count = len(ids)
    own = torch.zeros(count, count, dtype=torch.bool)
    for row_from, row_to, column_from, column_to in visible:
        own[row_from:row_to, column_from:column_to] = True
    own &= torch.ones(count, count, dtype=torch.bool).tril()
    mask = torch.cat([torch.ones(count, prefix, dtype=torch.bool), own], dim=1)[None, None]
    additive = torch.zeros(mask.shape, dtype=model.dtype).masked_fill(~mask, torch.finfo(model.dtype).min)

    device = model.device
    predicting = [row for options in branches for row_0, rows in options for row in (row_0, *rows[:-1])]
    targets = torch.tensor([ids[row] for options in branches for _, rows in options for row in rows], device=device)
    logits = model(
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        attention_mask=additive.to(device),
        past_key_values=cache,
        logits_to_keep=torch.tensor(predicting, device=device),
    ).logits[0]
    cache.crop(-count)
    log_probs = (
        logits.float()
        .log_softmax(-1)
        .gather(-1, targets[:, None])[:, 0]
        .double()
        .cpu()
        .split([len(rows) for options in branches for _, rows in options])
    )
    sums = iter(float(part.sum()) for part in log_probs)
    return [
        OptionScores(tuple(next(sums) for _ in options), tuple(len(rows) for _, rows in options))
        for options in branches
    ]
