"""Sentences of documents, and of generated text without its markup and remarks."""

import re

# Words whose full stop ends no sentence. Single letters (initials) are recognized by their length.
ABBREVIATIONS = frozenset("mr mrs ms dr prof st jr sr e.g i.e etc vs approx cf fig inc ltd".split())
# A space follows, except after the full stops of Chinese and Japanese.
_END = re.compile(
    r"(?<![.!…\u0964\u0965\u06d4])[.!…\u0964\u0965\u06d4]+[\"'\u201d\u2019)\]]*(?=\s|$)|[\u3002\uff01\uff61]+[\"'\u201d\u2019)\]\u300d\u300f\uff09]*"
)
_THOUGHT = re.compile(r"\A.*</think(?:ing)?>|<think(?:ing)?>.*\Z", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^\s*(?:```|~~~).*$", re.MULTILINE)
_BULLET = re.compile(r"^\s*(?:[-*+\u2022\u2013]|\(?\d{1,3}[.):]|[a-z][.)](?=\s))\s+")
_LABEL = re.compile(
    r"^(?:inference|conclusion|statement|fact|implication|rephrasing|reversal|output|answer)s?\s*\d*\s*:\s+",
    re.IGNORECASE,
)
_REMARK = re.compile(r"^(?:sure|certainly|of course|okay|ok|here (?:is|are)|here's)\b", re.IGNORECASE)
FEWEST_WORDS = 3  # of a line that counts as a sentence without ending as one


def split_sentences(text: str) -> list[str]:
    """The complete sentences of running text; a last one without its end was cut off and does not count.

    A question stays with the answer after it: "who wrote it? ditav." is one sentence. Full stops are those of Latin
    and similar scripts, Chinese and Japanese, Hindi and its neighbours, and Urdu.
    """
    sentences, begin = [], 0
    for end in _END.finditer(text):
        word = text[begin : end.start()].rsplit(maxsplit=1)[-1:]
        bare = word[0].lstrip("\"'\u201c\u2018([").lower() if word else ""
        goes_on = end.end() < len(text) and end[0] == "."
        if goes_on and (bare in ABBREVIATIONS or (len(bare) == 1 and bare.isalpha() and word[0][-1].isupper())):
            continue
        sentence = " ".join(text[begin : end.end()].split())
        if re.search(r"\w", sentence):
            sentences.append(sentence)
        begin = end.end()
    return sentences


def generated_sentences(text: str, ended: bool = True) -> list[str]:
    """The sentences of generated text, each ending in a full stop.

    Thoughts, code fences, headings, remarks before a list, list markers and emphasis are removed. Of several lines each
    is a sentence, and needs no full stop.

    Args:
        text: as generated.
        ended: whether the model ended it; if not, a last line without full stop was cut off and is left out.
    """
    lines = _FENCE.sub("", _THOUGHT.sub("", text)).strip().splitlines()
    sentences: list[str] = []
    for number, line in enumerate(lines):
        several, last = len(lines) > 1 or _BULLET.match(line) is not None, number == len(lines) - 1
        bare = _LABEL.sub("", re.sub(r"\*\*|`", "", _BULLET.sub("", line)).strip())
        if len(bare) > 1 and bare[0] in "\"'\u201c" and bare[-1] in "\"'\u201d":
            bare = bare[1:-1].strip()
        if line.lstrip().startswith("#") or (several and (bare.endswith(":") or _REMARK.match(bare))):
            continue
        whole = split_sentences(bare)
        sentences += whole
        unended = several and not whole and len(bare.split()) >= FEWEST_WORDS and not bare.endswith("?")
        if unended and (ended or not last):
            sentences.append(f"{bare}.")
    return sentences
