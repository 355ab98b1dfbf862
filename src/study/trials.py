"""Units of work: pure functions of (world, arm, seed, model identity, params) to rows and a record."""

import random
import resource
import sys
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.augment import Inference, asked, augment, closure_facts, oracle_sentences, quality
from study.data import Document, Question, make_documents, make_questions, nested_subset, training_texts
from study.finetune import Diverged, finetune, steps_for
from study.flops import forward_flops, size_of
from study.models import load, pick_device
from study.params import Arm, Finetuning, Params, Source
from study.prompts import context_prompt
from study.score import OptionScores, score_options
from study.store import Store, code_hash, content_hash
from study.strict import ParamsError
from study.words import STUDY, VALIDATION
from study.world import Kind, Split, World
from study.worlds import WORLDS

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "numpy")
WRITTEN = {Source.REPHRASED: Source.LOCAL, Source.LOCAL: Source.LOCAL, Source.GLOBAL: Source.GLOBAL}
# What trained weights do not depend on: the rate chosen counts, not the choice, and a look changes nothing.
BESIDE_TRAINING = ("learning_rates", "selection_seeds", "selection_worlds", "looks")
SAME_DIRECTION = (Split.TRAINED, Split.REPHRASED)
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

    def write(self, store: Store, rows: pd.DataFrame, record: dict[str, Any], started: float) -> None:
        """Store the unit: its rows, and its own part of the record with all that tells how it came about."""
        # ru_maxrss counts KiB on Linux and bytes on macOS.
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        about = {
            "label": self.label,
            "recipe": self.recipe,
            "params": self.params.plain(),
            "versions": {"python": ".".join(map(str, sys.version_info[:3])), **{n: version(n) for n in LIBRARIES}},
            "device": pick_device(self.params.model),
            "seconds": time.monotonic() - started,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes,
        }
        store.write(self.key, rows, record | about)


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

    def run(self, store: Store) -> None:
        """Store one row for each generated sentence, and their quality, unless that is done."""
        if store.has(self.key):
            return
        started = time.monotonic()
        material = prepare(self.params, self.world, self.seed)
        model, tokenizer = load(self.params.model)
        inferences, written = augment(
            model, tokenizer, material.world, material.documents, self.source, self.params.augmentation, self.seed
        )
        rows = pd.DataFrame(inferences, columns=Inference._fields)
        rows.insert(0, "world", self.world)
        rows.insert(1, "seed", self.seed)
        possible = closure_facts(material.world, material.documents)
        record = {
            "status": FINISHED,
            "quality": quality(inferences, possible),
            "prompt_tokens": written.prompt_tokens,
            "new_tokens": written.new_tokens,
            "flops": written.flops,
        }
        self.write(store, rows, record, started)


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

    def texts(self, material: Material, store: Store, arm: Arm | None = None) -> list[str]:
        """What the trial's arm, or another one, trains on, each text once.

        Generated text is taken as it came, right or wrong: whoever tunes a model has no closure to filter with. The
        control of rephrasings has: it is that part of the local text which says what documents say, in their direction.
        """
        arm = arm or self.spec
        texts = training_texts(material.documents, arm.splitting) + list(self.generated(store, arm)["sentence"])
        if Source.ORACLE in arm.train:
            texts += oracle_sentences(material.world, material.documents)
        return list(dict.fromkeys(texts))

    def generated(self, store: Store, arm: Arm) -> pd.DataFrame:
        """The generated sentences that an arm trains on, one row each; written now if they are not yet."""
        parts = [pd.DataFrame(columns=Inference._fields)]
        for source in (source for source in arm.train if source in WRITTEN):
            writing = Writing(self.world, self.seed, self.params, self.model_sha256, WRITTEN[source])
            writing.run(store)
            rows = store.rows(writing.key)
            parts.append(rows[rows["split"].isin(SAME_DIRECTION)] if source is Source.REPHRASED else rows)
        return pd.concat(parts[1:] or parts)

    def tuned(
        self,
        material: Material,
        store: Store,
        look: Callable[[PreTrainedTokenizerBase, int, PreTrainedModel], None] | None = None,
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]:
        """The model as the arm has it when it is asked, and what its training was.

        Args:
            material: what it is trained on.
            store: where generated text is.
            look: called on the way with the tokenizer, the number of steps taken and the model.

        Raises:
            Diverged: as `finetune` does.
        """
        model, tokenizer = load(self.params.model)
        if not self.spec.train:
            return model, tokenizer, {}
        finetuning, rate = self.finetuning, self.learning_rate
        if rate is None:
            raise ValueError(f"{self.label}: its learning rate is not chosen yet")

        def encoded(arm: Arm) -> list[list[int]]:
            return [tokenizer(text).input_ids for text in self.texts(material, store, arm)]

        own = encoded(self.spec)
        steps = steps_for(encoded(self.params.arms[self.spec.as_long_as]) if self.spec.as_long_as else own, finetuning)
        order = self.seed if not self.spec.reseed else f"{self.seed}/{self.spec.reseed}"
        at = partial(look, tokenizer) if look else None
        model, training = finetune(model, tokenizer, own, finetuning, rate, steps, order, at)
        return model, tokenizer, {"training": {"texts": len(own), **asdict(training)}}

    def examine(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        material: Callable[[bool], Material],
        store: Store,
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """One row for each question, and what the record says of them.

        Args:
            model: as `tuned` gives it.
            tokenizer: of the model.
            material: gives the world of the trial, or, of True, the one elsewhere.
            store: where generated text is.
        """
        spec, exam = self.spec, material(self.spec.elsewhere)
        documents = material(spec.elsewhere or spec.context is Source.IRRELEVANT).documents if spec.context else ()
        if spec.shots:
            count = min(spec.shots, len(documents))
            documents = tuple(nested_subset(documents, count, f"{self.world}/{self.seed}"))
        context = context_prompt([d.text for d in documents]) if documents else ""
        started = time.monotonic()
        scores = score_options(model, tokenizer, context, [(q.query, q.options) for q in exam.questions])
        seconds = time.monotonic() - started
        size, read = size_of(model), len(tokenizer(context).input_ids) if context else 0
        asking = [
            len(tokenizer(q.query, add_special_tokens=False).input_ids) + score.tokens[q.answers[0]]
            for q, score in zip(exam.questions, scores, strict=True)
        ]
        stated = {fact for document in documents for fact in document.facts}
        record = {
            "context_tokens": read,
            # The scorer refuses a context that does not fit, so nothing is ever cut.
            "share_of_facts_in_context": len(stated & set(exam.world.facts)) / len(exam.world.facts),
            "questions": len(exam.questions),
            "parameters": model.num_parameters(),
            "scoring_seconds": seconds,
            # What one user pays who asks a question and is answered: once for the context, if it is kept, ...
            "context_flops": forward_flops(size, read) if read else 0,
            # ... and for each question behind it.
            "query_flops": sum(forward_flops(size, n, past=read, predicted=n) for n in asking) / len(asking),
        }
        rows = self.rows(exam.questions, scores)
        # Whoever asks one question, and keeps nothing, pays for the context too.
        rows["gflops"] = [forward_flops(size, read + n, predicted=n) / 1e9 for n in asking]
        rows["covered"] = rows["misled"] = None
        if set(WRITTEN) & set(spec.train) and not spec.elsewhere:
            told = set(self.generated(store, spec)["fact"].dropna())
            says = [answers_told(exam.world, question, told) for question in exam.questions]
            rows["covered"], rows["misled"] = zip(*says, strict=True)
        return rows, record

    def rows(self, questions: Sequence[Question], scores: Sequence[OptionScores]) -> pd.DataFrame:
        """Questions with each option's log-probability and whether the true one is the likeliest."""
        rows = pd.DataFrame([question._asdict() for question in questions])
        rows[["split", "kind"]] = rows[["split", "kind"]].astype(str)
        rows.insert(0, "world", self.world)
        rows.insert(1, "arm", self.arm)
        rows.insert(2, "seed", self.seed)
        rows.insert(3, "elsewhere", self.spec.elsewhere)
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


def run_together(trials: Sequence[Trial], store: Store) -> dict[str, str]:
    """Run trials of one world, seed and training: the model is trained once and asked for each of them.

    A training that diverged is stored with each of them, without rows.

    Returns:
        Why trials failed, by label; the others are stored.
    """
    first, failed = trials[0], {}
    material = cache(partial(prepare, first.params, first.world, first.seed))
    record: dict[str, Any] = {"status": FINISHED}
    curves: dict[str, list[dict[str, Any]]] = {trial.key: [] for trial in trials if trial.spec.curve}

    def look(tokenizer: PreTrainedTokenizerBase, step: int, model: PreTrainedModel) -> None:
        for trial in trials:
            if trial.spec.curve:
                rows, _ = trial.examine(model, tokenizer, material, store)
                curves[trial.key].append({"step": step, **rows.groupby("split", sort=False)["correct"].mean()})

    try:
        model, tokenizer, training = first.tuned(material(False), store, look if curves else None)
        record |= training
    except Diverged as error:
        record |= {"status": DIVERGED, "error": str(error)}
    except Exception as error:
        return {trial.label: f"{type(error).__name__}: {error}" for trial in trials}
    for trial in trials:
        started = time.monotonic()
        try:
            rows, answers = (
                trial.examine(model, tokenizer, material, store)
                if record["status"] == FINISHED
                else (pd.DataFrame(), {})
            )
            curve = {"curve": curves[trial.key]} if trial.spec.curve else {}
            trial.write(store, rows, {**record, "arm": trial.arm, **answers, **curve}, started)
        except Exception as error:
            failed[trial.label] = f"{type(error).__name__}: {error}"
    return failed


def answers_told(world: World, question: Question, told: Set[str]) -> tuple[bool, bool]:
    """Whether a text that says `told` (as `Inference.fact`) has a true answer to a question, and a false one."""
    has = []
    for option in question.options:
        statement = world.parse(question.query + option)
        if statement is None:
            raise ValueError(f"{world.name} cannot read its own question {question.query + option!r}")
        # Where whole statements are offered, either end may be asked for.
        forms = world.forms(statement.fact) if question.kind is Kind.ALTERNATIVES else [statement]
        has.append(any(asked(world, form) in told for form in forms))
    return any(has[k] for k in question.answers), any(h for k, h in enumerate(has) if k not in question.answers)


def likeliest(values: Sequence[float] | np.ndarray) -> int:
    """Index of the largest value; of the first among equals."""
    return int(np.argmax(values))
