"""Markdown and HTML as blocks of sentences; nothing in them is run or fetched."""

import re
import warnings
from collections.abc import Iterator, Sequence, Set
from itertools import groupby
from typing import Any, Literal, NamedTuple

from bs4 import BeautifulSoup, Tag
from bs4.element import PreformattedString
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
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
# These end an open paragraph, as paragraphs without end tags would nest otherwise.
_ENDS_P = re.compile(
    "<(?=(?:p|div|ul|ol|dl|menu|table|h[1-6]|pre|hr|blockquote|address|article|aside|center|details|dialog|fieldset"
    r"|figure|footer|form|header|hgroup|main|nav|search|section)[\s/>])",
    re.IGNORECASE,
)
_CELL = "\0"  # before each cell of a row; no file with this character is read
_LINE = "data-line"  # attribute of what was rendered from Markdown: its line there


class Block(NamedTuple):
    """A block of text: its first line, its sentences, and whether it is a heading."""

    line: int
    sentences: tuple[str, ...]
    is_heading: bool = False


def whole(text: str) -> tuple[str, ...]:
    """A text as one sentence, or as none if it has neither letter nor digit."""
    text = " ".join(text.split())
    return (text,) if re.search(r"\w", text) else ()


def sentences_of(text: str) -> tuple[str, ...]:
    """All sentences of a text; a rest without an end mark counts as one more."""
    text = " ".join(text.split())
    sentences, end = split_sentences(text), 0
    for sentence in sentences:
        end = text.index(sentence, end) + len(sentence)
    return (*sentences, *whole(text[end:]))


def markdown_blocks(text: str) -> Iterator[Block]:
    """The blocks of Markdown, from its HTML; any list or table is one, an image is its description."""
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        if token.map and token.nesting >= 0:
            token.attrSet(_LINE, str(token.map[0] + 1))
    soup = _parsed(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))
    return _blocks(soup, _arranging(soup) - set(map(id, soup.select(f"[{_LINE}]"))))


def _image(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    return escapeHtml(tokens[index].content)


def _html_inline(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    return " " if tokens[index].content.startswith("<br") else ""


def _html_block(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """HTML inside Markdown, all its tags closed, so that none includes what comes after."""
    soup = _parsed(tokens[index].content)
    for tag in soup.select(f"[{_LINE}]"):
        del tag[_LINE]
    return f'<wbr {_LINE}="{tokens[index].attrGet(_LINE)}">{soup.decode()}'


_MARKDOWN = MarkdownIt("commonmark", {"maxNesting": 10_000}).enable(["table", "strikethrough"])
for _rule in (_image, _html_inline, _html_block):
    _MARKDOWN.add_render_rule(_rule.__name__.removeprefix("_"), _rule)


class _Place(NamedTuple):
    """The place of a text in HTML: its block, the block's kind, and the list or table around it."""

    block: Tag
    kind: Literal["text", "heading", "row", "code", "left out"] = "text"
    group: Tag | None = None


class _Run(NamedTuple):
    """Texts in one place with no other block between, and the line of the tag before them."""

    place: _Place
    line: int
    texts: list[str]


def html_blocks(text: str) -> Iterator[Block]:
    """Headings and blocks of HTML: a paragraph, an outermost list with all its items, a table, or code.

    A table row and a piece of code are a sentence each. Scripts, styles, navigation and the head are left out. A list
    or table with headings or tables inside is layout, and no block.
    """
    soup = _parsed(text)
    for tag in soup.find_all(True):
        tag[_LINE] = str(tag.sourceline or 1)
    return _blocks(soup, _arranging(soup))


def _parsed(html: str) -> BeautifulSoup:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this may be XML, or the name of a file
        return BeautifulSoup(_ENDS_P.sub("</p><", html), "html.parser")


def _blocks(soup: BeautifulSoup, arranging: Set[int]) -> Iterator[Block]:
    for _, runs in groupby(_runs(soup, arranging), lambda run: id(run.place.group or run.place)):
        first, *others = runs
        sentences = [sentence for run in (first, *others) for sentence in _sentences_in(run)]
        yield Block(first.line, tuple(sentences), first.place.kind == "heading" and not first.place.group)


def _runs(soup: BeautifulSoup, arranging: Set[int]) -> list[_Run]:
    """The runs of a page, without recursion: pages nest deeply."""
    places, runs = {id(soup): _Place(soup)}, list[_Run]()
    line = 1
    for node in soup.descendants:
        place = places[id(node.parent)]
        text = "" if isinstance(node, PreformattedString) else str(node) if not isinstance(node, Tag) else None
        if isinstance(node, Tag):
            place = places[id(node)] = _place(node, place, arranging)
            line = int(str(node.get(_LINE) or line))
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
    if tag.name == "tr" and outer.group is not None:
        return _Place(tag, "row", outer.group)
    if outer.kind in ("row", "code") or tag.name not in _BLOCKS:
        return outer
    group = outer.group or (tag if tag.name in _GROUPS and id(tag) not in arranging else None)
    return _Place(tag, "heading" if tag.name in HEADINGS else "code" if tag.name == "pre" else "text", group)


def _sentences_in(run: _Run) -> tuple[str, ...]:
    text = "".join(run.texts)
    if run.place.kind == "row":
        before, *cells = text.split(_CELL)
        return whole(" | ".join([*whole(before), *cells]))
    return sentences_of(text) if run.place.kind == "text" else whole(text)
