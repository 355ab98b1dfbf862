"""Memory, disk and time of a study, from the shape of its model, before anything is run.

    weights      parameters times bytes each
    fine-tuning  weights + trained parameters x (2 Adam moments, masters) + the larger of activations and gradients
    generation   weights + keys and values of the prompts + one pass over the batch
    scoring      weights + keys and values of the longest context + one pass over a chunk of questions
    time         floating-point operations (`study.lm.flops`) / rate of its trainings on this processor, or of products

What training keeps is counted by `study.lm.memory`.
"""

import itertools
import math
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.benchmark import Timer
from transformers import PreTrainedModel

from study.arms import EACH_ITS_OWN, Arm, Source
from study.config import ParamsError
from study.data.questions import Splitting, training_texts
from study.lm.attention import positions
from study.lm.finetuning import refuse_fixed_lengths, with_adapter
from study.lm.flops import Size, forward_flops, matrices, size_of, training_flops
from study.lm.loading import load_tokenizer, pick_device, refuse_unknown_tokens, skeleton
from study.lm.memory import training_bytes, weight_bytes, writing_bytes
from study.lm.packing import packing_bytes
from study.lm.scoring import CHUNK_TOKENS, free_memory, memory_needed
from study.lm.tokens import count_tokens
from study.params import Params
from study.provenance import processor
from study.runs.executors import at_once, available_cores
from study.runs.run import GENERATED, EvaluationRun, GenerationRun, Run, prepare, prompts_of
from study.runs.runner import evaluation_runs_of, runs_of, waves_of
from study.runs.store import Store
from study.sums import added

TOLD_ONCE = 0.5  # of what is generated: a sentence is learned once, and what states no fact is left out
REACHED = 0.7  # of the speed of its matrix products, if no training has been measured
PRODUCTS_BYTES = 2**29  # of matrices that are tried
WORTH_SAYING = 1.5  # times as fast
ROW_BYTES = 60_000  # of a run's rows and record
REMEDIES = {
    "weights": "a smaller model, model.dtype bfloat16, or model.quantization",
    "finetuning": "finetuning.method lora, fewer finetuning.step_tokens, or a smaller model",
    "generation": "a smaller augmentation.batch_size, fewer augmentation.global_tokens, or a smaller model",
    "scoring": "fewer questions.context_tokens, model.dtype bfloat16, or a smaller model",
}


class Memory(NamedTuple):
    """Bytes at the peak of each kind of work, weights included."""

    weights: int
    finetuning: int
    generation: int
    scoring: int


class Forecast(NamedTuple):
    """Needs of the unfinished part of a study: memory and disk in bytes, with what is free, and time."""

    memory: Memory
    free: int
    device: str
    disk: int
    free_disk: int
    flops: float
    seconds: float
    faster: float = 1.0  # how many times as many products a second the device computes in float32

    @property
    def long(self) -> str:
        """How long it takes, in words."""
        return f"{self.seconds / 3600:.1f} hours" if self.seconds > 5400 else f"{self.seconds / 60:.0f} minutes"

    def lines(self) -> list[str]:
        """The forecast as text."""
        memory = ", ".join(f"{kind} {size / 1e9:.2f} GB" for kind, size in self.memory._asdict().items())
        lines = [
            f"memory on {self.device}: {memory}; {self.free / 1e9:.1f} GB are free",
            f"disk: {self.disk / 1e9:.2f} GB; {self.free_disk / 1e9:.1f} GB are free",
            f"time: about {self.long} for {self.flops / 1e9:,.0f} GFLOP",
        ]
        if self.faster >= WORTH_SAYING:
            lines.append(
                f"model.dtype float32 is {self.faster:.0f} times as fast on this processor, at twice the memory"
            )
        return lines

    def refuse_what_cannot_fit(self) -> None:
        """Refuse a study that memory or disk cannot hold.

        Raises:
            ParamsError: with what would help.
        """
        peak = max(self.memory)
        if peak > self.free:
            kind = "weights" if self.memory.weights > self.free else Memory._fields[self.memory.index(peak)]
            raise ParamsError(
                f"{kind} takes {peak / 1e9:.1f} GB on {self.device}, {self.free / 1e9:.1f} GB are free; "
                f"use {REMEDIES[kind]}"
            )
        if self.disk > self.free_disk:
            raise ParamsError(
                f"the study takes {self.disk / 1e9:.1f} GB of disk, {self.free_disk / 1e9:.1f} GB are free; make room"
            )


