"""Every setting of the study, typed and frozen; a params file holds the differences from these defaults."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, create_model, model_validator

from study.data import Splitting
from study.strict import Strict, read_yaml
from study.words import OPENINGS
from study.worlds import WORLDS
from study.worlds.shape import Shape

BUNDLED = "bundled"


class Source(StrEnum):
    """What an arm may train on or put in context."""

    DOCUMENTS = "documents"
    LOCAL = "local"
    GLOBAL = "global"
    ORACLE = "oracle"


class Arm(Strict):
    """A condition: what it trains on and what it puts in context."""

    train: tuple[Source, ...] = Field((), description="texts it is fine-tuned on; empty for no fine-tuning")
    context: tuple[Source, ...] = Field((), description="texts it has in context at evaluation")

    @model_validator(mode="after")
    def _sources_make_sense(self) -> Self:
        if set(self.context) - {Source.DOCUMENTS}:
            raise ValueError("only documents can be put in context")
        if self.train and Source.DOCUMENTS not in self.train:
            raise ValueError("an arm that trains must train on documents at least")
        return self


# An arm is a row here; the name is its label in tables and figures.
ARMS = {
    "base": Arm(),
    "icl": Arm(context=(Source.DOCUMENTS,)),
    "ft": Arm(train=(Source.DOCUMENTS,)),
    "ft local": Arm(train=(Source.DOCUMENTS, Source.LOCAL)),
    "ft global": Arm(train=(Source.DOCUMENTS, Source.GLOBAL)),
    "ft augmented": Arm(train=(Source.DOCUMENTS, Source.LOCAL, Source.GLOBAL)),
    "ft oracle": Arm(train=(Source.DOCUMENTS, Source.ORACLE)),
}


class Model(Strict):
    """The causal language model under study."""

    name: str = Field(BUNDLED, description="'bundled', a folder, or a model of the hub such as owner/name")
    revision: str | None = Field(None, description="40-hex commit of a hub model")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type of the weights")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where it runs")

    @model_validator(mode="after")
    def _hub_model_is_pinned(self) -> Self:
        if self.name == BUNDLED or Path(self.name).is_dir():
            if self.revision is not None:
                raise ValueError(f"revision {self.revision!r} is for hub models only; leave it out for {self.name!r}")
        elif self.revision is None or not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ValueError(
                f"model {self.name!r} is neither 'bundled' nor a folder here; for a hub model give revision as its "
                f"40-hex commit, not {self.revision!r}, so that the same weights can be had again"
            )
        return self


class Questions(Strict):
    """How a world is asked about."""

    options: int = Field(8, ge=2, description="options of a question, one true; chance is 1 / options")
    per_split: int = Field(64, ge=1, description="most questions of one split")


class Finetuning(Strict):
    """How an arm is tuned."""

    splitting: Splitting = Field(Splitting.SENTENCES, description="how documents become training texts")
    method: Literal["full", "lora"] = Field("full", description="all weights, or a LoRA adapter on all linear layers")
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    epochs: int = Field(40, ge=1, description="passes over an arm's texts, the same for every arm")
    batch_size: int = Field(16, ge=1, description="texts in one step")
    warmup_steps: int = Field(10, ge=0)
    final_rate: float = Field(0.05, ge=0, le=1, description="last learning rate as a share of the first")
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    lora_rank: int = Field(16, ge=1, description="only with method lora")
    lora_alpha: int = Field(32, ge=1, description="only with method lora")


class Augmentation(Strict):
    """How the model writes inferences from its training documents."""

    samples: int = Field(1, ge=1, description="texts written for each document")
    temperature: float = Field(0.7, gt=0)
    local_tokens: int = Field(160, ge=8, description="most new tokens of a local text")
    global_tokens: int = Field(192, ge=8, description="most new tokens of a global text")
    batch_size: int = Field(32, ge=1)


class Statistics(Strict):
    """Intervals and tests."""

    resamples: int = Field(2000, ge=100, description="of the cluster bootstrap")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(0, ge=0)


class _Worlds(Strict):
    """The worlds under study, by name: settings that differ from the defaults, or the name of a preset."""

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        resolved = dict(values)
        for name, value in values.items():
            if isinstance(value, str) and name in WORLDS:
                presets: dict[str, Shape] = WORLDS[name].PRESETS
                if value not in presets:
                    raise ValueError(
                        f"worlds.{name} = {value!r}: no such preset; use {' or '.join(map(repr, presets))}, or settings"
                    )
                resolved[name] = presets[value].plain()
        return resolved


# One optional field for each world, so that a bad setting is named with its dotted path.
_WORLD_FIELDS: dict[str, Any] = {name: (world.Params | None, None) for name, world in WORLDS.items()}
Worlds: Any = create_model("Worlds", __base__=_Worlds, **_WORLD_FIELDS)
STUDIED = ("reversals", "syllogisms", "reversal_curse", "semantic", "family", "process")


class Params(Strict):
    """One study."""

    worlds: Worlds = Field(Worlds.parse(dict.fromkeys(STUDIED, "bundled"), "defaults"), description="by name")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="each draws its worlds, data order and text")
    arms: dict[str, Arm] = Field(ARMS, min_length=1)
    model: Model = Model()
    questions: Questions = Questions()
    finetuning: Finetuning = Finetuning()
    augmentation: Augmentation = Augmentation()
    statistics: Statistics = Statistics()

    @model_validator(mode="after")
    def _combination_is_possible(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds = {list(self.seeds)}: a seed is given twice; keep each once")
        if not self.world_names:
            raise ValueError(f"worlds: none is named; name at least one of {', '.join(WORLDS)}")
        for name in self.world_names:
            shape = self.shape(name)
            if getattr(shape, "facts", None):  # how much the file holds is known when it is read
                if self.model.name == BUNDLED and not getattr(shape, "rename", True):
                    raise ValueError(
                        f"worlds.{name}.rename = False: the bundled model reads nonsense words only; leave it out, or "
                        "name a model of the hub"
                    )
                continue
            if shape.words > len(OPENINGS):
                raise ValueError(
                    f"worlds.{name}: these settings take {shape.words} entities, the word space has "
                    f"{len(OPENINGS)}; use a smaller size"
                )
            if shape.rivals < self.questions.options:
                raise ValueError(
                    f"questions.options = {self.questions.options}: worlds.{name} has only {shape.rivals} entities to "
                    "choose from; use fewer options or a larger size"
                )
        return self

    def shape(self, world: str) -> Shape:
        """The typed settings of one world."""
        shape: Shape = getattr(self.worlds, world)
        return shape

    @property
    def world_names(self) -> tuple[str, ...]:
        """The worlds under study."""
        return tuple(name for name in WORLDS if getattr(self.worlds, name) is not None)


def load_params(path: Path) -> Params:
    """Read a params file: a YAML mapping of differences from the defaults.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed.
    """
    return Params.parse(read_yaml(path), str(path))
