"""What each kind of work takes of a scenario's GPUs: bytes on each of them, how many hold a trial, seconds.

A model is measured by its first one and two layers, made without numbers; all layers are alike, so what one adds
counts for each. A pass takes the larger of what its arithmetic and its reads from memory need. Division by FSDP: each
GPU holds a part of all, trains or asks on tokens of its own, and gathers the others' parts layer by layer while it
works. Division by tensors: each GPU holds and computes a part of each layer, and the parts are summed twice in each
layer, which nothing hides. Keys and values are divided by their heads at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from math import ceil
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM

from study.attention import PIECE
from study.finetune import with_adapter
from study.flops import Size, forward_flops, size_of, training_flops
from study.forecast import ADAM_BYTES, CASTS, READ_AGAIN, kept_bytes
from study.params import Arm, Finetuning, Source
from study.score import memory_needed
from study.simulate.scenario import GIGA, Scenario, Shape
from study.strict import ParamsError

ITEM = 2  # bytes of bfloat16
MOST = 2**14  # GPUs that one trial is divided over
LOW, HIGH = 128, 256  # tokens of two steps, from which what one more takes is known
METHODS = ("full", "lora")


class Weights(NamedTuple):
    """What training a model in some way depends on; each number grows by the same amount with each layer.

    Attributes:
        parameters: of the model, an adapter's included.
        trained: of them.
        products: weights of its matrices.
        trained_products: of them, those that are trained.
        body: as in `Size`.
        head: as in `Size`.
        attention: as in `Size`.
        kept: bytes kept to go back, whatever the step has of tokens.
        kept_token: bytes kept for each token.
    """

    parameters: float
    trained: float
    products: float
    trained_products: float
    body: float
    head: float
    attention: float
    kept: float
    kept_token: float

    @property
    def size(self) -> Size:
        """As `study.flops` takes it."""
        return Size(int(self.body), int(self.head), int(self.attention), self.trained_products / self.products)


@cache
def weights_of(shape: Shape, method: str, rank: int) -> Weights:
    """Of a model of this shape, tuned by a method."""
    one, two = (_weights(shape, layers, method, rank) for layers in (1, 2))
    return Weights(*(a + (shape.layers - 1) * (b - a) for a, b in zip(one, two, strict=True)))


@cache
def _weights(shape: Shape, layers: int, method: str, rank: int) -> Weights:
    config = shape.config(layers)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if method == "lora":
        model = with_adapter(model, Finetuning(method="lora", lora_rank=rank))
    size = size_of(model)
    with FakeTensorMode(allow_non_fake_inputs=True):
        faked = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).train()
        low, high = (kept_bytes(faked, tokens, tokens) for tokens in (LOW, HIGH))
    each = (high - low) / (HIGH - LOW)
    products = size.body + size.head
    every, trained = (sum(p.numel() for p in model.parameters() if p.requires_grad or all_) for all_ in (True, False))
    return Weights(
        parameters=every,
        trained=trained,
        products=products,
        trained_products=size.trained * products,
        body=size.body,
        head=size.head,
        attention=size.attention,
        kept=low - LOW * each,
        kept_token=each,
    )


@cache
def _passing(shape: Shape, tokens: int) -> int:
    """Bytes of one pass of so many tokens, keys and values aside."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape.config(1), dtype=torch.bfloat16)
    return memory_needed(model, 0, tokens)


class Part(NamedTuple):
    """Bytes on each GPU of a trial, by what they are of."""

    weights: float
    optimizer: float = 0.0
    gradients: float = 0.0
    activations: float = 0.0
    keys: float = 0.0
    gathered: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self)


