"""Five properties of documents and questions that any advice about them rests on, each with what to change."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from study.data.questions import Dataset, Question
from study.data.retrieval import Retriever
from study.worlds.world import Split

MOST_NAMED = 5
TOO_OFTEN = 0.25  # share of the questions that one answer may be right in
FEW_COPIES = 0.05  # share of the sentences


def quality(material: Dataset) -> Iterator[str]:
    """A line for each property: representative, diverse, balanced, consistent, relevant."""
    asked = [question for question in material.questions if question.split is Split.ASKED]
    text = " ".join(document.text for document in material.documents).casefold()
    lacking = [q for q in asked if not any(option.strip(" .").casefold() in text for option in q.true_options)]
    remedy = f" Not those to {_named(lacking)}: add what they rest on, or have them inferred." if lacking else ""
    there = f"{len(asked) - len(lacking)} of {len(asked)}"
    yield f"Representative: the answers to {there} questions stand in the documents.{remedy}"

    sentences = [sentence.casefold() for document in material.documents for sentence in document.stating]
    distinct = len(set(sentences))
    copied = len(sentences) - distinct > FEW_COPIES * len(sentences)
    remedy = " Leave copies out: they are learned more often than the rest." if copied else ""
    yield f"Diverse: {distinct:,} of {len(sentences):,} sentences are distinct.{remedy}"

    answers = Counter(question.true_options[0].strip(" .") for question in asked)
    often, times = answers.most_common(1)[0]
    remedy = " Ask for others as well: a model can guess it." if times > max(1, TOO_OFTEN * len(asked)) else ""
    yield f"Balanced: the most frequent answer, *{often}*, is that of {times} of {len(asked)} questions.{remedy}"

    meant: dict[str, list[Question]] = defaultdict(list)
    for question in asked:
        meant[question.query.casefold()].append(question)
    double = [same[0] for same in meant.values() if len({q.true_options[0].casefold() for q in same}) > 1]
    remedy = f", but for {_named(double)}: say in each which answer is meant" if double else ""
    yield f"Consistent: no question is asked twice with different answers{remedy}."

    search = Retriever(material.documents)
    found = {search.best(question, 1)[0] for question in asked}
    unasked = sorted({document.file for document in material.documents} - {document.file for document in found})
    remedy = f" Nothing of {_listed(unasked)}: ask about it, or leave it out, which makes a context cheaper."
    there = f"{len(found)} of {len(material.documents)}"
    yield f"Relevant: {there} passages are what a search finds first for some question.{remedy if unasked else ''}"


def _named(questions: Sequence[Question]) -> str:
    return _listed([question.item_id for question in questions])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
