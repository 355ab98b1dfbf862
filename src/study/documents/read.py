"""Users' own documents: a folder of text, Markdown, HTML, PDF and JSONL files, read block by block.

Nothing is lost and no sentence is altered, except for white space and layout marks.
"""

import codecs
import json
import os
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from bs4.exceptions import ParserRejectedMarkup
from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from study.config import ParamsError
from study.documents.markup import Block, html_blocks, markdown_blocks, sentences_of, whole
from study.limits import Exceeded, limited
from study.paths import is_file, is_folder

LARGEST_MB = 50
MOST_SECONDS, MOST_GIGABYTES = 120, 4  # that a file may take to read
_BULLET = re.compile(r"\s*[-*+•\u2013]\s+")
_NUMBER = re.compile(r"\s*\(?\d{1,3}[.)]\s+")


class Passage(NamedTuple):
    """A block of text of a document.

    Attributes:
        file: path relative to the folder, with forward slashes.
        line: where it begins: its line, the page of a PDF, the record's line in JSONL.
        heading: the one above it; "" if there is none.
        sentences: at least one.
    """

    file: str
    line: int
    heading: str
    sentences: tuple[str, ...]


def read_documents(folder: Path) -> list[Passage]:
    """The passages of all files in a folder and its subfolders, sorted by path; hidden ones are left out.

    A heading without a block of its own is a passage itself.

    Raises:
        ParamsError: naming the file, and the line if there is one, that cannot be read, and the remedy.
    """
    passages: list[Passage] = []
    for path in _files(folder):
        found = _under_headings(path.relative_to(folder).as_posix(), _read(path))
        if not found:
            scanned = "; if it was scanned, run text recognition (OCR) first" if path.suffix.lower() == ".pdf" else ""
            raise ParamsError(f"{path}: holds no text{scanned}; move it out of the folder if it has none")
        passages += found
    return passages


def _files(folder: Path) -> list[Path]:
    """The documents of a folder, all checked before any is read."""
    if not is_folder(folder):
        what = "is a file" if is_file(folder) else "no such folder"
        raise ParamsError(f"{folder}: {what}; give the folder that your documents are in")
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_cannot_be_listed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent, name) for name in folders):
            if path.is_symlink():
                raise ParamsError(f"{path}: a link to a folder; put the folder itself in its place, or remove the link")
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    if not found:
        raise ParamsError(f"{folder}: holds no document; put files in it that end in {', '.join(READERS)}")
    for path in found:
        _check_file(path, folder)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _cannot_be_listed(error: OSError) -> None:
    raise ParamsError(f"{error.filename}: cannot be read: {error.strerror}; make the folder readable") from None


