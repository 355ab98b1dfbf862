"""The prompts: documents in context, questions, and requests for inferences from one statement or from all documents.

The bundled model is pretrained on the words here; for all other models the wording is in params/prompts/english.yaml,
to be read and changed.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from study.config import ParamsError, read_yaml
from study.paths import PARAMS, shown

THEREFORE = "so:"
CONSIDER = "consider:"
CLOSED_CLASS = f"{THEREFORE} {CONSIDER}"
PROMPTS = PARAMS / "prompts" / "english.yaml"
BUNDLED, PLAIN, CHAT = "bundled", "plain", "chat"
FULL, BARE = "full", "bare"
ANSWER = "answer"
EXAMPLES = {f"{prompt}_examples": prompt for prompt in ("local", "global", "draft")}


Examples = tuple[tuple[tuple[str, str], ...], ...]  # of each example its slots by name, and its answer


class Prompts(NamedTuple):
    """The wording for one kind of model, with slots in braces.

    Attributes:
        between: separator of documents.
        context: {documents} in context, to be followed by a question or an inference.
        question: a {question} of a person, to be followed by its answer.
        local: given one {statement}, what follows from it?
        global_: given all {documents}, what follows from the {target} together with the rest?
        draft: given a {target}, what can be asked about it?
        ends_at: generated text is cut here; "" for never.
        chat: whether prompts are put into the tokenizer's chat template.
        local_examples: what `local` is filled with, and the answer, as turns of the chat before.
        global_examples: likewise.
        draft_examples: likewise.
    """

    between: str
    context: str
    question: str
    local: str
    global_: str
    draft: str
    ends_at: str = ""
    chat: bool = False
    local_examples: Examples = ()
    global_examples: Examples = ()
    draft_examples: Examples = ()

    def in_context(self, documents: Sequence[str]) -> str:
        """Documents in context; nothing if there are none."""
        return _filled(self.context, documents=self.between.join(documents)) if documents else ""

    def asking(self, question: str) -> str:
        """A question, to be followed by its answer."""
        return _filled(self.question, question=question)

    def from_one(self, statement: str) -> str:
        """The per-statement prompt."""
        return _filled(self.local, statement=statement)

    def from_all(self, documents: Sequence[str], target: str) -> str:
        """The whole-corpus prompt."""
        return _filled(self.global_, documents=self.between.join(documents), target=target)

    def turns(self, prompt: str) -> list[tuple[str, str]]:
        """Prompts and answers that come before a prompt: local, global or draft."""
        wordings = {"local": self.local, "global": self.global_, "draft": self.draft}
        wording, examples = wordings[prompt], getattr(self, f"{prompt}_examples")
        return [(_filled(wording, **dict(example)), dict(example)[ANSWER]) for example in examples]

    def drafting(self, target: str) -> str:
        """The prompt for questions about a text."""
        return _filled(self.draft, target=target)


def _filled(wording: str, **slots: str) -> str:
    """The wording with its slots filled; braces in the documents are left alone."""
    return re.sub(r"{(\w+)}", lambda slot: slots.get(slot[1], slot[0]), wording)


OF_BUNDLED = Prompts(
    between=" ",
    context=f"{{documents}} {THEREFORE}",
    question="{question}",
    local=f"{{statement}} {THEREFORE}",
    global_=f"{{documents}} {CONSIDER} {{target}} {THEREFORE}",
    draft=f"{{target}} {THEREFORE}",
)

# Each prompt of the file needs the slots of the bundled one; global is a keyword, so it has another name in `Prompts`.
SLOTS = {
    name.rstrip("_"): re.findall(r"{(\w+)}", wording)
    for name, wording in OF_BUNDLED._asdict().items()
    if name not in ("chat", *EXAMPLES)
}


@cache
def prompts_in(style: str, wording: str) -> Prompts:
    """The prompts of a style (bundled, plain, chat) in a wording (full, bare).

    Raises:
        ParamsError: if a prompt or a slot in it is missing from the file, or a prompt is unknown.
    """
    if style == BUNDLED:
        return OF_BUNDLED
    texts: dict[str, Any] = {**_texts(style, FULL), **_texts(style, wording)}
    examples: dict[str, Any] = {
        name: _examples(texts.pop(name, ()), f"{style}.{wording}.{name}", of) for name, of in EXAMPLES.items()
    }
    for name, slots in SLOTS.items():
        text = texts.get(name)
        missing = [f"{{{slot}}}" for slot in slots if not isinstance(text, str) or f"{{{slot}}}" not in text]
        if not isinstance(text, str) or missing:
            wanted = "give a text" + (f" that holds {' and '.join(missing)}" if missing else "")
            raise ParamsError(f"{shown(PROMPTS)}: {style}.{wording}.{name} = {text!r}: {wanted}")
    return Prompts(global_=texts.pop("global"), **texts, **examples, chat=style == CHAT)


def _examples(given: Any, place: str, of: str) -> Examples:
    """The examples of a prompt."""
    names = {*SLOTS[of], ANSWER}
    for example in given if isinstance(given, Sequence) else [given]:
        if not isinstance(example, dict) or set(example) != names:
            raise ParamsError(f"{shown(PROMPTS)}: {place}: {example!r}: each needs {' and '.join(sorted(names))}")
    return tuple(tuple((name, str(text)) for name, text in example.items()) for example in given)


@cache
def asked_as(form: str) -> str:
    """The wording of a question in a form, with a slot for its query.

    Raises:
        ParamsError: if the file has none.
    """
    here = read_yaml(PROMPTS).get("asked")
    text = here.get(form) if isinstance(here, dict) else None
    if not isinstance(text, str) or "{query}" not in text:
        raise ParamsError(f"{shown(PROMPTS)}: asked.{form} = {text!r}: give a text that holds {{query}}")
    return text


def _texts(style: str, wording: str) -> dict[str, Any]:
    """The file's prompts under a style and a wording."""
    here: object = read_yaml(PROMPTS)
    for place in (style, wording):
        here = here.get(place, {}) if isinstance(here, dict) else here
    there = f"there are: {', '.join((*SLOTS, *EXAMPLES))}"
    if not isinstance(here, dict):
        raise ParamsError(f"{shown(PROMPTS)}: {style}.{wording} = {here!r}: no mapping of prompts; {there}")
    if unknown := sorted(set(here) - {*SLOTS, *EXAMPLES}, key=str):
        raise ParamsError(f"{shown(PROMPTS)}: {style}.{wording}.{unknown[0]}: no such prompt; {there}")
    return here
