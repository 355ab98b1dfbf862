"""Context distillation: a model learns the predictions that it makes with the documents in context.

Source: Askell et al. 2021, section 2.1; Snell et al. 2022.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from study.lm.flops import forward_flops, size_of

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
    cache = DynamicCache(config=model.config)
    last = model(input_ids=_row(prefix, model), past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0]
    flops = float(forward_flops(size, len(prefix)))
    tokens, shares = [], []
    for ids in encoded:
        body = ids[1:] if ids[0] == start else ids
        state = copy.deepcopy(cache)
        logits = model(input_ids=_row(body, model), past_key_values=state, use_cache=True).logits[0]
        logits = torch.cat([last, logits[:-1]])[-(len(ids) - 1) :] if len(ids) > 1 else logits[:0]
        likely = logits.float().topk(min(MOST_LIKELY, logits.shape[-1]))
        tokens.append(likely.indices)
        shares.append(likely.values.softmax(-1))
        flops += forward_flops(size, len(body), past=len(prefix))
    return SoftTargets(tokens, shares, flops)


def distillation_loss(logits: torch.Tensor, tokens: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with the teacher's predictions: their KL divergence, but for a constant; (places, vocabulary)."""
    log_probs = nn.functional.log_softmax(logits.float(), dim=-1)
    return -(shares * log_probs.gather(1, tokens)).sum(1).mean()


def _row(ids: Sequence[int], model: PreTrainedModel) -> torch.Tensor:
    return torch.tensor([list(ids)], device=model.device)
