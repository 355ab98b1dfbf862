"""How fast, against what others use: `make bench`. Ratios of times measured in one run, the two in turn."""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

from study.base_model import DEFAULT, recipe_file
from study.corpus import write_text
from study.pretrain import Batch, Run, has_bfloat16
from study.recipe import load_recipe
from study.runner import available_cores
from study.words import PRETRAINING

TARGET = 1.5
Example = dict[str, list[int]]


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Seconds from the second step on: the first one warms up."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            self.begun = time.perf_counter()
        self.seconds = time.perf_counter() - self.begun


def _packed(examples: list[Example], row_tokens: int, rows: int) -> Iterator[Batch]:
    """The same texts as this repository packs them: one after another into rows, none of them cut."""
    batch: list[Example] = []
    row: Example = {"input_ids": [], "labels": []}
    for example in [*examples, None]:
        if example is None or len(row["input_ids"]) + len(example["input_ids"]) > row_tokens:
            padding = row_tokens - len(row["input_ids"])
            batch.append({"input_ids": row["input_ids"] + [0] * padding, "labels": row["labels"] + [-100] * padding})
            row = {"input_ids": [], "labels": []}
        if len(batch) == rows or (example is None and batch):
            labels = torch.tensor([r["labels"] for r in batch])
            yield Batch(torch.tensor([r["input_ids"] for r in batch]), labels, torch.ones(labels.shape))
            batch = []
        if example:
            row = {key: row[key] + example[key] for key in row}


def pretraining(size: str = DEFAULT, rounds: int = 3, steps: int = 8, say: Callable[[str], None] = print) -> float:
    """Tokens a second of this repository's pretraining over those of transformers' `Trainer`, every stage in turn.

    Same model, texts, number of texts a step and machine; tokens are those of the texts, padding does not count.
    `Trainer` is used as it comes: a text a row, padded to the longest of its batch, AdamW, in bfloat16 where this
    repository uses it. The first step of each turn is not counted.

    Returns:
        The median ratio over stages, weighted by nothing.
    """
    torch.set_num_threads(available_cores())
    recipe = load_recipe(recipe_file(size))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ratios = []
    for number, stage in enumerate(recipe.stages):
        run = Run(recipe, device)
        run.skip_to(number)
        for k in range(rounds):
            rng = random.Random(f"bench/{number}/{k}")
            examples: list[Example] = []
            while sum(len(e["input_ids"]) for e in examples) < stage.batch_tokens * (steps + 1):
                text = write_text(rng, stage, PRETRAINING, stage.row_tokens)
                prompt = run.tokenizer(text.prompt).input_ids
                own = run.tokenizer(text.continuation, add_special_tokens=False).input_ids
                own.append(run.tokenizer.eos_token_id)
                ids = (prompt + own)[: stage.row_tokens]
                examples.append({"input_ids": ids, "labels": ([-100] * len(prompt) + own)[: stage.row_tokens]})
            ours = _ours(run, examples, stage.row_tokens, stage.batch_tokens // stage.row_tokens)
            theirs = _trainer(run, examples, max(1, len(examples) // (steps + 1)))
            ratios.append((number, ours / theirs))
            say(f"stage {number}, round {k}: {ours:6.0f} tokens/s, Trainer {theirs:6.0f}: {ours / theirs:.2f} times")
    by_stage = [statistics.median(r for n, r in ratios if n == number) for number in range(len(recipe.stages))]
    for number, ratio in enumerate(by_stage):
        say(f"stage {number}: {ratio:.2f} times")
    return statistics.median(by_stage)


def _ours(run: Run, examples: list[Example], row_tokens: int, rows: int) -> float:
    read, begun = 0, 0.0
    for number, step in enumerate(_packed(examples, row_tokens, rows)):
        run.train_step(step, 0.01)
        if number == 0:
            begun = time.perf_counter()
        else:
            read += int((step.ids != run.tokenizer.pad_token_id).sum())
    return read / (time.perf_counter() - begun)


def _trainer(run: Run, examples: list[Example], texts_a_step: int) -> float:
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=run.model,
            args=TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=texts_a_step,
                num_train_epochs=1,
                bf16=run.device == "cuda" or has_bfloat16(),
                use_cpu=run.device == "cpu",
                learning_rate=1e-5,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            ),
            data_collator=DataCollatorForSeq2Seq(run.tokenizer, padding="longest"),
            train_dataset=examples,
            callbacks=[clock],
        )
        trainer.train()
    tokens = sum(len(e["input_ids"]) for e in examples)
    return tokens * (1 - texts_a_step / len(examples)) / clock.seconds
