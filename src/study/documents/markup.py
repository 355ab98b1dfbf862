"""Markdown and HTML as blocks of sentences; nothing in them is run or fetched."""

import re
import tomllib
import warnings
from collections.abc import Iterator, Sequence, Set
from itertools import groupby
from typing import Any, Literal, NamedTuple

import yaml
from bs4 import BeautifulSoup, Tag
from bs4.element import PreformattedString
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

from study.documents.text import even, rejoined, sentences_in

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
_BREAKS = re.compile(r"<br\s*/?>(?:\s*<br\s*/?>)+", re.IGNORECASE)  # an empty line, between paragraphs
_CELL = "\0"  # before each cell of a row; no file with this character is read
_RENDERED = "data-rendered"  # attribute of what was rendered from Markdown


class Part(NamedTuple):
    """A part of a block: its text, the number of a list's item before it, and whether it is one sentence as it is."""

    text: str
    number: str = ""
    whole: bool = False

    def sentences(self, language: str) -> tuple[str, ...]:
        """Its sentences by the rules of a language; the full stop of its number ends none."""
        if self.whole:
            return whole(self.text)
        first, *others = sentences_in(self.text, language) or ("",)
        return (*whole(f"{self.number} {first}"), *others)


class Block(NamedTuple):
    """A block of text: its parts, and whether it is a heading."""

    parts: tuple[Part, ...]
    is_heading: bool = False

    @property
    def text(self) -> str:
        """All its text."""
        return " ".join(" ".join(f"{part.number} {part.text}".split()) for part in self.parts)


def whole(text: str) -> tuple[str, ...]:
    """A text as one sentence, or as none if it has neither letter nor digit."""
    text = " ".join(text.split())
    return (text,) if re.search(r"\w", text) else ()


def without_front_matter(text: str) -> str:
    """Markdown without the YAML or TOML that it begins with, which is about the page and not on it."""
    found = re.match(r"(---|\+\+\+)[^\S\n]*\n(.*?\n)\1[^\S\n]*(?:\n|\Z)", text, re.DOTALL)
    try:
        about = (tomllib.loads if found[1] == "+++" else yaml.safe_load)(found[2]) if found else None
    except (yaml.YAMLError, tomllib.TOMLDecodeError, ValueError, RecursionError):
        about = None
    return text[found.end() :] if found and isinstance(about, dict) else text


def markdown_blocks(text: str) -> Iterator[Block]:
    """The blocks of Markdown, from its HTML; any list or table is one, an image is its description."""
    tokens = _MARKDOWN.parse(without_front_matter(text))
    for token in tokens:
        if token.map and token.nesting >= 0:
            token.attrSet(_RENDERED, "")
    soup = _parsed(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))
    return _blocks(soup, _arranging(soup) - set(map(id, soup.select(f"[{_RENDERED}]"))))


