"""All settings of the study, typed and frozen; a params file holds the differences from these defaults."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, create_model, model_validator

from study.config import ParamsError, Strict, read_yaml
from study.data.questions import Splitting
from study.datasets import WORLDS
from study.paths import CLAIMS, is_folder
from study.worlds.shape import Given, Shape
from study.worlds.words import OPENINGS

BUNDLED = "bundled"
THOUGHT_TOKENS = 1024  # that a thought may take


class Source(StrEnum):
    """What an arm may train on."""

    DOCUMENTS = "documents"
    REPHRASED = "rephrased"
    LOCAL = "local"
    GLOBAL = "global"
    ORACLE = "oracle"
    QUESTIONS = "questions"  # the documents' statements as questions and answers, in their own direction
    REVERSED = "reversed"  # the documents' sentences, word by word from the end, names kept whole
    REPLAY = "replay"  # texts like those of pretraining: other datasets in context, and what follows from them


class Context(StrEnum):
    """What an arm may have in context."""

    DOCUMENTS = "documents"
    IRRELEVANT = "irrelevant"  # documents of another dataset of the same kind
    RETRIEVED = "retrieved"  # for each question the documents that BM25 finds
    SUPPORTING = "supporting"  # for each question the documents that state what its answer rests on
    FALSE = "false"  # the documents with each relation reversed


class Keep(StrEnum):
    """Which sentences of generated text, or of the oracle's, are trained on."""

    STRICT = "strict"  # those that hold no test question with its true answer
    TRUE = "true"  # those that are entailed
    AGREED = "agreed"  # those that the model generated from two prompts or more


def _refuse_odd_rates(rates: tuple[float, ...]) -> None:
    for rate in rates:
        if not 0 < rate < 1:
            raise ValueError(f"learning_rates: {rate} does not lie between 0 and 1")
        if rates.count(rate) > 1:
            raise ValueError(f"learning_rates: {rate} is given twice; keep it once")


EACH_ITS_OWN = (Context.RETRIEVED, Context.SUPPORTING)  # each question has a context of its own


class Arm(Strict):
    """A method: what it trains on, what it has in context, and which questions it is evaluated on."""

    train: tuple[Source, ...] = Field((), description="texts it is fine-tuned on; empty for no fine-tuning")
    keep: tuple[Keep, ...] = Field((), description="filters of generated and oracle text; all is trained on by default")
    half: bool = Field(False, description="inferences are generated about one half of the facts only")
    replay: float = Field(0.0, ge=0, lt=1, description="share of replayed text among all tokens trained on")
    distilled: bool = Field(False, description="learns the predictions made with the documents in context")
    method: Literal["full", "lora"] | None = Field(None, description="finetuning.method by default")
    splitting: Splitting = Field(
        Splitting.SENTENCES, description="how its documents become training texts; best: chosen for each dataset"
    )
    as_long_as: str | None = Field(None, description="arm whose number of steps it takes, by repeating its own texts")
    reseed: int = Field(0, ge=0, description="changes only the order of its texts, to measure the effect of that")
    learning_rates: tuple[float, ...] | None = Field(
        None, min_length=1, description="in place of finetuning.learning_rates; a single one is fixed"
    )
    rate_of: str | None = Field(None, description="arm whose learning rate it takes; its own is chosen by default")
    context: Context | None = Field(None, description="none by default")
    shots: int | None = Field(None, ge=1, description="number of documents in context, nested subsets; all by default")
    retention: bool = Field(False, description="evaluated on another dataset, with its documents as context")
    worlds: tuple[str, ...] | None = Field(None, min_length=1, description="datasets it runs on; all by default")
    curve: bool = Field(False, description="evaluated during its training, too")

    @model_validator(mode="after")
    def _condition_makes_sense(self) -> Self:
        if self.train and Source.DOCUMENTS not in self.train:
            raise ValueError("an arm that trains must train on documents at least")
        split = self.splitting is not Splitting.SENTENCES
        tuned = self.method or self.as_long_as or self.reseed or split or self.keep or self.half or self.distilled
        if not self.train and (tuned or self.learning_rates or self.rate_of):
            raise ValueError(
                "method, splitting, as_long_as, reseed, keep, half, distilled, learning_rates and rate_of are for arms "
                "that train; give train, or leave them out"
            )
        if bool(self.replay) != (Source.REPLAY in self.train):
            raise ValueError("replay is the share of the source replay; give both or neither")
        if self.learning_rates and self.rate_of:
            raise ValueError("learning_rates and rate_of both say what the learning rate is; give one")
        if self.context not in (Context.DOCUMENTS, Context.RETRIEVED) and self.shots:
            raise ValueError("shots needs documents in context; give context: documents or retrieved")
        if self.context is Context.RETRIEVED and not self.shots:
            raise ValueError("retrieved documents need a number; give shots")
        if self.retention and self.context is not Context.DOCUMENTS:
            raise ValueError("retention needs documents in context; give context: documents")
        _refuse_odd_rates(self.learning_rates or ())
        if self.curve and not self.train:
            raise ValueError("a curve is that of a training; give train, or leave curve out")
        return self


