"""What a study will take before it is begun: memory, disk and time, from the shape of its model alone.

Memory of a training step is found by making it without numbers: the model goes forward with torch's fake tensors,
which have a shape and no content, and what it would keep for the way back is counted. The rest follows from the number
of weights. Time is operations (`study.lm.flops`) at the speed of a large product on the device, times the share of it
that such work reaches.
"""

import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PreTrainedModel

from study.config import ParamsError
from study.data.questions import training_texts
from study.lm.attention import beyond, positions, unstretched, window
from study.lm.finetuning import with_adapter
from study.lm.flops import Size, forward_flops, heads_of, size_of, training_flops
from study.lm.loading import attention_of, pick_device, skeleton
from study.lm.scoring import CHUNK_TOKENS, free_memory, memory_needed, vocabulary
from study.lm.tokens import count_tokens
from study.params import BUNDLED, Arm, Params, Source
from study.runs.run import EvaluationRun, GenerationRun, Run, prepare, prompts_of
from study.runs.runner import evaluation_runs_of, waves_of
from study.runs.store import Store

BITS = {None: None, "8bit": 8, "4bit": 4.5}  # with the constants of the quantization
READ_AGAIN = 1.25  # tokens read for one that is learned: texts that do not end with their step begin anew
CASTS = 1.2  # where types are mixed, copies that go through a cast; measured, as the allocator counts them
ADAM_BYTES = 8  # two moments in float32
REACHED = 0.3  # of the speed of a large product, where no trial has been measured
ROW_BYTES = 60_000  # of a trial's rows and record


class Memory(NamedTuple):
    """Bytes at the peak of each kind of work, weights included."""

    weights: int
    tuning: int
    writing: int
    asking: int

    @property
    def peak(self) -> int:
        """The largest of them."""
        return max(self)


class Forecast(NamedTuple):
    """What the unfinished part of a study takes.

    Attributes:
        memory: bytes, by kind of work.
        free: bytes that the device has.
        device: where it runs.
        disk: bytes of results.
        free_disk: bytes that the disk has.
        flops: floating-point operations.
        seconds: at the speed of this machine.
    """

    memory: Memory
    free: int
    device: str
    disk: int
    free_disk: int
    flops: float
    seconds: float

    def lines(self) -> list[str]:
        """The forecast in words."""
        giga = {name: f"{value / 1e9:.2f} GB" for name, value in self.memory._asdict().items()}
        hours = f"{self.seconds / 3600:.1f} hours" if self.seconds > 5400 else f"{self.seconds / 60:.0f} minutes"
        return [
            f"memory on {self.device}: weights {giga['weights']}, tuning {giga['tuning']}, writing {giga['writing']}, "
            f"asking {giga['asking']}; {self.free / 1e9:.1f} GB are free",
            f"disk: {self.disk / 1e9:.2f} GB; {self.free_disk / 1e9:.1f} GB are free",
            f"time: about {hours} for {self.flops:.1e} operations",
        ]

    def refuse_what_cannot_fit(self) -> None:
        """Raise if memory or disk will not do.

        Raises:
            ParamsError: with what would help.
        """
        kind = max(self.memory._fields, key=lambda name: getattr(self.memory, name))
        kind = "weights" if self.memory.weights > self.free else kind
        if self.memory.peak > self.free:
            remedy = {
                "weights": "a smaller model, model.dtype bfloat16, model.quantization, or model.device_map auto",
                "tuning": "finetuning.method lora, fewer finetuning.step_tokens, or a smaller model",
                "writing": "a smaller augmentation.batch_size, fewer augmentation.global_tokens, or a smaller model",
                "asking": "fewer questions.context_tokens, model.dtype bfloat16, or a smaller model",
            }[kind]
            raise ParamsError(
                f"{kind} takes {self.memory.peak / 1e9:.1f} GB on {self.device}, {self.free / 1e9:.1f} GB are free; "
                f"use {remedy}"
            )
        if self.disk > self.free_disk:
            raise ParamsError(
                f"the study takes {self.disk / 1e9:.1f} GB of disk, {self.free_disk / 1e9:.1f} GB are free; make room"
            )


def weight_bytes(model: PreTrainedModel, params: Params) -> int:
    """Bytes of a model's weights as they are loaded; quantization leaves embeddings and norms as they are."""
    bits, kept = BITS[params.model.quantization], model.get_output_embeddings().weight
    total = 0.0
    for weight in {id(p): p for p in model.parameters()}.values():
        quantized = bits is not None and weight.ndim == 2 and weight is not kept
        quantized = quantized and weight is not model.get_input_embeddings().weight
        total += weight.numel() * (bits / 8 if quantized and bits else weight.dtype.itemsize)
    return int(total)


