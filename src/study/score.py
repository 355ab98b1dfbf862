"""Log-likelihood of each option of each question, the context read once.

What stands behind the context is packed as a trie: a query once, its options as branches, and what any of them share
once. Tokens see the context and those before them in the trie, at the positions they would have alone.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, Self
from weakref import WeakKeyDictionary

import psutil
import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from study.attention import Kept, New, additive, close, common_prefix, forward, reads_in_two_parts, two_parts, window
from study.parallel import side_by_side

CHUNK_TOKENS = 256  # more cost more: each token of a chunk is held against all of them
CHUNK_LOGITS = 2**22  # predictions times vocabulary
FEWEST_TOKENS = 16


class OptionScores(NamedTuple):
    """Sum of the option's token log-probabilities and the number of those tokens, for each option."""

    log_probs: tuple[float, ...]
    tokens: tuple[int, ...]


class Asked(NamedTuple):
    """A question as tokens: each option's behind the common prefix, and where in these the option itself begins."""

    options: list[list[int]]
    start: int


class Trie:
    """Token sequences, what they share of their beginnings once.

    Attributes:
        ids: token of each node; a node comes after its parent.
        parents: of each node; -1 where a sequence begins.
        depths: of each node, from 0.
        scored: the nodes whose log-probability is wanted.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.parents: list[int] = []
        self.depths: list[int] = []
        self.scored: dict[int, None] = {}
        self._children: dict[tuple[int, int], int] = {}

    def add(self, ids: Sequence[int], start: int) -> list[int]:
        """Add a sequence; the nodes of its tokens from `start` on."""
        node, path = -1, []
        for depth, token in enumerate(ids):
            child = self._children.setdefault((node, token), len(self.ids))
            if child == len(self.ids):
                self.ids.append(token)
                self.parents.append(node)
                self.depths.append(depth)
            node = child
            path.append(node)
        self.scored.update(dict.fromkeys(path[start:]))
        return path[start:]

    def seen(self) -> torch.Tensor:
        """Whether a node (row) sees another one (column): itself and all on its way from the beginning."""
        seen = torch.eye(len(self.ids), dtype=torch.bool).numpy()
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return torch.from_numpy(seen)

    def leaves(self) -> Iterator[list[int]]:
        """The way to each node that is no parent."""
        for node in sorted(set(range(len(self.ids))) - set(self.parents)):
            path = []
            while node >= 0:
                path.append(node)
                node = self.parents[node]
            yield path[::-1]


class Reader(ABC):
    """A way to have a model read what stands behind a context, within `with`.

    Attributes:
        model: that reads.
        changes: whether what it keeps of the context is changed while it reads behind it, and put right afterwards.
    """

    changes = False

    def __init__(self, model: PreTrainedModel):
        self.model = model

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        return None

    @abstractmethod
    def read(self, prefix: Sequence[int]) -> None:
        """Read the context."""

    @abstractmethod
    def log_probs(self, trie: Trie) -> dict[int, float]:
        """Log-probability of each scored node behind the context."""


def _of_nodes(trie: Trie, predicting: list[int], logits: torch.Tensor) -> dict[int, float]:
    """Log-probabilities of scored nodes, from the logits of their parents, (parents, vocabulary)."""
    nodes, row_of = list(trie.scored), {node: row for row, node in enumerate(predicting)}
    rows = torch.tensor([row_of[trie.parents[node]] for node in nodes], device=logits.device)
    tokens = torch.tensor([trie.ids[node] for node in nodes], device=logits.device)
    totals = logits.float().logsumexp(-1).double()
    values = logits[rows, tokens].double() - totals[rows]
    return dict(zip(nodes, values.tolist(), strict=True))


def _predicting(trie: Trie) -> list[int]:
    return sorted({trie.parents[node] for node in trie.scored})


class InTwoParts(Reader):
    """Attention to the kept context and among the trie apart; a context is read on from the one before."""

    def __init__(self, model: PreTrainedModel, kept: Kept | None = None):
        super().__init__(model)
        self.kept = kept or Kept(model)

    def __enter__(self) -> Self:
        self.attention = two_parts(self.model)
        self.attention.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.attention.__exit__(None, None, None)

    def read(self, prefix: Sequence[int]) -> None:
        """As in `Reader`."""
        self.kept.read(prefix)

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `Reader`."""
        predicting = _predicting(trie)
        positions = [len(self.kept.ids) + depth for depth in trie.depths]
        new = New(self.kept, additive(trie.seen(), self.model)[None, None])
        rows = torch.tensor(predicting, device=self.model.device)
        logits = forward(self.model, new, [trie.ids], [positions], rows)
        return _of_nodes(trie, predicting, logits[0])


