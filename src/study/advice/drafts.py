"""Questions about a user's documents, drafted by the model for the user to edit."""

import re
from collections.abc import Iterator, Sequence

from study.data.questions import Document
from study.data.sentences import generated_sentences
from study.documents.questions import UserQuestion
from study.lm.framing import framed
from study.params import Params
from study.runs.augment import own_part
from study.runs.run import prompts_of
from study.runs.with_vllm import generator_of

TOKENS = 160
_ANSWER = re.compile(
    r"\?\W*\banswer\s*\d*\s*[?:.)]\**\s*", re.IGNORECASE
)  # some models write the form as they were shown it
_PAIR = re.compile(
    r"^(?:(?:q|question)\s*\d*\s*[:.)]\s*)?(?P<question>[^?]{3,}\?)\s*(?:(?:a|answer)\s*\d*\s*[:.)]\s*)?(?P<answer>[^?]+)$",
    re.IGNORECASE,
)


def pairs_in(text: str, ended: bool = True) -> Iterator[tuple[str, str]]:
    """Questions with their answers, on one line or on two; what was cut off at the end is left out."""
    lines = re.sub(r"\?[*_\"]*\s*\n+\s*", "? ", _ANSWER.sub("? ", text)).splitlines()
    for line in lines if ended or text.rstrip().endswith(".") else lines[:-1]:
        for sentence in generated_sentences(line if line.rstrip().endswith((".", "!", ":")) else f"{line}."):
            found = _PAIR.match(sentence)
            answer = found["answer"].strip(" .") if found else ""
            if found and answer:
                yield found["question"].strip(), answer


def draft_questions(params: Params, documents: Sequence[Document]) -> list[UserQuestion]:
    """Questions that the model generates about each passage, each once, if it alone has the answer."""
    prompts, generator = prompts_of(params), generator_of(params, seed=0)
    given = [
        framed(
            generator.tokenizer,
            prompts.drafting(document.text),
            prompts,
            params.prompts.thinking,
            prompts.turns("draft"),
        )
        for document in documents
    ]
    generation = generator.write(given, TOKENS, not prompts.chat)
    drafts: dict[str, UserQuestion] = {}
    for document, text, ended in zip(documents, generation.texts, generation.ended, strict=True):
        for question, answer in pairs_in(*own_part(text, ended, prompts)):
            if answer.lower() in document.text.lower() and answer.lower() not in question.lower():
                draft = UserQuestion(f"q{len(drafts) + 1}", question, (answer,), 0, document.file, 0, False)
                drafts.setdefault(question, draft)
    return list(drafts.values())
