"""The formats that documents come in, each read as blocks; nothing in a file is run, and no link is followed."""

import codecs
import json
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import mammoth
from pypdf import PageObject, PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from study.config import ParamsError
from study.documents.markup import Block, Part, html_blocks, markdown_blocks, whole
from study.documents.text import even, rejoined
from study.paths import is_file

LARGEST_MB, LARGEST_UNPACKED_MB = 50, 500
FEW = 50  # characters beside a picture, which is a scan then
UNEXPLAINED = 0.1  # share of a page's characters that no font explains, from which the page is left out
_BULLET = re.compile(r"\s*[-*+•\u2013]\s+")
_NUMBER = re.compile(r"\s*\(?\d{1,3}[.)]\s+")


class Source(NamedTuple):
    """The blocks of a file, and what of it was left out."""

    blocks: list[Block]
    left_out: str = ""


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


def text_blocks(text: str) -> Iterator[Block]:
    """Blocks of plain text, between blank lines; wrapped lines are joined, but not the items of a list."""
    for filled, block in groupby(text.split("\n"), lambda line: bool(line.strip())):
        if filled:
            yield Block(tuple(map(_part, _items(list(block)))))


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


def _pdf(path: Path) -> Source:
    """Each page's blocks; pypdf's own limits hold. Pages of pictures, or in a font that tells no letters, are named."""
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise FileNotDecryptedError
        pages = [(_page_text(page), page) for page in reader.pages]
        # Pictures are counted by their names: to decode them takes long, or a library.
        pictures = [k for k, (text, page) in enumerate(pages, 1) if len(text.strip()) < FEW and len(page.images)]
    except (MemoryError, RecursionError):
        raise
    except (FileNotDecryptedError, DependencyError):
        raise ParamsError(f"{path}: is encrypted; save it without a password") from None
    except Exception as error:  # pypdf raises many kinds
        what = f"{type(error).__name__}: {error}"
        raise ParamsError(f"{path}: cannot be read as PDF ({what}); fix it by printing it to a new PDF") from None
    garbled = [k for k, (text, _) in enumerate(pages, 1) if _unexplained(text) > UNEXPLAINED]
    reasons = {
        "pictures with hardly any text; run text recognition (OCR) first": pictures,
        "in a font that does not tell its letters; print it to a new PDF, or run text recognition (OCR)": garbled,
    }
    left_out = [f"page {', '.join(map(str, some))} of {len(pages)}: {why}" for why, some in reasons.items() if some]
    blocks = [b for k, (text, _) in enumerate(pages, 1) if k not in garbled for b in text_blocks(even(text))]
    return Source(blocks, "; ".join(left_out))


def _page_text(page: PageObject) -> str:
    """A page's text; letters outside the basic plane may come as two halves."""
    text = page.extract_text().encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", " ")


def _unexplained(text: str) -> float:
    """The share of a text's characters that are no known letters: of private use, replaced, or numbers of shapes."""
    shapes = sum(len(shape) for shape in re.findall(r"\(cid:\d+\)|/[gG]\d+", text))
    odd = sum(unicodedata.category(letter) in ("Co", "Cn", "Cc") and not letter.isspace() for letter in text)
    return (shapes + odd + text.count("\ufffd")) / max(1, len("".join(text.split())))


def _word(path: Path) -> Source:
    """The blocks of a Word file, by mammoth; its pictures are left out, and nothing that it links to is read."""
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist()) / 2**20
        html, said = "", []
        if size <= LARGEST_UNPACKED_MB:
            with path.open("rb") as file:
                images = mammoth.images.img_element(lambda _: {"src": ""})
                made = mammoth.convert_to_html(file, convert_image=images)
            html, said = made.value, made.messages
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # zipfile and mammoth raise many kinds
        what = f"{type(error).__name__}: {error}"
        raise ParamsError(f"{path}: cannot be read as a Word file ({what}); save it again as .docx") from None
    if size > LARGEST_UNPACKED_MB:
        raise ParamsError(f"{path}: unpacks to {size:.0f} MB, more than {LARGEST_UNPACKED_MB} MB; split it")
    blocks = [block for block in html_blocks(html) if whole(block.text)]
    pictures = html.count("<img ")
    ignored = sum("was ignored" in message.message for message in said)  # formulas and the like
    counts = {"pictures": pictures, "elements that are no text, such as formulas": ignored}
    return Source(blocks, ", ".join(f"{count} {what}" for what, count in counts.items() if count))


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
        yield Block((Part(even(title), whole=True),), is_heading=True)
        yield from text_blocks(even(text.replace("\0", " ")))


def _of_text(blocks: Callable[[str], Iterator[Block]]) -> Callable[[Path], Source]:
    return lambda path: Source(list(blocks(read_text(path))))


READERS: dict[str, Callable[[Path], Source]] = {
    ".txt": _of_text(lambda text: text_blocks(even(text))),
    **dict.fromkeys((".md", ".markdown"), _of_text(markdown_blocks)),
    **dict.fromkeys((".html", ".htm"), _of_text(html_blocks)),
    ".docx": _word,
    ".pdf": _pdf,
    ".jsonl": lambda path: Source(list(_jsonl_blocks(path))),
}
