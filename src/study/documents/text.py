"""The text of documents made even: characters, words broken across lines, sentences in many languages."""

import re
from functools import cache

import ftfy
import sentencex
from py3langid.langid import MODEL_FILE, LanguageIdentifier

SURE = 0.8  # probability from which a language is believed; short and invented texts look like any
ENGLISH = "en"
# Soft hyphen, zero-width space, word joiner, byte order mark, marks of direction: they show nothing.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
# What mojibake and ligatures were meant to be; quotation marks, wide letters and entities are the author's own.
_FIXES = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False, fix_character_width=False)
_JOINING = frozenset("and or to und oder bis bzw et ou y o e".split())  # "pre- and post-war"
_APART = frozenset("self non well ex half all cross".split())
_BROKEN = re.compile(r"(\w+)[-\u2010]\n[^\S\n]*(\w+)")


def even(text: str) -> str:
    """A text in composed characters, without ligatures, invisible characters and wrongly decoded letters."""
    return _INVISIBLE.sub("", ftfy.fix_text(text, _FIXES))


def rejoined(text: str) -> str:
    """A text without the hyphens of words that a line's end cuts in two.

    A hyphen stays in a word that the text has with it in another place, in one that shares a part with another compound
    of the text, after a first part like "self", and before an "and".
    """
    unbroken = _BROKEN.sub(" ", text)
    words = set(re.findall(r"\w+", unbroken.lower()))
    compounds = {
        part for pair in re.findall(r"\b(\w+-)(?=(\w+))", unbroken.lower()) for part in (pair[0], f"-{pair[1]}")
    }

    def whole(match: re.Match[str]) -> str:
        one, other = match.groups()
        if other in _JOINING:
            return f"{one}- {other}"
        hyphenated = (
            one.lower() in _APART
            or not other[0].islower()
            or re.search(rf"\b{re.escape(f'{one}-{other}')}\b", unbroken)
            or (f"{one.lower()}{other}" not in words and {f"{one.lower()}-", f"-{other}"} & compounds)
        )
        return f"{one}-{other}" if hyphenated else f"{one}{other}"

    return _BROKEN.sub(whole, text)


def language_of(text: str) -> str:
    """The language of a text by its ISO 639-1 code, by py3langid; English where it is not sure."""
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE else ENGLISH


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def sentences_in(text: str, language: str) -> tuple[str, ...]:
    """The sentences of a text by the rules of its language, by sentencex, but those without letter and digit."""
    parts = sentencex.segment(language, " ".join(text.split()))
    return tuple(part.strip() for part in parts if re.search(r"\w", part))