def training_bytes(params: Params, method: str) -> int:
    """Bytes above the loaded weights at the peak of a step: masters, moments, and what is kept to go back or gradients.

    Gradients come as what is kept goes, so that the larger of the two counts.
    """
    model, tuning = skeleton(params.model), params.finetuning
    config, dtype, half = model.config, model.dtype, model.dtype != torch.float32
    tuned = with_adapter(model, tuning) if method == "lora" else model
    trained = sum(weight.numel() for weight in tuned.parameters() if weight.requires_grad)
    masters = half and method == "full"
    with FakeTensorMode(allow_non_fake_inputs=True):  # nothing is allocated, whatever is made here
        # An adapter keeps what its layers read, as their own weights do where they are trained.
        kind = torch.float32 if masters else dtype
        faked = AutoModelForCausalLM.from_config(config, dtype=kind, attn_implementation=attention_of(config)).train()
        with torch.autocast("cpu", dtype, enabled=half):
            kept = kept_bytes(faked, round(READ_AGAIN * tuning.step_tokens), tuning.step_tokens)
    kept += tuning.step_tokens * vocabulary(model) * (4 + dtype.itemsize)  # gradients of the predictions
    kept = round(kept * CASTS) if half else kept
    raised = 4 - dtype.itemsize if masters else 0
    return int(trained * (ADAM_BYTES + raised) + max(kept, 4 * trained))


def kept_bytes(model: PreTrainedModel, tokens: int, predicted: int) -> int:
    """Bytes that a loss over the last tokens of a text keeps for going back, weights aside."""
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        try:
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=predicted).logits[0]
        except TypeError:  # a model that predicts from all
            logits = model(input_ids=ids, use_cache=False).logits[0, -predicted:]
        loss = torch.nn.functional.cross_entropy(logits.float(), ids[0, -predicted:])
    del loss  # what is kept is kept until here
    return sum(kept.values())


def writes_behind_whole_prompts(model: PreTrainedModel, tokens: int) -> bool:
    """Whether what prompts share is read anew for each: where attention has no log-sum-exp, or not to all of it."""
    eager = model.config._attn_implementation == "eager"
    return eager or beyond(tokens, window(model)) or beyond(tokens, unstretched(model))


def writing_bytes(model: PreTrainedModel, rows: int, shared: int, own: int) -> int:
    """Bytes above the weights for writing so many texts side by side.

    Args:
        model: that writes; its shape is enough.
        rows: texts.
        shared: tokens that all begin with.
        own: most tokens of one behind them, those it writes included.
    """
    drawing = rows * vocabulary(model) * 3 * 8
    if not writes_behind_whole_prompts(model, shared + own):
        return memory_needed(model, shared + rows * own, rows) + drawing
    whole, scores = rows * (shared + own), 0
    if model.config._attn_implementation == "eager":  # scores of all tokens to all, in the type and in float32
        heads, _ = heads_of(model.config.get_text_config())
        scores = heads * rows * (shared + own) ** 2 * (2 * model.dtype.itemsize + 8)
    return memory_needed(model, whole, whole) + scores + drawing


def memory_of(params: Params, context: int, prompt: int, shared: int, texts: int) -> Memory:
    """Bytes at the peak of each kind of work.

    Args:
        params: of the study.
        context: tokens of the longest context.
        prompt: tokens of the longest prompt that something is written behind, what all share aside.
        shared: tokens that all prompts share.
        texts: most prompts that share them.
    """
    model, how = skeleton(params.model), params.augmentation
    weights = weight_bytes(model, params)
    methods = {arm.method or params.finetuning.method for arm in params.arms.values() if arm.train}
    asking = memory_needed(model, context, CHUNK_TOKENS)
    own = prompt + max(how.local_tokens, how.global_tokens)
    writing = writing_bytes(model, min(how.batch_size, texts), shared, own)
    writes = any({Source.LOCAL, Source.GLOBAL, Source.REPHRASED} & set(arm.train) for arm in params.arms.values())
    tuning = max((training_bytes(params, method) for method in methods), default=0)
    return Memory(weights, weights + tuning, weights + (writing if writes else 0), weights + asking)


