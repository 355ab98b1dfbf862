"""All settings of the study, typed and frozen; a params file holds the differences from these defaults."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, create_model, model_validator

from study.arms import ARMS, Arm, Context, needs_closure, refuse_odd_rates
from study.config import ParamsError, Strict, read_yaml
from study.datasets import WORLDS
from study.paths import CLAIMS, is_folder
from study.worlds.shape import Given, Shape
from study.worlds.words import OPENINGS

BUNDLED = "bundled"
THOUGHT_TOKENS = 1024  # that a thought may take


class Model(Strict):
    """The causal language model under study."""

    name: str = Field(BUNDLED, description="'bundled', a folder, or a model of the hub such as owner/name")
    revision: str | None = Field(None, description="40-hex commit of a hub model; that of params/models/lock.yaml")
    file: str | None = Field(None, pattern=r"^[^/\\]+\.gguf$", description="the model's GGUF file, if it is in one")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="type of the weights")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where it runs")
    quantization: Literal["8bit", "4bit"] | None = Field(
        None, description="of the weights, by bitsandbytes, which must be installed; only an adapter is tuned then"
    )
    device_map: Literal["auto"] | None = Field(None, description="auto: accelerate spreads layers over all GPUs")

    @model_validator(mode="after")
    def _can_be_loaded(self) -> Self:
        if self.device_map and self.device == "cpu":
            raise ValueError("device_map = 'auto' with device 'cpu': layers are spread over GPUs; leave one out")
        if self.file and self.name == BUNDLED:
            raise ValueError(f"file {self.file!r} is for other models; leave it out for {self.name!r}")
        if self.revision is None:
            return self
        if self.name == BUNDLED or is_folder(Path(self.name)):
            raise ValueError(f"revision {self.revision!r} is for hub models only; leave it out for {self.name!r}")
        if not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ValueError(
                f"revision {self.revision!r} of {self.name!r} is no 40-hex commit, so it may mean other weights "
                "tomorrow; give the commit, or leave it out for that of params/models/lock.yaml"
            )
        return self


class Choice(Strict):
    """What was chosen for an arm on selection seeds."""

    rate: float = Field(gt=0, lt=1, description="learning rate")
    whole: dict[str, float] = Field({}, description="datasets on which whole documents do better, with the rate there")


class Questions(Strict):
    """Questions of each dataset."""

    options: int = Field(8, ge=2, description="options of a question, one true; chance is 1 / options")
    per_split: int = Field(64, ge=1, description="most questions of one split")
    context_tokens: int | None = Field(None, ge=16, description="most tokens of context; by default the model's limit")


class Finetuning(Strict):
    """Fine-tuning. Every step of every arm learns the same number of tokens."""

    method: Literal["full", "lora"] = Field("full", description="all weights, or a LoRA adapter on all linear layers")
    learning_rates: tuple[float, ...] = Field(
        (3e-4, 1e-3, 3e-3, 1e-2),
        min_length=1,
        description="of several, each arm takes the gentlest that is as good as the best on the stated facts of the "
        "selection seeds, to within a standard error",
    )
    selection_seeds: tuple[int, ...] = Field((1000, 1001), min_length=1, description="none of them in seeds")
    selection_worlds: tuple[str, ...] = Field((), description="on which rates are chosen; all datasets by default")
    chosen: dict[str, Choice] = Field({}, description="by arm, what was chosen before; the others are chosen here")
    epochs: int = Field(5, ge=1, description="passes over an arm's texts")
    fewest_steps: int = Field(60, ge=1, description="for any number of texts")
    step_tokens: int = Field(160, ge=2, description="tokens learned in one step")
    checkpoint_evals: int = Field(3, ge=1, description="evaluations of an arm with a curve, evenly spaced")
    warmup_steps: int = Field(10, ge=0, description="steps in which the learning rate rises")
    final_rate: float = Field(0.05, ge=0, le=1, description="last learning rate as a share of the first")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to it")
    lora_rank: int = Field(16, ge=1, description="only with method lora")
    lora_alpha: int = Field(32, ge=1, description="only with method lora; the adapter counts alpha / rank times")

    @model_validator(mode="after")
    def _rates_can_be_compared(self) -> Self:
        refuse_odd_rates(self.learning_rates)
        return self


class Compared(Model):
    """A model of the model-size comparison."""

    finetuning: Finetuning | None = Field(None, description="in place of the study's, for this model")


class ModelSizes(Strict):
    """The model-size comparison: other models on which some arms are run."""

    models: tuple[Compared, ...] = Field((), description="none by default")
    arms: tuple[str, ...] = Field(("icl", "ft", "ft augmented"), min_length=1, description="arms run on them")
    chosen: dict[str, Choice] = Field({}, description="as finetuning.chosen, for these models")
    sizes: tuple[int, ...] = Field((), description="sizes of the datasets, on each of which every model is run")


class Form(StrEnum):
    """How a question is asked that is the beginning of a sentence, if not left to be continued as it is."""

    QUESTION = "question"  # how does the sentence go on? The answer repeats its beginning
    CHAT = "chat"  # the same as a turn of the model's chat template, documents included


class Score(StrEnum):
    """Which score of an option decides, if not the sum of its tokens' log-probabilities."""

    MEAN = "mean"  # over its tokens
    PMI = "pmi"  # less what the option has where the question names nobody: its pointwise mutual information


