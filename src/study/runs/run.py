"""Runs, each named by the hash of all its result depends on; `study.runs.perform` performs them.

Nothing here imports torch, so that results are read quickly.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.arms import Arm, Context, Source
from study.config import ParamsError
from study.data.questions import Dataset, make_documents, make_questions
from study.datasets import WORLDS
from study.lm.prompt_style import speaks
from study.lm.prompts import BUNDLED as SPEAKS_BUNDLED
from study.lm.prompts import Prompts, asked_as, prompts_in
from study.params import BUNDLED, Finetuning, Form, Params
from study.runs.store import content_hash, declared
from study.runs.versions import DATA, FINETUNING, GENERATION, SCORING, versions_of
from study.worlds.shape import Shape
from study.worlds.words import STUDY, VALIDATION

# Which generated text each source needs.
GENERATED = {Source.REPHRASED: Source.LOCAL, Source.LOCAL: Source.LOCAL, Source.GLOBAL: Source.GLOBAL}
# What trained weights do not depend on: only the chosen rate counts, and evaluating a checkpoint changes nothing.
BESIDE_TRAINING = ("learning_rates", "selection_seeds", "selection_worlds", "chosen", "checkpoint_evals")
FINISHED, DIVERGED = "finished", "diverged"
KEY_DIGITS = 12


def prepare(params: Params, world_name: str, seed: int, retention: bool = False) -> Dataset:
    """The documents and questions of one seed; the same in every arm and every process.

    Args:
        params: of the study.
        world_name: of the dataset.
        seed: draws it.
        retention: another dataset of the same kind instead, which shares no word with any under study.
    """
    name, module = f"{world_name}/{seed}" + ("/elsewhere" if retention else ""), WORLDS[world_name]
    shape, options, per_split = params.shape(world_name), params.questions.options, params.questions.per_split
    if retention and (twin := getattr(module, "RETENTION", None)):
        module = WORLDS[twin]
    if retention and (twin or getattr(shape, "facts", None)):  # files hold one dataset
        shape = module.Params()
    dataset: Dataset
    if isinstance(shape, Shape):
        lexicon = (VALIDATION if retention else STUDY)._replace(english=in_english(params))
        world = module.build(random.Random(f"world/{name}"), lexicon, shape)
        documents = make_documents(world, random.Random(f"documents/{name}"), shape.copies, shape.lead_ins)
        questions = make_questions(world, documents, name, options, per_split)
        dataset = Dataset(tuple(documents), tuple(questions), world)
    else:
        dataset = module.gather(shape, seed, options, per_split, prompts_of(params).asking)
    if not dataset.questions:
        facts = {fact for document in dataset.documents for fact in document.facts}
        raise ParamsError(
            f"worlds.{world_name}: {len(facts)} facts give no question with {options} options; use fewer "
            "questions.options or more facts"
        )
    return dataset


def in_english(params: Params) -> bool:
    """Whether drawn datasets are worded in English: for every model but those that speak the bundled one's language."""
    return speaks(params.model) != SPEAKS_BUNDLED


def prompts_of(params: Params) -> Prompts:
    """The prompts of the model under study."""
    style = params.prompts.style
    return prompts_in(speaks(params.model) if style == "auto" else style, params.prompts.wording)


@dataclass(frozen=True)
class Run:
    """One run; everything its result depends on is in its `recipe`."""

    world: str
    seed: int
    params: Params
    model_sha256: str

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings the run depends on, and no other."""
        return {
            "world": {self.world: self.params.shape(self.world).recipe},
            "seed": self.seed,
            "questions": self.params.questions.plain() | {"shards": 1},  # an option that once was
            "model_sha256": self.model_sha256,
            "dtype": self.params.model.dtype,
            "quantization": self.params.model.quantization,
            "language": "english" if in_english(self.params) else None,
            "versions": versions_of(self.stages, self.datasets),
        }

    @property
    def stages(self) -> list[str]:
        """Its stages, by the names of `study.runs.versions`."""
        return [DATA]

    @property
    def datasets(self) -> list[str]:
        """The datasets that it reads."""
        return [self.world]

    @property
    def dataset(self) -> str:
        """The name of its documents and questions, which seeds what is drawn from them."""
        return f"{self.world}/{self.seed}"

    @property
    def key(self) -> str:
        """Content hash of the recipe."""
        return content_hash(declared(self.recipe))[:KEY_DIGITS]

    @property
    def name(self) -> str:
        """Of its folder, before the key."""
        where = "" if self.params.model.name == BUNDLED else f"-{slug(Path(self.params.model.name).name)}"
        return f"{slug(self.world)}-{slug(self.method)}{where}-seed{self.seed}"

    @property
    def generation_runs(self) -> "list[GenerationRun]":
        """The generation runs that its training needs."""
        return []

    @property
    def method(self) -> str:
        """Its method, for readers."""
        raise TypeError(f"{type(self).__name__} has no method")

    @property
    def label(self) -> str:
        """Its name for readers."""
        return f"{self.world} / seed {self.seed} / {self.method}"


@dataclass(frozen=True)
class GenerationRun(Run):
    """Text the model generates from a dataset's documents; the arms that train on it share it."""

    source: Source = Source.LOCAL

    @property
    def recipe(self) -> dict[str, Any]:
        """As in `Run`, with what is generated and how."""
        return {**super().recipe, "generates": str(self.source), "prompted": self.prompted}

    @property
    def prompted(self) -> dict[str, Any]:
        """The prompt that the model generates from, and how."""
        prompts = prompts_of(self.params)
        prompt = prompts.local if self.source is Source.LOCAL else prompts.global_ + prompts.between
        turns = prompts.turns(self.source.value)
        how = {"prompt": prompt, "chat": prompts.chat, "ends_at": prompts.ends_at, "turns": turns}
        return {**how, "thinking": self.params.prompts.thinking, "augmentation": self.params.augmentation.plain()}

    @property
    def stages(self) -> list[str]:
        """As in `Run`."""
        return [DATA, GENERATION]

    @property
    def method(self) -> str:
        """As in `Run`."""
        return f"{self.source} text"


