"""Users' own questions, from a CSV or JSONL file, and drafts of such a file for a user to edit."""

import csv
import io
import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count
from operator import itemgetter
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple

import pandas as pd

from study.config import ParamsError
from study.documents.formats import check_size, read_records, read_text

COLUMNS = ("id", "question", "answer", "options", "document")
MOST_SHOWN = 20
FEWEST_LETTERS = 3  # of an answer that gives itself away where it stands in the question
_ASKS = re.compile(r"\b(?:who|whom|whose|when|where|why|(?:how|what|which)(?: \w+)?)\b")
_OPTION = re.compile(r"option_([1-9]\d?)")
_BAR = re.compile(r"(?<!\S)\|(?!\S)")
Problems = list[tuple[int, str]]  # by line
Record = dict[str, object]


class UserQuestion(NamedTuple):
    """A question about someone's documents.

    Attributes:
        id: unique in its file.
        question: its text.
        options: at least two, distinct; in a draft, the answer alone if it has no false options yet.
        answer: index of the true one.
        document: the file it is about, relative to the folder of documents; "" if none is named.
        line: its first line in the file of questions.
        own_options: False if the false options are other questions' answers.
    """

    id: str
    question: str
    options: tuple[str, ...]
    answer: int
    document: str
    line: int
    own_options: bool


class _Row(NamedTuple):
    """A question as in the file."""

    line: int
    id: str
    question: str
    answer: str
    options: tuple[str, ...]
    document: str

    @property
    def meant(self) -> dict[str, str]:
        """The option that each possible answer means: its text, else its number or letter."""
        kinds = (ascii_lowercase, ascii_uppercase, map(str, count(1)), self.options)
        return {name: option for names in kinds for name, option in zip(names, self.options, strict=False)}

    @property
    def true_option(self) -> str:
        """The text of the true option."""
        return self.meant.get(self.answer, self.answer)


def read_questions(file: Path, documents: Collection[str], options: int) -> list[UserQuestion]:
    """The questions of a file, with the columns or keys of `COLUMNS`; option_1, option_2, ... may stand for options.

    A question without options gets other questions' answers as false ones, first those of the same kind and as many
    words. They are assumed to be false; the answers of a question that occurs more than once are not used for it.

    Args:
        file: CSV (separated by commas, semicolons or tabs; options by " | ") or JSONL.
        documents: files that a question may name.
        options: of a question that has none of its own, at most.

    Raises:
        ParamsError: with all problems, line by line, and the remedy.
    """
    check_size(file)
    if file.suffix.lower() not in READERS:
        raise ParamsError(f"{file}: questions are read from {' and '.join(READERS)} files; convert it to one of these")
    problems: Problems = []
    rows: list[_Row] = []
    for number, (line, record) in enumerate(READERS[file.suffix.lower()](file), 1):
        if isinstance(record, str):
            problems.append((line, record))
        else:
            rows.append(_row(line, record, f"q{number}", problems))
    if not rows and not problems:
        raise ParamsError(f"{file}: holds no question; write one a line, with the columns question and answer")
    first = {row.id: row.line for row in reversed(rows)}
    problems += [(row.line, problem) for row in rows for problem in _wrong(row, documents, first)]
    _refuse(file, problems)
    questions = list(_questions(_once(rows), options))
    lonely = "no other question has another answer that could be its false option; give it options, or add questions"
    _refuse(file, [(question.line, lonely) for question in questions if len(question.options) < 2])
    return questions


def _refuse(file: Path, problems: Problems) -> None:
    if problems:
        lines = [f"  line {line}: {problem}" for line, problem in sorted(problems, key=itemgetter(0))]
        more = [f"  ... and {len(lines) - MOST_SHOWN} more"] if len(lines) > MOST_SHOWN else []
        raise ParamsError("\n".join([f"{file}: these questions cannot be used", *lines[:MOST_SHOWN], *more]))


