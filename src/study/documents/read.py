"""Users' own documents: a folder of text, Markdown, HTML, Word, PDF and JSONL files, read block by block.

Nothing is lost without a word, and no sentence is altered but for white space, layout marks, ligatures, invisible
characters and words that a line's end cuts in two.
"""

import codecs
import json
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from xml.parsers.expat import ExpatError

import mammoth
from bs4.exceptions import ParserRejectedMarkup
from pypdf import PageObject, PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from study.config import ParamsError
from study.digest import sha256_of
from study.documents.markup import Block, Part, html_blocks, markdown_blocks, whole
from study.documents.text import even, language_of, rejoined
from study.limits import Exceeded, limited
from study.paths import is_file, is_folder

LARGEST_MB, LARGEST_UNPACKED_MB = 50, 500
MOST_SECONDS, MOST_GIGABYTES = 120, 4  # that a file may take to read
MOST_SHOWN = 20
LONGEST = 1500  # characters of a passage; a longer block is cut between sentences
UNEXPLAINED = 0.1  # share of a page's characters that no font explains, from which the page is left out
_BULLET = re.compile(r"\s*[-*+•\u2013]\s+")
_NUMBER = re.compile(r"\s*\(?\d{1,3}[.)]\s+")


class Passage(NamedTuple):
    """A block of text of a document.

    Attributes:
        file: path relative to the folder, with forward slashes, in composed characters.
        line: where it begins: its line, the page of a PDF, the block of a Word file, the record's line in JSONL.
        heading: the one above it; "" if there is none.
        sentences: at least one.
    """

    file: str
    line: int
    heading: str
    sentences: tuple[str, ...]


class FileRead(NamedTuple):
    """What was read of a file.

    Attributes:
        file: as in its passages.
        language: of its text, an ISO 639-1 code.
        passages: how many.
        sentences: how many.
        characters: of its sentences.
        left_out: what was not read, and why; "" if nothing.
    """

    file: str
    language: str
    passages: int
    sentences: int
    characters: int
    left_out: str


class Reading(NamedTuple):
    """The passages of a folder, sorted by path, and what was read of each of its files."""

    passages: tuple[Passage, ...]
    files: tuple[FileRead, ...]


class _Source(NamedTuple):
    """The blocks of a file, and what of it was left out."""

    blocks: list[Block]
    left_out: str = ""


def read_documents(folder: Path) -> list[Passage]:
    """The passages of all files in a folder and its subfolders, sorted by path; hidden ones are left out.

    Raises:
        ParamsError: as `read_folder`.
    """
    return list(read_folder(folder).passages)


def read_folder(folder: Path) -> Reading:
    """All files of a folder and its subfolders, each read once in a process; hidden ones are left out.

    A heading without a block of its own is a passage itself.

    Raises:
        ParamsError: naming each file that cannot be read, the line if there is one, and the remedy.
    """
    found: list[tuple[FileRead, tuple[Passage, ...]]] = []
    problems = []
    for path in _files(folder):
        try:
            name = unicodedata.normalize("NFC", path.relative_to(folder).as_posix())
            found.append(_file_read(path, name, sha256_of(path)))
        except ParamsError as error:
            problems.append(str(error))
    _refuse(folder, problems)
    return Reading(tuple(passage for _, passages in found for passage in passages), tuple(file for file, _ in found))


def _refuse(folder: Path, problems: list[str]) -> None:
    if len(problems) == 1:
        raise ParamsError(problems[0])
    if problems:
        more = [f"... and {len(problems) - MOST_SHOWN} more"] if len(problems) > MOST_SHOWN else []
        lines = [f"{folder}: {len(problems)} documents cannot be read", *problems[:MOST_SHOWN], *more]
        raise ParamsError("\n  ".join(lines))


@cache
def _file_read(path: Path, file: str, _sha256: str) -> tuple[FileRead, tuple[Passage, ...]]:
    source = _read(path)
    language = language_of("\n".join(block.text for block in source.blocks))
    passages = tuple(_under_headings(file, source.blocks, language))
    if not passages:
        why = f" ({source.left_out})" if source.left_out else ""
        scanned = "; if it was scanned, run text recognition (OCR) first" if path.suffix.lower() == ".pdf" else ""
        raise ParamsError(f"{path}: holds no text{why or scanned}; move it out of the folder if it has none")
    sentences = [sentence for passage in passages for sentence in passage.sentences]
    counts = len(passages), len(sentences), sum(map(len, sentences))
    return FileRead(file, language, *counts, source.left_out), passages


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
    _refuse(folder, [problem for path in sorted(found) for problem in _problems(path, folder)])
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _cannot_be_listed(error: OSError) -> None:
    raise ParamsError(f"{error.filename}: cannot be read: {error.strerror}; make the folder readable") from None


def _problems(path: Path, folder: Path) -> Iterator[str]:
    """Why a file cannot be opened, or need not be."""
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        yield f"{path}: a link that leads out of the folder; put a copy of the file in its place"
    elif path.suffix.lower() not in READERS:
        kind = f"files that end in {path.suffix!r}" if path.suffix else "files without an ending"
        yield f"{path}: {kind} are not read, only {', '.join(READERS)}; move it out of the folder or convert it"
    else:
        try:
            check_size(path)
        except ParamsError as error:
            yield str(error)


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


