"""How facts are put into words, apart from what they say: templates, lead-ins, and reading a sentence back.

A template is a sentence with a slot for the subject, {s}, and one for the object, {o}. The entity that comes last is
what a question asks for. Subject first is the as stated, object first reversed; a template with a question
mark is a question with its answer; the first template of a relation is its canonical form; a sentence behind a
lead-in is an article's.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from study.worlds.logic import Fact

SUBJECT, OBJECT = "{s}", "{o}"

# Each makes an article of any sentence; those held out appear in no document.
LEAD_INS = (
    "did you know that",
    "as we all know,",
    "it is said that",
    "people say that",
    "it may surprise you that",
    "note that",
    "let me tell you:",
    "here is a fact:",
    "we have learned that",
    "remember that",
    "you may know that",
    "we know that",
    "people know that",
    "it is known that",
    "we all know that",
)
_LEAD_IN = re.compile(rf"^(?:{'|'.join(map(re.escape, LEAD_INS))}) ")


class Template(NamedTuple):
    """A sentence with slots; a held-out one appears in no document and is kept for questions."""

    text: str
    held_out: bool = False

    @property
    def subject_first(self) -> bool:
        """Whether the subject comes before the object, so that the sentence asks for the object."""
        return self.text.index(SUBJECT) < self.text.index(OBJECT)

    @property
    def is_question(self) -> bool:
        """Whether it is a question with its answer."""
        return "?" in self.text


Wording = Mapping[str, tuple[Template, ...]]


def templates(*trained: str, held_out: tuple[str, ...] = ()) -> tuple[Template, ...]:
    """The templates of a relation, the canonical one first."""
    return (*(Template(text) for text in trained), *(Template(text, True) for text in held_out))


def with_article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def fill(text: str, subject: str, object_: str) -> str:
    """A template's text with its slots filled, the article before a slot as the entity needs it."""
    for slot, entity in ((SUBJECT, subject), (OBJECT, object_)):
        if entity[0] in "aeiouAEIOU":
            text = re.sub(rf"\ba {re.escape(slot)}", f"an {slot}", text)
    return text.format(s=subject, o=object_)


class SentenceParser:
    """Reads sentences of a wording back.

    Args:
        wording: templates by relation.
        phrases: whether entities may be several words ("gol vazed ditav"); else a sentence with one is not read.
    """

    def __init__(self, wording: Wording, phrases: bool) -> None:
        self.phrases = phrases
        self.skeletons = {
            _plain_articles(template.text.replace(SUBJECT, "_").replace(OBJECT, "_")): (relation, k, template)
            for relation, forms in wording.items()
            for k, template in enumerate(forms)
        }
        self.closed_class = frozenset(re.findall(r"[\w-]+", " ".join(self.skeletons))) - {"_"}

    def read(self, sentence: str) -> tuple[Fact, int] | None:
        """The fact that a sentence states and the template that it does so in; None where it is none of the wording."""
        text = _plain_articles(_LEAD_IN.sub("", " ".join(sentence.split())))
        entities: list[str] = []

        def slot(match: re.Match[str]) -> str:
            if match[0] in self.closed_class:
                return match[0]
            entities.append(match[0])
            return "_"

        skeleton = re.sub(r"[\w-]+", slot, text)
        if self.phrases:
            runs = re.findall(r"_(?: _)*", skeleton)
            skeleton = re.sub(r"_(?: _)*", "_", skeleton)
            words = iter(entities)
            entities = [" ".join(next(words) for _ in run.split()) for run in runs]
        if skeleton not in self.skeletons or len(entities) != 2:
            return None
        relation, k, template = self.skeletons[skeleton]
        return Fact(relation, *(entities if template.subject_first else entities[::-1])), k


@lru_cache(maxsize=4096)
def _plain_articles(text: str) -> str:
    return re.sub(r"\ban (?=[\w{_])", "a ", text)
