"""What models are told: to read the facts, to infer from one statement, to infer from all about one, to ask.

The bundled model is pretrained on the words here, so that the study asks it in its own language; for all other models
the wording is in params/prompts/english.yaml, to be read and changed.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from study.config import ParamsError, read_yaml
from study.paths import PARAMS, shown

THEREFORE = "so:"
CONSIDER = "consider:"
CLOSED_CLASS = f"{THEREFORE} {CONSIDER}"
PROMPTS = PARAMS / "prompts" / "english.yaml"
BUNDLED, PLAIN, CHAT = "bundled", "plain", "chat"
FULL, BARE = "full", "bare"


class Prompts(NamedTuple):
    """The wording for one kind of model; what stands in braces is filled in.

    Attributes:
        between: what parts two documents.
        context: {documents} in context, to be followed by what is asked or inferred.
        question: a {question} of a person, to be followed by its answer.
        local: one {statement} in view: what follows from it?
        global_: all {documents} in view: what follows from the {target} together with the rest?
        draft: a {target} in view: what can be asked about it?
        ends_at: what a written text holds from here on is not read; "" for all of it.
        chat: whether prompts are put into the tokenizer's chat template.
    """

    between: str
    context: str
    question: str
    local: str
    global_: str
    draft: str
    ends_at: str = ""
    chat: bool = False

    def behind(self, documents: Sequence[str]) -> str:
        """Documents in context; nothing if there are none."""
        return _filled(self.context, documents=self.between.join(documents)) if documents else ""

    def asking(self, question: str) -> str:
        """A question, to be followed by its answer."""
        return _filled(self.question, question=question)

    def from_one(self, statement: str) -> str:
        """The local prompt."""
        return _filled(self.local, statement=statement)

    def from_all(self, documents: Sequence[str], target: str) -> str:
        """The global prompt."""
        return _filled(self.global_, documents=self.between.join(documents), target=target)

    def drafting(self, target: str) -> str:
        """The prompt for questions about a text."""
        return _filled(self.draft, target=target)


def _filled(wording: str, **slots: str) -> str:
    """The wording with its slots filled; braces within what fills them are left alone."""
    return re.sub(r"{(\w+)}", lambda slot: slots.get(slot[1], slot[0]), wording)


OF_BUNDLED = Prompts(
    between=" ",
    context=f"{{documents}} {THEREFORE}",
    question="{question}",
    local=f"{{statement}} {THEREFORE}",
    global_=f"{{documents}} {CONSIDER} {{target}} {THEREFORE}",
    draft=f"{{target}} {THEREFORE}",
)


# What must be in each text of the file; global is a word of Python's, so it has another name in `Prompts`.
SLOTS = {
    "between": (),
    "context": ("documents",),
    "question": ("question",),
    "local": ("statement",),
    "global": ("documents", "target"),
    "draft": ("target",),
    "ends_at": (),
}


@cache
def prompts_in(style: str, wording: str) -> Prompts:
    """The prompts of a style (bundled, plain, chat) in a wording (full, bare).

    Raises:
        ParamsError: if the file lacks one of them, or a slot that it needs, or holds another.
    """
    if style == BUNDLED:
        return OF_BUNDLED
    texts = {**_texts(style, FULL), **_texts(style, wording)}
    for name, slots in SLOTS.items():
        text = texts.get(name)
        missing = [slot for slot in slots if not isinstance(text, str) or f"{{{slot}}}" not in text]
        if not isinstance(text, str) or missing:
            raise ParamsError(
                f"{shown(PROMPTS)}: {style}.{wording}.{name} = {text!r}: give a text"
                + (f" that holds {' and '.join(f'{{{slot}}}' for slot in missing)}" if missing else "")
            )
    return Prompts(global_=texts.pop("global"), **texts, chat=style == CHAT)


def _texts(style: str, wording: str) -> dict[str, str]:
    """What the file says under a style and a wording."""
    here: object = read_yaml(PROMPTS)
    for place in (style, wording):
        here = here.get(place, {}) if isinstance(here, dict) else here
    if not isinstance(here, dict) or (unknown := sorted(set(here) - set(SLOTS), key=str)):
        what = f"{unknown[0]}: no such prompt" if isinstance(here, dict) else f"= {here!r}: no mapping of prompts"
        raise ParamsError(
            f"{shown(PROMPTS)}: {style}.{wording}{'.' if isinstance(here, dict) else ' '}{what}; there are: "
            f"{', '.join(SLOTS)}"
        )
    return here
