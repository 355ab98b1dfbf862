"""What comes from outside, and what each part of the study must make of it: a result, or an error that says what to do.

A target takes the bytes of one file, or of one text that a model wrote, whatever they are. `test_bad_input.py` gives
them to it from hypothesis, `fuzz.py` from atheris.
"""

import random
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from study import claims, hub
from study.augment import UNJUDGED, UNPARSEABLE, judge, sentences_in, stated_in
from study.data import make_documents
from study.drafts import pairs_in
from study.facts_file import read_lines
from study.limits import limited
from study.params import Params, Source, load_params
from study.passages import read_documents
from study.paths import PARAMS
from study.prompts import OF_BUNDLED, prompts_in
from study.questions_file import read_questions
from study.recipe import RECIPES, load_recipe
from study.strict import ParamsError
from study.words import STUDY
from study.world import Status, World
from study.worlds import DRAWN, family, semantic

SECONDS, GIGABYTES = 20, 4  # that any input of a test may take
STATUSES = {*map(str, Status), UNPARSEABLE, UNJUDGED}


class Target(NamedTuple):
    """One way in.

    Attributes:
        check: reads what is given, and fails if that is neither read nor refused as it should be.
        seeds: good ones, for mutations to begin with.
        words: that mutations put in.
    """

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[str, ...] = ()


@cache
def scratch() -> Path:
    """A folder of this process for the files it is given."""
    return Path(tempfile.mkdtemp(prefix="bad_input."))


@contextmanager
def refused_in_words(*names: str):
    """What is refused is refused by a ParamsError that holds each name, in a message that has no raw control mark."""
    try:
        yield
    except ParamsError as error:
        message = str(error)
        missing = [name for name in names if name not in message]
        assert not missing, f"{missing} not named: {message}"
        assert len(message) > max(map(len, names)) + 10, message


def a_file(name: str, data: bytes) -> Path:
    """The file that is given, alone in its folder."""
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# ---- Settings ----


def check_params(data: bytes) -> None:
    """A params file: settings that read back the same, or an error naming the file."""
    path = a_file("params.yaml", data)
    with refused_in_words(str(path)):
        params = load_params(path)
        assert Params.parse(params.plain(), "again") == params
        assert params.world_names and params.seeds and params.arms


def check_recipe(data: bytes) -> None:
    """A recipe of a bundled model."""
    path = a_file("recipes/recipe.yaml", data)
    with refused_in_words(str(path.parent)):
        assert load_recipe(path).stages


def check_claims(data: bytes) -> None:
    """A file of claims."""
    path = a_file("claims.yaml", data)
    with refused_in_words(str(path)):
        assert isinstance(claims.load_claims(path), tuple)


def check_pins(data: bytes) -> None:
    """The lock file of hub models."""
    path, lock = a_file("lock.yaml", data), hub.LOCK
    hub.LOCK = path
    try:
        with refused_in_words(str(path)):
            assert all(isinstance(name, str) for name in hub.read_pins())
    finally:
        hub.LOCK = lock


# ---- Documents, questions, facts ----


def check_documents(ending: str, data: bytes) -> None:
    """A document: sentences that hold something, or an error naming the file."""
    path = a_file(f"documents{ending}/a{ending}", data)
    with refused_in_words(str(path)):
        passages = read_documents(path.parent)
        assert passages
        for passage in passages:
            assert passage.sentences and passage.line >= 1
            for sentence in (*passage.sentences, passage.heading):
                assert sentence == " ".join(sentence.split()) and "\0" not in sentence
                sentence.encode()


def check_questions(ending: str, data: bytes) -> None:
    """A file of questions: each with options of which one is true, or an error naming the file."""
    path = a_file(f"questions{ending}", data)
    with refused_in_words(str(path)):
        questions = read_questions(path, ["a.txt"], 4)
        assert len({question.id for question in questions}) == len(questions) > 0
        for question in questions:
            assert question.question and len(set(question.options)) == len(question.options) >= 2
            assert 0 <= question.answer < len(question.options) and all(question.options)


def check_facts(data: bytes) -> None:
    """A file of facts: a world in which each of them holds, or an error naming the file."""
    path = a_file("facts", data)
    with refused_in_words(str(path)):
        assert read_lines(path)
    for module in (family, semantic):
        with refused_in_words("facts"):
            world = module.build(random.Random(0), STUDY, module.Params(facts=str(path), rename=False))
            assert all(world.status(fact) == Status.ENTAILED for fact in world.facts)


# ---- What models write ----


@cache
def worlds() -> tuple[World, ...]:
    """One world of each kind."""
    return tuple(
        module.build(random.Random(f"bad input/{name}"), STUDY, module.Params()) for name, module in DRAWN.items()
    )


@cache
def judging(world: int):
    """What documents of a world state, to judge by."""
    documents = make_documents(worlds()[world], random.Random(0), copies=1)
    return stated_in(worlds()[world], documents)


def check_written(data: bytes) -> None:
    """A text that a model wrote: each of its sentences has a standing in each world."""
    text = data.decode("utf-8", "replace")
    for prompts in (OF_BUNDLED, prompts_in("plain", "full"), prompts_in("chat", "full")):
        for ended in (True, False):
            sentences = sentences_in("so:", text, ended, prompts)
            assert all(sentence.strip() for sentence in sentences)
    for number, world in enumerate(worlds()):
        for inference in judge(world, judging(number), Source.LOCAL, "", 0, [*sentences, text]):
            assert inference.status in STATUSES
            if inference.status == Status.ENTAILED:
                statement = world.parse(inference.sentence) or world.parse(
                    inference.sentence[:1].lower() + inference.sentence[1:]
                )
                assert statement and statement.fact in world.closure


