"""A user's own documents and questions as a dataset: what is true is not known.

So generated text is not judged. Questions about stated facts are added: the last word of a sentence, among the last
words of others. They show whether a model has learned what it was tuned on, and learning rates are chosen by them, so
that the user's questions decide nothing but the result.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from study.config import ParamsError
from study.data.questions import Chooser, Dataset, Document, Question, spread
from study.data.retrieval import UNSPACED
from study.paths import ROOT
from study.worlds.shape import Given
from study.worlds.world import Kind, Split

CLOSED = False  # what follows from the documents is not known
RETENTION = ""  # there is no other dataset of their kind
FEWEST_WORDS = 4  # of a sentence whose last word is a question
FEWEST_LETTERS = 6  # before the last two, in scripts without spaces
_UNSPACED_END = re.compile(rf"{UNSPACED}{{2}}\W*$")


class Params(Given):
    """Where documents and questions are."""

    PATHS: ClassVar[tuple[str, ...]] = ("folder", "questions")

    folder: str = Field(
        "params/documents/handbook", min_length=1, description="of text, Markdown, HTML, Word, PDF or JSONL"
    )
    questions: str | None = Field(None, min_length=1, description="CSV or JSONL; none asks what the documents say only")


PRESETS = {"handbook": Params(questions="params/documents/handbook_questions.csv")}


def gather(shape: Params, seed: int, options: int, per_split: int, ask: Callable[[str], str]) -> Dataset:
    """Documents in their own order, and questions: the user's, and the ends of the documents' sentences.

    Args:
        shape: which files.
        seed: unused, as nothing is drawn.
        options: of a question that has none of its own.
        per_split: most sentences whose ends are questions; all of the user's questions are evaluated.
        ask: gives the query of a question.

    Raises:
        ParamsError: naming the file and the line that cannot be used.
    """
    from study.documents.questions import read_questions  # its packages are slow to import
    from study.documents.read import read_folder

    passages = read_folder(ROOT / shape.folder).passages
    documents = [Document((), ((p.heading,) if p.heading else ()) + p.sentences, p.file, p.heading) for p in passages]
    names = dict.fromkeys(passage.file for passage in passages)
    owned = []
    for asked in read_questions(ROOT / shape.questions, names, options) if shape.questions else ():
        kind, query = Kind.GIVEN if asked.own_options else Kind.OTHER_ANSWERS, ask(asked.question)
        texts, answers = tuple(f" {option}" for option in ended(asked.options)), (asked.answer,)
        owned.append(Question(asked.id, Split.ASKED, kind, asked.id, query, texts, answers, asked.document, 1, ()))
    ends = list(_ends(documents, options, per_split))
    if not ends:
        raise ParamsError(
            f"worlds.documents.folder = {shape.folder!r}: no {options} sentences that end in different words; add "
            "documents, or use fewer questions.options"
        )
    return Dataset(tuple(documents), (*ends, *owned))


def ended(options: Sequence[str]) -> tuple[str, ...]:
    """Options with a full stop if one begins another: the shorter would be the likelier one whatever is asked."""
    pairs = [(one, other) for one in options for other in options if one != other]
    if not any(re.match(rf"{re.escape(one)}(?!\w)", other) for one, other in pairs):
        return tuple(options)
    return tuple(option if option[-1] in ".!?\u3002" else f"{option}." for option in options)


def cut(sentence: str) -> tuple[str, str] | None:
    """A sentence up to its last word, and that word with the space before it; None if it is too short.

    In scripts without spaces, the last two letters are taken.
    """
    stem, _, word = sentence.rpartition(" ")
    if unspaced := _UNSPACED_END.search(word):
        whole = len(sentence) - len(word) + unspaced.start()
        return (sentence[:whole], sentence[whole:]) if whole >= FEWEST_LETTERS else None
    return (stem, f" {word}") if len(sentence.split()) >= FEWEST_WORDS else None


def _ends(documents: Sequence[Document], options: int, count: int) -> Iterator[Question]:
    """Questions for the last words of some sentences, with the last words of the others as false options."""
    parts: dict[str, tuple[str, str, str]] = {}
    true: dict[str, set[str]] = defaultdict(set)
    for number, document in enumerate(documents, 1):
        for sentence in document.stating:
            if found := cut(sentence):
                parts.setdefault(sentence, (*found, f"{document.file}, passage {number}"))
                true[found[0]].add(found[1])
    asked = spread(list(parts), (lambda sentence: parts[sentence][2],), random.Random("documents"))[:count]
    endings = [parts[sentence][1] for sentence in asked]
    chooser = Chooser(endings)
    for sentence in asked:
        rng = random.Random(f"documents/{sentence}")
        stem, ending, passage = parts[sentence]
        others = [other for other in dict.fromkeys(endings) if other not in true[stem]]
        false = chooser.choose([others], options - 1, False, rng)
        if len(false) == options - 1:
            texts = tuple(rng.sample([ending, *false], options))
            answers = (texts.index(ending),)
            yield Question(sentence, Split.STATED, Kind.ENDINGS, passage, stem, texts, answers, "stated", 1, ())
