"""What may go into the site of what lies in results: text, tables and pictures; never a program, never another file.

A results folder may come from somewhere else. So of an executed notebook the words are those of the notebook in this
repository, and its outputs are reduced to plain text, pictures, and the HTML of tables.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
from bleach.css_sanitizer import CSSSanitizer
from bleach.sanitizer import Cleaner
from bs4 import BeautifulSoup
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, parse
from markdown_it import MarkdownIt

from study.config import ParamsError
from study.paths import NOTEBOOKS, shown

TAGS = frozenset("div p br hr h3 h4 h5 h6 ul ol li strong em code pre img a".split())
TAGS |= frozenset("table thead tbody tfoot tr th td caption".split())
PNG = "data:image/png;base64,"
WORDLESS = ("script", "style", "template", "iframe", "object", "noscript")  # what is in them is no text
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
# What Markdown can do besides text: HTML, and MyST's directives, roles and settings.
_LIVE = re.compile(r"<[a-z!/?]|^\s*(?:`{3,}|~{3,}|:{3,})\s*\{|\{[\w:-]+\}`|^myst:", re.IGNORECASE | re.MULTILINE)
_SVG, _INERT = "{http://www.w3.org/2000/svg}", ("rdf-syntax-ns#", "creativecommons.org/ns#", "purl.org/dc/elements")
_DRAWN = frozenset("svg g path defs clipPath rect use style metadata text tspan title desc image line circle".split())
_DRAWN |= frozenset("polygon polyline ellipse marker pattern linearGradient radialGradient stop".split())


def _allowed(tag: str, name: str, value: str) -> bool:
    if name in ("class", "border", "colspan", "rowspan", "halign", "valign", "style", "alt"):
        return True
    return (name == "src" and value.startswith(PNG)) or (name == "href" and value.startswith(("https://", "http://")))


_CLEANER = Cleaner(
    tags=TAGS,
    attributes=_allowed,
    protocols=("data", "http", "https"),
    css_sanitizer=CSSSanitizer(allowed_css_properties=["text-align"], allowed_svg_properties=[]),
    strip=True,
)


def clean_html(html: str) -> str:
    """HTML of text, tables and embedded pictures; everything else is taken out."""
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(WORDLESS):
        tag.decompose()
    cleaned: str = _CLEANER.clean(str(soup))
    return cleaned


def html_of(markdown: str) -> str:
    """Markdown as HTML, HTML in it as text; its headings below those of a page."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        elif token.type == "table_open":
            token.attrSet("class", "docutils")
    return clean_html(reader.renderer.render(tokens, reader.options, {}))


def harmless(path: Path) -> nbformat.NotebookNode:
    """An executed notebook of the repository with nothing in it but its words, its code, and clean outputs.

    Raises:
        ParamsError: if it is no notebook, or its words are not those of the notebook in the repository.
    """
    notebook, source = _read(path), _read(NOTEBOOKS / path.name)
    words = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    own = [cell.source for cell in source.cells if cell.cell_type == "markdown"]
    if words != own:
        number = next((k for k, (one, other) in enumerate(zip(words, own, strict=False)) if one != other), len(own))
        raise ParamsError(
            f"{shown(path)}: its text {number + 1} is not that of notebooks/{path.name}; `make reproduce` makes it anew"
        )
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        cell.metadata = nbformat.NotebookNode()
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            cell.outputs = [clean for output in cell.outputs if (clean := _output(output))]
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type in ("code", "markdown")]
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # of whatever version it says to be
        raise ParamsError(
            f"{shown(path)}: no notebook ({type(error).__name__}: {str(error)[:200]}); `make reproduce` makes it anew"
        ) from None
    return notebook


def _output(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """An output of text, a picture or a table; None if it is of another kind."""
    if output.output_type in ("stream", "error"):
        return output
    data: dict[str, Any] = output.data
    if "text/markdown" in data:
        data["text/html"] = html_of(data["text/markdown"])
    elif "text/html" in data:
        data["text/html"] = clean_html(data["text/html"])
    output.data = nbformat.from_dict({k: v for k, v in data.items() if k in ("text/plain", "text/html", "image/png")})
    output.metadata = nbformat.NotebookNode()
    return output if output.data else None


def plain_markdown(text: str, path: Path) -> str:
    """A page of results that is Markdown and no more than that.

    Raises:
        ParamsError: if HTML or a directive is in it.
    """
    if found := _LIVE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ParamsError(f"{shown(path)}, line {line}: {found[0].strip()!r} is more than Markdown; make the page anew")
    return text


def still(svg: Path) -> Path:
    """A drawing that neither runs nor fetches anything.

    Raises:
        ParamsError: naming what is more than a drawing.
    """
    try:
        elements = list(parse(svg, forbid_entities=True).iter())
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise ParamsError(f"{shown(svg)}: no drawing ({error!r}); `make figures` makes it anew") from None
    for element in elements:
        tag = str(element.tag)
        inert = any(namespace in tag for namespace in _INERT)
        for name, value in element.attrib.items():
            bare = name.rpartition("}")[2].lower()
            reference = bare in ("href", "src") and not inert and not value.startswith(("#", PNG))
            if bare.startswith("on") or reference:
                raise ParamsError(f"{shown(svg)}: {bare} = {value[:80]!r} is no drawing; `make figures` makes it anew")
        fetches = tag == f"{_SVG}style" and re.search(r"@import|url\(", element.text or "")
        if not inert and (fetches or tag.removeprefix(_SVG) not in _DRAWN):
            raise ParamsError(f"{shown(svg)}: <{tag.rpartition('}')[2]}> is no drawing; `make figures` makes it anew")
    return svg