def forecast(params: Params, store: Store) -> Forecast:
    """Needs of a study's unfinished runs, those of its model-size comparison too."""
    seen: set[str] = set()
    studies = itertools.groupby((params, *params.other_models), key=lambda study: study.model)
    parts = [_of_one_model(list(group), store, seen) for _, group in studies]
    return parts[0]._replace(
        memory=Memory(*map(max, zip(*(part.memory for part in parts), strict=True))),
        disk=sum(part.disk for part in parts),
        flops=added(part.flops for part in parts),
        seconds=added(part.seconds for part in parts),
        faster=max(part.faster for part in parts),
    )


def _of_one_model(studies: Sequence[Params], store: Store, seen: set[str]) -> Forecast:
    """Needs of the unfinished runs of studies of one model but those seen already."""
    params, before = studies[0], len(seen)
    device, model = pick_device(params.model), skeleton(params.model)
    refuse_unknown_tokens(params.model, model, load_tokenizer(params.model))
    if any(arm.train for arm in params.arms.values()):
        refuse_fixed_lengths(model)
    flops, loads = 0.0, list[Workload]()
    for study in studies:
        runs = {key: run for key, run in waiting(study, store).items() if key not in seen}
        seen |= runs.keys()
        first = {run.world: run.seed for run in reversed(runs.values())}  # every seed draws as much
        sizes = sizes_of(study)
        own = {world: Workload(study, world, seed, sizes) for world, seed in first.items()}
        for load in own.values():
            load.refuse_what_is_too_long(positions(model))
        flops += sum(own[run.world].flops(run) for run in _one_training_each(runs.values()))
        loads += own.values()
    jobs = at_once(params)
    threads = available_cores() // jobs
    rate, faster = measured_rate(params, store, processor(device, threads)), 1.0
    if not rate:
        tokens = params.finetuning.step_tokens
        products = product_rate(model, tokens, device, threads)
        rate = REACHED * products
        if device == "cpu" and model.dtype != torch.float32:  # many processors emulate the shorter types
            faster = product_rate(model, tokens, device, threads, dtype=torch.float32) / products
    return Forecast(
        memory=memory_of(params, loads),
        free=free_on(device, spread=params.model.device_map is not None),
        device=device,
        disk=ROW_BYTES * (len(seen) - before),  # weights are checked when they are fetched
        free_disk=shutil.disk_usage(next(p for p in (store.folder, *store.folder.parents) if p.exists())).free,
        flops=flops,
        seconds=flops / (jobs * rate),
        faster=faster,
    )


def free_on(device: str, spread: bool) -> int:
    """Free bytes of a device, or of all GPUs where a model's layers are spread over them."""
    if not (spread and device == "cuda"):
        return free_memory(torch.device(device))
    return sum(free_memory(torch.device(device, number)) for number in range(torch.cuda.device_count()))


def waiting(params: Params, store: Store) -> dict[str, Run]:
    """The unfinished runs by key, without the model-size comparison."""
    return {run.key: run for wave in waves_of(params, store) for run in wave if not store.has(run.key)}


def show_time(params: Params, store: Store) -> None:
    """Say how long a study's unfinished runs will take, if that is more than a minute.

    Raises:
        ParamsError: if they cannot fit, with what would help.
    """
    if not all(store.has(run.key) for run in runs_of(params, store)):
        found = forecast(params, store)
        found.refuse_what_cannot_fit()
        if found.seconds > 60:
            print(f"about {found.long} on {found.device}", flush=True)


