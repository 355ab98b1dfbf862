"""Your own documents and questions: what is true is known to you alone.

So nothing that a model writes about them is judged. What the documents say word for word is asked too, the last word
of a sentence among the last words of others: whether a model has learned what it was tuned on shows there, and learning
rates are chosen by it, so that your questions decide nothing but the result.
"""

import random
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from study.config import ParamsError
from study.data.questions import Chooser, Document, Question, spread
from study.paths import ROOT
from study.worlds.logic import Fact
from study.worlds.shape import Given
from study.worlds.wording import templates
from study.worlds.world import Kind, Split, Statement, World

if TYPE_CHECKING:  # their packages are slow to import, and of no use to whoever has no documents
    from study.documents.questions import UserQuestion
    from study.documents.read import Passage

CLOSED = False  # what follows from the documents is not known
RETENTION = ""  # and there is no other world of their kind
SAYS = "says"
WORDING = {SAYS: templates("{s} says {o}.")}  # a place and the number of a sentence there
FEWEST_WORDS = 4  # of a sentence whose last word is asked for
FEWEST_LETTERS = 6  # before the last two, where no space parts words
# Thai, Lao, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
_UNSPACED_END = re.compile(rf"{_UNSPACED}{{2}}\W*$")


class Params(Given):
    """Where documents and questions are."""

    PATHS: ClassVar[tuple[str, ...]] = ("folder", "questions")

    folder: str = Field("params/documents/handbook", min_length=1, description="of text, Markdown, HTML, PDF or JSONL")
    questions: str | None = Field(None, min_length=1, description="CSV or JSONL; none asks what the documents say only")


PRESETS = {"handbook": Params(questions="params/documents/handbook_questions.csv")}


def gather(
    shape: Params, seed: int, options: int, per_split: int, ask: Callable[[str], str]
) -> tuple[World, list[Document], list[Question]]:
    """A world of documents in their own order, and questions: yours, and the ends of the documents' sentences.

    Args:
        shape: which files.
        seed: not needed here, there is but one such world.
        options: of a question that has none of its own.
        per_split: most sentences whose ends are asked; your questions are all asked.
        ask: puts a question into words.

    Raises:
        ParamsError: naming the file and the line that cannot be used.
    """
    from study.documents.questions import read_questions
    from study.documents.read import read_documents

    passages = read_documents(ROOT / shape.folder)
    documents = [_document(number, passage) for number, passage in enumerate(passages, 1)]
    yours = []
    if shape.questions:
        names = dict.fromkeys(passage.file for passage in passages)
        yours = [_question(q, ask) for q in read_questions(ROOT / shape.questions, names, options)]
    ends = list(_ends(documents, options, per_split))
    if not ends:
        raise ParamsError(
            f"worlds.documents.folder = {shape.folder!r}: no {options} sentences that end in different words; add "
            "documents, or use fewer questions.options"
        )
    facts = tuple(fact for document in documents for fact in document.facts)
    world = World(name="documents", facts=facts, rules=(), wording=WORDING, closed=False)
    return world, documents, [*ends, *yours]


def _document(number: int, passage: "Passage") -> Document:
    """A passage as a document: each sentence states a fact of its own, named by its place; a heading states none."""
    place = f"{passage.file}, passage {number}"
    statements = tuple(Statement(Fact(SAYS, place, str(k)), 0) for k, _ in enumerate(passage.sentences, 1))
    opening = (passage.heading,) if passage.heading else ()
    return Document(statements, (*opening, *passage.sentences))


def _question(asked: "UserQuestion", ask: Callable[[str], str]) -> Question:
    return Question(
        item_id=asked.id,
        split=Split.ASKED,
        kind=Kind.GIVEN if asked.own_options else Kind.OTHER_ANSWERS,
        cluster=asked.id,
        query=ask(asked.question),
        options=tuple(f" {option}" for option in asked.options),
        answers=(asked.answer,),
        rule=asked.document,
        hops=1,
        supports=(),
    )


def cut(sentence: str) -> tuple[str, str] | None:
    """A sentence up to its last word, and that word with the space before it; None if it is too short to ask for it.

    Of scripts that put no space between words, the last two letters are taken.
    """
    stem, _, word = sentence.rpartition(" ")
    if unspaced := _UNSPACED_END.search(word):
        whole = len(sentence) - len(word) + unspaced.start()
        return (sentence[:whole], sentence[whole:]) if whole >= FEWEST_LETTERS else None
    return (stem, f" {word}") if len(sentence.split()) >= FEWEST_WORDS else None


def _ends(documents: list[Document], options: int, count: int) -> Iterator[Question]:
    """Some sentences up to their last word, which is to be told from the last words of the others among them."""
    places: dict[str, str] = {}
    parts: dict[str, tuple[str, str]] = {}
    for document in documents:
        for statement, sentence in zip(document.statements, document.stating, strict=True):
            if found := cut(sentence):
                places.setdefault(sentence, statement.fact.subject)
                parts[sentence] = found
    asked = spread(list(places), (places.__getitem__,), random.Random("documents"))[:count]
    true: dict[str, set[str]] = {}
    for stem, ending in parts.values():
        true.setdefault(stem, set()).add(ending)
    endings = [parts[sentence][1] for sentence in asked]
    chooser = Chooser(endings)
    for sentence in asked:
        stem, ending = parts[sentence]
        rng = random.Random(f"documents/{sentence}")
        others = [other for other in dict.fromkeys(endings) if other not in true[stem]]
        false = chooser.choose([others], options - 1, False, rng)
        if len(false) == options - 1:
            order = rng.sample(range(options), options)
            texts = [ending, *false]
            yield Question(
                item_id=sentence,
                split=Split.STATED,
                kind=Kind.ENDINGS,
                cluster=places[sentence],
                query=stem,
                options=tuple(texts[k] for k in order),
                answers=(order.index(0),),
                rule="stated",
                hops=1,
                supports=(),
            )