def _csv_records(file: Path) -> Iterator[tuple[int, Record | str]]:
    """The rows of a CSV file as records, each with its line, or a row's problem."""
    text = read_text(file)
    first = next((line for line in text.split("\n") if line.strip()), "")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                pass
            elif not header:
                header = _header(file, line, cells)
            elif len(cells) > len(header):
                quoted = f"put a text that holds {separator!r} in double quotes"
                yield line, f"has {len(cells)} fields, but the header has {len(header)}; {quoted}"
            else:
                yield line, dict(zip(header, cells, strict=False))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ParamsError(
            f"{file}, line {line}: is no CSV ({error}); close its quotes, and double those inside"
        ) from None


def _header(file: Path, line: int, cells: Sequence[str]) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    found = f"found {', '.join(map(repr, header))}"
    for column in ("question", "answer"):
        if column not in header:
            raise ParamsError(f"{file}, line {line}: no column {column!r}, {found}; begin with a line of column names")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise ParamsError(f"{file}, line {line}: column {twice[0]!r} is there twice; keep one")
    for problem in _unknown(header):
        raise ParamsError(f"{file}, line {line}: {problem}")
    return header


def _unknown(names: Iterable[str]) -> Iterator[str]:
    """Problems of the names of columns or keys; a misspelt one would be ignored silently."""
    for name in names:
        if name not in COLUMNS and not _OPTION.fullmatch(name):
            known = ", ".join((*COLUMNS, "option_1", "option_2", "..."))
            yield f"{name!r} is unknown; rename or remove it; known are {known}"


def _row(line: int, record: Record, name: str, problems: Problems) -> _Row:
    """A record's texts with normalized white space; adds to the problems what is no text."""

    def text(key: str, value: object) -> str:
        if value is not None and (not isinstance(value, (str, int)) or isinstance(value, bool)):
            problems.append((line, f"{key} = {value!r} is no text; write it in quotes"))
            value = None
        return " ".join(str("" if value is None else value).split())

    problems += [(line, problem) for problem in _unknown(record)]
    numbered = sorted((int(match[1]), key) for key in record if (match := _OPTION.fullmatch(key)))
    options = [text(key, record[key]) for _, key in numbered]
    while options and not options[-1]:
        options.pop()
    listed = record.get("options") or []
    if isinstance(listed, str):
        listed = _BAR.split(listed) if listed.strip() else []
    if not isinstance(listed, list):
        problems.append((line, f"options = {listed!r} is no list; write a list of texts"))
    elif options and listed:
        problems.append((line, "has options both in one place and numbered; keep one of them"))
    else:
        options += [text("options", option) for option in listed]
    id_, question, answer, document = (text(key, record.get(key)) for key in ("id", "question", "answer", "document"))
    return _Row(line, id_ or name, question, answer, tuple(options), document)


def _wrong(row: _Row, documents: Collection[str], first: Mapping[str, int]) -> Iterator[str]:
    """Problems of a question; `first` is the first line of each id."""
    if not row.question:
        yield "has no question; write one"
    if not row.answer:
        yield "has no answer; give the text of the true option"
    elif row.options and row.answer not in row.meant:
        listed = ", ".join(map(repr, row.options))
        yield f"answer {row.answer!r} is none of its options {listed}; give the text, number or letter of one"
    if len(row.options) == 1:
        yield "has fewer than two options; add false ones, or leave it empty to take other questions' answers"
    for number, option in enumerate(row.options, 1):
        if not option:
            yield f"option {number} is empty; give it a text or leave it out"
        elif alike := [other for other in row.options[: number - 1] if _bare(other) == _bare(option)]:
            again = "given twice" if option in alike else f"{alike[0]!r} again, but for case, marks or spaces"
            yield f"option {option!r} is {again}; keep it once"
    if _gives_itself_away(row):
        yield f"its answer {row.true_option!r} stands in the question, and no other option does; reword it"
    if row.document and row.document not in documents:
        known = ", ".join(sorted(documents)[:8]) + (", ..." if len(documents) > 8 else "")
        yield f"document {row.document!r} is not in the folder; name one of {known}"
    if first[row.id] != row.line:
        yield f"id {row.id!r} is that of line {first[row.id]} too; give each question its own"