def _one_training_each(runs: Iterable[Run]) -> list[Run]:
    """Runs without those whose training another one shares."""
    seen: dict[str, Run] = {}
    for run in runs:
        training = run.training if isinstance(run, EvaluationRun) else None
        seen.setdefault(f"{run.world}/{run.seed}/{training}" if training else run.key, run)
    return list(seen.values())


class Workload:
    """The tokens that the runs of one dataset and seed read, generate and learn, by a model of such `sizes_of`."""

    def __init__(self, params: Params, world: str, seed: int, sizes: Mapping[str, Size]):
        self.params, self.sizes, self.size = params, sizes, sizes["full"]
        material, prompts = prepare(params, world, seed), prompts_of(params)
        texts = [document.text for document in material.documents]
        self.documents = count_tokens(params.model, texts)
        self.single = count_tokens(params.model, training_texts(material.documents, Splitting.SENTENCES))
        context = sum(count_tokens(params.model, [prompts.in_context(texts)]))
        self.context = min(context, params.questions.context_tokens or context)
        queries = count_tokens(params.model, [question.query for question in material.questions])
        wholes = count_tokens(params.model, [q.query + option for q in material.questions for option in q.options])
        self.question, self.questions = max(wholes), len(queries)
        again = sum(n * (len(q.options) - 1) for n, q in zip(queries, material.questions, strict=True))
        self.scored = sum(wholes) - again  # what the options of a question share is read once

    def refuse_what_is_too_long(self, limit: int | None) -> None:
        """Refuse texts that have more tokens than the model has positions; contexts are made to fit.

        Raises:
            ParamsError: naming the longest.
        """
        sources = {source for arm in self.params.arms.values() for source in arm.train}
        longest = {"a question with an option": (self.question, "shorter questions")}
        if sources:
            longest["a text to train on"] = (max(self.single), "shorter sentences or documents")
        if Source.LOCAL in sources:
            tokens = max(self.single) + self.params.augmentation.local_tokens
            longest["a statement and the text to generate"] = (tokens, "fewer augmentation.local_tokens")
        for what, (tokens, remedy) in longest.items():
            if limit and tokens > limit:
                name = f"model.name = {self.params.model.name!r}"
                raise ParamsError(f"{name}: has {limit} positions, {what} takes {tokens} tokens; use {remedy}")

    def flops(self, run: Run) -> float:
        """Operations of one run."""
        if isinstance(run, GenerationRun):
            return self.generation(run.source)
        if not isinstance(run, EvaluationRun):
            raise TypeError(f"{type(run).__name__} is no run whose operations are known")
        if run.spec.context in EACH_ITS_OWN:  # each question reads some documents of its own
            read = self.questions * (run.spec.shots or 1) * sum(self.documents) / len(self.documents)
            return self._each(self.scored + read, 0) + self.training(run.spec)
        context = self.context if run.spec.context else 0
        prefilled = forward_flops(self.size, context) if context else 0
        return prefilled + self._each(self.scored, context) + self.training(run.spec)

    def generation(self, source: Source) -> float:
        """Operations of generating texts, each half as long as it may be."""
        past = 0 if source is Source.LOCAL else self.context
        return forward_flops(self.size, past) + self._each(sum(self.single), 0) + self._each(self._new(source), past)

    def training(self, arm: Arm) -> float:
        """Operations of an arm's training; 0 if it has none."""
        if not arm.train:
            return 0.0
        tuning = self.params.finetuning
        size = self.sizes[arm.method or tuning.method]
        arm = self.params.arms[arm.as_long_as] if arm.as_long_as else arm
        generated = {Source.LOCAL, Source.GLOBAL} & set(arm.train)
        tokens = sum(self.single) + TOLD_ONCE * sum(self._new(source) for source in generated)
        tokens /= 1 - arm.replay
        steps = max(tuning.fewest_steps, tuning.epochs * tokens / tuning.step_tokens)
        return steps * training_flops(size, tuning.step_tokens)

    def _each(self, tokens: float, past: int) -> float:
        """Operations of tokens that all have the same past and predict the next one."""
        return tokens * (2 * (self.size.body + self.size.head) + 4 * self.size.attention * past)

    def _new(self, source: Source) -> float:
        """Tokens that are generated."""
        how = self.params.augmentation
        if source is Source.LOCAL:
            return len(self.single) * how.samples * how.local_tokens / 2
        return len(self.documents) * how.samples * how.global_tokens / 2


