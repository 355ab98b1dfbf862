"""Fine-tune a model on single texts: all weights, or a LoRA adapter."""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.params import Finetuning

IGNORE = -100


class Diverged(RuntimeError):
    """A loss or gradient norm that is not finite; no step was taken with it."""


@dataclass(frozen=True)
class Training:
    """What a fine-tuning run did.

    Attributes:
        losses: mean loss of each epoch, in nats per token.
        steps: optimizer steps.
        tokens: tokens trained on, padding not counted.
        trained_parameters: number of weights that could change.
        seconds: wall-clock time.
    """

    losses: tuple[float, ...]
    steps: int
    tokens: int
    trained_parameters: int
    seconds: float


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The order of `count` texts in one epoch: a function of seed and epoch alone."""
    return random.Random(f"{seed}/{epoch}").sample(range(count), count)


def collate(encoded: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pad (rows, longest) on the right: ids, attention mask, and labels that are -100 on padding."""
    longest = max(len(ids) for ids in encoded)
    ids = torch.full((len(encoded), longest), pad)
    mask = torch.zeros(len(encoded), longest, dtype=torch.long)
    for row, text in enumerate(encoded):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    return ids, mask, ids.masked_fill(mask == 0, IGNORE)


def batches_of_epoch(encoded: Sequence[list[int]], batch_size: int, seed: int, epoch: int) -> Iterator[list[list[int]]]:
    """The batches of one epoch; the last may be smaller."""
    order = epoch_order(len(encoded), seed, epoch)
    for at in range(0, len(order), batch_size):
        yield [encoded[k] for k in order[at : at + batch_size]]


def learning_rate_scale(step: int, steps: int, params: Finetuning) -> float:
    """Linear warm-up, then linear decay to `final_rate` at the last step."""
    warm = min(1.0, (step + 1) / max(1, params.warmup_steps))
    return warm * (1 - (1 - params.final_rate) * step / max(1, steps - 1))


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    params: Finetuning,
    seed: int,
) -> tuple[PreTrainedModel, Training]:
    """Tune `model` in place on `texts`, one text a row; a LoRA adapter is returned unmerged.

    Raises:
        ValueError: if there is no token to learn.
        Diverged: at the first loss or gradient norm that is not finite.
    """
    encoded = [tokenizer(text).input_ids for text in texts]
    if sum(len(ids) - 1 for ids in encoded) <= 0:
        raise ValueError(f"nothing to learn: {len(texts)} texts give no labelled token")
    started = time.monotonic()
    torch.manual_seed(seed)
    if params.method == "lora":
        config = LoraConfig(
            r=params.lora_rank, lora_alpha=params.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = get_peft_model(model, config)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=params.learning_rate, weight_decay=params.weight_decay)
    accelerator = Accelerator(cpu=model.device.type == "cpu")
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    steps = params.epochs * math.ceil(len(encoded) / params.batch_size)
    step = tokens = 0
    losses = []
    for epoch in range(params.epochs):
        epoch_loss = []
        for batch in batches_of_epoch(encoded, params.batch_size, seed, epoch):
            ids, mask, labels = (t.to(accelerator.device) for t in collate(batch, tokenizer.pad_token_id))
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(trained, params.max_grad_norm)
            if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
                raise Diverged(
                    f"step {step + 1} of {steps}: loss {loss.item()}, gradient norm {norm.item()} at learning rate "
                    f"{params.learning_rate}; use a smaller finetuning.learning_rate"
                )
            for group in optimizer.param_groups:
                group["lr"] = params.learning_rate * learning_rate_scale(step, steps, params)
            optimizer.step()
            optimizer.zero_grad()
            epoch_loss.append(loss.item())
            tokens += int(mask.sum())
            step += 1
        losses.append(sum(epoch_loss) / len(epoch_loss))
    accelerator.free_memory()
    return model.eval(), Training(
        losses=tuple(losses),
        steps=steps,
        tokens=tokens,
        trained_parameters=sum(p.numel() for p in trained),
        seconds=time.monotonic() - started,
    )
