"""Fine-tuning, compared with TRL's SFTTrainer, and with PEFT and transformers' Trainer, on the same batches."""

import copy
import random
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from trl import SFTConfig, SFTTrainer

from bench.baselines import Losses, arguments, by_trainer, losses
from bench.scaling import product_speed
from bench.table import Line, Same, Say, compare
from study.data.questions import Splitting, training_texts
from study.lm.finetuning import epoch_order, finetune
from study.lm.flops import size_of, training_flops
from study.lm.loading import load
from study.params import Finetuning, Model, Params
from study.runs.run import prepare

disable_progress_bars()
BATCH, STEP_TOKENS, RATE = 16, 160, 1e-3
SETTINGS = {"step_tokens": STEP_TOKENS, "warmup_steps": 0, "final_rate": 1.0}  # a constant rate
THEIRS: dict[str, Any] = {"per_device_train_batch_size": BATCH, "learning_rate": RATE, "lr_scheduler_type": "constant"}
THEIRS |= {"optim": "adamw_torch_fused", "max_grad_norm": 1.0, "logging_steps": 1, "bf16": False}
THEIRS |= {"gradient_checkpointing": False}


class _InOrder:
    """A trainer that takes the texts as they come."""

    train_dataset: Any

    def _get_train_sampler(self, *given: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class _Trainer(_InOrder, Trainer):  # type: ignore[misc]
    pass


class _SFTTrainer(_InOrder, SFTTrainer):  # type: ignore[misc]
    pass


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


def by_study(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: list[list[int]], method: str = "full"
) -> Losses:
    """Losses by this study."""
    steps = len(encoded) // BATCH
    order = epoch_order(len(encoded), 0, 0)
    shuffled = [encoded[0]] * len(encoded)
    for text, place in zip(encoded, order, strict=True):
        shuffled[place] = text
    params = Finetuning.parse({**SETTINGS, "method": method}, "bench")
    return finetune(model, tokenizer, shuffled, params, RATE, steps, 0)[1].losses


def by_trl(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: list[list[int]]) -> Losses:
    """Losses by TRL."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _SFTTrainer(
            model=model,
            args=arguments(SFTConfig, folder, max_length=None, **THEIRS),
            train_dataset=Dataset.from_dict({"input_ids": encoded}),
            processing_class=tokenizer,
        )
        return losses(trainer)


def by_peft(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: list[list[int]]) -> Losses:
    """Losses of a LoRA adapter, by PEFT and Trainer."""
    own = Finetuning()
    torch.manual_seed(random.Random(0).getrandbits(63))  # the adapter begins as the study's does
    config = LoraConfig(r=own.lora_rank, lora_alpha=own.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    examples = [{"input_ids": ids, "labels": ids} for ids in encoded]
    return by_trainer(get_peft_model(model, config), tokenizer, examples, _Trainer, **THEIRS)


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """Rows of fine-tuning speed."""
    # One thread each, as the study's trials have.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, tokenizer = load(Model(device="cpu"))
    steps = 12 if quick else 40
    encoded = batches_of(tokenizer, steps)
    for tune in (by_study, by_trl, by_peft):  # a first call loads modules
        tune(copy.deepcopy(model), tokenizer, encoded[: 2 * BATCH])
    speed, floors = product_speed(), {}
    for name, trained in (("full", 1.0), ("LoRA", 0.0)):
        size = size_of(model)._replace(trained=trained)
        floors[name] = sum(training_flops(size, len(ids)) for ids in encoded) / steps / speed

    def fresh(tune: Callable[..., Losses]) -> Callable[[], Losses]:
        return lambda: tune(copy.deepcopy(model), tokenizer, encoded)

    found = [
        compare(
            f"{name} fine-tuning, {steps} steps of {STEP_TOKENS} tokens in {BATCH} texts",
            against,
            target,
            fresh(partial(by_study, method=name.lower())),
            fresh(theirs),
            Same("last loss", 1e-4),
            lambda ours, theirs: abs(ours[-1] - theirs[-1]),
            rounds,
            (steps, steps),
            "s a step",
            f"float32, constant rate, the same texts in each step, one thread; with setting up; floor, its products "
            f"alone at the speed of a large one: {floors[name]:.3f} s",
            say,
        )
        for name, against, target, theirs in (
            ("full", "TRL's SFTTrainer", 1.3, by_trl),
            ("LoRA", "PEFT and transformers' Trainer", 1.5, by_peft),
        )
    ]
    torch.set_num_threads(threads)
    return found