def methods_of(params: Params) -> set[str]:
    """How the arms of a study are trained: full, lora, both or not at all."""
    return {arm.method or params.finetuning.method for arm in params.arms.values() if arm.train}


def sizes_of(params: Params) -> dict[str, Size]:
    """The size of a study's model as it is, `full`, and with an adapter if one is trained, which costs a third less."""
    sizes = {"full": size_of(skeleton(params.model))}
    if "lora" in methods_of(params):
        sizes["lora"] = size_of(with_adapter(skeleton(params.model), params.finetuning))
    return sizes


def measured_rate(params: Params, store: Store, here: str) -> float:
    """Operations a second over the study's trainings on this processor; 0 if there are none: packs come from others."""
    done = [store.record(trial.key) for trial in evaluation_runs_of(params, store) if store.has(trial.key)]
    trainings = [record["training"] for record in done if record.get("processor") == here and "training" in record]
    seconds = sum(training["seconds"] for training in trainings)
    return sum(training["flops"] for training in trainings) / seconds if seconds else 0.0


def product_rate(
    model: PreTrainedModel, tokens: int, device: str, threads: int, dtype: torch.dtype | None = None
) -> float:
    """Operations a second of one process in products of so many tokens with a model's matrices, as many as are tried.

    There are more than a cache holds, as in the model; they are of its type, or of another one.
    """
    dtype = dtype or model.dtype
    shapes = [weight.shape[-2:] for weight, _ in matrices(model)]
    sizes = itertools.accumulate(math.prod(shape) * dtype.itemsize for shape in shapes)
    shapes = [shape for shape, size in zip(shapes, sizes, strict=True) if size < PRODUCTS_BYTES] or shapes[:1]
    kind: Any = {"dtype": dtype, "device": device}
    given = {width: torch.ones(tokens, width, **kind) for width in {shape[-1] for shape in shapes}}
    weights = [torch.ones(*shape, **kind) for shape in shapes]
    products = "for weight in weights: linear(given[weight.shape[-1]], weight)"
    used = {"weights": weights, "given": given, "linear": nn.functional.linear}
    seconds = Timer(products, globals=used, num_threads=threads).timeit(3).mean
    del given, weights, used
    if device == "cuda":
        torch.cuda.empty_cache()
    return 2 * tokens * sum(map(math.prod, shapes)) / seconds


def memory_of(params: Params, loads: list[Workload]) -> Memory:
    """Bytes at the peak of each kind of work."""
    model, how = skeleton(params.model), params.augmentation
    weights = weight_bytes(model, params)
    context = min(max((load.context for load in loads), default=0), positions(model) or sys.maxsize)
    own = max((max(load.documents) for load in loads), default=0) + max(how.local_tokens, how.global_tokens)
    texts = how.samples * max((len(load.documents) for load in loads), default=0)
    finetuning = max((training_bytes(params, method) for method in methods_of(params)), default=0)
    generates = any(GENERATED.keys() & arm.train for arm in params.arms.values())
    generation = writing_bytes(model, min(how.batch_size, texts), context, own) if generates else 0
    if generates and pick_device(params.model) == "cpu":
        generation += packing_bytes(model)
    scoring = memory_needed(model, context, CHUNK_TOKENS)
    return Memory(weights, weights + finetuning, weights + generation, weights + scoring)