def _check_file(path: Path, folder: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise ParamsError(f"{path}: a link that leads out of the folder; put a copy of the file in its place")
    if path.suffix.lower() not in READERS:
        kind = f"files that end in {path.suffix!r}" if path.suffix else "files without an ending"
        raise ParamsError(
            f"{path}: {kind} are not read, only {', '.join(READERS)}; move it out of the folder or convert it"
        )
    check_size(path)


def check_size(path: Path) -> None:
    """Check a file's size before it is opened.

    Raises:
        ParamsError: if it is no file or too large.
    """
    if not is_file(path):
        raise ParamsError(f"{path}: no such file; give the path of a file")
    size = path.stat().st_size / 2**20
    if size > LARGEST_MB:
        raise ParamsError(f"{path}: has {size:.0f} MB, more than the {LARGEST_MB} MB that are read; split it")


def _read(path: Path) -> list[Block]:
    try:
        with limited(MOST_SECONDS, MOST_GIGABYTES):
            return list(READERS[path.suffix.lower()](path))
    except Exceeded as error:
        problem = f"{error} to read; split it, or save it in a simpler form"
    except RecursionError:
        problem = "lists, quotes or brackets nest too deeply; flatten them"
    except ParserRejectedMarkup as error:
        what = str(error.args[0]).splitlines()[-1].strip()
        problem = f"cannot be read as HTML ({what}); fix it or save it again"
    raise ParamsError(f"{path}: {problem}")


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without byte order mark, its lines ended by a line feed.

    Raises:
        ParamsError: if it cannot be read or is no text, naming the line.
    """
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        text = data.decode("utf-8")
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}; make the file readable") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ParamsError(
            f"{path}, line {line}: byte {data[error.start]:#04x} is no UTF-8; save the file as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ParamsError(f"{path}, line {line}: holds a NUL byte, so it is no text; convert it to UTF-8 text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text_blocks(text: str, line: int | None = None) -> Iterator[Block]:
    """Blocks of plain text, between blank lines; `line` is given to all of them instead of their own.

    Wrapped lines are joined, but not the items of a list.
    """
    numbered = enumerate(text.split("\n"), 1)
    for filled, block in groupby(numbered, lambda pair: bool(pair[1].strip())):
        if filled:
            begin, first = next(block)
            items = _items([first, *(bare for _, bare in block)])
            yield Block(line or begin, tuple(s for item in items for s in _item_sentences(item)))


def _items(lines: list[str]) -> list[str]:
    """A block's lines as items, if it is a list or has one after a colon; else all of them in one."""
    items: list[list[str]] = []
    listed = False
    for line in lines:
        marked = _BULLET.match(line) or _NUMBER.match(line)
        begins = marked and (listed or not items or items[-1][-1].rstrip().endswith(":"))
        listed = listed or bool(begins)
        if begins or not items:
            items.append([])
        items[-1].append(line)
    return ["\n".join(item) for item in items]


def _item_sentences(item: str) -> tuple[str, ...]:
    """The sentences of an item; its number, whose full stop ends none, stays with the first."""
    number = _NUMBER.match(item)
    if not number:
        return sentences_of(_BULLET.sub("", item, count=1) if _BULLET.match(item) else item)
    first, *others = sentences_of(item[number.end() :]) or ("",)
    return (*whole(f"{number[0]} {first}"), *others)


def _pdf_blocks(path: Path) -> Iterator[Block]:
    """Each page's blocks; pypdf's own limits hold."""
    try:
        reader = PdfReader(path)
        pages = None if reader.is_encrypted else [page.extract_text() for page in reader.pages]
    except (FileNotDecryptedError, DependencyError):
        pages = None
    except Exception as error:  # pypdf raises many kinds
        what = f"{type(error).__name__}: {error}"
        raise ParamsError(f"{path}: cannot be read as PDF ({what}); fix it by printing it to a new PDF") from None
    if pages is None:
        raise ParamsError(f"{path}: is encrypted; save it without a password")
    for number, page in enumerate(pages, 1):
        # Letters outside the basic plane may come as two halves.
        text = page.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", " ")
        yield from text_blocks(text, number)


def read_records(path: Path) -> Iterator[tuple[int, dict[str, object] | str]]:
    """The lines of a JSONL file that are not blank, by number: an object each, or its problem."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            json.dumps(record, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            yield number, "holds half a character (a lone surrogate); fix its \\u escapes"
        except (ValueError, RecursionError) as error:
            yield number, f"is no JSON ({error}); write one object a line"
        else:
            yield number, record if isinstance(record, dict) else f"holds a {type(record).__name__}, no JSON object"


def _jsonl_blocks(path: Path) -> Iterator[Block]:
    """Each record's blocks; its title is their heading, other keys are not read."""
    for number, record in read_records(path):
        if isinstance(record, str):
            raise ParamsError(f"{path}, line {number}: {record}; a record is an object with the key 'text'")
        text, title = record.get("text"), record.get("title") or ""
        if not isinstance(text, str) or not whole(text):
            raise ParamsError(f"{path}, line {number}: holds no text; give the key 'text' a text")
        if not isinstance(title, str):
            raise ParamsError(f"{path}, line {number}: title = {title!r} is no text; write it in quotes")
        yield Block(number, whole(title), is_heading=True)
        yield from text_blocks(text.replace("\0", " "), number)


def _under_headings(file: str, blocks: list[Block]) -> list[Passage]:
    """Blocks as passages, each with the heading last seen."""
    passages: list[Passage] = []
    heading, unused = "", None
    for block in [*blocks, Block(0, (), is_heading=True)]:
        if block.is_heading:
            if unused:
                passages.append(Passage(file, unused.line, "", unused.sentences))
            heading, unused = " ".join(block.sentences), block if block.sentences else None
        elif block.sentences:
            passages.append(Passage(file, block.line, heading, block.sentences))
            unused = None
    return passages


READERS: dict[str, Callable[[Path], Iterator[Block]]] = {
    ".txt": lambda path: text_blocks(read_text(path)),
    **dict.fromkeys((".md", ".markdown"), lambda path: markdown_blocks(read_text(path))),
    **dict.fromkeys((".html", ".htm"), lambda path: html_blocks(read_text(path))),
    ".pdf": _pdf_blocks,
    ".jsonl": _jsonl_blocks,
}
