"""Fine-tune a model on single texts: all weights, or a LoRA adapter.

Every step learns the same number of tokens, so runs of equally many steps have learned exactly equally many tokens.

Trained weights are held in float32 meanwhile: small steps would be lost in a shorter type. A model loaded in a shorter
type computes in that type, and its trained weights have it again whenever it is evaluated.
"""

import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import transformers_weight_conversion
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from study.config import ParamsError
from study.lm.attention import close
from study.lm.distillation import SoftTargets, distillation_loss
from study.lm.flops import size_of, training_flops
from study.params import Finetuning
from study.sums import added

IGNORE = -100
CURVE_POINTS = 40  # of a loss curve
# Layers of a state space mixer whose weight is used directly, in a fused kernel or always: an adapter has no effect.
BY_WEIGHT = ("x_proj", "dt_proj", "out_proj")
NO_MATRIX = (nn.Embedding, nn.Conv1d)


class Diverged(RuntimeError):
    """The loss or gradient norm is not finite; no step was taken with it."""


@dataclass(frozen=True)
class Training:
    """The record of a fine-tuning run.

    Attributes:
        losses: mean loss over each of up to 40 equal parts of the run, in nats per token.
        steps: optimizer steps.
        learned_tokens: labels, over all steps.
        read_tokens: tokens that went through the model, padding not counted.
        learning_rate: the highest.
        trained_parameters: number of trainable weights.
        flops: floating-point operations, as `study.lm.flops` counts them.
        seconds: wall-clock time without checkpoint evaluations.
    """

    losses: tuple[float, ...]
    steps: int
    learned_tokens: int
    read_tokens: int
    learning_rate: float
    trained_parameters: int
    flops: float
    seconds: float


class Piece(NamedTuple):
    """A text's part in a step.

    Attributes:
        ids: its tokens as far as they are read.
        first: index of the first to be learned.
        text: number of the text.
    """

    ids: list[int]
    first: int
    text: int = 0


def epoch_order(count: int, seed: int | str, epoch: int) -> list[int]:
    """The order of texts in an epoch: a function of seed and epoch alone."""
    return random.Random(f"{seed}/{epoch}").sample(range(count), count)


def steps_for(encoded: Sequence[Sequence[int]], params: Finetuning) -> int:
    """How many steps these texts take; a token is learned if it has one before it in its text.

    Raises:
        ValueError: if there is no token to learn.
    """
    tokens = sum(max(0, len(ids) - 1) for ids in encoded)
    if tokens == 0:
        raise ValueError(f"nothing to learn: {len(encoded)} texts give no labelled token")
    return max(params.fewest_steps, math.ceil(params.epochs * tokens / params.step_tokens))


def steps_of(encoded: Sequence[list[int]], steps: int, step_tokens: int, seed: int | str) -> Iterator[list[Piece]]:
    """The texts of each step, epoch after epoch, with exactly `step_tokens` tokens to learn.

    A text longer than the room left in a step is read again in the next one, which learns the rest of it.
    """
    numbers = (k for epoch in itertools.count() for k in epoch_order(len(encoded), seed, epoch))
    number, at = next(numbers), 1
    for _ in range(steps):
        pieces, room = [], step_tokens
        while room:
            while at >= len(encoded[number]):
                number, at = next(numbers), 1
            ids = encoded[number]
            until = min(len(ids), at + room)
            pieces.append(Piece(ids[:until], at, number))
            room -= until - at
            at = until
        yield pieces


def packed(pieces: Sequence[Piece], device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """All texts of a step in one row, as model inputs of shape (1, tokens); positions start at 0 in each text."""
    return {
        "input_ids": torch.tensor([[token for piece in pieces for token in piece.ids]], device=device),
        "position_ids": torch.tensor([[k for piece in pieces for k in range(len(piece.ids))]], device=device),
    }


Loss = Callable[[PreTrainedModel, Sequence[Piece], SoftTargets | None], torch.Tensor]


def packed_loss(model: PreTrainedModel, pieces: Sequence[Piece], teacher: SoftTargets | None = None) -> torch.Tensor:
    """Mean loss over the tokens to be learned, the only ones for which logits are computed."""
    learned = itertools.chain.from_iterable([k >= piece.first for k in range(len(piece.ids))] for piece in pieces)
    inputs = packed(pieces, model.device)
    places = torch.tensor([place for place, label in enumerate(learned) if label], device=model.device)
    logits = model(**inputs, use_cache=False, logits_to_keep=places - 1).logits[0]
    if teacher:
        return distillation_loss(logits, *targets_of(pieces, teacher))
    return nn.functional.cross_entropy(logits.float(), inputs["input_ids"][0, places])


def targets_of(pieces: Sequence[Piece], teacher: SoftTargets) -> tuple[torch.Tensor, torch.Tensor]:
    """The teacher's tokens and shares for the tokens to be learned, each (tokens, kept)."""
    tokens, shares = (
        torch.cat([values[piece.text][piece.first - 1 : len(piece.ids) - 1] for piece in pieces])
        for values in (teacher.tokens, teacher.shares)
    )
    return tokens, shares


def padded(pieces: Sequence[Piece], pad: int, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """A text in each row, as model inputs of shape (texts, longest), padded on the right."""

    def rows(values: Iterable[list[int]], padding: int) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(row, device=device) for row in values], True, padding)

    return {
        "input_ids": rows((piece.ids for piece in pieces), pad),
        "attention_mask": rows(([1] * len(piece.ids) for piece in pieces), 0),
        "labels": rows(([IGNORE] * first + ids[first:] for ids, first, _ in pieces), IGNORE),
    }