class Masked(Reader):
    """The model's own attention and cache, with one mask for context and trie."""

    changes = True

    def read(self, prefix: Sequence[int]) -> None:
        """As in `Reader`."""
        self.held, self.cache = len(prefix), DynamicCache(config=self.model.config)
        ids = torch.tensor([list(prefix)], device=self.model.device)
        if len(prefix):
            self.model(input_ids=ids, past_key_values=self.cache, logits_to_keep=1)

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `Reader`."""
        device, predicting, count = self.model.device, _predicting(trie), len(trie.ids)
        seen = torch.cat([torch.ones(count, self.held, dtype=torch.bool), trie.seen()], dim=1)
        try:
            logits = self.model(
                input_ids=torch.tensor([trie.ids], device=device),
                position_ids=torch.tensor([trie.depths], device=device) + self.held,
                attention_mask=additive(seen, self.model)[None, None],
                past_key_values=self.cache,
                logits_to_keep=torch.tensor(predicting, device=device),
            ).logits
        finally:  # out of memory half-way, some layers have been added to
            for layer in self.cache.layers:
                layer.crop(min(0, self.held - layer.get_seq_length()))
        return _of_nodes(trie, predicting, logits[0])


class Copied(Reader):
    """Each sequence alone behind a copy of the state that the context leaves: for windows and recurrent models."""

    def read(self, prefix: Sequence[int]) -> None:
        """As in `Reader`."""
        self.cache = DynamicCache(config=self.model.config)
        ids = torch.tensor([list(prefix)], device=self.model.device)
        if len(prefix):
            self.model(input_ids=ids, past_key_values=self.cache, use_cache=True)

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `Reader`."""
        found: dict[int, float] = {}
        for path in trie.leaves():
            ids = torch.tensor([[trie.ids[node] for node in path]], device=self.model.device)
            state = copy.deepcopy(self.cache)
            found |= _along(trie, path, self.model(input_ids=ids, past_key_values=state, use_cache=True).logits[0])
        return found


