"""Markdown and HTML as blocks of sentences. Both are data: nothing in them is run, and nothing is fetched."""

import re
import warnings
from collections.abc import Iterator, Set
from itertools import groupby
from typing import Literal, NamedTuple

from bs4 import BeautifulSoup, Tag
from bs4.element import PreformattedString
from markdown_it import MarkdownIt
from markdown_it.token import Token

from study.data.sentences import split_sentences

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
LEFT_OUT = frozenset("script style nav template title".split())  # a head's text is its title; its end is often left out
_GROUPS = frozenset("ul ol dl menu table".split())
_BLOCKS = _GROUPS.union(
    HEADINGS,
    "html head body main article section aside header footer hgroup search address div p blockquote center pre li dt dd"
    " figure figcaption details summary dialog form fieldset legend noscript textarea caption thead tbody tfoot tr td"
    " th hr".split(),
)
_INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q s samp small span strike strong"
    " sub sup time tt u var wbr".split()
)
# These end an open paragraph. Else the paragraphs of a page that leaves their ends out would nest, each in the last.
_ENDS_P = re.compile(
    "<(?=(?:p|div|ul|ol|dl|menu|table|h[1-6]|pre|hr|blockquote|address|article|aside|center|details|dialog|fieldset"
    r"|figure|footer|form|header|hgroup|main|nav|search|section)[\s/>])",
    re.IGNORECASE,
)
_CELL = "\0"  # before each cell of a row; no file with this character is read
_MARKDOWN = MarkdownIt("commonmark", {"maxNesting": 10_000}).enable(["table", "strikethrough"])


class Block(NamedTuple):
    """Text that belongs together: the line where it begins, its sentences, and whether it is a heading."""

    line: int
    sentences: tuple[str, ...]
    is_heading: bool = False


def whole(text: str) -> tuple[str, ...]:
    """A text as one sentence, or as none if it has neither letter nor digit."""
    text = " ".join(text.split())
    return (text,) if re.search(r"\w", text) else ()


def sentences_of(text: str) -> tuple[str, ...]:
    """All sentences of a text; what is left without an end mark counts as one more."""
    text = " ".join(text.split())
    sentences, end = split_sentences(text), 0
    for sentence in sentences:
        end = text.index(sentence, end) + len(sentence)
    return (*sentences, *whole(text[end:]))


def markdown_blocks(text: str) -> Iterator[Block]:
    """Headings and blocks of Markdown: a paragraph, an outermost list with all its items, a table, or code.

    A row of a table and a piece of code are a sentence each.
    """
    group: list[str] = []
    row: list[str] | None = None
    depth = start = 0
    before = ""
    for token in _MARKDOWN.parse(text):
        line = token.map[0] + 1 if token.map else start
        if re.fullmatch(r"(bullet_list|ordered_list|table)_(open|close)", token.type):
            depth += token.nesting
            if depth == 1 and token.nesting == 1:
                start = line
            elif depth == 0:
                yield Block(start, tuple(group))
                group = []
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            group += whole(" | ".join(row or ()))
            row = None
        elif token.type == "inline" and row is not None:
            row.append(_inline_text(token))
        else:
            for block in _markdown_block(token, line, before):
                if depth:
                    group += block.sentences
                else:
                    yield block
        before = token.type


def _markdown_block(token: Token, line: int, before: str) -> Iterator[Block]:
    if token.type == "html_block":
        yield from html_blocks(token.content, line)
    elif token.type in ("fence", "code_block"):
        yield Block(line, whole(token.content))
    elif token.type == "inline":
        heading = before == "heading_open"
        yield Block(line, (whole if heading else sentences_of)(_inline_text(token)), heading)


def _inline_text(token: Token) -> str:
    """The text of a paragraph without its marks; of an image its description, of a link its text."""
    texts = []
    for child in token.children or ():
        if child.type in ("softbreak", "hardbreak") or child.content.startswith("<br"):
            texts.append(" ")
        elif child.type != "html_inline":
            texts.append(child.content)
    return "".join(texts)


class _Place(NamedTuple):
    """Where a text of HTML stands: its block, what that is, and the list or table around it."""

    block: Tag
    kind: Literal["text", "heading", "row", "code", "left out"] = "text"
    group: Tag | None = None


class _Run(NamedTuple):
    """Texts in one place with no other block between, and the line of the tag before them."""

    place: _Place
    line: int
    texts: list[str]


def html_blocks(text: str, first_line: int = 1) -> Iterator[Block]:
    """Headings and blocks of HTML, as of Markdown; scripts, styles, navigation and the head are left out.

    A list or table with headings or tables inside arranges a page, and is no block.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this may be XML, or the name of a file
        soup = BeautifulSoup(_ENDS_P.sub("</p><", text), "html.parser")
    for _, runs in groupby(_runs(soup), lambda run: id(run.place.group or run.place)):
        first, *others = runs
        sentences = [sentence for run in (first, *others) for sentence in _sentences_in(run)]
        yield Block(first_line + first.line - 1, tuple(sentences), first.place.kind == "heading")


def _runs(soup: BeautifulSoup) -> list[_Run]:
    """The runs of a page, without recursion: pages nest deeply."""
    places, arranging = {id(soup): _Place(soup)}, _arranging(soup)
    runs: list[_Run] = []
    line = 1
    for node in soup.descendants:
        place = places[id(node.parent)]
        text = "" if isinstance(node, PreformattedString) else str(node) if not isinstance(node, Tag) else None
        if isinstance(node, Tag):
            place = places[id(node)] = _place(node, place, arranging)
            line = node.sourceline or line
            cell = place.kind == "row" and node.name in ("td", "th")
            text = _CELL if cell else "" if node.name in _INLINE else " "
        if text and place.kind != "left out":
            if not runs or runs[-1].place is not place:
                runs.append(_Run(place, line, []))
            if not runs[-1].texts:
                runs[-1] = runs[-1]._replace(line=line)
            if runs[-1].texts or not text.isspace():
                runs[-1].texts.append(text)
    return runs


def _arranging(soup: BeautifulSoup) -> set[int]:
    """The tags that have a heading or a table inside, each by its identity."""
    found = {id(soup)}
    for tag in soup.find_all(["table", *HEADINGS]):
        above = tag.parent
        while above is not None and id(above) not in found:
            found.add(id(above))
            above = above.parent
    return found


def _place(tag: Tag, outer: _Place, arranging: Set[int]) -> _Place:
    if outer.kind == "left out" or tag.name in LEFT_OUT:
        return outer if outer.kind == "left out" else _Place(tag, "left out")
    if tag.name == "tr" and outer.group is not None and outer.group.name == "table":
        return _Place(tag, "row", outer.group)
    if outer.kind in ("row", "code") or tag.name not in _BLOCKS:
        return outer
    group = outer.group
    if group is None and tag.name in _GROUPS and id(tag) not in arranging:
        group = tag
    return _Place(tag, "heading" if tag.name in HEADINGS else "code" if tag.name == "pre" else "text", group)


def _sentences_in(run: _Run) -> tuple[str, ...]:
    text = "".join(run.texts)
    if run.place.kind == "row":
        before, *cells = text.split(_CELL)
        return whole(" | ".join([*whole(before), *cells]))
    return sentences_of(text) if run.place.kind == "text" else whole(text)
