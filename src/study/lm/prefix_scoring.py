"""Ways to have a model read many short texts behind one context, and the fastest of them that is right for a model.

What stands behind the context is packed as a trie: a query once, its options as branches, and what any of them share
once. Tokens see the context and those before them in the trie, at the positions they would have alone.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from study.lm.attention import (
    New,
    PrefixCache,
    additive,
    beyond,
    close,
    forward,
    reads_in_two_parts,
    two_parts,
    unstretched,
    window,
)


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

    def predicting(self) -> list[int]:
        """The nodes from which the scored ones are predicted."""
        return sorted({self.parents[node] for node in self.scored})

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


class PrefixScorer(ABC):
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


class SplitAttentionScorer(PrefixScorer):
    """Attention to the kept context and among the trie apart; a context is read on from the one before."""

    def __init__(self, model: PreTrainedModel, prefix_cache: PrefixCache | None = None):
        super().__init__(model)
        self.prefix_cache = prefix_cache or PrefixCache(model)

    def __enter__(self) -> Self:
        self.attention = two_parts(self.model)
        self.attention.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.attention.__exit__(None, None, None)

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
        return _of_nodes(trie, predicting, logits[0])


class MaskedScorer(PrefixScorer):
    """The model's own attention and cache, with one mask for context and trie."""

    changes = True

    def read(self, prefix: Sequence[int]) -> None:
        """As in `PrefixScorer`."""
        self.held, self.cache = len(prefix), DynamicCache(config=self.model.config)
        ids = torch.tensor([list(prefix)], device=self.model.device)
        if len(prefix):
            self.model(input_ids=ids, past_key_values=self.cache, logits_to_keep=1)

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
        return _of_nodes(trie, predicting, logits[0])


class CopiedCacheScorer(PrefixScorer):
    """Each sequence alone behind a copy of the state that the context leaves: for windows and recurrent models."""

    def read(self, prefix: Sequence[int]) -> None:
        """As in `PrefixScorer`."""
        self.cache = DynamicCache(config=self.model.config)
        ids = torch.tensor([list(prefix)], device=self.model.device)
        if len(prefix):
            self.model(input_ids=ids, past_key_values=self.cache, use_cache=True)

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `PrefixScorer`."""
        found: dict[int, float] = {}
        for path in trie.leaves():
            ids = torch.tensor([[trie.ids[node] for node in path]], device=self.model.device)
            state = copy.deepcopy(self.cache)
            found |= _along(trie, path, self.model(input_ids=ids, past_key_values=state, use_cache=True).logits[0])
        return found


class WholeTextScorer(PrefixScorer):
    """The whole sequence for each option, and nothing prefix_cache: what every model can do."""

    def read(self, prefix: Sequence[int]) -> None:
        """As in `PrefixScorer`."""
        self.prefix = list(prefix)

    def log_probs(self, trie: Trie) -> dict[int, float]:
        """As in `PrefixScorer`."""
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
    rows = part.predicting()
    return {path[k]: value for k, value in _of_nodes(part, rows, logits[rows]).items()}


_ways: WeakKeyDictionary[nn.Module, type[PrefixScorer]] = WeakKeyDictionary()


def prefix_scorer(model: PreTrainedModel, tokens: int, prefix_cache: PrefixCache | None = None) -> PrefixScorer:
    """The fastest way to read texts of so many tokens that gives what reading them alone gives, found by trying."""
    if reads_in_two_parts(model, tokens):
        return SplitAttentionScorer(model, prefix_cache)
    if model not in _ways:
        ways: tuple[type[PrefixScorer], ...] = (MaskedScorer, CopiedCacheScorer)
        _ways[model] = next((way for way in ways if _gives_the_same(way(model))), WholeTextScorer)
    if beyond(tokens, unstretched(model)):
        return WholeTextScorer(model)
    if _ways[model] is MaskedScorer and beyond(tokens, window(model)):
        return CopiedCacheScorer(model) if _gives_the_same(CopiedCacheScorer(model)) else WholeTextScorer(model)
    return _ways[model](model)


@torch.inference_mode()
def _gives_the_same(way: PrefixScorer) -> bool:
    prefix, trie = [3, 5, 7, 4, 6], Trie()
    for ids in ([8, 3, 9, 4], [8, 3, 5], [6, 7, 3]):
        trie.add(ids, 1)
    alone = WholeTextScorer(way.model)
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