@dataclass(frozen=True)
class EvaluationRun(Run):
    """One arm of the study on one dataset with one seed.

    Attributes:
        arm: its label.
        spec: what the arm is.
        learning_rate: of its training; None if it does not train, or if the rate is not chosen yet.
    """

    arm: str
    spec: Arm
    learning_rate: float | None = None

    @property
    def finetuning(self) -> Finetuning:
        """The study's settings, with the arm's own method if it names one."""
        finetuning = self.params.finetuning
        return finetuning.model_copy(update={"method": self.spec.method}) if self.spec.method else finetuning

    @property
    def training(self) -> dict[str, Any] | None:
        """All that the trained weights depend on, besides dataset and seed; None if nothing is trained."""
        if not self.spec.train:
            return None
        other = self.params.arms[self.spec.as_long_as] if self.spec.as_long_as else None
        training: dict[str, Any] = {
            "train": self.spec.train,
            "splitting": self.spec.splitting,
            "as_long_as": [other.train, other.splitting] if other else None,
            "finetuning": self.finetuning.model_dump(mode="json", exclude=set(BESIDE_TRAINING)),
            "learning_rate": self.learning_rate,
            "reseed": self.spec.reseed,
            "keep": self.spec.keep,
            "half": self.spec.half,
        }
        prompts = prompts_of(self.params)
        for name in ("distilled", "replay"):
            if getattr(self.spec, name):
                training[name] = [getattr(self.spec, name), prompts.between + prompts.context]
        if self.generation_runs:
            training["prompted"] = {str(generation.source): generation.prompted for generation in self.generation_runs}
        return training

    @property
    def recipe(self) -> dict[str, Any]:
        """As in `Run`, with the training, the context and the checkpoint_evals."""
        spec, prompts = self.spec, prompts_of(self.params)
        words = {"question": prompts.question, "documents": prompts.between + prompts.context if spec.context else None}
        return {
            **super().recipe,
            "training": self.training,
            "prompts": words,
            "form": asked_as(self.form) if self.form else None,
            "score": self.params.prompts.score,
            "context": spec.context,
            "shots": spec.shots,
            "retention": spec.retention,
            "checkpoint_evals": self.params.finetuning.checkpoint_evals if spec.curve else 0,
        }

    @property
    def form(self) -> Form | None:
        """How its questions are asked; those of documents have a form of their own."""
        return self.params.prompts.form if self.world != "documents" else None

    @property
    def stages(self) -> list[str]:
        """As in `Run`."""
        tuned = [FINETUNING] if self.spec.train else []
        return [DATA, *([GENERATION] if self.generation_runs else []), *tuned, SCORING]

    @property
    def datasets(self) -> list[str]:
        """As in `Run`."""
        twin = getattr(WORLDS[self.world], "RETENTION", None)
        reads_twin = self.spec.retention or self.spec.context is Context.IRRELEVANT
        return [self.world, *([twin] if twin and reads_twin else [])]

    @property
    def method(self) -> str:
        """As in `Run`."""
        return self.arm

    @property
    def generation_runs(self) -> list[GenerationRun]:
        """As in `Run`."""
        other = self.params.arms[self.spec.as_long_as].train if self.spec.as_long_as else ()
        return [
            GenerationRun(self.world, self.seed, self.params, self.model_sha256, source)
            for source in dict.fromkeys(GENERATED[s] for s in (*self.spec.train, *other) if s in GENERATED)
        ]


def slug(text: str) -> str:
    """A text as part of a folder's name."""
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-")


def likeliest(values: Sequence[float] | np.ndarray) -> int:
    """Index of the largest value; of the first among equals."""
    return int(np.argmax(values))
