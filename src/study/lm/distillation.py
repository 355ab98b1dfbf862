"""Context distillation: a model learns the predictions that it makes with the documents in context.

Source: Askell et al. 2021, section 2.1; Snell et al. 2022.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from study.lm.attention import New, PrefixCache, causal, forward, reads_in_two_parts, two_parts
from study.lm.flops import forward_flops, size_of
from study.sums import added

AT_ONCE = 32  # texts in one forward pass
MOST_LIKELY = 256  # tokens of a prediction that are kept; the rest has next to no probability


class SoftTargets(NamedTuple):
    """What a teacher predicts for each token of each text but the first.

    Attributes:
        tokens: of each text the likeliest tokens at each place, (tokens - 1, kept).
        shares: their probabilities, which add to 1, likewise.
        flops: of the teacher.
    """

    tokens: list[torch.Tensor]
    shares: list[torch.Tensor]
    flops: float


@torch.inference_mode()
def soft_targets(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: str, encoded: Sequence[list[int]]
) -> SoftTargets:
    """The model's predictions for texts behind a context that is read once.

    A text's token that marks its beginning is left out behind the context; the teacher predicts the next one from the
    end of the context.
    """
    model.eval()
    prefix, size, start = tokenizer(context).input_ids, size_of(model), tokenizer.bos_token_id
    bodies = [ids[1:] if ids[0] == start else ids for ids in encoded]
    tokens: list[torch.Tensor] = [torch.empty(0)] * len(encoded)
    shares = list(tokens)
    for number, logits in _behind(model, prefix, bodies):
        kept = logits[len(bodies[number]) - len(encoded[number]) + 1 :]  # the first token of a text is not learned
        likely = kept.float().topk(min(MOST_LIKELY, logits.shape[-1]))
        tokens[number], shares[number] = likely.indices, likely.values.softmax(-1)
    flops = forward_flops(size, len(prefix)) + added(forward_flops(size, len(b), past=len(prefix)) for b in bodies)
    return SoftTargets(tokens, shares, float(flops))


def _behind(
    model: PreTrainedModel, prefix: list[int], bodies: Sequence[list[int]]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Number and logits of each text behind the prefix, those of each token from what is before it."""
    if not reads_in_two_parts(model, len(prefix) + max(map(len, bodies))):
        state = DynamicCache(config=model.config)
        last = model(input_ids=_rows([prefix], model), past_key_values=state, use_cache=True).logits[0, -1:]
        for number, body in enumerate(bodies):
            copied = copy.deepcopy(state)  # it may slide, or be the state of a recurrent model
            logits = model(input_ids=_rows([body], model), past_key_values=copied, use_cache=True).logits[0]
            yield number, torch.cat([last, logits[:-1]])
        return
    cache = PrefixCache(model)
    order = sorted(range(len(bodies)), key=lambda number: len(bodies[number]))
    with two_parts(model):
        cache.read(prefix[:-1])
        for begin in range(0, len(order), AT_ONCE):
            numbers = order[begin : begin + AT_ONCE]
            width = len(bodies[numbers[-1]])
            rows = [prefix[-1:] + bodies[number][:-1] for number in numbers]
            padded = _rows([row + row[-1:] * (width - len(row)) for row in rows], model)
            places = torch.arange(len(cache.ids), len(cache.ids) + width, device=model.device).expand(len(rows), -1)
            logits = forward(model, New(cache, causal(width, model)), padded, places, 0)
            for number, row, found in zip(numbers, rows, logits, strict=True):
                yield number, found[: len(row)]


def _rows(ids: Sequence[list[int]], model: PreTrainedModel) -> torch.Tensor:
    return torch.tensor(ids, device=model.device)


def distillation_loss(logits: torch.Tensor, tokens: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with the teacher's predictions: their KL divergence, but for a constant; (places, vocabulary)."""
    log_probs = nn.functional.log_softmax(logits.float(), dim=-1)
    return -(shares * log_probs.gather(1, tokens)).sum(1).mean()