class Prompting(Strict):
    """How models are prompted; the prompts are in params/prompts/english.yaml."""

    style: Literal["auto", "bundled", "plain", "chat"] = Field(
        "auto", description="auto: chat to generate with chat models, and the bundled model's own"
    )
    wording: Literal["full", "bare"] = Field("full", description="bare is the ablation: the shortest prompts")
    form: Form | None = Field(None, description="how drawn questions are asked; by default they are to be continued")
    score: Score | None = Field(None, description="which score of an option decides; by default the sum")
    thinking: bool = Field(False, description="whether a model that can think does so before it generates")


class Augmentation(Strict):
    """How the model generates inferences from its training documents."""

    samples: int = Field(1, ge=1, description="texts generated for each document")
    temperature: float = Field(0.7, ge=0, description="of sampling")
    local_tokens: int = Field(160, ge=8, description="most new tokens of a local text")
    global_tokens: int = Field(192, ge=8, description="most new tokens of a global text")
    batch_size: int = Field(128, ge=1, description="texts generated in one batch")
    engine: Literal["own", "vllm"] = Field("own", description="vllm must be installed beside the study")


class Statistics(Strict):
    """Intervals and tests."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals, and of verdicts after correction")
    margin: float = Field(0.05, gt=0, lt=1, description="accuracy that a method may fall short by and be as good")


class _Worlds(Strict):
    """The datasets under study, by name: settings that differ from the defaults, or the name of a preset."""

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        resolved = dict(values)
        for name, value in values.items():
            if isinstance(value, str) and name in WORLDS:
                presets: dict[str, Given] = WORLDS[name].PRESETS
                if value not in presets:
                    raise ValueError(
                        f"worlds.{name} = {value!r}: no such preset; use {' or '.join(map(repr, presets))}, or settings"
                    )
                resolved[name] = presets[value].plain()
        return resolved


# One optional field for each dataset, so that a bad setting is named with its dotted path.
_WORLD_FIELDS: dict[str, Any] = {name: (world.Params | None, None) for name, world in WORLDS.items()}
Worlds: Any = create_model("Worlds", __base__=_Worlds, **_WORLD_FIELDS)
STUDIED = ("reversals", "syllogisms", "reversal_curse", "semantic", "family", "process")


class Params(Strict):
    """One study."""

    worlds: Worlds = Field(Worlds.parse(dict.fromkeys(STUDIED, "bundled"), "defaults"), description="by name")
    seeds: tuple[int, ...] = Field((100, 101, 102), min_length=1, description="each draws its datasets, order and text")
    arms: dict[str, Arm] = Field(
        ARMS, min_length=1, description="by label; they take the place of the table. A list names some of the table"
    )
    model: Model = Model()
    model_sizes: ModelSizes = ModelSizes()
    questions: Questions = Questions()
    finetuning: Finetuning = Finetuning()
    augmentation: Augmentation = Augmentation()
    prompts: Prompting = Prompting()
    statistics: Statistics = Statistics()
    price_an_hour: float | None = Field(None, ge=0, description="of the machine, in any currency: said in costs")
    claims: str = Field("second_edition", pattern=r"^\w+$", description="file in params/claims/ that they are in")

    @classmethod
    def parse(cls, values: dict[str, Any], source: str) -> Self:
        """As elsewhere; `arms` may be a list of arms of the table, each its name, or its name with what differs.

        Raises:
            ParamsError: one line for each bad field.
        """
        arms = values.get("arms")
        if not isinstance(arms, list) or not arms:
            return super().parse(values, source)
        listed: dict[str, Any] = {}
        for entry in arms:
            name, own = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (entry, {})
            if not isinstance(name, str) or name not in ARMS or not isinstance(own, dict):
                raise ParamsError(
                    f"{source}: these settings cannot be run\n  arms = {entry!r}: no arm of the table; there are: "
                    f"{', '.join(ARMS)}. Or give a mapping of arms of your own"
                )
            listed[name] = ARMS[name].plain() | own
        return super().parse({**values, "arms": listed}, source)

    @model_validator(mode="after")
    def _combination_is_possible(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds = {list(self.seeds)}: a seed is given twice; keep each once")
        for field, seeds in (("seeds", self.seeds), ("finetuning.selection_seeds", self.finetuning.selection_seeds)):
            if min(seeds) < 0:
                raise ValueError(f"{field} = {list(seeds)}: {min(seeds)} is below 0, as no seed can be; give 0 or more")
        both = set(self.seeds) & set(self.finetuning.selection_seeds)
        if both and len(self.finetuning.learning_rates) > 1:
            raise ValueError(
                f"finetuning.selection_seeds = {list(self.finetuning.selection_seeds)}: {sorted(both)} also in seeds; "
                "learning rates are chosen on seeds that the study does not test on"
            )
        fewest = min(self.augmentation.local_tokens, self.augmentation.global_tokens)
        if self.prompts.thinking and fewest < THOUGHT_TOKENS:
            raise ValueError(
                "prompts.thinking = True: a thought would be cut off before anything else is generated; let "
                f"augmentation.local_tokens and global_tokens be {THOUGHT_TOKENS} at least"
            )
        method = self.finetuning.method
        full = [label for label, arm in self.arms.items() if arm.train and (arm.method or method) == "full"]
        if self.model.quantization and full:
            raise ValueError(
                f"model.quantization = {self.model.quantization!r}: quantized weights cannot be tuned; use "
                f"finetuning.method lora and leave arms.{full[0]}.method out"
            )
        if not self.world_names:
            raise ValueError(f"worlds: none is named; name at least one of {', '.join(WORLDS)}")
        for label, arm in self.arms.items():
            if unknown := set(arm.worlds or ()) - set(WORLDS):
                raise ValueError(f"arms.{label}.worlds: no world {sorted(unknown)}; there are: {', '.join(WORLDS)}")
            self._refers_to_arms(label, arm)
        missing = [label for label in self.model_sizes.arms if label not in self.arms]
        if self.model_sizes.models and missing:
            raise ValueError(f"model_sizes.arms: no arm {missing}; there are: {', '.join(self.arms)}")
        for name in self.world_names:
            self._shape_is_possible(name, self.shape(name))
            for size in self.model_sizes.sizes:
                self._shape_is_possible(name, self._sized(name, size))
        return self

    def _refers_to_arms(self, label: str, arm: Arm) -> None:
        able = {
            "as_long_as": [n for n, a in self.arms.items() if a.train and not a.as_long_as and a.splitting != "best"],
            "rate_of": [name for name, arm in self.arms.items() if arm.train and not arm.rate_of],
        }
        for field, names in able.items():
            other = getattr(arm, field)
            if other and other not in names:
                what = {"as_long_as": "trains for as long as its own texts take", "rate_of": "has a rate of its own"}
                raise ValueError(
                    f"arms.{label}.{field} = {other!r}: name an arm that {what[field]}: {', '.join(names)} (arms that "
                    "are given take the place of the table)"
                )

    def _shape_is_possible(self, name: str, shape: Given) -> None:
        if not isinstance(shape, Shape):
            return
        if getattr(shape, "facts", None):  # the size of the file is known when it is read
            if self.model.name == BUNDLED and not getattr(shape, "rename", True):
                raise ValueError(
                    f"worlds.{name}.rename = False: the bundled model reads nonsense words only; leave it out, or name "
                    "a model of the hub"
                )
        elif shape.words > len(OPENINGS):
            raise ValueError(
                f"worlds.{name}: these settings take {shape.words} entities, the word space has {len(OPENINGS)}; use a "
                "smaller size"
            )
        elif shape.rivals < self.questions.options:
            raise ValueError(
                f"questions.options = {self.questions.options}: worlds.{name} has only {shape.rivals} entities to "
                "choose from; use fewer options or a larger size"
            )

    def arms_in(self, world: str) -> list[str]:
        """The arms that run on a dataset: those that name it, or none, and need nothing that it lacks."""
        module = WORLDS[world]
        return [
            label
            for label, arm in self.arms.items()
            if (arm.worlds is None or world in arm.worlds)
            and (getattr(module, "CLOSED", True) or not needs_closure(arm))
            and (getattr(module, "RETENTION", world) or not (arm.retention or arm.context is Context.IRRELEVANT))
        ]

    @property
    def other_models(self) -> tuple[Self, ...]:
        """The studies of the model-size comparison: each other model with some arms, or every model on each size."""
        compared = self.model_sizes
        arms = {label: arm for label, arm in self.arms.items() if label in compared.arms}
        chosen = self.finetuning.model_copy(update={"chosen": compared.chosen})
        tuned = [
            (Model(**model.model_dump(exclude={"finetuning"})), model.finetuning or chosen) for model in compared.models
        ]
        if compared.sizes:
            tuned.insert(0, (self.model, self.finetuning))
        return tuple(
            self.model_copy(
                update={
                    "model": model,
                    "finetuning": how,
                    "worlds": self.worlds.model_copy(
                        update={name: self._sized(name, size) for name in self.world_names if size}
                    ),
                    "arms": arms,
                    "model_sizes": ModelSizes(),
                }
            )
            for model, how in tuned
            for size in compared.sizes or (None,)
        )

    def _sized(self, world: str, size: int) -> Given:
        """The settings of one dataset in another size."""
        shape = self.shape(world)
        if "size" not in type(shape).model_fields:
            raise ValueError(f"model_sizes.sizes = {size}: worlds.{world} has no size; leave one of them out")
        return shape.parse({**shape.plain(), "size": size}, f"model_sizes.sizes = {size}, worlds.{world}")

    @property
    def claims_file(self) -> Path:
        """The file that its claims are declared in."""
        return CLAIMS / f"{self.claims}.yaml"

    def shape(self, world: str) -> Given:
        """The typed settings of one dataset."""
        shape: Given = getattr(self.worlds, world)
        return shape

    @property
    def world_names(self) -> tuple[str, ...]:
        """The datasets under study."""
        return tuple(name for name in WORLDS if getattr(self.worlds, name) is not None)


def load_params(path: Path) -> Params:
    """Read a params file: a YAML mapping of differences from the defaults.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed.
    """
    return Params.parse(read_yaml(path), str(path))