def padded_loss(
    model: PreTrainedModel, pieces: Sequence[Piece], teacher: SoftTargets | None = None, *, pad: int
) -> torch.Tensor:
    """As `packed_loss`, for models that do not keep packed texts apart."""
    inputs = padded(pieces, pad, model.device)
    found = model(**inputs, use_cache=False)
    if teacher:
        learned = found.logits[:, :-1][inputs["labels"][:, 1:] != IGNORE]
        return distillation_loss(learned, *targets_of(pieces, teacher))
    loss: torch.Tensor = found.loss
    return loss


@torch.no_grad()
def keeps_texts_apart(model: PreTrainedModel) -> bool:
    """Whether texts packed into one row do not see each other; in recurrent models they do."""
    first, second = Piece(list(range(8)), 1), Piece(list(range(4, 16)), 1)
    places = torch.arange(8, 20, device=model.device)

    def logits(pieces: list[Piece], places: torch.Tensor) -> Any:
        return model(**packed(pieces, model.device), use_cache=False, logits_to_keep=places).logits

    try:
        return close(logits([first, second], places), logits([second], places - 8))
    except Exception:  # the model knows no logits_to_keep, or no positions, however it says so
        return False


def _is_matrix(name: str, weight: torch.Tensor) -> bool:
    """Whether a parameter that is no layer's is a matrix, or one for each expert."""
    return min(weight.shape, default=0) > 1 and (weight.ndim == 3 or (name == "weight" and weight.ndim == 2))


def with_adapter(model: PreTrainedModel, params: Finetuning) -> PreTrainedModel:
    """The model with a LoRA adapter, in float32, on all matrices but embeddings: linear layers, experts, routers."""
    mixers = [name for name, part in model.named_modules() if hasattr(part, "A_log") and hasattr(part, "D")]
    left_out = {f"{name}.{layer}" for name in mixers for layer in BY_WEIGHT}
    layers, weights = [], []
    for name, part in model.named_modules():
        if part is model.get_output_embeddings() or name in left_out or isinstance(part, NO_MATRIX):
            continue
        # A router may be a linear layer that returns more than its product.
        if isinstance(part, (nn.Linear, Conv1D)) and not type(part).__module__.startswith("transformers.models."):
            layers.append(name)
        else:
            own = part.named_parameters(recurse=False)
            weights += [f"{name}.{weight}" for weight, w in own if _is_matrix(weight, w)]
    config = LoraConfig(
        r=params.lora_rank,
        lora_alpha=params.lora_alpha,
        target_modules=layers,
        target_parameters=weights,
        task_type="CAUSAL_LM",
    )
    # PEFT would translate names of old checkpoints of mixture models, and leave out all dense layers of such a name.
    with patch.object(transformers_weight_conversion, "convert_peft_config_for_transformers"):
        return get_peft_model(model, config)


class Masters:
    """Trained weights in float32, and the types that they have when the model is evaluated."""

    def __init__(self, model: PreTrainedModel):
        self.model = model
        self.types = {weight: weight.dtype for weight in model.parameters() if weight.requires_grad}
        for weight in self.types:
            weight.data = weight.data.float()

    def lower(self) -> PreTrainedModel:
        """Cast the weights to their types again."""
        for weight, dtype in self.types.items():
            weight.data = weight.data.to(dtype)
        return self.model

    @contextmanager
    def lowered(self) -> Iterator[PreTrainedModel]:
        """The weights have their types again for a while."""
        masters = [weight.data for weight in self.types]
        self.lower()
        try:
            yield self.model
        finally:
            for weight, master in zip(self.types, masters, strict=True):
                weight.data = master


