"""Log-likelihood of each option of each question, the context prefilled once."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import psutil
import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.lm.attention import PrefixCache, common_prefix, positions
from study.lm.flops import heads_by_layer
from study.lm.parallel import side_by_side
from study.lm.prefix_scoring import PrefixScorer, Trie, prefix_scorer
from study.sums import added

CHUNK_TOKENS = 256  # more cost more: each token of a chunk attends to all of them
CHUNK_LOGITS = 2**25  # predictions times vocabulary: a fifth of a gigabyte in bfloat16 and float32
FEWEST_TOKENS = 16
NO_NUMBERS = "scores that are no numbers; the weights are not finite, or too large for model.dtype: use float32"


class OptionScores(NamedTuple):
    """Sum of the option's token log-probabilities and the number of those tokens, for each option."""

    log_probs: tuple[float, ...]
    tokens: tuple[int, ...]


class TokenizedQuestion(NamedTuple):
    """A question as tokens: those of query and option after the common prefix, and where in these the option begins."""

    options: list[list[int]]
    start: int


def score_options(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    context: str,
    questions: Sequence[tuple[str, Sequence[str]]],
    chunk_tokens: int = CHUNK_TOKENS,
    prefix_cache: PrefixCache | None = None,
    by: PrefixScorer | None = None,
) -> list[OptionScores]:
    """Score the options of (query, options) pairs after a context ("" for none).

    An option's tokens are those of context + query + option beyond the longest token prefix it shares with
    context + query, so a tokenizer that merges across the boundary is scored right. One forward pass takes
    `chunk_tokens`, fewer where memory is short. What a `prefix_cache` of this model with these weights has in common
    with the context is not computed again. The default scorer is the fastest one that is right for the model.

    Raises:
        ValueError: if a text does not fit the model's positions, or an option adds no token of its own.
        MemoryError: if context and questions do not fit in memory.
        FloatingPointError: if a score is not a number.
    """
    if not questions:
        return []
    prefix, tokenized = tokens_of(tokenizer, context, questions)
    limit = positions(model)
    longest = len(prefix) + max(len(ids) for question in tokenized for ids in question.options)
    if limit and longest > limit:
        raise ValueError(f"context and question take {longest} tokens, but the model has {limit} positions")
    model.eval()
    chunk_tokens = chunk_that_fits(model, len(prefix), chunk_tokens)
    order = sorted(range(len(tokenized)), key=lambda k: tokenized[k].options)  # common prefixes in the same chunk
    packed = len(prefix) + max(chunk_tokens, *(sum(map(len, question.options)) for question in tokenized))
    by = by or prefix_scorer(model, longest, packed, prefix_cache)
    with torch.inference_mode(), by.attention():
        by.read(prefix)
        parts = list(chunks(tokenized, order, chunk_tokens, max(1, CHUNK_LOGITS // vocabulary(model))))
        found: dict[int, OptionScores] = {}
        together = map if by.changes else partial(side_by_side, device=model.device)
        for scores in together(partial(_scored, by, tokenized), parts):
            found |= scores
    lost = [k for k, score in found.items() if any(map(math.isnan, score.log_probs))]
    if lost:  # argmax would take the first of them for the likeliest
        raise FloatingPointError(f"{len(lost)} of {len(tokenized)} questions have {NO_NUMBERS}")
    return [found[k] for k in range(len(tokenized))]


def tokens_of(
    tokenizer: PreTrainedTokenizerBase, context: str, questions: Sequence[tuple[str, Sequence[str]]]
) -> tuple[list[int], list[TokenizedQuestion]]:
    """The tokens that all questions begin with, and the others of each.

    Raises:
        ValueError: if an option adds no token of its own.
    """
    lead = f"{context} " if context and not context[-1].isspace() else context
    stems = [(lead + query).rstrip() for query, _ in questions]
    wholes = [lead + query + option for query, options in questions for option in options]
    head, tail_from = _head(tokenizer, lead, [stems[0], wholes[0], stems[-1], wholes[-1]])
    kwargs = {"add_special_tokens": False} if tail_from else {}
    stem_ids = tokenizer([text[tail_from:] for text in stems], **kwargs).input_ids
    whole_ids = iter(tokenizer([text[tail_from:] for text in wholes], **kwargs).input_ids)
    groups = [[next(whole_ids) for _ in options] for _, options in questions]
    starts = []
    # The token before an option that has nothing else before it, where the tokenizer itself puts none there.
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    for number, (query, options) in enumerate(questions):
        start = min(common_prefix([stem_ids[number], ids]) for ids in groups[number])
        if not head and not start and begin is not None:
            groups[number], start = [[begin, *ids] for ids in groups[number]], 1
        if len(head) + start < 1 or any(len(ids) <= start for ids in groups[number]):
            raise ValueError(f"no token to score in one of {options!r} after {query!r}")
        starts.append(start)
    # The token that predicts an option's first token is not part of the prefix.
    shared = min(common_prefix([ids for group in groups for ids in group]), *(start - 1 for start in starts), 2**62)
    if shared < 0:  # an option begins right after the head
        shared, head, rest = 0, head[:-1], head[-1:]
        groups = [[rest + ids for ids in group] for group in groups]
        starts = [start + 1 for start in starts]
    tokenized = [
        TokenizedQuestion([ids[shared:] for ids in group], start - shared)
        for group, start in zip(groups, starts, strict=True)
    ]
    return head + groups[0][0][:shared], tokenized


def _head(tokenizer: PreTrainedTokenizerBase, lead: str, samples: Sequence[str]) -> tuple[list[int], int]:
    """Tokens of most of a long lead, so that it is tokenized once, and the character up to which they go.

    Nothing and 0, if the tokenizer merges across that place, or the lead is short.
    """
    space = lead.rstrip().rfind(" ")
    for cut in (space, space + 1) if space > 0 else ():
        head = tokenizer(lead[:cut]).input_ids
        tails = tokenizer([text[cut:] for text in samples], add_special_tokens=False).input_ids
        if [head + tail for tail in tails] == tokenizer(list(samples)).input_ids:
            return head, cut
    return [], 0


def chunks(
    tokenized: Sequence[TokenizedQuestion], order: Sequence[int], tokens: int, predictions: int
) -> Iterator[list[int]]:
    """Numbers of questions for one forward pass each: as many as make a trie of so many tokens and predictions."""
    chunk: list[int] = []
    trie = Trie()
    for number in order:
        _add(trie, tokenized[number])
        if chunk and (len(trie.ids) > tokens or len(trie.predicting()) > predictions):
            yield chunk
            chunk, trie = [], Trie()
            _add(trie, tokenized[number])
        chunk.append(number)
    if chunk:
        yield chunk


def _add(trie: Trie, question: TokenizedQuestion) -> list[list[int]]:
    return [trie.add(ids, question.start) for ids in question.options]


def _scored(by: PrefixScorer, tokenized: Sequence[TokenizedQuestion], chunk: Sequence[int]) -> dict[int, OptionScores]:
    """Scores of a chunk's questions by their number; half a chunk at a time if memory does not suffice."""
    trie = Trie()
    paths = {k: _add(trie, tokenized[k]) for k in chunk}
    try:
        found = by.log_probs(trie)
    except Exception as error:
        if len(chunk) == 1 or not should_reduce_batch_size(error):
            raise
    else:
        return {
            k: OptionScores(tuple(added(found[node] for node in path) for path in options), tuple(map(len, options)))
            for k, options in paths.items()
        }
    half = len(chunk) // 2
    return _scored(by, tokenized, chunk[:half]) | _scored(by, tokenized, chunk[half:])


def vocabulary(model: PreTrainedModel) -> int:
    """Number of rows of the output embedding."""
    return int(model.get_output_embeddings().weight.shape[0])


def memory_needed(model: PreTrainedModel, prefix: int, chunk_tokens: int) -> int:
    """Bytes besides the model's own for scoring `chunk_tokens` at a time given a prefix of so many tokens."""
    config, item = model.config.get_text_config(), model.dtype.itemsize
    layers, hidden = heads_by_layer(config), config.hidden_size
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    widest = max(inner) if isinstance(inner, (list, tuple)) else inner
    cached = 2 * sum(heads.keys * heads.width for heads in layers) * prefix * item
    heads = max((heads.number * heads.width for heads in layers), default=0)
    activations = (8 * hidden + 3 * widest + 4 * heads) * max(chunk_tokens, min(prefix, 512)) * item
    logits = min(CHUNK_LOGITS, chunk_tokens * vocabulary(model)) * (item + 8)
    return int(cached + activations + logits)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on a device."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return int(psutil.virtual_memory().available)


def chunk_that_fits(model: PreTrainedModel, prefix: int, chunk_tokens: int) -> int:
    """`chunk_tokens`, halved until it fits in memory.

    Raises:
        MemoryError: if no chunk fits, however small.
    """
    free = free_memory(model.device)
    while (needed := memory_needed(model, prefix, chunk_tokens)) > free and chunk_tokens > FEWEST_TOKENS:
        chunk_tokens //= 2
    if needed > free:
        raise MemoryError(
            f"a context of {prefix} tokens takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on "
            f"{model.device}; use fewer documents in context (arms.*.shots), a smaller model, or model.dtype bfloat16"
        )
    return chunk_tokens
