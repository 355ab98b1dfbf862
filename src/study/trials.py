"""Units of work, each named by the hash of all its result depends on; `study.work` does them.

No model is touched here, so that whoever reads results need not wait for torch.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from study.data import Document, Question, make_documents, make_questions
from study.params import Arm, Finetuning, Params, Source
from study.store import code_hash, content_hash
from study.strict import ParamsError
from study.words import STUDY, VALIDATION
from study.world import World
from study.worlds import WORLDS

WRITTEN = {Source.REPHRASED: Source.LOCAL, Source.LOCAL: Source.LOCAL, Source.GLOBAL: Source.GLOBAL}
# What trained weights do not depend on: the rate chosen counts, not the choice, and a look changes nothing.
BESIDE_TRAINING = ("learning_rates", "selection_seeds", "selection_worlds", "looks")
FINISHED, DIVERGED = "finished", "diverged"


@dataclass(frozen=True)
class Material:
    """A world of the study with its documents and questions."""

    world: World
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]


def prepare(params: Params, world_name: str, seed: int, elsewhere: bool = False) -> Material:
    """The world, documents and questions of one seed; the same in every arm and every process.

    Args:
        params: of the study.
        world_name: its kind.
        seed: draws it.
        elsewhere: another world of the same kind instead, which shares no word with any world under study.
    """
    name = f"{world_name}/{seed}" + ("/elsewhere" if elsewhere else "")
    shape = params.shape(world_name)
    if elsewhere and getattr(shape, "facts", None):  # a file holds one world
        shape = type(shape).parse({}, world_name)
    lexicon = VALIDATION if elsewhere else STUDY
    world = WORLDS[world_name].build(random.Random(f"world/{name}"), lexicon, shape)
    documents = make_documents(world, random.Random(f"documents/{name}"), shape.copies, shape.lead_ins)
    questions = make_questions(world, documents, name, params.questions.options, params.questions.per_split)
    if not questions:
        raise ParamsError(
            f"worlds.{world_name}: {len(world.facts)} facts give no question with {params.questions.options} options; "
            "use fewer questions.options or more facts"
        )
    return Material(world, tuple(documents), tuple(questions))


@dataclass(frozen=True)
class Unit:
    """One unit of work; everything its result depends on is in its `recipe`."""

    world: str
    seed: int
    params: Params
    model_sha256: str

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings the unit depends on, and no other."""
        return {
            "world": {self.world: self.params.shape(self.world).recipe},
            "seed": self.seed,
            "questions": self.params.questions.plain(),
            "model_sha256": self.model_sha256,
            "dtype": self.params.model.dtype,
            "code": code_hash("work"),
        }

    @property
    def key(self) -> str:
        """Content hash of the recipe."""
        return content_hash(self.recipe)[:20]

    @property
    def label(self) -> str:
        """What people call the unit."""
        raise TypeError(f"{type(self).__name__} has no label")


@dataclass(frozen=True)
class Writing(Unit):
    """Text the model writes from a world's documents; the arms that train on it share it."""

    source: Source = Source.LOCAL

    @property
    def recipe(self) -> dict[str, Any]:
        """As in `Unit`, with what is written and how."""
        return {
            **super().recipe,
            "writes": str(self.source),
            "augmentation": self.params.augmentation.plain(),
        }

    @property
    def label(self) -> str:
        """What people call the unit."""
        return f"{self.world} / seed {self.seed} / {self.source} text"


@dataclass(frozen=True)
class Trial(Unit):
    """One arm of the study on one world with one seed.

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
        """How the arm is tuned: as the study says, unless the arm itself names the method."""
        finetuning = self.params.finetuning
        return finetuning.model_copy(update={"method": self.spec.method}) if self.spec.method else finetuning

    @property
    def training(self) -> dict[str, Any] | None:
        """All that the trained weights depend on, besides world and seed; None if nothing is trained."""
        if not self.spec.train:
            return None
        other = self.params.arms[self.spec.as_long_as] if self.spec.as_long_as else None
        training = {
            "train": self.spec.train,
            "splitting": self.spec.splitting,
            "as_long_as": [other.train, other.splitting] if other else None,
            "finetuning": self.finetuning.model_dump(mode="json", exclude=set(BESIDE_TRAINING)),
            "learning_rate": self.learning_rate,
            "reseed": self.spec.reseed,
        }
        if self.writings:
            training["augmentation"] = self.params.augmentation.plain()
        return training

    @property
    def recipe(self) -> dict[str, Any]:
        """As in `Unit`, with the training, the context and the looks."""
        spec = self.spec
        looks = self.params.finetuning.looks if spec.curve else 0
        context = {"context": spec.context, "shots": spec.shots, "elsewhere": spec.elsewhere, "looks": looks}
        return {**super().recipe, "training": self.training, **context}

    @property
    def label(self) -> str:
        """What people call the unit."""
        return f"{self.world} / seed {self.seed} / {self.arm}"

    @property
    def writings(self) -> list[Writing]:
        """The generated texts that its training takes."""
        other = self.params.arms[self.spec.as_long_as].train if self.spec.as_long_as else ()
        return [
            Writing(self.world, self.seed, self.params, self.model_sha256, source)
            for source in dict.fromkeys(WRITTEN[s] for s in (*self.spec.train, *other) if s in WRITTEN)
        ]


def likeliest(values: Sequence[float] | np.ndarray) -> int:
    """Index of the largest value; of the first among equals."""
    return int(np.argmax(values))