def check_drafts(data: bytes) -> None:
    """A text with questions that a model drafted."""
    for question, answer in pairs_in(data.decode("utf-8", "replace")):
        assert question.endswith("?") and "?" not in answer


# ---- The table ----


def _contents(*paths: Path) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in paths)


def _texts(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


def _said() -> tuple[bytes, ...]:
    """True sentences of each world, as a model may write them."""
    return tuple(
        "\n".join(world.render(statement) for statement in list(world.statements)[::20][:8]).encode()
        for world in worlds()
    )


YAML = ("{", "}", "[", "]", ": ", "- ", "&a", "*a", "!!python/object/apply:os.system", "!!binary", "!!set", "? ", "<<:")
YAML += (".nan", ".inf", "null", "~", "2020-13-40", "1e999", "0x", "true", '"\\ud800"', "\n  ", "|", ">", "%TAG")
FIELDS = ("worlds", "seeds", "arms", "model", "name", "revision", "ladder", "questions", "finetuning", "learning_rates")
FIELDS += ("family", "semantic", "facts", "size", "documents", "folder", "as_long_as", "train", "shots", "extends")
MARKUP = ("<p>", "</p>", "<table>", "<tr>", "<td>", "<ul>", "<li>", "<h1>", "<pre>", "<script>", "<!--", "<![", "<?")
MARKUP += (
    "]]>",
    "&#0;",
    "&#xD800;",
    "&amp;",
    "<template>",
    "<title>",
    "- ",
    "1. ",
    "> ",
    "# ",
    "```",
    "|",
    "---",
    "\0",
)
WRITTEN = (".", "? ", "\n", "- ", "1. ", "```", "<think>", "</think>", "**", "Inference: ", "did you know that ")
WRITTEN += (
    "is ",
    "the ",
    "of ",
    "a ",
    "no ",
    "all ",
    "some ",
    "who ",
    ":",
    "question: ",
    "answer: ",
    "{s}",
    "{0}",
    "%s",
)
HANDBOOK = PARAMS / "documents" / "handbook"
PAGE = (
    "<h1>Owls</h1><p>They hunt. They <b>sleep</b>.<ul><li>mice<li>birds</ul><table><tr><td>a<td>b</table><pre>x</pre>"
)
RECORDS = '{"text": "Owls hunt. They sleep.", "title": "Owls"}\n{"text": "Hawks fly."}\n'
ASKED = "id,question,answer,options,document\nq1,Who hunts?,owls,owls | hawks,a.txt\nq2,Who flies?,b,hawks | owls,\n"
ASKED_RECORDS = (
    '{"question": "Who?", "answer": "owls", "options": ["owls", "hawks"]}\n{"question": "Whom?", "answer": 2}'
)
TARGETS = {
    "params": Target(check_params, _contents(*sorted(PARAMS.glob("*.yaml"))), (*YAML, *FIELDS)),
    "recipe": Target(check_recipe, _contents(*sorted(RECIPES.glob("*.yaml"))), (*YAML, "stages", "extends", "race")),
    "claims": Target(
        check_claims, _contents(claims.CLAIMS), (*YAML, "claims", "effects", "splits", "above", "of", "to")
    ),
    "pins": Target(check_pins, _contents(hub.LOCK), (*YAML, "revision", "files", "sha256", "bytes")),
    "text": Target(partial(check_documents, ".txt"), _contents(*sorted(HANDBOOK.glob("*.md"))[:2]), MARKUP),
    "markdown": Target(partial(check_documents, ".md"), _contents(*sorted(HANDBOOK.glob("*.md"))[:2]), MARKUP),
    "html": Target(partial(check_documents, ".html"), _texts(PAGE), MARKUP),
    "jsonl": Target(
        partial(check_documents, ".jsonl"), _texts(RECORDS), ('"text"', '"title"', "\\ud800", "NaN", "1e999")
    ),
    "pdf": Target(
        partial(check_documents, ".pdf"), (), ("obj", "endobj", "stream", "/Type", "/Page", "/Kids", "R", "<<")
    ),
    "questions": Target(
        partial(check_questions, ".csv"), _texts(ASKED), (",", ";", '"', "option_1", " | ", "\r", "\t")
    ),
    "questions jsonl": Target(
        partial(check_questions, ".jsonl"), _texts(ASKED_RECORDS), ('"option_1"', "null", "\\u0000")
    ),
    "facts": Target(
        check_facts,
        _contents(*sorted((PARAMS / "facts").iterdir())),
        ("gender", "man", "mother(", ")", ".", ",", "#", "%", "is_a", "_", "-", "\u0130", "\u2028"),
    ),
    "written": Target(check_written, _said(), WRITTEN),
    "drafts": Target(check_drafts, _texts("Who flies it? Anna.", "1. Question: Who?\n Answer: Bo.\n"), WRITTEN),
}


def run(name: str, data: bytes) -> None:
    """Give a target one input, which may not take long."""
    with limited(SECONDS, GIGABYTES):
        TARGETS[name].check(data)