_AUGMENTED = (Source.DOCUMENTS, Source.LOCAL, Source.GLOBAL)
_REPLAYED = (*_AUGMENTED, Source.REPLAY)
_IN_TWO = ("reversals", "semantic")  # isolated facts, and a structure of them
_IN_ARTICLES = ("semantic", "syllogisms")  # worlds whose documents have several sentences
_DIRECTED = ("reversals", "family")  # worlds whose relations mean something else when reversed
_FT = Arm(train=(Source.DOCUMENTS,), splitting=Splitting.BEST)
_FT_AUGMENTED = Arm(train=_AUGMENTED)


def _as_augmented(**settings: Any) -> Arm:
    """A variant of augmented fine-tuning at the same learning rate."""
    return Arm(**{"train": _AUGMENTED, "rate_of": "ft augmented", **settings})


def _retention(arm: Arm) -> Arm:
    """The same training, evaluated on another dataset."""
    return arm.model_copy(update={"context": Context.DOCUMENTS, "retention": True})


def _with(arm: Arm, context: Context, **settings: Any) -> Arm:
    """The same training, with a context."""
    return arm.model_copy(update={"context": context, **settings})


_FAST = Arm(train=_AUGMENTED, learning_rates=(3e-3,))
_LORA: dict[str, Any] = {"method": "lora", "worlds": _IN_TWO, "learning_rates": (1e-3, 3e-3, 1e-2, 3e-2)}
_REPLAY_10, _REPLAY_30 = (_as_augmented(train=_REPLAYED, replay=share) for share in (0.1, 0.3))
_DISTILLED = Arm(train=_AUGMENTED, distilled=True)

# An arm is a row here; the name is its label in tables and figures.
ARMS = {
    "base": Arm(),
    "irrelevant": Arm(context=Context.IRRELEVANT),
    "false context": Arm(context=Context.FALSE, worlds=_DIRECTED),
    "icl 1": Arm(context=Context.DOCUMENTS, shots=1),
    "icl 8": Arm(context=Context.DOCUMENTS, shots=8),
    "icl": Arm(context=Context.DOCUMENTS),
    "retrieved": Arm(context=Context.RETRIEVED, shots=4),
    "oracle retrieved": Arm(context=Context.SUPPORTING),
    "ft": _FT.model_copy(update={"curve": True}),
    "ft reseeded": _FT.model_copy(update={"reseed": 1}),
    "ft lora": Arm(train=(Source.DOCUMENTS,), **_LORA),
    "ft repeated": Arm(train=(Source.DOCUMENTS,), as_long_as="ft augmented"),
    "ft rephrased": Arm(train=(Source.DOCUMENTS, Source.REPHRASED)),
    "ft questions": Arm(train=(Source.DOCUMENTS, Source.QUESTIONS)),
    "ft reversed": Arm(train=(Source.DOCUMENTS, Source.REVERSED)),
    "ft local": Arm(train=(Source.DOCUMENTS, Source.LOCAL)),
    "ft global": Arm(train=(Source.DOCUMENTS, Source.GLOBAL)),
    "ft augmented": _FT_AUGMENTED.model_copy(update={"curve": True}),
    "ft augmented strict": _as_augmented(keep=(Keep.STRICT,), as_long_as="ft augmented"),
    "ft augmented true": _as_augmented(keep=(Keep.TRUE,), as_long_as="ft augmented"),
    "ft augmented agreed": _as_augmented(keep=(Keep.AGREED,), as_long_as="ft augmented"),
    "ft augmented half": _as_augmented(half=True, as_long_as="ft augmented"),
    "ft augmented fast": _FAST,
    "ft augmented replay 10": _REPLAY_10,
    "ft augmented replay 30": _REPLAY_30,
    "ft augmented lora": Arm(train=_AUGMENTED, **_LORA),
    "ft augmented whole": _as_augmented(splitting=Splitting.WHOLE, worlds=_IN_ARTICLES),
    "ft augmented cumulative": _as_augmented(splitting=Splitting.CUMULATIVE, worlds=_IN_ARTICLES),
    "ft distilled": _DISTILLED,
    "ft oracle": Arm(train=(Source.DOCUMENTS, Source.ORACLE)),
    "ft oracle strict": Arm(
        train=(Source.DOCUMENTS, Source.ORACLE), keep=(Keep.STRICT,), as_long_as="ft oracle", rate_of="ft oracle"
    ),
    "hybrid": _with(_FT_AUGMENTED, Context.DOCUMENTS),
    "hybrid retrieved": _with(_FT_AUGMENTED, Context.RETRIEVED, shots=4),
    "hybrid fast": _with(_FAST, Context.DOCUMENTS),
    "hybrid replay 30": _with(_REPLAY_30, Context.DOCUMENTS),
    "hybrid distilled": _with(_DISTILLED, Context.DOCUMENTS),
    "hybrid false context": _with(_FT_AUGMENTED, Context.FALSE, worlds=_DIRECTED),
    "icl retention": Arm(context=Context.DOCUMENTS, retention=True),
    "ft retention": _retention(_FT),
    "ft augmented retention": _retention(_FT_AUGMENTED),
    "fast retention": _retention(_FAST),
    "replay 10 retention": _retention(_REPLAY_10),
    "replay 30 retention": _retention(_REPLAY_30),
    "distilled retention": _retention(_DISTILLED),
}