def refuse_fixed_lengths(model: PreTrainedModel) -> None:
    """Refuse a model that trains on texts of one fixed length only, as Reformer does.

    Raises:
        ParamsError: naming the length.
    """
    shape = getattr(model.config, "axial_pos_shape", None)
    if shape and getattr(model.config, "axial_pos_embds", False):
        raise ParamsError(
            f"model.name = {model.config.name_or_path!r}: trains on texts of exactly {math.prod(shape)} tokens only; "
            "use another model, or arms that do not train"
        )


def take_step(
    optimizer: torch.optim.Optimizer, autocast: torch.autocast, loss_of: Callable[[], torch.Tensor], max_norm: float
) -> float:
    """One step of the optimizer; the loss before it.

    Raises:
        Diverged: if loss or gradient norm is not finite.
    """
    with autocast:
        loss = loss_of()
    torch.autograd.backward(loss)
    trained = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm, value = nn.utils.clip_grad_norm_(trained, max_norm).item(), loss.item()
    if not (math.isfinite(value) and math.isfinite(norm)):
        raise Diverged(f"loss {value}, gradient norm {norm}")
    optimizer.step()
    optimizer.zero_grad()
    return value


def learning_rate_scale(step: int, steps: int, params: Finetuning) -> float:
    """Linear warm-up, then linear decay to `final_rate` at the last step."""
    warm = min(1.0, (step + 1) / max(1, params.warmup_steps))
    return warm * (1 - (1 - params.final_rate) * step / max(1, steps - 1))


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: Sequence[list[int]],
    params: Finetuning,
    learning_rate: float,
    steps: int,
    seed: int | str,
    checkpoint_eval: Callable[[int, PreTrainedModel], None] | None = None,
    teacher: SoftTargets | None = None,
) -> tuple[PreTrainedModel, Training]:
    """Fine-tune `model` in place on encoded texts; a LoRA adapter is returned unmerged.

    The texts are repeated as often as `steps` takes; `seed` decides their order and an adapter's first weights. With a
    `teacher` its predictions are learned instead of the texts' own tokens.
    `checkpoint_eval` is called `params.checkpoint_evals` times, with the number of steps taken and the model in
    evaluation mode; training is the same with and without.

    Raises:
        Diverged: at the first loss or gradient norm that is not finite.
    """
    refuse_fixed_lengths(model)
    started = time.monotonic()
    torch.manual_seed(random.Random(seed).getrandbits(63))
    autocast = torch.autocast(model.device.type, model.dtype, enabled=model.dtype is not torch.float32)
    if params.method == "lora":
        model = with_adapter(model, params)
    masters = Masters(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=params.weight_decay, fused=True)
    loss_of: Loss = packed_loss if keeps_texts_apart(model) else partial(padded_loss, pad=tokenizer.pad_token_id)
    model.train()
    size, parts = size_of(model), params.checkpoint_evals + 1
    stops = {round(steps * k / parts) for k in range(1, parts)} - {0, steps}
    read_tokens, flops, paused, losses = 0, teacher.flops if teacher else 0.0, 0.0, []
    for step, pieces in enumerate(steps_of(encoded, steps, params.step_tokens, seed)):
        for options in optimizer.param_groups:
            options["lr"] = learning_rate * learning_rate_scale(step, steps, params)
        try:
            loss = partial(loss_of, model, pieces, teacher)
            losses.append(take_step(optimizer, autocast, loss, params.max_grad_norm))
        except Diverged as error:
            what = f"step {step + 1} of {steps}: {error} at learning rate {learning_rate}"
            raise Diverged(f"{what}; use smaller finetuning.learning_rates") from None
        read_tokens += sum(len(piece.ids) for piece in pieces)
        flops += added(training_flops(size, len(piece.ids)) for piece in pieces)
        if checkpoint_eval and step + 1 in stops:
            begun = time.monotonic()
            cuda = [model.device] if model.device.type == "cuda" else []
            with masters.lowered() as lowered_model, torch.random.fork_rng(cuda):
                checkpoint_eval(step + 1, lowered_model.eval())
            model.train()
            paused += time.monotonic() - begun
    model = masters.lower()
    part = math.ceil(steps / CURVE_POINTS)
    return model.eval(), Training(
        losses=tuple(math.fsum(losses[k : k + part]) / len(losses[k : k + part]) for k in range(0, steps, part)),
        steps=steps,
        learned_tokens=steps * params.step_tokens,
        read_tokens=read_tokens,
        learning_rate=learning_rate,
        trained_parameters=sum(p.numel() for p in trained),
        flops=flops,
        seconds=time.monotonic() - started - paused,
    )
