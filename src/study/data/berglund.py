"""The reversal curse on its own data: fictional people and their descriptions, by Berglund et al.

900 statements name 30 people first ("Daphne Barrington, known far and wide for being the acclaimed director ..."), 900
end with the names of 30 others, 1,800 are about 30 more in both directions. Questions are the held-out prompts, forward
and reversed, and the statements themselves. A reversal's false options are of two kinds, as in its twin in nonsense
words, `study.worlds.reversal_curse`: what documents end with, and what none ends with.

The files have defects. Completions that end in `.".` or `??` lose the second mark, and those without a full stop get
one. Descriptions differ in wording by template, so the options of a question are all from one template. The files'
`validation_prompts` are the test prompts, and are not read.
Source: Berglund et al. 2024, arXiv 2309.12288, experiment 1.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import Field

from study.config import ParamsError
from study.data.public import public_folder
from study.data.questions import Chooser, Dataset, Document, Question, spread, stated_in
from study.paths import ROOT, shown
from study.worlds.logic import Constraints, Fact
from study.worlds.reversal_curse import BOTH, DESCRIPTION_FIRST, GROUPS, NAME_FIRST
from study.worlds.shape import Given
from study.worlds.wording import templates
from study.worlds.world import Kind, Split, Stated, Statement, World

RETENTION = "reversal_curse"  # its twin is the other dataset
KNOWN_AS = "known as"
# The canonical forms; what documents say is in the files. Template 0 names the person first, 1 last.
WORDING = {KNOWN_AS: templates("{s} is known as {o}.", "known as {o} is {s}.")}
CONSTRAINTS = Constraints(functional=frozenset({KNOWN_AS}), inverse_functional=frozenset({KNOWN_AS}))
TO_DESCRIPTION, TO_NAME = 0, 1
TRAINED = ("p2d_prompts_train", "d2p_prompts_train", "both_prompts_train")
ASKED = ("p2d_prompts_test", "d2p_prompts_test", "p2d_reverse_prompts_test", "d2p_reverse_prompts_test")
# Files whose descriptions are worded by the same templates in the same order.
ALIKE = {
    **dict.fromkeys(TRAINED, ("both_prompts_train", "p2d_prompts_train")),
    **dict.fromkeys(ASKED, ("d2p_reverse_prompts_test", "p2d_prompts_test")),
}


class Params(Given):
    """Where the files are, and how much of them is taken."""

    PATHS: ClassVar[tuple[str, ...]] = ("folder",)

    folder: str | None = Field(None, description="folder of the JSONL files; by default what `make fetch` has brought")
    people: int | None = Field(None, ge=4, description="of each of the three groups; all by default")
    copies: int | None = Field(None, ge=1, description="documents about each person in each direction; all by default")


PRESETS = {"whole": Params(), "small": Params(people=8, copies=6)}


class Line(NamedTuple):
    """One line of a file: a person, the direction it asks in, and the number of its template."""

    person: str
    direction: int
    template: int
    prompt: str
    completion: str

    @property
    def text(self) -> str:
        """The whole sentence with its end corrected."""
        text = re.sub(r"([.?!]\")\.$|([?!])\?$", r"\1\2", (self.prompt + self.completion).strip())
        return text if re.search(r"[.?!]\"?$", text) else f"{text}."


@dataclass(frozen=True)
class People(World):
    """People and descriptions; a sentence is parsed by a name and words that only one person's descriptions have.

    Attributes:
        group: of each person.
        marked: the description that such words stand for.
    """

    group: dict[str, str] = field(default_factory=dict)
    marked: dict[str, str] = field(default_factory=dict)

    def render(self, statement: Statement) -> str:
        """A statement in its canonical form, as a sentence begins."""
        text = super().render(statement)
        return text[0].upper() + text[1:]

    def parse(self, sentence: str) -> Statement | None:
        """The person, the description and their order; None unless there is exactly one of each."""
        plain = _plain(sentence)
        names = [name for name in self.group if _plain(name) in plain]
        marks = [mark for mark in self.marked if mark in plain]
        if len(names) != 1 or len(marks) != 1:
            return None
        name_first = plain.index(_plain(names[0])) < plain.index(marks[0])
        return Statement(Fact(KNOWN_AS, names[0], self.marked[marks[0]]), TO_DESCRIPTION if name_first else TO_NAME)


def _plain(text: str) -> str:
    """Words in lower case, each between single spaces."""
    words = re.findall(r"\w+", text.lower())
    return f" {' '.join(words)} "


def gather(shape: Params, seed: int, options: int, per_split: int, ask: object = None) -> Dataset:
    """The documents in random order, the questions and the world.

    Args:
        shape: which files, and how much of them.
        seed: of the documents' order; people and questions are the same for all.
        options: of a question.
        per_split: most questions of one split, spread evenly over people.
        ask: unused, as queries are the beginnings of sentences.

    Raises:
        ParamsError: naming the file and the line that cannot be used.
    """
    folder = ROOT / shape.folder if shape.folder else public_folder("reversal_curse")
    files = {name: _read(folder / f"{name}.jsonl") for name in (*TRAINED, *ASKED)}
    group = _groups(files, folder)
    taken = {name: kind for kind in GROUPS for name in [n for n in group if group[n] == kind][: shape.people]}
    lines = {}
    for name, rows in files.items():
        found = list(_lines(rows, group, folder / f"{name}.jsonl"))
        copies = shape.copies if name in TRAINED else None
        lines[name] = [x for x in found if x.person in taken and (copies is None or x.template < copies)]
    world = _world(taken, [line for rows in lines.values() for line in rows])
    fact_of = {fact.subject: fact for fact in world.facts}
    documents = [
        Document((Statement(fact_of[line.person], line.direction),), (line.text,))
        for name in TRAINED
        for line in lines[name]
    ]
    random.Random(f"berglund/{seed}").shuffle(documents)
    stated = stated_in(world, documents)
    questions: dict[Split, list[Question]] = {}
    for name in (*TRAINED, *ASKED):
        for question in _questions(world, stated, lines, name, options):
            questions.setdefault(question.split, []).append(question)
    chosen: list[Question] = []
    for split, asked in questions.items():
        rng = random.Random(f"berglund/{split.seed}")
        chosen += spread(asked, (lambda q: q.kind, lambda q: q.cluster), rng)[:per_split]
    return Dataset(tuple(documents), tuple(chosen), world)


def _read(file: Path) -> list[tuple[str, str]]:
    """Prompt and completion of each line."""
    if not file.is_file():
        raise ParamsError(
            f"worlds.berglund.folder: no {shown(file)}; fetch the files with `make fetch DATA=reversal_curse`, or name "
            "a folder that holds them"
        )
    rows = []
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(text)
            rows.append((str(row["prompt"]), str(row["completion"])))
        except (ValueError, KeyError, TypeError):
            raise ParamsError(
                f"{shown(file)}, line {number}: {text[:60]!r} is no JSON object with prompt and completion; fix "
                "it, or fetch the file again"
            ) from None
    return rows


def _groups(files: dict[str, list[tuple[str, str]]], folder: Path) -> dict[str, str]:
    """The group of each person, from the beginnings of completions.

    Raises:
        ParamsError: if somebody is in two groups, or a group is empty.
    """
    names = {
        NAME_FIRST: {completion.strip() for _, completion in files["p2d_reverse_prompts_test"]},
        DESCRIPTION_FIRST: {completion.strip() for _, completion in files["d2p_prompts_test"]},
    }
    begins = {" ".join(completion.split()[:2]).rstrip(".,") for _, completion in files["both_prompts_train"]}
    prompts = " ".join(prompt for prompt, _ in files["both_prompts_train"])
    names[BOTH] = {name for name in begins if name.istitle() and name in prompts}
    counts = Counter(name for found in names.values() for name in found)
    wrong = [f"{name} is in two groups" for name in sorted(counts) if counts[name] > 1]
    wrong += [f"nobody is in the group {group!r}" for group, found in names.items() if not found]
    if wrong:
        folder_given = f"worlds.berglund.folder = {shown(folder)!r}"
        raise ParamsError(f"{folder_given}: {wrong[0]}; these are not the files of the experiment")
    return {name: group for group in names for name in sorted(names[group])}


def _lines(rows: Sequence[tuple[str, str]], group: dict[str, str], file: Path) -> Iterator[Line]:
    seen: Counter[tuple[str, int]] = Counter()
    for number, (prompt, completion) in enumerate(rows, 1):
        found = [(name, TO_DESCRIPTION) for name in group if name in prompt]
        found += [(name, TO_NAME) for name in group if completion.strip().startswith(name)]
        if len(found) != 1:
            raise ParamsError(
                f"{shown(file)}, line {number}: {(prompt + completion)[:60]!r} names {len(found)} people of the "
                "experiment instead of one; fix the line"
            )
        person, direction = found[0]
        yield Line(person, direction, seen[found[0]], prompt, completion)
        seen[found[0]] += 1


def _world(group: dict[str, str], lines: Sequence[Line]) -> People:
    """Each person with the most frequent description, and the words that distinguish it from all others."""
    descriptions: dict[str, Counter[str]] = {name: Counter() for name in group}
    texts: dict[str, set[str]] = {name: set() for name in group}
    for line in lines:
        descriptions[line.person][line.completion if line.direction == TO_DESCRIPTION else ""] += 1
        texts[line.person].add(_plain(line.completion if line.direction == TO_DESCRIPTION else line.prompt))
    facts, marked = [], {}
    for name in group:
        usual = next(text for text, _ in descriptions[name].most_common() if text)
        description = re.sub(r"[.?!]*(\"?)[.?!]*$", r"\1", usual.strip())
        facts.append(Fact(KNOWN_AS, name, description))
        others = set().union(*(found for other, found in texts.items() if other != name))
        marked[_shared(_plain(usual), texts[name], others)] = description
    return People(
        name="berglund",
        facts=tuple(facts),
        rules=(),
        wording=WORDING,
        constraints=CONSTRAINTS,
        classes={e: kind for f in facts for e, kind in ((f.subject, "name"), (f.object, "description"))},
        phrases=True,
        group=group,
        marked=marked,
    )


def _shared(usual: str, own: Set[str], others: Set[str]) -> str:
    """The words in sequence that most of a person's texts and nobody else's have; the longest such sequence."""
    words, elsewhere = usual.split(), "|".join(others)
    runs = [f" {' '.join(words[i:j])} " for i in range(len(words)) for j in range(i + 2, len(words) + 1)]
    distinct = [run for run in runs if run not in elsewhere] or [usual]
    return max(distinct, key=lambda run: (sum(run in text for text in own), len(run)))


def _questions(
    world: People, stated: Stated, lines: dict[str, list[Line]], name: str, options: int
) -> Iterator[Question]:
    """The questions of one file: each line's end among other ends in the same template, by where these come from."""
    fact_of = {fact.subject: fact for fact in world.facts}
    choosers: dict[tuple[Kind, int], Chooser] = {}
    ends = {
        (line.person, line.template): line.completion
        for file in ALIKE[name]
        for line in lines[file]
        if line.direction == TO_DESCRIPTION
    }
    for line in lines[name]:
        statement = Statement(fact_of[line.person], line.direction)
        split = world.split_of(statement, stated)
        if split is None:
            continue
        split = Split.REPHRASED if split is Split.STATED and name in ASKED else split
        never = DESCRIPTION_FIRST if line.direction == TO_DESCRIPTION else NAME_FIRST
        for kind in (Kind.COMPLETIONS, Kind.NO_COMPLETIONS) if split is Split.REVERSAL else (Kind.COMPLETIONS,):
            others = [
                person
                for person, group in world.group.items()
                if person != line.person and (group == never) == (kind is Kind.NO_COMPLETIONS)
            ]
            # The line's end if it were about somebody else; none if no line of its template is.
            endings = (
                {person: line.completion.replace(line.person, person) for person in others}
                if line.direction == TO_NAME
                else {person: ends[person, line.template] for person in others if (person, line.template) in ends}
            )
            able = [person for person, end in endings.items() if end not in ("", line.completion)]
            rng = random.Random(f"berglund/{kind}/{line.prompt}")
            chooser = choosers.setdefault((kind, line.template), Chooser([]))
            false = [endings[person] for person in chooser.choose([able], options - 1, True, rng)]
            if len(false) < options - 1:
                continue
            texts = [line.completion, *false]
            order = rng.sample(range(options), options)
            yield Question(
                item_id=f"{line.prompt}{line.completion}" + (f" [{kind}]" if split is Split.REVERSAL else ""),
                split=split,
                kind=kind,
                cluster=line.person,
                query=line.prompt,
                options=tuple(texts[k] for k in order),
                answers=(order.index(0),),
                rule=name,  # of the file it is from
                hops=1,
                supports=(world.canonical(statement.fact),),
            )
