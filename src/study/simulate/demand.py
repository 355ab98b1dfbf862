"""What each kind of work takes of a scenario's GPUs: bytes on each of them, how many hold a trial, seconds.

A model is measured by its first one and two layers, made without numbers; all layers are alike, so what one adds
counts for each. A pass takes the larger of what its arithmetic and its reads from memory need.

As the study shares a model (`study.sharding`), a group of processes on one machine trains on texts of its own each, and
gathers the others' parts of the weights layer by layer. What is asked or written, each passes whole, so that a group is
no faster than one GPU that holds the model. Divided by tensors instead, each GPU computes a part of each layer, and the
parts are summed twice in each, which nothing hides; keys and values are divided by their heads at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
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

ITEM, MASTER = 2, 4  # bytes of bfloat16 and float32
MOST = 2**14  # GPUs to look at
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

    def gathered(self, item: int) -> float:
        """Bytes that each GPU has whole at a time, as `study.forecast` counts them: a layer and one end, both twice."""
        return 2 * item * (self.plain.body / self.scenario.model.layers + self.plain.head)

    @property
    def most(self) -> int:
        """GPUs that one job can be divided over."""
        return MOST if self.scenario.changed.tensor else self.scenario.gpu.node_gpus

    @cached_property
    def gpus(self) -> int:
        """GPUs that each job is given: a power of two that holds all there is to do, times `group`.

        Raises:
            ParamsError: if no number of them does.
        """
        arms = self.scenario.study.arms.values()
        methods = {self.method(arm) for arm in arms if arm.train}
        return self.group * max(self.asking_gpus(), *(self.training_gpus(method) for method in methods), 1)

    # Memory.

    def training_memory(self, method: str, gpus: int) -> Part:
        """Bytes on each of so many GPUs, under FSDP; masters are in float32, as an adapter is itself."""
        weights, full = self.tuned(method), method == "full"
        tokens = ceil(READ_AGAIN * self.scenario.study.finetuning.step_tokens / gpus)
        token = weights.kept_token + (MASTER + ITEM) * self.scenario.model.vocabulary  # gradients of the predictions
        trained = weights.trained / gpus
        return Part(
            weights=ITEM * weights.parameters / gpus,
            optimizer=(ADAM_BYTES + (MASTER - ITEM if full else 0)) * trained,
            gradients=MASTER * trained,
            activations=CASTS * (weights.kept + token * tokens),
            gathered=self.gathered(MASTER if full else ITEM) if gpus > 1 else 0.0,
        )

    def asking_memory(self, gpus: int, tensor: bool) -> Part:
        """Bytes on each of so many GPUs that ask behind the whole context, the model divided by tensors or by FSDP."""
        context, shape = self.scenario.content.context, self.scenario.model
        return Part(
            weights=ITEM * self.plain.parameters / gpus,
            activations=_passing(shape, max(PIECE, self.scenario.changed.chunk_tokens)),
            keys=self.key_bytes * context / (min(gpus, shape.kv_heads) if tensor else 1),
            gathered=self.gathered(ITEM) if gpus > 1 and not tensor else 0.0,
        )

    def training_gpus(self, method: str) -> int:
        """Fewest GPUs, a power of two, that hold a training.

        Raises:
            ParamsError: if no number of them does.
        """
        return self._fewest(partial(self.training_memory, method), self.most, f"training ({method})")

    def asking_gpus(self, tensor: bool | None = None) -> int:
        """Fewest GPUs, a power of two, that hold the model and the whole context, divided by tensors or by FSDP.

        Raises:
            ParamsError: if no number of them does.
        """
        tensor = self.scenario.changed.tensor if tensor is None else tensor
        most = MOST if tensor else self.scenario.gpu.node_gpus
        return self._fewest(lambda gpus: self.asking_memory(gpus, tensor), most, "asking")

    def _fewest(self, memory: Callable[[int], Part], most: int, what: str) -> int:
        gpus = 1
        while (found := memory(gpus)).total > self.room:
            if 2 * gpus > most:
                name, largest = max(found._asdict().items(), key=lambda part: part[1])
                raise ParamsError(
                    f"{what} takes {found.total / GIGA:.0f} GB on each of {gpus} GPUs, {largest / GIGA:.0f} of them "
                    f"{name}, and {self.room / GIGA:.0f} are usable; a group has {most} at most. Use GPUs with more "
                    "memory, fewer content.documents or study.finetuning.step_tokens, or changed.tensor"
                )
            gpus *= 2
        return gpus

    # Time.

    def pass_parts(self, tokens: float, past: float, gpus: int) -> dict[str, float]:
        """Seconds of one pass of new tokens behind a text that is kept, by what they are bound by.

        By FSDP each GPU passes all tokens, and gathers the layers meanwhile.
        """
        shape, size = self.scenario.model, self.plain.size
        flops = forward_flops(size, int(tokens), int(past), int(tokens))
        held, keys = ITEM * (self.plain.body + self.plain.head), self.key_bytes * past
        others = (gpus - 1) / gpus / self.link(gpus)
        if self.scenario.changed.tensor:
            return {
                "arithmetic": flops / gpus / self.speed,
                "memory": (held / gpus + keys / min(gpus, shape.kv_heads)) / self.reads,
                "network": 4 * shape.layers * tokens * shape.width * ITEM * others,
            }
        return {"arithmetic": flops / self.speed, "memory": (held + keys) / self.reads, "network": held * others}

    def pass_seconds(self, tokens: float, past: float, gpus: int) -> float:
        """One pass: what is gathered comes while another layer computes, what is summed does not."""
        parts = self.pass_parts(tokens, past, gpus)
        if self.scenario.changed.tensor:
            return max(parts["arithmetic"], parts["memory"]) + parts["network"]
        return max(parts.values())

    def reading_seconds(self, context: int) -> float:
        """A context, read piece by piece and kept."""
        pieces = range(0, context, PIECE)
        return sum(self.pass_seconds(min(PIECE, context - past), past, self.gpus) for past in pieces)

    @property
    def together(self) -> int:
        """Questions in one pass."""
        return max(1, self.scenario.changed.chunk_tokens // self.scenario.content.question_tokens)

    def question_seconds(self, context: int) -> float:
        """One question behind a context, many in each pass."""
        tokens = self.together * self.scenario.content.question_tokens
        return self.pass_seconds(tokens, context, self.gpus) / self.together

    def writing_seconds(self, source: Source) -> float:
        """Texts for all documents: behind all of them if the text is global. Rows end, on average, halfway."""
        here, how, local = self.scenario.content, self.scenario.study.augmentation, source is Source.LOCAL
        past, tokens = (0, how.local_tokens) if local else (here.context, how.global_tokens)
        texts = here.documents * how.samples
        rows = min(how.batch_size, texts)
        step = self.pass_seconds(rows / 2, past, self.gpus)
        batch = self.pass_seconds(rows * here.document_tokens, past, self.gpus) + tokens * step
        return self.reading_seconds(past) + ceil(texts / rows) * batch

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

    def step_parts(self, method: str) -> dict[str, float]:
        """Seconds of one training step by what it is bound by; the largest is what it takes."""
        here, weights, gpus = self.scenario, self.tuned(method), self.gpus
        tokens = READ_AGAIN * here.study.finetuning.step_tokens
        text = max(2, min(here.content.document_tokens, here.study.finetuning.step_tokens))
        held = (MASTER if method == "full" else ITEM) * weights.parameters
        changed = (ADAM_BYTES + 2 * MASTER) * weights.trained / gpus  # moments, masters and gradients
        moved = (2 * held + MASTER * weights.trained) * (gpus - 1) / gpus  # gathered twice, and gradients summed
        return {
            "arithmetic": training_flops(weights.size, text) * tokens / text / gpus / self.speed,
            "memory": 2 * (held + changed) / self.reads,
            "network": moved / self.link(gpus),
        }

    def training_seconds(self, arm: Arm) -> float:
        """All steps of an arm."""
        return self.steps(arm) * max(self.step_parts(self.method(arm)).values())

    def method(self, arm: Arm) -> str:
        """The way an arm is tuned."""
        return arm.method or self.scenario.study.finetuning.method

    def starting_seconds(self) -> float:
        """A process, or a group of them, and its weights: one process reads them for the others of its machine."""
        here, machines = self.scenario.executor, ceil(self.gpus / self.scenario.gpu.node_gpus)
        loading = ITEM * self.plain.parameters / machines / (here.load_gb_s * GIGA)
        return loading + (here.start_seconds if self.gpus == 1 else here.group_seconds)