@dataclass(frozen=True)
class Demand:
    """What the work of a scenario takes.

    Attributes:
        scenario: whose.
        faster: how many times as fast arithmetic is as the scenario assumes.
        group: how many times the fewest GPUs that hold a job it is given.
    """

    scenario: Scenario
    faster: float = 1.0
    group: int = 1

    # What there is.

    @property
    def speed(self) -> float:
        """Operations a second that a GPU does."""
        here = self.scenario
        return min(1.0, here.reached.arithmetic * self.faster) * here.gpu.bf16_tflops * 1e12

    @property
    def reads(self) -> float:
        """Bytes a second that a GPU reads of its memory."""
        return self.scenario.reached.memory * self.scenario.gpu.memory_gb_s * GIGA

    def link(self, gpus: int) -> float:
        """Bytes a second that each of so many GPUs takes in together with the others.

        Of several machines each passes on what it gets to its own GPUs: all its network cards serve each of them.
        """
        gpu = self.scenario.gpu
        across = min(gpu.node_gb_s, gpu.network_gb_s * gpu.node_gpus)
        return self.scenario.reached.network * GIGA * (gpu.node_gb_s if gpus <= gpu.node_gpus else across)

    @property
    def room(self) -> float:
        """Bytes of a GPU that the work can have."""
        return self.scenario.usable * self.scenario.gpu.memory_gb * GIGA

    @cached_property
    def plain(self) -> Weights:
        """The model as it is asked."""
        return weights_of(self.scenario.model, "full", 1)

    def tuned(self, method: str) -> Weights:
        """The model as it is trained."""
        return weights_of(self.scenario.model, method, self.scenario.study.finetuning.lora_rank)

    @property
    def key_bytes(self) -> int:
        """Keys and values of one token."""
        shape = self.scenario.model
        return 2 * shape.layers * shape.kv_heads * (shape.width // shape.heads) * ITEM

    @property
    def layer_bytes(self) -> float:
        """The largest of what is gathered at once: a layer, or the matrix of predictions; and the next one already."""
        return 2 * ITEM * max(self.plain.body / self.scenario.model.layers, self.plain.head)

    # Memory.

    def training_memory(self, method: str, gpus: int) -> Part:
        """Bytes on each of so many GPUs, under FSDP."""
        weights, scenario = self.tuned(method), self.scenario
        tokens = ceil(READ_AGAIN * scenario.study.finetuning.step_tokens / gpus)
        kept = weights.kept + weights.kept_token * tokens
        if scenario.checkpointing:  # of each layer its input, and all that one layer keeps
            layers = scenario.model.layers
            one = _weights(scenario.model, 1, "full", 1)
            kept = one.kept + one.kept_token * tokens + layers * tokens * scenario.model.width * ITEM
        raised = 4 - ITEM if method == "full" else 0  # masters in float32; an adapter is float32 itself
        trained = weights.trained / gpus
        return Part(
            weights=ITEM * weights.parameters / gpus,
            optimizer=(ADAM_BYTES + raised) * trained,
            gradients=4 * trained,
            activations=CASTS * kept,
            gathered=self.layer_bytes if gpus > 1 else 0.0,
        )

    def asking_memory(self, gpus: int, division: str | None = None) -> Part:
        """Bytes on each of so many GPUs that ask behind the whole context."""
        context, shape = self.scenario.content.context, self.scenario.model
        tensor = (division or self.scenario.asking) == "tensor"
        return Part(
            weights=ITEM * self.plain.parameters / gpus,
            activations=_passing(shape, max(PIECE, self.scenario.chunk_tokens)),
            keys=self.key_bytes * context / (min(gpus, shape.kv_heads) if tensor else 1),
            gathered=self.layer_bytes if gpus > 1 and not tensor else 0.0,
        )

    def _fewest(self, memory: Callable[[int], Part], what: str, remedy: str) -> int:
        gpus = 1
        while (found := memory(gpus)).total > self.room:
            gpus *= 2
            if gpus > MOST:
                most = max(found._asdict().items(), key=lambda part: part[1])
                raise ParamsError(
                    f"{what} takes {found.total / GIGA:.0f} GB on each of {MOST} GPUs, "
                    f"{most[1] / GIGA:.0f} of them {most[0]}, and {self.room / GIGA:.0f} are usable; {remedy}"
                )
        return gpus * self.group

    def training_gpus(self, method: str) -> int:
        """GPUs, a power of two, that a training is given.

        Raises:
            ParamsError: if no number of them holds it.
        """
        memory = lambda gpus: self.training_memory(method, gpus)  # noqa: E731
        return self._fewest(memory, f"training ({method})", "use checkpointing, or fewer study.finetuning.step_tokens")

    def asking_gpus(self, division: str | None = None) -> int:
        """GPUs, a power of two, that the model and the whole context are given.

        Raises:
            ParamsError: if no number of them holds them.
        """
        memory = lambda gpus: self.asking_memory(gpus, division)  # noqa: E731
        return self._fewest(memory, "asking", "use asking: tensor, or fewer content.documents")

    # Time.

    def pass_seconds(self, tokens: float, past: float, gpus: int) -> float:
        """One pass of so many new tokens behind a text that is kept; under FSDP so many on each GPU."""
        shape, size = self.scenario.model, self.plain.size
        flops = forward_flops(size, int(tokens), int(past), int(tokens))
        held = ITEM * (self.plain.body + self.plain.head)
        if self.scenario.asking == "fsdp" and gpus > 1:
            gathering = held * (gpus - 1) / gpus / self.link(gpus)
            return max(flops / self.speed, (held + self.key_bytes * past) / self.reads, gathering)
        read = held / gpus + self.key_bytes * past / min(gpus, shape.kv_heads)
        summing = 4 * shape.layers * tokens * shape.width * ITEM * (gpus - 1) / gpus / self.link(gpus)
        return max(flops / gpus / self.speed, read / self.reads) + summing

    def reading_seconds(self, context: int) -> float:
        """A context, read piece by piece and kept."""
        gpus = self.asking_gpus()
        return sum(self.pass_seconds(min(PIECE, context - past), past, gpus) for past in range(0, context, PIECE))

    def question_seconds(self, context: int) -> float:
        """One question behind a context, many in each pass."""
        here, gpus = self.scenario, self.asking_gpus()
        together = max(1, here.chunk_tokens // here.content.question_tokens)
        seconds = self.pass_seconds(together * here.content.question_tokens, context, gpus) / together
        return seconds / gpus if here.asking == "fsdp" else seconds

    def writing_seconds(self, source: Source) -> float:
        """Texts for all documents: behind all of them if the text is global. Rows end, on average, halfway."""
        here, how, gpus = self.scenario.content, self.scenario.study.augmentation, self.asking_gpus()
        local = source is Source.LOCAL
        past, tokens = (0, how.local_tokens) if local else (here.context, how.global_tokens)
        texts = here.documents * how.samples
        rows = min(how.batch_size, texts)
        step = self.pass_seconds(rows / 2, past, gpus)
        batch = self.pass_seconds(rows * here.document_tokens, past, gpus) + tokens * step
        batches = ceil(texts / rows)
        if self.scenario.asking == "fsdp":
            batches = ceil(batches / gpus)
        return self.reading_seconds(past) + batches * batch

    def learned_tokens(self, arm: Arm) -> float:
        """Tokens of an arm's texts; of the oracle's, and of rephrasings, as many as of documents."""
        here, how = self.scenario.content, self.scenario.study.augmentation
        texts = here.documents * how.samples
        tokens = {
            Source.DOCUMENTS: here.context,
            Source.REPHRASED: here.context,
            Source.ORACLE: here.context,
            Source.LOCAL: texts * how.local_tokens / 2,
            Source.GLOBAL: texts * how.global_tokens / 2,
        }
        return sum(tokens[source] for source in arm.train)

    def steps(self, arm: Arm) -> int:
        """Steps of an arm's training."""
        params = self.scenario.study
        tuning, other = params.finetuning, params.arms[arm.as_long_as] if arm.as_long_as else arm
        return max(tuning.fewest_steps, ceil(tuning.epochs * self.learned_tokens(other) / tuning.step_tokens))

    def step_parts(self, method: str, gpus: int) -> dict[str, float]:
        """Seconds of one training step by what it is bound by; the largest is what it takes."""
        here, weights = self.scenario, self.tuned(method)
        tokens = READ_AGAIN * here.study.finetuning.step_tokens
        text = max(2, min(here.content.document_tokens, here.study.finetuning.step_tokens))
        flops = training_flops(weights.size, text) * tokens / text
        if here.checkpointing:
            flops += forward_flops(weights.size, text) * tokens / text
        held, passes = ITEM * weights.parameters, 2 + here.checkpointing
        changed = (ADAM_BYTES + 4 + 4) * weights.trained / gpus  # moments, masters and gradients, read and written
        moved = (2 * held + 4 * weights.trained) * (gpus - 1) / gpus
        return {
            "arithmetic": flops / gpus / self.speed,
            "memory": (passes * held + 2 * changed) / self.reads,
            "network": moved / self.link(gpus),
        }

    def training_seconds(self, arm: Arm, gpus: int) -> float:
        """All steps of an arm."""
        return self.steps(arm) * max(self.step_parts(self.method(arm), gpus).values())

    def method(self, arm: Arm) -> str:
        """The way an arm is tuned."""
        return arm.method or self.scenario.study.finetuning.method

    def loading_seconds(self, gpus: int) -> float:
        """The weights, each machine its part."""
        machines = ceil(gpus / self.scenario.gpu.node_gpus)
        return ITEM * self.plain.parameters / machines / (self.scenario.executor.load_gb_s * GIGA)