def speed(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large product."""
    side = 1024 if device == "cpu" else 8192
    one = torch.randn(side, side, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        product = one @ one
        if device == "cuda":
            torch.cuda.synchronize()
        del product
        best = min(best, time.perf_counter() - begun)
    if device == "cuda":
        torch.cuda.empty_cache()
    return 2 * side**3 / best


def waiting(params: Params, store: Store) -> dict[str, Run]:
    """The units that are still to be done, by key; the ladder's aside."""
    return {unit.key: unit for wave in waves_of(params, store) for unit in wave if not store.has(unit.key)}


def refuse_what_cannot_fit(params: Params, store: Store) -> None:
    """Raise if what is still to be done of a study cannot fit; the bundled model fits wherever this runs.

    Raises:
        ParamsError: with what would help.
    """
    if params.model.name != BUNDLED and waiting(params, store):
        forecast(params, store).refuse_what_cannot_fit()


def forecast(params: Params, store: Store) -> Forecast:
    """What is still to be done of a study takes, its ladder aside."""
    device = pick_device(params.model)
    size = size_of(skeleton(params.model))
    units = waiting(params, store)
    works = {
        (world, seed): Work(params, world, seed, size) for world, seed in {(u.world, u.seed) for u in units.values()}
    }
    longest = min(
        max((work.context for work in works.values()), default=0), positions(skeleton(params.model)) or sys.maxsize
    )
    statement = max((work.statement for work in works.values()), default=0)
    texts = params.augmentation.samples * max((len(work.documents) for work in works.values()), default=0)
    memory = memory_of(params, longest, statement, longest, texts)
    flops = sum(works[unit.world, unit.seed].flops(unit) for unit in _once(units.values()))
    measured = _measured(params, store)
    rate = measured or REACHED * speed(device, getattr(torch, params.model.dtype))
    return Forecast(
        memory=memory,
        free=free_memory(torch.device(device)),
        device=device,
        disk=ROW_BYTES * len(units),  # weights are checked when they are fetched
        free_disk=shutil.disk_usage(_existing(store.folder)).free,
        flops=flops,
        seconds=flops / rate,
    )


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _once(units: Iterable[Run]) -> list[Run]:
    """Units without those whose training another one shares."""
    seen: dict[str, Run] = {}
    for unit in units:
        training = unit.training if isinstance(unit, EvaluationRun) else None
        key = f"{unit.world}/{unit.seed}/{training}" if training else unit.key
        seen.setdefault(key, unit)
    return list(seen.values())


class Work:
    """What the units of one world and seed take, by the tokens of its texts."""

    def __init__(self, params: Params, world: str, seed: int, size: Size):
        self.params, self.size = params, size
        material, prompts = prepare(params, world, seed), prompts_of(params)
        texts = [document.text for document in material.documents]
        self.documents = count_tokens(params.model, texts)
        self.single = count_tokens(
            params.model, training_texts(material.documents, next(iter(params.arms.values())).splitting)
        )
        self.context = sum(count_tokens(params.model, [prompts.behind(texts)]))
        if params.questions.context_tokens:
            self.context = min(self.context, params.questions.context_tokens)
        self.statement = max(self.documents, default=0)
        queries = count_tokens(params.model, [question.query for question in material.questions])
        wholes = count_tokens(params.model, [q.query + option for q in material.questions for option in q.options])
        again = sum(n * (len(q.options) - 1) for n, q in zip(queries, material.questions, strict=True))
        self.asked = sum(wholes) - again  # what the options of a question share is read once

    def flops(self, unit: Run) -> float:
        """Operations of one unit."""
        if isinstance(unit, EvaluationRun) and unit.shards:  # they are units themselves
            return 0.0
        if isinstance(unit, EvaluationRun):
            share = 1.0 if unit.shard is None else 1 / self.params.questions.shards
            return self.asking(self.context if unit.spec.context else 0, share) + self.training(unit.spec)
        if isinstance(unit, GenerationRun):
            return self.writing(unit.source)
        raise TypeError(f"{type(unit).__name__} is no unit whose operations are known")

    def asking(self, context: int, share: float = 1.0) -> float:
        """Operations of all questions, or a share of them, behind so many tokens, these included."""
        asked = share * self.asked
        behind = forward_flops(self.size, context) + 4 * self.size.attention * asked * context
        return 2 * (self.size.body + self.size.head) * asked + (behind if context else 0)

    def writing(self, source: Source) -> float:
        """Operations of a text, each part of it half as long as it may be."""
        how, local = self.params.augmentation, source is Source.LOCAL
        count, tokens = (len(self.single), how.local_tokens) if local else (len(self.documents), how.global_tokens)
        past = 0 if local else self.context
        new = count * how.samples * tokens // 2
        return (
            forward_flops(self.size, past)
            + 2 * (self.size.body + self.size.head) * (new + sum(self.single))
            + (4 * self.size.attention * new * past)
        )

    def training(self, arm: Arm) -> float:
        """Operations of an arm's training; 0 if it has none."""
        if not arm.train:
            return 0.0
        how, tuning = self.params.augmentation, self.params.finetuning
        tokens = float(sum(self.single))
        if Source.LOCAL in arm.train:
            tokens += len(self.single) * how.samples * how.local_tokens / 2
        if Source.GLOBAL in arm.train:
            tokens += len(self.documents) * how.samples * how.global_tokens / 2
        steps = max(tuning.fewest_steps, tuning.epochs * tokens / tuning.step_tokens)
        return steps * training_flops(self.size, tuning.step_tokens)


def _measured(params: Params, store: Store) -> float:
    """Operations a second over the finished trainings of the study; 0 if there are none."""
    done = [store.record(trial.key) for trial in evaluation_runs_of(params, store) if store.has(trial.key)]
    trainings = [record["training"] for record in done if "training" in record]
    seconds = sum(training["seconds"] for training in trainings)
    return sum(training["flops"] for training in trainings) / seconds if seconds else 0.0
