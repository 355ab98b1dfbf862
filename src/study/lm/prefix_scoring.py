"""Ways to score many short texts given one context, and the fastest of them that is right for a model.

Queries and options share the cached prefix as a trie, packed in one row: what any of them have in common is there once.
A token sees the context and its own ancestors in the trie, at the positions it would have in its text alone.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from study.lm.attention import (
    New,
    PrefixCache,
    additive,
    close,
    forward,
    reads_in_two_parts,
    two_parts,
    unstretched,
    window,
)


class Trie:
    """Token sequences; prefixes that several share are stored once.

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
        """Add a sequence; the nodes of its tokens from `start` on, which are to be scored."""
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

    def predicting(self) -> list[int]:
        """The nodes from which the scored ones are predicted."""
        return sorted({self.parents[node] for node in self.scored})

    def seen(self) -> torch.Tensor:
        """Whether a node (row) sees another one (column): itself and its ancestors."""
        seen = torch.eye(len(self.ids), dtype=torch.bool).numpy()
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return torch.from_numpy(seen)

    def leaves(self) -> Iterator[list[int]]:
        """The path from the root to each leaf."""
        for node in sorted(set(range(len(self.ids))) - set(self.parents)):
            path = []
            while node >= 0:
                path.append(node)
                node = self.parents[node]
            yield path[::-1]


class PrefixScorer(ABC):
    """A way to score texts given a context, within `attention()`.

    Attributes:
        model: that is scored.
        changes: whether scoring changes the cached prefix and restores it, so that no two threads may score at once.
    """

    changes = False

    def __init__(self, model: PreTrainedModel):
        self.model = model

    def attention(self) -> AbstractContextManager[None]:
        """The attention that the model needs meanwhile."""
        return nullcontext()

    def read(self, prefix: Sequence[int]) -> None:
        """Prefill the context; here it is only kept."""
        self.prefix = list(prefix)

    @abstractmethod
    def log_probs(self, trie: Trie) -> dict[int, float]:
        """Log-probability of each scored node given the context."""


def _of_nodes(trie: Trie, nodes: Sequence[int], predicting: Sequence[int], logits: torch.Tensor) -> dict[int, float]:
    """Log-probabilities of nodes from the logits of their parents, (parents, vocabulary)."""
    row_of = {node: row for row, node in enumerate(predicting)}
    rows = torch.tensor([row_of[trie.parents[node]] for node in nodes], device=logits.device)
    tokens = torch.tensor([trie.ids[node] for node in nodes], device=logits.device)
    totals = logits.float().logsumexp(-1).double()
    values = logits[rows, tokens].double() - totals[rows]
    return dict(zip(nodes, values.tolist(), strict=True))


def _along(trie: Trie, path: list[int], logits: torch.Tensor) -> dict[int, float]:
    """Log-probabilities of the scored nodes of a path from the logits of all its nodes."""
    places = [k for k, node in enumerate(path) if node in trie.scored]
    before = [k - 1 for k in places]
    return _of_nodes(trie, [path[k] for k in places], [path[k] for k in before], logits[before])


class SplitAttentionScorer(PrefixScorer):
    """Attends to the cached prefix and to the trie separately; a context may extend the one before."""

    def __init__(self, model: PreTrainedModel, prefix_cache: PrefixCache | None = None):
        super().__init__(model)
        self.prefix_cache = prefix_cache or PrefixCache(model)

    def attention(self) -> AbstractContextManager[None]:
        """As in `PrefixScorer`."""
        return two_parts(self.model)

    def read(self, prefix: Sequence[int]) -> None:
        """As in `PrefixScorer`."""
        self.prefix_cache.read(prefix)

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `PrefixScorer`."""
        predicting = trie.predicting()
        positions = [len(self.prefix_cache.ids) + depth for depth in trie.depths]
        new = New(self.prefix_cache, additive(trie.seen(), self.model)[None, None])
        rows = torch.tensor(predicting, device=self.model.device)
        logits = forward(self.model, new, [trie.ids], [positions], rows)
        return _of_nodes(trie, list(trie.scored), predicting, logits[0])


class WholeTextScorer(PrefixScorer):
    """Reads the whole text for each option, without prompt caching: every model can do that."""

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `PrefixScorer`."""
        found: dict[int, float] = {}
        for path in trie.leaves():
            ids = torch.tensor([self.prefix + [trie.ids[node] for node in path]], device=self.model.device)
            found |= _along(trie, path, self.model(input_ids=ids, use_cache=False).logits[0, len(self.prefix) :])
        return found


class CopiedCacheScorer(PrefixScorer):
    """Each text alone, given a copy of the context's state: for sliding windows and recurrent models."""

    def read(self, prefix: Sequence[int]) -> None:
        """As in `PrefixScorer`."""
        self.held, self.cache = len(prefix), DynamicCache(config=self.model.config)
        if len(prefix):
            ids = torch.tensor([list(prefix)], device=self.model.device)
            self.model(input_ids=ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `PrefixScorer`."""
        found: dict[int, float] = {}
        for path in trie.leaves():
            ids = torch.tensor([[trie.ids[node] for node in path]], device=self.model.device)
            state = copy.deepcopy(self.cache)
            found |= _along(trie, path, self.model(input_ids=ids, past_key_values=state, use_cache=True).logits[0])
        return found


class MaskedScorer(CopiedCacheScorer):
    """The model's own attention and cache, with one mask for context and trie."""

    changes = True

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `PrefixScorer`."""
        device, predicting, count = self.model.device, trie.predicting(), len(trie.ids)
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
        return _of_nodes(trie, list(trie.scored), predicting, logits[0])


_ways: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], type[PrefixScorer]]] = WeakKeyDictionary()


def prefix_scorer(
    model: PreTrainedModel, tokens: int, packed: int, prefix_cache: PrefixCache | None = None
) -> PrefixScorer:
    """The fastest way to score texts that equals scoring them alone, found by a trial.

    Args:
        model: that is scored.
        tokens: of the longest text.
        packed: most tokens of the context and of what is packed into one pass after it.
        prefix_cache: of this model, to go on from.
    """
    if reads_in_two_parts(model, tokens):
        return SplitAttentionScorer(model, prefix_cache)
    if tokens > unstretched(model):
        return WholeTextScorer(model)
    # A window counts what stands between two tokens, whatever their positions.
    width = window(model)
    lengths = (4, int(width) + 5) if packed > width else (4, int(min(21, width - 10)))
    known = _ways.setdefault(model, {})
    if lengths not in known:
        ways = (CopiedCacheScorer,) if packed > width else (MaskedScorer, CopiedCacheScorer)
        right = (way for way in ways if all(_gives_the_same(way(model), length) for length in lengths if length > 0))
        known[lengths] = next(right, WholeTextScorer)
    return known[lengths](model)


@torch.inference_mode()
def _gives_the_same(way: PrefixScorer, length: int) -> bool:
    prefix, trie = [3 + k * k % 5 for k in range(length)], Trie()
    for ids in ([8, 3, 9, 4], [8, 3, 5], [6, 7, 3]):
        trie.add(ids, 1)
    alone = WholeTextScorer(way.model)
    alone.read(prefix)
    expected = alone.log_probs(trie)
    try:
        way.read(prefix)
        way.log_probs(trie)
        found = way.log_probs(trie)  # the state must be what it was
    except Exception:  # the model's code does not support this way, however it says so
        return False
    values = torch.tensor([[found[node], expected[node]] for node in expected]).to(way.model.dtype)
    return close(values[:, 0], values[:, 1])
