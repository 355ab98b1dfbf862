"""Pretraining the bundled model: against transformers' `Trainer`, every stage of the recipe in turn."""

import statistics
import tempfile
import time
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

from study.base_model.make import recipe_file
from study.base_model.pretrain import Batch, Batches, PretrainingRun, has_bfloat16
from study.base_model.recipe import load_recipe
from study.bench.table import Line, Say
from study.runs.executors import available_cores

TARGET = 1.5
Example = dict[str, list[int]]


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Seconds from the second step on: the first one warms up."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            self.begun = time.perf_counter()
        self.seconds = time.perf_counter() - self.begun


def _texts(batch: Batch, begins: int, padding: int) -> list[Example]:
    """The texts of a batch, each alone: what stands from one beginning of a text to the next, without padding."""
    found: list[Example] = []
    for ids, labels in zip(batch.ids, batch.labels, strict=True):
        used = int((ids != padding).nonzero().max()) + 1
        starts = (ids[:used] == begins).nonzero().flatten().tolist()
        for start, end in zip(starts, [*starts[1:], used], strict=True):
            found.append({"input_ids": ids[start:end].tolist(), "labels": labels[start:end].tolist()})
    return found


def pretraining_line(rounds: int, say: Say, size: str = "cpu", steps: int = 4) -> Line:
    """How many times as long the tokens of a recipe would take transformers' `Trainer`: every stage in turn.

    Same model, texts, number of texts a step and machine; tokens are those of the texts, padding does not count.
    `Trainer` is used as it comes: a text a row, padded to the longest of its batch, AdamW, in bfloat16 where this
    repository uses it. The first step of each turn is not counted, nor for either the time to write the texts.

    The time of each is that for all stages at their most tokens; its speed in a stage is the median over rounds.
    """
    torch.set_num_threads(available_cores())
    recipe = load_recipe(recipe_file(size))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    seconds_ours = seconds_theirs = 0.0
    for number, stage in enumerate(recipe.stages):
        run = PretrainingRun(recipe, device)
        run.skip_to(number)
        speeds = []
        for k in range(rounds):
            source = Batches(run.tokenizer, stage, f"bench/{number}/{k}")
            batches = [source[step] for step in range(steps + 1)]
            speeds.append((_ours(run, batches), _trainer(run, batches)))
            say(f"stage {number}, round {k}: {speeds[-1][0]:6.0f} tokens/s, Trainer {speeds[-1][1]:6.0f}")
        ours, theirs = (statistics.median(speed) for speed in zip(*speeds, strict=True))
        say(f"stage {number}, rows of {stage.row_tokens}: {ours / theirs:.2f} times")
        seconds_ours += stage.most_tokens / ours
        seconds_theirs += stage.most_tokens / theirs
    return Line(
        work="pretraining the bundled model",
        against="transformers' Trainer",
        unit="s",
        ours=seconds_ours,
        theirs=seconds_theirs,
        ratio=seconds_theirs / seconds_ours,
        cpu_ratio=float("nan"),
        target=TARGET,
        at_most=False,
        same="the same texts",
        right=True,
        note=f"{steps} steps of each stage, scaled to its most tokens",
    )


def _ours(run: PretrainingRun, batches: list[Batch]) -> float:
    run.train_step(batches[0], 0.01)
    begun = time.perf_counter()
    for batch in batches[1:]:
        run.train_step(batch, 0.01)
    read = sum(int((batch.ids != run.tokenizer.pad_token_id).sum()) for batch in batches[1:])
    return read / (time.perf_counter() - begun)


def _trainer(run: PretrainingRun, batches: list[Batch]) -> float:
    special = run.tokenizer.bos_token_id, run.tokenizer.pad_token_id
    examples = [text for batch in batches for text in _texts(batch, *special)]
    texts_a_step = max(1, len(examples) // len(batches))
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
