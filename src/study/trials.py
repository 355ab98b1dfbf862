"""Units of work: pure functions of (world, arm, seed, model identity, params) to rows and a record."""

import random
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from study.augment import Inference, augment, closure_facts, oracle_sentences, quality
from study.data import Document, Question, make_documents, make_questions, training_texts
from study.finetune import Diverged, finetune
from study.models import load, pick_device
from study.params import Arm, Params, Source
from study.prompts import context_prompt
from study.score import OptionScores, score_options
from study.store import Store, code_hash, content_hash
from study.strict import ParamsError
from study.words import STUDY
from study.world import World
from study.worlds import WORLDS

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "numpy")
WRITTEN = (Source.LOCAL, Source.GLOBAL)
FINISHED, DIVERGED = "finished", "diverged"


@dataclass(frozen=True)
class Material:
    """A world of the study with its documents and questions."""

    world: World
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]


def prepare(params: Params, world_name: str, seed: int) -> Material:
    """The world, documents and questions of one seed; the same in every arm and every process."""
    name = f"{world_name}/{seed}"
    shape = params.shape(world_name)
    world = WORLDS[world_name].build(random.Random(f"world/{name}"), STUDY, shape)
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
            "code": code_hash("trials"),
        }

    @property
    def key(self) -> str:
        """Content hash of the recipe."""
        return content_hash(self.recipe)[:20]

    @property
    def label(self) -> str:
        """What people call the unit."""
        raise TypeError(f"{type(self).__name__} has no label")

    def work(self, store: Store) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Do the work: rows, and the unit's own part of the record."""
        raise TypeError(f"{type(self).__name__} has no work")

    def run(self, store: Store) -> None:
        """Do the work, unless it is stored already, and store it with its record."""
        if store.has(self.key):
            return
        started = time.monotonic()
        rows, record = self.work(store)
        # ru_maxrss counts KiB on Linux and bytes on macOS.
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        record |= {
            "label": self.label,
            "recipe": self.recipe,
            "params": self.params.plain(),
            "versions": {"python": ".".join(map(str, sys.version_info[:3])), **{n: version(n) for n in LIBRARIES}},
            "device": pick_device(self.params.model),
            "seconds": time.monotonic() - started,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes,
        }
        store.write(self.key, rows, record)


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

    def work(self, store: Store) -> tuple[pd.DataFrame, dict[str, Any]]:
        """One row for each generated sentence."""
        material = prepare(self.params, self.world, self.seed)
        model, tokenizer = load(self.params.model)
        inferences = augment(
            model, tokenizer, material.world, material.documents, self.source, self.params.augmentation, self.seed
        )
        rows = pd.DataFrame(inferences, columns=Inference._fields)
        rows.insert(0, "world", self.world)
        rows.insert(1, "seed", self.seed)
        possible = closure_facts(material.world, material.documents)
        return rows, {"status": FINISHED, "quality": quality(inferences, possible)}


@dataclass(frozen=True)
class Trial(Unit):
    """One arm of the study on one world with one seed."""

    arm: str = "base"

    @property
    def _arm(self) -> Arm:
        return self.params.arms[self.arm]

    @property
    def recipe(self) -> dict[str, Any]:
        """As in `Unit`, with the arm and what tunes it."""
        recipe = {**super().recipe, "arm": self._arm.plain()}
        if self._arm.train:
            recipe["finetuning"] = self.params.finetuning.plain()
        if set(WRITTEN) & set(self._arm.train):
            recipe["augmentation"] = self.params.augmentation.plain()
        return recipe

    @property
    def label(self) -> str:
        """What people call the unit."""
        return f"{self.world} / seed {self.seed} / {self.arm}"

    @property
    def writings(self) -> list[Writing]:
        """The generated texts this arm trains on."""
        return [
            Writing(self.world, self.seed, self.params, self.model_sha256, source)
            for source in WRITTEN
            if source in self._arm.train
        ]

    def training_texts(self, material: Material, store: Store) -> list[str]:
        """What the arm trains on, each text once.

        Generated text is taken as it came, right or wrong: whoever tunes a model has no closure to filter with.
        """
        texts = training_texts(material.documents, self.params.finetuning.splitting)
        for writing in self.writings:
            writing.run(store)
            texts += list(store.rows(writing.key)["sentence"])
        if Source.ORACLE in self._arm.train:
            texts += oracle_sentences(material.world, material.documents)
        return list(dict.fromkeys(texts))

    def work(self, store: Store) -> tuple[pd.DataFrame, dict[str, Any]]:
        """One row for each question; none if the tuning diverged, which the record says."""
        material = prepare(self.params, self.world, self.seed)
        texts = self.training_texts(material, store) if self._arm.train else []
        model, tokenizer = load(self.params.model)
        record: dict[str, Any] = {"status": FINISHED, "arm": self.arm, "training_texts": len(texts)}
        if texts:
            try:
                model, training = finetune(model, tokenizer, texts, self.params.finetuning, self.seed)
            except Diverged as error:
                return pd.DataFrame(), {**record, "status": DIVERGED, "error": str(error)}
            record["training"] = asdict(training)
        context = context_prompt([d.text for d in material.documents]) if self._arm.context else ""
        scores = score_options(model, tokenizer, context, [(q.query, q.options) for q in material.questions])
        record["context_tokens"] = len(tokenizer(context).input_ids) if context else 0
        # The scorer refuses a context that does not fit, so it is all facts or none.
        record["share_of_facts_in_context"] = 1.0 if context else 0.0
        record["scored_tokens"] = sum(sum(score.tokens) for score in scores)
        return self.rows(material.questions, scores), record

    def rows(self, questions: Sequence[Question], scores: Sequence[OptionScores]) -> pd.DataFrame:
        """Questions with each option's log-probability and whether the true one is the likeliest."""
        rows = pd.DataFrame([question._asdict() for question in questions])
        rows[["split", "kind"]] = rows[["split", "kind"]].astype(str)
        rows.insert(0, "world", self.world)
        rows.insert(1, "arm", self.arm)
        rows.insert(2, "seed", self.seed)
        rows["option_log_probs"] = [score.log_probs for score in scores]
        rows["option_tokens"] = [score.tokens for score in scores]
        rows["correct"] = [likeliest(s.log_probs) in q.answers for q, s in zip(questions, scores, strict=True)]
        rows["correct_by_token_mean"] = [
            likeliest(np.divide(s.log_probs, s.tokens)) in q.answers for q, s in zip(questions, scores, strict=True)
        ]
        rows["chance"] = [question.chance for question in questions]
        rows["params_sha256"] = content_hash(self.params.plain())
        rows["model_sha256"] = self.model_sha256
        rows["dtype"] = self.params.model.dtype
        return rows


def likeliest(values: Sequence[float] | np.ndarray) -> int:
    """Index of the largest value; of the first among equals."""
    return int(np.argmax(values))