def _read(path: Path) -> _Source:
    try:
        with limited(MOST_SECONDS, MOST_GIGABYTES):
            return READERS[path.suffix.lower()](path)
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
            yield Block(line or begin, tuple(map(_part, items)))


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


def _part(item: str) -> Part:
    """An item without its bullet; its number is kept apart."""
    if number := _NUMBER.match(item):
        return Part(rejoined(item[number.end() :]), number[0].strip())
    return Part(rejoined(_BULLET.sub("", item, count=1) if _BULLET.match(item) else item))


def _pdf(path: Path) -> _Source:
    """Each page's blocks; pypdf's own limits hold. Pages of pictures, or in a font that tells no letters, are named."""
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise FileNotDecryptedError
        pages = [(_page_text(page), page) for page in reader.pages]
        pictures = [k for k, (text, page) in enumerate(pages, 1) if not text.strip() and _has_picture(page)]
    except (FileNotDecryptedError, DependencyError):
        raise ParamsError(f"{path}: is encrypted; save it without a password") from None
    except Exception as error:  # pypdf raises many kinds
        what = f"{type(error).__name__}: {error}"
        raise ParamsError(f"{path}: cannot be read as PDF ({what}); fix it by printing it to a new PDF") from None
    garbled = [k for k, (text, _) in enumerate(pages, 1) if _unexplained(text) > UNEXPLAINED]
    reasons = {
        "pictures without text; run text recognition (OCR) first": pictures,
        "in a font that does not tell its letters; print it to a new PDF, or run text recognition (OCR)": garbled,
    }
    left_out = [f"page {', '.join(map(str, some))} of {len(pages)}: {why}" for why, some in reasons.items() if some]
    blocks = [b for k, (text, _) in enumerate(pages, 1) if k not in garbled for b in text_blocks(even(text), k)]
    return _Source(blocks, "; ".join(left_out))


def _page_text(page: PageObject) -> str:
    """A page's text; letters outside the basic plane may come as two halves."""
    text = page.extract_text().encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", " ")


def _has_picture(page: PageObject) -> bool:
    return any(True for _ in page.images)


def _unexplained(text: str) -> float:
    """The share of a text's characters that are no known letters: of private use, replaced, or numbers of shapes."""
    shapes = sum(len(shape) for shape in re.findall(r"\(cid:\d+\)|/[gG]\d+", text))
    odd = sum(unicodedata.category(letter) in ("Co", "Cn", "Cc") and not letter.isspace() for letter in text)
    return (shapes + odd + text.count("\ufffd")) / max(1, len("".join(text.split())))


def _word(path: Path) -> _Source:
    """The blocks of a Word file, by mammoth; its pictures are left out, and nothing that it links to is read."""
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist()) / 2**20
        if size > LARGEST_UNPACKED_MB:
            raise ParamsError(f"{path}: unpacks to {size:.0f} MB, more than {LARGEST_UNPACKED_MB} MB; split it")
        with path.open("rb") as file:
            html = mammoth.convert_to_html(file, convert_image=mammoth.images.img_element(lambda _: {"src": ""})).value
    except (zipfile.BadZipFile, KeyError, ValueError, ExpatError) as error:
        raise ParamsError(f"{path}: cannot be read as a Word file ({error}); save it again as .docx") from None
    blocks = [block._replace(line=k) for k, block in enumerate(filter(_says, html_blocks(even(html))), 1)]
    pictures = html.count("<img ")
    return _Source(blocks, f"{pictures} pictures" if pictures else "")


def _says(block: Block) -> bool:
    return bool(whole(block.text))


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
        yield Block(number, (Part(even(title), whole=True),), is_heading=True)
        yield from text_blocks(even(text.replace("\0", " ")), number)


def _under_headings(file: str, blocks: list[Block], language: str) -> Iterator[Passage]:
    """Blocks as passages, each with the heading last seen."""
    heading, unused = "", None
    for block in [*blocks, Block(0, (), is_heading=True)]:
        sentences = tuple(sentence for part in block.parts for sentence in part.sentences(language))
        if block.is_heading:
            if unused:
                yield unused
            heading = " ".join(sentences)
            unused = Passage(file, block.line, "", sentences) if sentences else None
        elif sentences:
            yield from (Passage(file, block.line, heading, some) for some in _pieces(sentences))
            unused = None


def _pieces(sentences: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Sentences in pieces, none of which is longer than a passage may be if it has more than one."""
    begin = 0
    for end in range(1, len(sentences) + 1):
        if end == len(sentences) or sum(map(len, sentences[begin : end + 1])) > LONGEST:
            yield sentences[begin:end]
            begin = end


def _of_text(blocks: Callable[[str], Iterator[Block]]) -> Callable[[Path], _Source]:
    return lambda path: _Source(list(blocks(even(read_text(path)))))


READERS: dict[str, Callable[[Path], _Source]] = {
    ".txt": _of_text(text_blocks),
    **dict.fromkeys((".md", ".markdown"), _of_text(markdown_blocks)),
    **dict.fromkeys((".html", ".htm"), _of_text(html_blocks)),
    ".docx": _word,
    ".pdf": _pdf,
    ".jsonl": lambda path: _Source(list(_jsonl_blocks(path))),
}
