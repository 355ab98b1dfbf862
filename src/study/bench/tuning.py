"""Fine-tuning: against TRL's SFTTrainer, and PEFT with transformers' Trainer, on the same batches."""

import copy
import random
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from study.bench.scaling import product_speed
from study.bench.table import Line, Same, Say, compare
from study.data.questions import Splitting, training_texts
from study.lm.finetuning import Training, epoch_order, finetune
from study.lm.flops import size_of, training_flops
from study.lm.loading import load
from study.params import Finetuning, Model, Params
from study.runs.run import prepare

disable_progress_bars()
BATCH, STEP_TOKENS, RATE = 16, 160, 1e-3
SETTINGS = {"step_tokens": STEP_TOKENS, "warmup_steps": 0, "final_rate": 1.0}  # a constant rate


class _InOrder(Trainer):  # type: ignore[misc]
    """Takes the batches as they come, and keeps the loss of each step."""

    def _get_train_sampler(self, *given: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class _InOrderToo(SFTTrainer):  # type: ignore[misc]
    """As `_InOrder`."""

    def _get_train_sampler(self, *given: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def batches_of(tokenizer: PreTrainedTokenizerBase, steps: int) -> list[list[int]]:
    """Texts of the study in their order, every `BATCH` of which have exactly `STEP_TOKENS` tokens to learn."""
    rng = random.Random(0)
    pool: list[list[int]] = []
    for world in ("reversals", "semantic", "family", "process"):
        sentences = training_texts(prepare(Params(), world, 0).documents, Splitting.SENTENCES)
        pool += [ids for ids in tokenizer(sentences).input_ids if 6 <= len(ids) <= 26]
    found: list[list[int]] = []
    while len(found) < steps * BATCH:
        texts = rng.sample(pool, BATCH - 1)
        rest = STEP_TOKENS - sum(len(ids) - 1 for ids in texts)
        fitting = [ids for ids in pool if len(ids) > rest >= 4]
        if fitting:
            found += [*texts, rng.choice(fitting)[: rest + 1]]
    return found


def here(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: list[list[int]], method: str = "full"
) -> tuple[float, ...]:
    """Loss of each step, by this study."""
    steps = len(encoded) // BATCH
    order = epoch_order(len(encoded), 0, 0)
    shuffled = [encoded[0]] * len(encoded)
    for text, place in zip(encoded, order, strict=True):
        shuffled[place] = text
    params = Finetuning.parse({**SETTINGS, "method": method}, "bench")
    training: Training = finetune(model, tokenizer, shuffled, params, RATE, steps, 0)[1]
    return training.losses


def _arguments(kind: type[TrainingArguments], folder: str, **more: Any) -> TrainingArguments:
    return kind(
        output_dir=folder,
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        max_grad_norm=1.0,
        logging_steps=1,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        **more,
    )


def with_trl(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: list[list[int]]) -> tuple[float, ...]:
    """Loss of each step, by TRL."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _InOrderToo(
            model=model,
            args=_arguments(SFTConfig, folder, max_length=None),
            train_dataset=Dataset.from_dict({"input_ids": encoded}),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return _losses(trainer)


def with_peft(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: list[list[int]]
) -> tuple[float, ...]:
    """Loss of each step of a LoRA adapter, by PEFT and Trainer."""
    settings = Finetuning()
    torch.manual_seed(random.Random(0).getrandbits(63))  # the adapter begins as the study's does
    config = LoraConfig(
        r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = _InOrder(
            model=get_peft_model(model, config),
            args=_arguments(TrainingArguments, folder),
            train_dataset=[{"input_ids": ids, "labels": ids} for ids in encoded],
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding="longest"),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return _losses(trainer)


def _losses(trainer: Trainer) -> tuple[float, ...]:
    return tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)


def _fresh(
    model: PreTrainedModel,
    tune: Callable[..., tuple[float, ...]],
    tokenizer: PreTrainedTokenizerBase,
    encoded: list[list[int]],
) -> tuple[float, ...]:
    return tune(copy.deepcopy(model), tokenizer, encoded)


def _last(ours: Sequence[float], theirs: Sequence[float], same: Same) -> None:
    same.add(abs(ours[-1] - theirs[-1]))


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """Rows of fine-tuning speed."""
    # A thread each, as the study's trials have: what a core does alone is what a machine of many does side by side.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, tokenizer = load(Model(device="cpu"))
    steps = 12 if quick else 40
    encoded = batches_of(tokenizer, steps)
    for tune in (here, with_trl, with_peft):  # what a first call loads is none's
        tune(copy.deepcopy(model), tokenizer, encoded[: 2 * BATCH])
    speed, floors = product_speed(), {}
    for method, trained in (("full", 1.0), ("lora", 0.0)):
        size = size_of(model)._replace(trained=trained)
        floors[method] = sum(training_flops(size, len(ids)) for ids in encoded) / steps / speed
    found = [
        compare(
            f"{name} fine-tuning, {steps} steps of {STEP_TOKENS} tokens in {BATCH} texts",
            against,
            target,
            partial(_fresh, model, partial(here, method=method), tokenizer, encoded),
            partial(_fresh, model, theirs, tokenizer, encoded),
            Same("last loss", 1e-4),
            _last,
            rounds,
            (steps, steps),
            "s a step",
            f"float32, constant rate, the same texts in each step, one thread; with setting up; floor, its products "
            f"alone at the speed of a large one: {floors[method]:.3f} s",
            say,
        )
        for name, method, against, target, theirs in (
            ("full", "full", "TRL's SFTTrainer", 1.3, with_trl),
            ("LoRA", "lora", "PEFT and transformers' Trainer", 1.5, with_peft),
        )
    ]
    torch.set_num_threads(threads)
    return found
