"""Scenarios: a model by its shape, a kind of GPU, what a world holds, and the study that is to be run on them."""

import re
import sys
from typing import Self

from pydantic import Field, field_validator, model_validator
from transformers import LlamaConfig

from study.params import Ladder, Model, Params
from study.score import CHUNK_TOKENS
from study.simulate import SCENARIOS
from study.strict import Strict, named_file, read_yaml

GIGA = 1e9


class Shape(Strict):
    """A decoder of the usual kind, with gated feed-forward layers, by its numbers."""

    layers: int = Field(ge=1)
    width: int = Field(ge=1, description="of the hidden states")
    inner: int = Field(ge=1, description="width of the feed-forward layers")
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1, description="heads of keys and values, each of which serves several queries")
    vocabulary: int = Field(ge=2)
    positions: int = Field(ge=1, description="tokens that the model was made for; more are told as a warning")
    source: str = Field(min_length=1, description="where the numbers are from")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"width {self.width}, heads {self.heads}, kv_heads {self.kv_heads}: heads must divide the width, and "
                "kv_heads the heads"
            )
        return self

    def config(self, layers: int) -> LlamaConfig:
        """A model of this shape with so many layers."""
        return LlamaConfig(
            hidden_size=self.width,
            intermediate_size=self.inner,
            num_hidden_layers=layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            vocab_size=self.vocabulary,
            tie_word_embeddings=False,
        )


class Gpu(Strict):
    """A kind of GPU: peak rates as its maker states them, in one direction, and what an hour of it costs."""

    memory_gb: float = Field(gt=0)
    bf16_tflops: float = Field(gt=0, description="10^12 operations a second, dense, in bfloat16")
    memory_gb_s: float = Field(gt=0, description="of its own memory")
    node_gpus: int = Field(ge=1, description="GPUs of one machine")
    node_gb_s: float = Field(gt=0, description="to the other GPUs of the machine")
    network_gb_s: float = Field(gt=0, description="to GPUs of other machines, for each GPU")
    source: str = Field(min_length=1, description="of the rates")
    dollars_hour: float = Field(ge=0)
    price_source: str = Field(min_length=1)
    price_date: str = Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$", description="year, month and day if it is known")
    watts: float | None = Field(None, gt=0, description="at full load; no energy is told without it")


class Reached(Strict):
    """Shares of the peak rates that the work reaches: an assumption, with its grounds."""

    arithmetic: float = Field(0.4, gt=0, le=1)
    memory: float = Field(0.7, gt=0, le=1)
    network: float = Field(0.7, gt=0, le=1)
    grounds: str = Field(
        "arithmetic: 38 to 43 % in the pretraining of Llama 3 on H100 (arXiv 2407.21783, table 4); the others: guesses",
        min_length=1,
    )


class Executor(Strict):
    """What running jobs costs besides their work."""

    start_seconds: float = Field(ge=0, description="from a job's dispatch until its process can load the model")
    group_seconds: float = Field(
        ge=0, description="the same for a group of processes, each of which imports everything"
    )
    load_gb_s: float = Field(gt=0, description="weights, from a disk of each machine")
    jobs_second: float = Field(gt=0, description="that the scheduler dispatches")
    store_seconds: float = Field(ge=0, description="of one write, however small")
    store_gb_s: float = Field(gt=0, description="of the store of results, all writers together")
    question_bytes: float = Field(ge=0, description="of a question's row")
    source: str = Field(min_length=1)


class Content(Strict):
    """What one world with one seed holds."""

    documents: int = Field(ge=1)
    document_tokens: int = Field(ge=2)
    questions: int = Field(ge=1, description="asked in each trial")
    question_tokens: int = Field(ge=2, description="of a question and all its options, what they share once")

    @property
    def context(self) -> int:
        """Tokens of all documents."""
        return self.documents * self.document_tokens


class Changed(Strict):
    """What the study would have to do otherwise than it does, to see what that would bring."""

    tensor: bool = Field(
        False,
        description="each GPU of a group computes a part of each layer, and a group may be of several machines; as it "
        "is, a group is of one machine, and each GPU passes all that is asked, gathering the layers",
    )
    trained_shards: bool = Field(False, description="questions of trained arms are asked in shards, too")
    chunk_tokens: int = Field(CHUNK_TOKENS, ge=1, description="of questions, in one pass")


class Scenario(Strict):
    """One study on one set of machines."""

    about: str = Field(min_length=1)
    model: Shape
    gpu: Gpu
    gpus: int = Field(ge=1, description="most that there are")
    content: Content
    executor: Executor
    reached: Reached = Reached()
    study: Params = Field(Params(), description="worlds, seeds, arms and settings, as in any params file")
    usable: float = Field(0.9, gt=0, le=1, description="share of a GPU's memory; the rest is the libraries' and lost")
    changed: Changed = Changed()

    @field_validator("study")
    @classmethod
    def _has_no_model(cls, study: Params) -> Params:
        if study.model != Model() or study.ladder != Ladder():
            raise ValueError("model and ladder: the model is the scenario's own; leave them out")
        return study


def scenarios() -> list[str]:
    """Names of all scenarios; those that begin with the size of a model first, by that size."""

    def place(name: str) -> tuple[int, str]:
        size = re.match(r"\d+", name)
        return (int(size[0]) if size else sys.maxsize), name

    return sorted((path.stem for path in SCENARIOS.glob("*.yaml")), key=place)


def gpus() -> dict[str, Gpu]:
    """Every kind of GPU that scenarios can name."""
    files = sorted((SCENARIOS / "gpus").glob("*.yaml"))
    return {file.stem: Gpu.parse(read_yaml(file), f"gpus/{file.name}") for file in files}


def load_scenario(name: str) -> Scenario:
    """A scenario by its name, with the model, the GPU and the executor that it names.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed.
    """
    file = named_file(SCENARIOS, "SCENARIO", name)
    values = read_yaml(file)
    for field in ("model", "gpu", "executor"):
        if isinstance(values.get(field), str):
            values[field] = read_yaml(named_file(SCENARIOS / f"{field}s", field, values[field]))
    return Scenario.parse(values, f"{SCENARIOS.name}/{file.name}")