def _image(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    return escapeHtml(tokens[index].content)


def _html_inline(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    return " " if tokens[index].content.startswith("<br") else ""


def _html_block(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """HTML inside Markdown, all its tags closed, so that none includes what comes after."""
    soup = _parsed(tokens[index].content)
    for tag in soup.select(f"[{_RENDERED}]"):
        del tag[_RENDERED]
    return str(soup)


_MARKDOWN = MarkdownIt("commonmark", {"maxNesting": 10_000}).enable(["table", "strikethrough"])
for _rule in (_image, _html_inline, _html_block):
    _MARKDOWN.add_render_rule(_rule.__name__.removeprefix("_"), _rule)


class _Place(NamedTuple):
    """The place of a text in HTML: its block, the block's kind, and the list or table around it."""

    block: Tag
    kind: Literal["text", "heading", "row", "code", "left out"] = "text"
    group: Tag | None = None


class _Run(NamedTuple):
    """Texts in one place with no other block between."""

    place: _Place
    texts: list[str]


def html_blocks(text: str) -> Iterator[Block]:
    """Headings and blocks of HTML: a paragraph, an outermost list with all its items, a table, or code.

    A table row and a piece of code are a sentence each. Scripts, styles, navigation and the head are left out. A list
    or table with headings or tables inside is layout, and no block.
    """
    soup = _parsed(text)
    return _blocks(soup, _arranging(soup))


def _parsed(html: str) -> BeautifulSoup:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this may be XML, or the name of a file
        return BeautifulSoup(_ENDS_P.sub("</p><", _BREAKS.sub("</p><p>", html)), "html.parser")


def _blocks(soup: BeautifulSoup, arranging: Set[int]) -> Iterator[Block]:
    for _, runs in groupby(_runs(soup, arranging), lambda run: id(run.place.group or run.place)):
        first, *others = runs
        parts = tuple(map(_part, (first, *others)))
        yield Block(parts, first.place.kind == "heading" and not first.place.group)


def _runs(soup: BeautifulSoup, arranging: Set[int]) -> list[_Run]:
    """The runs of a page, without recursion: pages nest deeply."""
    places, runs = {id(soup): _Place(soup)}, list[_Run]()
    for node in soup.descendants:
        place = places[id(node.parent)]
        text = "" if isinstance(node, PreformattedString) else str(node) if not isinstance(node, Tag) else None
        if isinstance(node, Tag):
            place = places[id(node)] = _place(node, place, arranging)
            cell = place.kind == "row" and node.name in ("td", "th")
            text = _CELL if cell else "" if node.name in _INLINE else " "
        if text and place.kind != "left out":
            if not runs or runs[-1].place is not place:
                runs.append(_Run(place, []))
            if runs[-1].texts or not text.isspace():
                runs[-1].texts.append(text)
    return runs


def _arranging(soup: BeautifulSoup) -> set[int]:
    """The tags that have a heading, a table or a layout's cell inside, each by its identity."""
    found = {id(soup)}
    cells = [cell for cell in soup.find_all("td") if _is_layout(cell)]
    for tag in [*soup.find_all(["table", *HEADINGS]), *cells]:
        above = tag if tag.name == "td" else tag.parent
        while above is not None and id(above) not in found:
            found.add(id(above))
            above = above.parent
    return found


def _is_layout(cell: Tag) -> bool:
    """Whether a cell holds several blocks: a row's only cell two of them, else three.

    A table with heads, or of several rows of as many cells each, holds data.
    """
    table, row = cell.find_parent("table"), cell.find_parent("tr")
    if table is None or row is None or table.find(["th", "thead", "caption"]):
        return False
    rows = [tag for tag in table.find_all("tr") if tag.find_parent("table") is table]
    widths = {len([tag for tag in other.find_all("td") if tag.find_parent("tr") is other]) for other in rows}
    if len(rows) > 1 and len(widths) == 1 and widths != {1}:
        return False
    inside = cell.find_all(["p", "li", "dd", "blockquote", "pre", "div"])
    blocks = [tag for tag in inside if tag.find_parent("td") is cell]
    own = any(isinstance(node, str) and node.strip() for node in cell.children)
    alone = [tag for tag in row.find_all("td") if tag.find_parent("tr") is row] == [cell]
    return len(blocks) + own > (1 if alone else 2)


def _place(tag: Tag, outer: _Place, arranging: Set[int]) -> _Place:
    if outer.kind == "left out" or tag.name in LEFT_OUT:
        return outer if outer.kind == "left out" else _Place(tag, "left out")
    if tag.name == "tr" and outer.group is not None:
        return _Place(tag, "row", outer.group)
    if outer.kind in ("row", "code") or tag.name not in _BLOCKS:
        return outer
    group = outer.group or (tag if tag.name in _GROUPS and id(tag) not in arranging else None)
    return _Place(tag, "heading" if tag.name in HEADINGS else "code" if tag.name == "pre" else "text", group)


def _part(run: _Run) -> Part:
    text = "".join(run.texts)
    if run.place.kind == "row":
        before, *cells = (" ".join(cell.split()) for cell in text.split(_CELL))
        text = " | ".join([*whole(before), *cells])
    text = even(text)
    return Part(rejoined(text) if run.place.kind == "text" else text, whole=run.place.kind in ("row", "code"))
