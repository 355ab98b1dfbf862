"""Pretraining the bundled model, compared with transformers' `Trainer`, every stage of the recipe in turn."""

import statistics
import time
from typing import Any

import torch
from transformers import TrainerCallback

from bench.baselines import by_trainer
from bench.table import Line, Say
from study.base_model.make import recipe_file
from study.base_model.pretrain import Batch, Batches, PretrainingRun, has_bfloat16
from study.base_model.recipe import load_recipe
from study.runs.executors import available_cores

Example = dict[str, list[int]]


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Seconds from the second step on: the first one warms up."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 1:
            self.begun = time.perf_counter()
        self.seconds = time.perf_counter() - self.begun


def _texts(batch: Batch, begins: int, padding: int) -> list[Example]:
    """The texts of a batch, each alone and without padding."""
    found: list[Example] = []
    for ids, labels in zip(batch.ids, batch.labels, strict=True):
        used = int((ids != padding).nonzero().max()) + 1
        starts = (ids[:used] == begins).nonzero().flatten().tolist()
        for start, end in zip(starts, [*starts[1:], used], strict=True):
            found.append({"input_ids": ids[start:end].tolist(), "labels": labels[start:end].tolist()})
    return found


def lines(rounds: int, quick: bool, say: Say, size: str = "cpu", steps: int = 4) -> list[Line]:
    """How many times as long the tokens of a recipe would take transformers' `Trainer`: every stage in turn.

    Model, texts, texts a step and machine are the same; padding does not count as tokens. `Trainer` is used as it
    comes: a text a row, padded to the longest of its batch, AdamW, in bfloat16 where this repository uses it. The first
    step of each turn is not counted, nor the time to make the texts. Times are those of all stages at their most
    tokens, at the median speed over the rounds.
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
    line = Line("pretraining the bundled model", "transformers' Trainer", seconds_ours, seconds_theirs, 1.5, "", True)
    return [line._replace(same="the same texts", note=f"{steps} steps of each stage, scaled to its most tokens")]


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
    by_trainer(
        run.model,
        run.tokenizer,
        examples,
        callbacks=[clock],
        per_device_train_batch_size=texts_a_step,
        bf16=run.device == "cuda" or has_bfloat16(),
        use_cpu=run.device == "cpu",
        learning_rate=1e-5,
        logging_strategy="no",
    )
    tokens = sum(len(e["input_ids"]) for e in examples)
    return tokens * (1 - texts_a_step / len(examples)) / clock.seconds
