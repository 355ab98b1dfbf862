"""Users' own documents: a folder of text, Markdown, HTML, Word, PDF and JSONL files, read block by block.

Nothing is lost without a word, and no sentence is altered but for white space, layout marks, ligatures, invisible
characters and words that a line's end cuts in two.
"""

import hashlib
import json
import os
import time
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bs4.exceptions import ParserRejectedMarkup

from study.config import ParamsError
from study.digest import sha256_of
from study.documents.formats import READERS, Source, check_size
from study.documents.markup import Block
from study.documents.text import language_of
from study.limits import Exceeded, limited
from study.paths import ROOT, is_file, is_folder

MOST_SECONDS, MOST_GIGABYTES = 120, 4  # that a file may take to read
MOST_SHOWN = 20
SILENT_SECONDS = 5  # before it is said how far reading has come
KEPT = ROOT / "build" / "documents"
LIBRARIES = ("beautifulsoup4", "ftfy", "mammoth", "markdown-it-py", "py3langid", "pypdf", "sentencex")
LONGEST = 1500  # characters of a passage; a longer block is cut between sentences


class Passage(NamedTuple):
    """A block of text of a document.

    Attributes:
        file: path relative to the folder, with forward slashes, in composed characters.
        heading: the one above it; "" if there is none.
        sentences: at least one.
    """

    file: str
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


def read_folder(folder: Path) -> Reading:
    """All files of a folder and its subfolders, each read once in a process; hidden ones are left out.

    A heading without a block of its own is a passage itself.

    Raises:
        ParamsError: naming each file that cannot be read, the line if there is one, and the remedy.
    """
    found: list[tuple[FileRead, tuple[Passage, ...]]] = []
    problems, said, paths = [], time.monotonic(), _files(folder)
    for number, path in enumerate(paths):
        if time.monotonic() > said + SILENT_SECONDS:
            said = time.monotonic()
            print(f"  {number} of {len(paths)} documents read", flush=True)
        try:
            name = unicodedata.normalize("NFC", path.relative_to(folder).as_posix())
            found.append(_file_read(path, name, sha256_of(path)))
        except ParamsError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{path}: cannot be read: {error.strerror}; make the file readable")
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
def _file_read(path: Path, file: str, sha256: str) -> tuple[FileRead, tuple[Passage, ...]]:
    """What a file holds; kept on the disk for the other processes of a study, as long as no reader changes."""
    named = hashlib.sha256("\n".join((path.suffix, file, sha256, _readers())).encode()).hexdigest()
    with suppress(OSError, ValueError, TypeError):
        about, passages = json.loads((KEPT / f"{named}.json").read_text(encoding="utf-8"))
        return FileRead(*about), tuple(Passage(name, head, tuple(said)) for name, head, said in passages)
    found = _file_read_now(path, file)
    with suppress(OSError):
        KEPT.mkdir(parents=True, exist_ok=True)
        part = KEPT / f"{named}.{os.getpid()}"
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(KEPT / f"{named}.json")
    return found


@cache
def _readers() -> str:
    """What decides how files are read: this folder's modules, and the versions of the libraries that they call."""
    modules = [sha256_of(module) for module in sorted(Path(__file__).parent.glob("*.py"))]
    return " ".join([*modules, *(version(library) for library in LIBRARIES)])


def _file_read_now(path: Path, file: str) -> tuple[FileRead, tuple[Passage, ...]]:
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


def _read(path: Path) -> Source:
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


def _under_headings(file: str, blocks: list[Block], language: str) -> Iterator[Passage]:
    """Blocks as passages, each with the heading last seen."""
    heading, unused = "", None
    for block in [*blocks, Block((), is_heading=True)]:
        sentences = tuple(sentence for part in block.parts for sentence in part.sentences(language))
        if block.is_heading:
            if unused:
                yield unused
            heading = " ".join(sentences)
            unused = Passage(file, "", sentences) if sentences else None
        elif sentences:
            yield from (Passage(file, heading, some) for some in _pieces(sentences))
            unused = None


def _pieces(sentences: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Sentences in pieces, none of which is longer than a passage may be if it has more than one."""
    begin = 0
    for end in range(1, len(sentences) + 1):
        if end == len(sentences) or sum(map(len, sentences[begin : end + 1])) > LONGEST:
            yield sentences[begin:end]
            begin = end