def _once(rows: Sequence[_Row]) -> list[_Row]:
    """The rows without those that ask the same again, with the same answer and options, of the same document."""
    first: dict[tuple[object, ...], _Row] = {}
    for row in rows:
        options = frozenset(map(_bare, row.options))
        first.setdefault((_bare(row.question), _bare(row.true_option), options, row.document), row)
    return list(first.values())


class _Answer(NamedTuple):
    """A true option, and of what kind it is.

    Attributes:
        asks: what the question asks for: who, how many, ...
        number: whether it has one.
        name: whether it begins with a capital.
        words: how many.
    """

    text: str
    asks: str
    number: bool
    name: bool
    words: int

    def unlike(self, other: "_Answer") -> tuple[int, int]:
        """In how many ways its kind is another one, and by how many words it is longer or shorter."""
        kinds = (self.asks != other.asks) + (self.number != other.number) + (self.name != other.name)
        return kinds, abs(self.words - other.words)


def _questions(rows: Sequence[_Row], options: int) -> Iterator[UserQuestion]:
    """Checked rows as questions; false options do not depend on the order of the file."""
    answers: dict[str, _Answer] = {}
    true: dict[str, set[str]] = defaultdict(set)
    for row in sorted(rows, key=lambda row: (row.true_option, row.question)):
        bare = _bare(row.true_option)
        true[_bare(row.question)].add(bare)
        answers.setdefault(bare, _answer(row))
    for row in rows:
        given = row.options
        if not given:
            rng, own = random.Random(f"options/{row.id}"), true[_bare(row.question)]
            others = [answer for bare, answer in answers.items() if bare not in own]
            alike = sorted(rng.sample(others, len(others)), key=_answer(row).unlike)
            both = [row.answer, *(other.text for other in alike[: options - 1])]
            given = tuple(rng.sample(both, len(both)))
        answer = given.index(row.true_option)
        yield UserQuestion(row.id, row.question, given, answer, row.document, row.line, bool(row.options))


def _answer(row: _Row) -> _Answer:
    question, text = row.question.casefold(), row.true_option
    found = _ASKS.search(question)
    asks = found[0] if found else question.partition(" ")[0]
    return _Answer(text, asks, bool(re.search(r"\d", text)), text[:1].isupper(), len(text.split()))


def _bare(text: str) -> str:
    """A text for comparison: without case, ways to write accents, thousands separators, final marks, units' spaces."""
    text = whole = unicodedata.normalize("NFC", text).casefold()
    text = re.sub(r"(?<=\d)[,'\u2019 ](?=\d{3}(?!\d))", "", text)
    return re.sub(r"(?<=\d) (?=[^\W\d])", "", text).rstrip(" .!?\u3002") or whole


def _gives_itself_away(row: _Row) -> bool:
    """Whether of a question's own options the true one alone stands in it, word for word."""
    asked = _bare(row.question)
    standing = [option for option in row.options if re.search(rf"(?<!\w){re.escape(_bare(option))}(?!\w)", asked)]
    short = len(_bare(row.true_option)) < FEWEST_LETTERS  # "a", "no": a word of any question
    return len(row.options) > 1 and standing == [row.true_option] and not short


def write_questions(file: Path, drafts: Sequence[UserQuestion]) -> None:
    """Write drafts, which have no options but the answer, as a new CSV file, which `read_questions` reads."""
    rows = [(draft.id, draft.question, draft.options[draft.answer], "", draft.document) for draft in drafts]
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=list(COLUMNS))  # with the byte order mark that spreadsheets look for
    table.to_csv(file, mode="x", index=False, encoding="utf-8-sig", lineterminator="\n")


READERS = {".csv": _csv_records, ".jsonl": read_records}
