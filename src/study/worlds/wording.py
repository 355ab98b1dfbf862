"""How facts are put into words, apart from what they say: templates, lead-ins, and reading a sentence back.

A template is a sentence with a slot for the subject, {s}, and one for the object, {o}. The entity that comes last is
what a question asks for. With the subject first it is as stated, with the object first reversed; a template with a
question mark is a question with its answer; the first template of a relation is its canonical form; a sentence behind
a lead-in is an article's.

Each wording is that of the bundled model, all in lower case, or English. In English a generated sentence is read in
more ways than documents and questions have: the readings.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, Self

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
ENGLISH_LEAD_INS = LEAD_INS[1:]  # "did you know that" would need a question mark


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


class English(NamedTuple):
    """The English wording, and what else a sentence of such a meaning may look like, in lower case with the slots."""

    wording: Wording
    readings: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, wording: Wording, readings: Mapping[str, tuple[str, ...]]) -> Self:
        """The statements of a wording that is English already; a question with its answer is not a statement."""
        statements = {relation: tuple(f for f in forms if not f.is_question) for relation, forms in wording.items()}
        return cls(statements, readings)


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


class EnglishParser:
    """Reads English sentences about known entities, whatever their capitals, plurals and lead-ins.

    Args:
        english: templates and readings by relation.
        entities: all that a sentence may be about; those of several words are read word by word.
        holds: whether a fact is entailed; of what a sentence may mean ("wrote": a song, a book) the true is taken.
    """

    def __init__(self, english: English, entities: Iterable[str], holds: Callable[[Fact], bool]) -> None:
        words = {word.lower(): word for entity in entities for word in entity.split()}
        longest = sorted(words, key=len, reverse=True)
        self.words, self.holds = words, holds
        self.entity = re.compile(rf"\b({'|'.join(map(re.escape, longest))})(?:e?s)?\b", re.IGNORECASE)
        self.skeletons: dict[str, dict[str, tuple[int, bool]]] = {}  # template and order, by the relations it may mean
        for relation, forms in english.wording.items():
            first = {template.subject_first: k for k, template in reversed([*enumerate(forms)])}
            for text in english.readings.get(relation, ()):
                subject_first = text.index(SUBJECT) < text.index(OBJECT)
                self.skeletons.setdefault(_bare(text), {})[relation] = first.get(subject_first, 0), subject_first
        for relation, forms in english.wording.items():
            for k, template in enumerate(forms):
                self.skeletons.setdefault(_bare(template.text), {})[relation] = k, template.subject_first

    def read(self, sentence: str) -> tuple[Fact, int] | None:
        """The fact that a sentence states and the template nearest to it; None where it is none of the wording."""
        entities: list[str] = []

        def slot(match: re.Match[str]) -> str:
            entities.append(self.words[match[1].lower()])
            return "_"

        text = " ".join(sentence.split())
        text = _LEAD_IN.sub("", text[:1].lower() + text[1:])
        skeleton = re.sub(r"_(?: _)+", lambda run: f"<{len(run[0].split())}>", self.entity.sub(slot, text))
        runs = [int(number or 1) for number in re.findall(r"_|<(\d+)>", skeleton)]
        if len(runs) != 2 or sum(runs) != len(entities):  # the sentence itself may hold a "_"
            return None
        words = iter(entities)
        phrases = [" ".join(next(words) for _ in range(run)) for run in runs]
        bare = _bare(re.sub(r"<\d+>", "_", skeleton))
        found = self.skeletons.get(bare) or self.skeletons.get(_ADVERB.sub("", bare))
        if found is None:
            return None
        facts = [(Fact(r, *(phrases if first else phrases[::-1])), k) for r, (k, first) in found.items()]
        return next((meant for meant in facts if self.holds(meant[0])), facts[0])


def _bare(text: str) -> str:
    """A sentence without what does not matter: slots alike, lower case, no commas, one kind of article and ending."""
    text = re.sub(r"\{[so]\}(?:s\b)?", "_", text).lower().replace("\u2019", "'")
    text = re.sub(r"[,;:\"]", "", text)
    text = re.sub(r"\b(?:is|are|was)n't\b", lambda verb: f"{verb[0][:-3]} not", text)
    text = text.replace("compared to", "compared with")
    return " ".join(_plain_articles(text).rstrip(" .!").split())


_ADVERB = re.compile(r"\b(?:clearly|much|also|indeed|in fact|actually|definitely|therefore|thus) ")


@lru_cache(maxsize=4096)
def _plain_articles(text: str) -> str:
    return re.sub(r"\ban (?=[\w{_])", "a ", text)
