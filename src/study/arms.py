"""The arms: each way to give a model the facts is a row of settings."""

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from study.config import Strict
from study.data.questions import Splitting


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


def refuse_odd_rates(rates: tuple[float, ...]) -> None:
    """Refuse, with ValueError, a grid with a rate outside (0, 1) or given twice."""
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
        refuse_odd_rates(self.learning_rates or ())
        if self.curve and not self.train:
            raise ValueError("a curve is that of a training; give train, or leave curve out")
        return self


_AUGMENTED = (Source.DOCUMENTS, Source.LOCAL, Source.GLOBAL)
_IN_TWO = ("reversals", "semantic")  # isolated facts, and a structure of them
_IN_ARTICLES = ("semantic", "syllogisms")  # worlds whose documents have several sentences
_DIRECTED = ("reversals", "family")  # worlds whose relations mean something else when reversed
_FT = Arm(train=(Source.DOCUMENTS,), splitting=Splitting.BEST)
_FT_AUGMENTED = Arm(train=_AUGMENTED)


def _as_augmented(**settings: Any) -> Arm:
    """A variant of augmented fine-tuning at the same learning rate."""
    return Arm(**{"train": _AUGMENTED, "rate_of": "ft augmented", **settings})


def _with(arm: Arm, context: Context, **settings: Any) -> Arm:
    """The same training, with a context."""
    return arm.model_copy(update={"context": context, **settings})


_FAST = Arm(train=_AUGMENTED, learning_rates=(3e-3,))
_LORA: dict[str, Any] = {"method": "lora", "worlds": _IN_TWO, "learning_rates": (1e-3, 3e-3, 1e-2, 3e-2)}
_REPLAY_10, _REPLAY_30 = (_as_augmented(train=(*_AUGMENTED, Source.REPLAY), replay=share) for share in (0.1, 0.3))
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
    "ft retention": _with(_FT, Context.DOCUMENTS, retention=True),
    "ft augmented retention": _with(_FT_AUGMENTED, Context.DOCUMENTS, retention=True),
    "fast retention": _with(_FAST, Context.DOCUMENTS, retention=True),
    "replay 10 retention": _with(_REPLAY_10, Context.DOCUMENTS, retention=True),
    "replay 30 retention": _with(_REPLAY_30, Context.DOCUMENTS, retention=True),
    "distilled retention": _with(_DISTILLED, Context.DOCUMENTS, retention=True),
}


def needs_closure(arm: Arm) -> bool:
    """Whether an arm needs a dataset of which all that follows is known."""
    closed = {Source.ORACLE, Source.REPHRASED, Source.QUESTIONS}
    return bool(
        closed & set(arm.train)
        or arm.half
        or Keep.TRUE in arm.keep
        or arm.context in (Context.SUPPORTING, Context.FALSE)
    )