class Alone(Reader):
    """The whole sequence for each option, and nothing kept: what every model can do."""

    def read(self, prefix: Sequence[int]) -> None:
        """As in `Reader`."""
        self.prefix = list(prefix)

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `Reader`."""
        found: dict[int, float] = {}
        for path in trie.leaves():
            ids = torch.tensor([self.prefix + [trie.ids[node] for node in path]], device=self.model.device)
            found |= _along(trie, path, self.model(input_ids=ids, use_cache=False).logits[0, len(self.prefix) :])
        return found


def _along(trie: Trie, path: list[int], logits: torch.Tensor) -> dict[int, float]:
    part = Trie()
    part.add([trie.ids[node] for node in path], 0)
    part.scored = {k: None for k, node in enumerate(path) if node in trie.scored}
    if not part.scored:
        return {}
    rows = _predicting(part)
    return {path[k]: value for k, value in _of_nodes(part, rows, logits[rows]).items()}


_ways: WeakKeyDictionary[nn.Module, type[Reader]] = WeakKeyDictionary()


def reader(model: PreTrainedModel, tokens: int, kept: Kept | None = None) -> Reader:
    """The fastest way to read texts of so many tokens that gives what reading them alone gives, found by trying."""
    if reads_in_two_parts(model, tokens):
        return InTwoParts(model, kept)
    if model not in _ways:
        ways: tuple[type[Reader], ...] = (Masked, Copied)
        _ways[model] = next((way for way in ways if _gives_the_same(way(model))), Alone)
    width = window(model)
    if _ways[model] is Masked and width is not None and tokens > width:
        return Copied(model) if _gives_the_same(Copied(model)) else Alone(model)
    return _ways[model](model)


@torch.inference_mode()
def _gives_the_same(way: Reader) -> bool:
    prefix, trie = [3, 5, 7, 4, 6], Trie()
    for ids in ([8, 3, 9, 4], [8, 3, 5], [6, 7, 3]):
        trie.add(ids, 1)
    alone = Alone(way.model)
    alone.read(prefix)
    expected = alone.log_probs(trie)
    try:
        way.read(prefix)
        way.log_probs(trie)
        found = way.log_probs(trie)  # the state must be what it was
    except Exception:  # whatever a model's code makes of it, it is not for this model
        return False
    values = torch.tensor([[found[node], expected[node]] for node in expected]).to(way.model.dtype)
    return close(values[:, 0], values[:, 1])


def score_options(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    context: str,
    questions: Sequence[tuple[str, Sequence[str]]],
    chunk_tokens: int = CHUNK_TOKENS,
    kept: Kept | None = None,
    by: Reader | None = None,
) -> list[OptionScores]:
    """Score the options of (query, options) pairs after a context ("" for none).

    An option's tokens are those of context + query + option beyond the longest token prefix it shares with
    context + query, so a tokenizer that merges across the boundary is scored right.

    Args:
        model: in evaluation mode afterwards.
        tokenizer: of the model.
        context: before each question.
        questions: queries with their options.
        chunk_tokens: in one forward pass behind the context; fewer where memory is short.
        kept: what the model, its weights the same, has read before; a context that begins alike is read on from there.
        by: how the model reads; by default the fastest way that gives the same.

    Raises:
        ValueError: if a text does not fit the model's positions, or an option adds no token of its own.
        MemoryError: if context and questions do not fit the memory there is.
    """
    if not questions:
        return []
    prefix, asked = tokens_of(tokenizer, context, questions)
    limit = model.config.get_text_config().max_position_embeddings
    longest = len(prefix) + max(len(ids) for question in asked for ids in question.options)
    if longest > limit:
        raise ValueError(f"context and question take {longest} tokens, but the model has {limit} positions")
    model.eval()
    chunk_tokens = chunk_that_fits(model, len(prefix), chunk_tokens)
    order = sorted(range(len(asked)), key=lambda k: asked[k].options)  # what begins alike stands together
    with torch.inference_mode(), by or reader(model, longest, kept) as by:
        by.read(prefix)
        parts = list(chunks(asked, order, chunk_tokens, max(1, CHUNK_LOGITS // vocabulary(model))))
        found: dict[int, OptionScores] = {}
        together = map if by.changes else partial(side_by_side, device=model.device)
        for scores in together(partial(_scored, by, asked), parts):
            found |= scores
    return [found[k] for k in range(len(asked))]


def tokens_of(
    tokenizer: PreTrainedTokenizerBase, context: str, questions: Sequence[tuple[str, Sequence[str]]]
) -> tuple[list[int], list[Asked]]:
    """The tokens that all questions begin with, and the others of each.

    Raises:
        ValueError: if an option adds no token of its own.
    """
    lead = f"{context} " if context else ""
    stems = [(lead + query).rstrip() for query, _ in questions]
    wholes = [lead + query + option for query, options in questions for option in options]
    head, tail_from = _head(tokenizer, lead, [stems[0], wholes[0], stems[-1], wholes[-1]])
    kwargs = {"add_special_tokens": False} if tail_from else {}
    stem_ids = tokenizer([text[tail_from:] for text in stems], **kwargs).input_ids
    whole_ids = iter(tokenizer([text[tail_from:] for text in wholes], **kwargs).input_ids)
    groups = [[next(whole_ids) for _ in options] for _, options in questions]
    starts = []
    for (query, options), stem, group in zip(questions, stem_ids, groups, strict=True):
        start = min(common_prefix([stem, ids]) for ids in group)
        if len(head) + start < 1 or any(len(ids) <= start for ids in group):
            raise ValueError(f"no token to score in one of {options!r} after {query!r}")
        starts.append(start)
    # The token that predicts an option's first token is not part of the prefix.
    shared = min(common_prefix([ids for group in groups for ids in group]), *(start - 1 for start in starts), 2**62)
    if shared < 0:  # an option begins right behind the head
        shared, head, rest = 0, head[:-1], head[-1:]
        groups = [[rest + ids for ids in group] for group in groups]
        starts = [start + 1 for start in starts]
    asked = [
        Asked([ids[shared:] for ids in group], start - shared) for group, start in zip(groups, starts, strict=True)
    ]
    return head + groups[0][0][:shared], asked


def _head(tokenizer: PreTrainedTokenizerBase, lead: str, samples: Sequence[str]) -> tuple[list[int], int]:
    """Tokens of the most of a long lead, which need not be found again for each text that begins with it.

    Returns:
        The tokens, and the character up to which they go: tokens of the rest of a text follow them. Nothing and 0, if
        the tokenizer does not cut there, or the lead is short.
    """
    space = lead.rstrip().rfind(" ")
    for cut in (space, space + 1) if space > 0 else ():
        head = tokenizer(lead[:cut]).input_ids
        tails = tokenizer([text[cut:] for text in samples], add_special_tokens=False).input_ids
        if [head + tail for tail in tails] == tokenizer(list(samples)).input_ids:
            return head, cut
    return [], 0


def chunks(asked: Sequence[Asked], order: Sequence[int], tokens: int, predictions: int) -> Iterator[list[int]]:
    """Numbers of questions that are read together: as many as make a trie of so many tokens and predictions."""
    chunk: list[int] = []
    trie = Trie()
    for number in order:
        for ids in asked[number].options:
            trie.add(ids, asked[number].start)
        if chunk and (len(trie.ids) > tokens or len(_predicting(trie)) > predictions):
            yield chunk
            chunk, trie = [], Trie()
            for ids in asked[number].options:
                trie.add(ids, asked[number].start)
        chunk.append(number)
    if chunk:
        yield chunk


def _scored(by: Reader, asked: Sequence[Asked], chunk: Sequence[int]) -> dict[int, OptionScores]:
    """Scores of a chunk's questions by their number; half a chunk at a time if memory does not suffice."""
    trie = Trie()
    paths = {k: [trie.add(ids, asked[k].start) for ids in asked[k].options] for k in chunk}
    try:
        found = by.log_probs(trie)
    except Exception as error:
        if len(chunk) == 1 or not should_reduce_batch_size(error):
            raise
    else:
        return {
            k: OptionScores(tuple(sum(found[node] for node in path) for path in options), tuple(map(len, options)))
            for k, options in paths.items()
        }
    half = len(chunk) // 2
    return _scored(by, asked, chunk[:half]) | _scored(by, asked, chunk[half:])