class Model(Strict):
    """The causal language model under study."""

    name: str = Field(BUNDLED, description="'bundled', a folder, or a model of the hub such as owner/name")
    revision: str | None = Field(None, description="40-hex commit of a hub model; that of params/models/lock.yaml")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type of the weights")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where it runs")
    quantization: Literal["8bit", "4bit"] | None = Field(
        None, description="of the weights, by bitsandbytes, which must be installed; only an adapter is tuned then"
    )
    device_map: Literal["auto"] | None = Field(None, description="auto: accelerate spreads layers over all GPUs")

    @model_validator(mode="after")
    def _can_be_loaded(self) -> Self:
        if self.device_map and self.device == "cpu":
            raise ValueError("device_map = 'auto' with device 'cpu': layers are spread over GPUs; leave one out")
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


class ModelSizes(Strict):
    """The model-size comparison: other models on which some arms are run."""

    models: tuple[Model, ...] = Field((), description="none by default")
    arms: tuple[str, ...] = Field(("icl", "ft", "ft augmented"), min_length=1, description="arms run on them")
    chosen: dict[str, Choice] = Field({}, description="as finetuning.chosen, for these models")


class Questions(Strict):
    """Questions of each dataset."""

    options: int = Field(8, ge=2, description="options of a question, one true; chance is 1 / options")
    per_split: int = Field(64, ge=1, description="most questions of one split")
    context_tokens: int | None = Field(None, ge=16, description="most tokens of context; by default the model's limit")
    shards: int = Field(1, ge=1, description="parts in which untrained arms are evaluated in parallel")


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
        _refuse_odd_rates(self.learning_rates)
        return self


class Prompting(Strict):
    """How models are prompted; the prompts are in params/prompts/english.yaml."""

    style: Literal["auto", "bundled", "plain", "chat"] = Field(
        "auto", description="auto: chat to generate with chat models, and the bundled model's own"
    )
    wording: Literal["full", "bare"] = Field("full", description="bare is the ablation: the shortest prompts")
    thinking: bool = Field(False, description="whether a model that can think does so before it generates")


class Augmentation(Strict):
    """How the model generates inferences from its training documents."""

    samples: int = Field(1, ge=1, description="texts generated for each document")
    temperature: float = Field(0.7, gt=0, description="of sampling")
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
    claims: str = Field("second_edition", pattern=r"^\w+$", description="file in params/claims/ that they are in")

    @classmethod
    def parse(cls, values: dict[str, Any], source: str) -> Self:
        """As elsewhere; `arms` may be a list of names of the table.

        Raises:
            ParamsError: one line for each bad field.
        """
        arms = values.get("arms")
        if not isinstance(arms, list) or not arms:
            return super().parse(values, source)
        if unknown := [name for name in arms if not isinstance(name, str) or name not in ARMS]:
            raise ParamsError(
                f"{source}: these settings cannot be run\n  arms = {unknown[0]!r}: no arm of the table; there are: "
                f"{', '.join(ARMS)}. Or give a mapping of arms of your own"
            )
        return super().parse({**values, "arms": {name: ARMS[name].plain() for name in arms}}, source)

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
        """The same study on each model of the model-size comparison, with its arms."""
        arms = {label: arm for label, arm in self.arms.items() if label in self.model_sizes.arms}
        tuning = self.finetuning.model_copy(update={"chosen": self.model_sizes.chosen})
        rest = {"arms": arms, "model_sizes": ModelSizes(), "finetuning": tuning}
        return tuple(self.model_copy(update={"model": model, **rest}) for model in self.model_sizes.models)

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


def needs_closure(arm: Arm) -> bool:
    """Whether an arm needs a dataset of which all that follows is known."""
    closed = {Source.ORACLE, Source.REPHRASED, Source.QUESTIONS}
    return bool(
        closed & set(arm.train)
        or arm.half
        or Keep.TRUE in arm.keep
        or arm.context in (Context.SUPPORTING, Context.FALSE)
    )


def load_params(path: Path) -> Params:
    """Read a params file: a YAML mapping of differences from the defaults.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed.
    """
    return Params.parse(read_yaml(path), str(path))
