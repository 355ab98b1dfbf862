"""Facts from a file, one a line: someone else's family tree or hierarchy, run through the same rules and questions.

Either triples, `anna mother ben` (anna is the mother of ben; fields by spaces, tabs or commas), or Prolog facts,
`mother(anna, ben).` and `woman(anna).` An underscore in a relation stands for a space (`is_a`); what follows # or %
is a comment.
"""

import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from study.config import ParamsError
from study.paths import ROOT
from study.worlds.logic import Constraints, Fact, Rule, Theory
from study.worlds.wording import SentenceParser, Wording, fill
from study.worlds.words import Lexicon, draw_words

SEXES = {"male": "man", "man": "man", "female": "woman", "woman": "woman"}
GENDER = "gender"
MOST_BYTES = 2**20  # of a file


class Line(NamedTuple):
    """A fact and the line it stands in."""

    number: int
    text: str
    fact: Fact


def read_lines(path: Path) -> list[Line]:
    """The facts of a file as they stand there.

    Raises:
        ParamsError: naming the file and the line that is neither a triple nor a Prolog fact.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ParamsError(f"{path}: has more than the {MOST_BYTES:,} bytes that are read; use a part of it")
        texts = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    lines: list[Line] = []
    spelled: dict[str, str] = {}
    for number, text in enumerate(texts, 1):
        bare = re.split("[#%]", text, maxsplit=1)[0].strip()
        if not bare:
            continue
        place = f"{path}, line {number}"
        found = re.fullmatch(r"(\w[\w-]*)\s*\(([^(),]+)(?:,([^(),]+))?\)\s*\.?", bare)
        prolog = [part.strip() for part in found.groups("")] if found else []
        fields = [field.strip() for field in re.split(r"[,\t]" if re.search(r"[,\t]", bare) else r"\s+", bare)]
        if prolog and prolog[2]:
            relation, subject, object_ = prolog
        elif prolog:
            relation, subject, object_ = GENDER, prolog[1], prolog[0]
        elif len(fields) == 3 and all(fields):
            subject, relation, object_ = fields
        else:
            raise ParamsError(f"{place}: {text.strip()!r} is no fact; write `anna mother ben` or `mother(anna, ben).`")
        relation = relation.replace("_", " ")
        if relation == GENDER:
            object_ = SEXES.get(object_, object_)
        for name in (subject, object_):
            if not re.fullmatch(r"[\w-]*[^\W_][\w-]*", name):
                raise ParamsError(f"{place}: {name!r} is no name; a name is one word of letters, digits, _ and -")
            if (other := spelled.setdefault(name.lower(), name)) != name:
                raise ParamsError(f"{place}: {name!r} was {other!r} before; write a name in one way, or choose another")
        lines.append(Line(number, text.strip(), Fact(relation, subject, object_)))
    if not lines:
        raise ParamsError(f"{path}: holds no fact; write one a line, such as `anna mother ben`")
    return lines


def read_theory(
    rng: random.Random,
    lexicon: Lexicon,
    path: str,
    rename: bool,
    wording: Wording,
    rules: Iterable[Rule],
    constraints: Constraints,
) -> tuple[list[Fact], dict[str, str]]:
    """The facts of a file (a path relative to the project), each once, checked one after the other.

    With `rename` there is a nonsense word for each name, and the names by these words come second.

    Raises:
        ParamsError: naming the first line whose relation is unknown, whose names cannot be used, or that cannot hold
            together with those before; or if there are more names than words.
    """
    theory = Theory(rules)
    closed_class = SentenceParser(wording, phrases=False).closed_class
    line_of: dict[Fact, int] = {}

    def told(fact: Fact) -> str:
        forms = wording.get(fact.relation)
        text = forms[0].text.rstrip(".") if forms else f"{{s}} {fact.relation} of {{o}}"
        return fill(text, fact.subject, fact.object)

    for line in read_lines(ROOT / path):
        place = f"{path}, line {line.number}: {line.text!r}"
        if line.fact.relation not in wording:
            known = ", ".join(sorted(relation.replace(" ", "_") for relation in wording))
            raise ParamsError(f"{place}: unknown relation {line.fact.relation!r}; known are {known}")
        if line.fact.relation == GENDER and line.fact.object not in SEXES.values():
            raise ParamsError(f"{place}: {line.fact.object!r} is no gender of this world; write man or woman")
        for name in (line.fact.subject, *([] if line.fact.relation == GENDER else [line.fact.object])):
            if name in SEXES or (not rename and name in closed_class):
                raise ParamsError(f"{place}: {name!r} is a word of this world's sentences; choose another name")
        if line.fact.subject == line.fact.object:
            raise ParamsError(f"{place}: nothing is its own {line.fact.relation}; mend one of the two names")
        if line.fact in line_of:
            continue
        line_of[line.fact] = line.number
        for new in theory.add([line.fact]):
            rival = constraints.clash(new, theory)
            if rival:
                supports = theory.closure[rival].supports | theory.closure[new].supports
                others = sorted({line_of[fact] for fact in supports} - {line.number})
                because = f" (see line {', '.join(map(str, others))})" if others else ""
                raise ParamsError(
                    f"{place}: then {told(new)}, but {told(rival)}{because}; both cannot be, mend one of these lines"
                )
    if not rename:
        return list(line_of), {}
    names = list(dict.fromkeys(name for fact in line_of for name in fact[1:] if name not in SEXES))
    if len(names) > lexicon.openings:
        raise ParamsError(
            f"the file of facts has {len(names)} names, the word space {lexicon.openings}; use a part of it"
        )
    word = dict(zip(names, draw_words(rng, len(names), lexicon), strict=True))
    facts = [Fact(f.relation, word[f.subject], word.get(f.object, f.object)) for f in line_of]
    return facts, {w: n for n, w in word.items()}