def vocabulary(model: PreTrainedModel) -> int:
    """Number of tokens that are predicted."""
    return int(model.get_output_embeddings().weight.shape[0])


def memory_needed(model: PreTrainedModel, prefix: int, chunk_tokens: int) -> int:
    """Bytes above the model for scoring behind a prefix of so many tokens, so many at a time."""
    config, item = model.config.get_text_config(), model.dtype.itemsize
    heads, hidden = config.num_attention_heads, config.hidden_size
    width = getattr(config, "head_dim", None) or hidden // heads
    keys = (getattr(config, "num_key_value_heads", None) or heads) * width
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    kept = 2 * config.num_hidden_layers * keys * prefix * item
    passing = (8 * hidden + 3 * inner + 4 * heads * width) * max(chunk_tokens, min(prefix, 512)) * item
    logits = min(CHUNK_LOGITS, chunk_tokens * vocabulary(model)) * (item + 8)
    return int(kept + passing + logits)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return int(psutil.virtual_memory().available)


def chunk_that_fits(model: PreTrainedModel, prefix: int, chunk_tokens: int) -> int:
    """`chunk_tokens`, halved until what is needed is there.

    Raises:
        MemoryError: if it is not there however small a chunk is.
    """
    free = free_memory(model.device)
    needed = memory_needed(model, prefix, chunk_tokens)
    while needed > free and chunk_tokens > FEWEST_TOKENS:
        chunk_tokens //= 2
        needed = memory_needed(model, prefix, chunk_tokens)
    if needed > free:
        raise MemoryError(
            f"a context of {prefix} tokens takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free on "
            f"{model.device}; use fewer documents in context (arms.*.shots), a smaller model, or model.dtype bfloat16"
        )
    return chunk_tokens
