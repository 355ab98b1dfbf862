"""The three prompts of the study: read the facts, infer from one statement, infer from all about one.

The bundled model is pretrained on these very words, so that the study asks it in its own language.
"""

from collections.abc import Sequence

THEREFORE = "so:"
CONSIDER = "consider:"
CLOSED_CLASS = f"{THEREFORE} {CONSIDER}"


def context_prompt(documents: Sequence[str]) -> str:
    """Documents in context, to be followed by what is inferred from them."""
    return " ".join([*documents, THEREFORE])


def local_prompt(statement: str) -> str:
    """One statement in view: what follows from it?"""
    return context_prompt([statement])


def global_prompt(documents: Sequence[str], target: str) -> str:
    """All documents in view: what follows from the target together with the rest?"""
    return " ".join([*documents, CONSIDER, target, THEREFORE])
