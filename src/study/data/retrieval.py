"""Which documents a question is given, where each has a context of its own."""

import re
from collections.abc import Sequence
from itertools import pairwise

import bm25s
import numpy as np

from study.data.questions import Document, Question
from study.worlds.world import Statement, World

# Thai, Lao, Burmese, Khmer, Japanese, Chinese.
UNSPACED = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"


class Retriever:
    """BM25 (Robertson & Zaragoza 2009) over documents, by bm25s (Lu 2024) with its own defaults."""

    def __init__(self, documents: Sequence[Document]):
        self.documents = documents
        self.index = bm25s.BM25()
        self.index.index(_words([document.text for document in documents]), show_progress=False)

    def best(self, question: Question, count: int) -> tuple[Document, ...]:
        """The best documents for a question, the best one last, where it is next to the question.

        A question without a query of its own is looked for by its options, true and false ones alike.
        """
        (query,) = _words([question.query or " ".join(question.options)], ids=False)
        scores = self.index.get_scores(query) if query else np.zeros(len(self.documents))
        best = np.argsort(-scores, kind="stable")[:count]
        return tuple(self.documents[k] for k in best[::-1])


def _words(texts: list[str], ids: bool = True) -> bm25s.tokenization.Tokenized | list[list[str]]:
    """The words of texts; in scripts without spaces, each pair of neighbouring letters is one."""
    parted = [re.sub(f"{UNSPACED}{{2,}}", lambda run: _pairs(run[0]), text) for text in texts]
    return bm25s.tokenize(parted, return_ids=ids, show_progress=False)


def _pairs(letters: str) -> str:
    return f" {' '.join(map(''.join, pairwise(letters)))} "


def supporting(world: World, documents: Sequence[Document], question: Question) -> tuple[Document, ...]:
    """The first document about each fact that the answer rests on, in the order of the documents."""
    first: dict[str, int] = {}
    for number, document in enumerate(documents):
        for fact in document.facts:
            first.setdefault(world.canonical(fact), number)
    return tuple(documents[k] for k in sorted({first[fact] for fact in question.supports if fact in first}))


def with_relations_reversed(world: World, document: Document) -> Document:
    """A document with the relation of each statement reversed; openings and lead-ins stay."""
    start = len(document.sentences) - len(document.statements)
    sentences, statements = list(document.sentences[:start]), []
    for sentence, statement in zip(document.sentences[start:], document.statements, strict=True):
        turned = Statement(world.reversed_relation(statement.fact), statement.template)
        lead_in = sentence[: len(sentence) - len(world.render(statement))].strip()
        sentences.append(world.sentence(lead_in, turned))
        statements.append(turned)
    return Document(tuple(statements), tuple(sentences), document.file, document.heading)
