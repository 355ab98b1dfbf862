"""What comes from outside, and what the study must make of it: a result, or an error that says what to do.

A target takes the bytes of one file, or of one text that a model wrote, whatever they are. `test_bad_input.py` gives
them to it from hypothesis, `fuzz.py` from atheris.
"""

import io
import json
import random
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from study.advice.drafts import pairs_in
from study.arms import Source
from study.base_model.recipe import RECIPES, load_recipe
from study.config import ParamsError
from study.data.questions import make_documents, stated_in
from study.digest import sha256_of
from study.documents.questions import read_questions
from study.documents.read import read_folder
from study.evidence import claims
from study.evidence.verify import listed_runs, rows_listed, runs_listed
from study.limits import limited
from study.lm import hub
from study.lm.prompts import OF_BUNDLED, prompts_in
from study.pages.page import Page, notebook_path
from study.params import Params, load_params
from study.paths import CLAIMS, PARAMS
from study.runs.augment import UNJUDGED, UNPARSEABLE, judge, read, sentences_in
from study.runs.run import FINISHED
from study.runs.store import Store
from study.worlds import DRAWN, family, semantic
from study.worlds.facts_file import read_lines
from study.worlds.words import STUDY
from study.worlds.world import Status, World

SECONDS, GIGABYTES = 20, 4  # that an input may take
STATUSES = {*map(str, Status), UNPARSEABLE, UNJUDGED}
KEY = "0" * 20


class Target(NamedTuple):
    """One way in.

    Attributes:
        read: reads what is given; what it returns is looked at there.
        names: what an error must name, besides what is wrong.
        words: that mutations put in.
    """

    read: Callable[[bytes], None]
    names: str
    words: tuple[str, ...]


def run(name: str, data: bytes) -> None:
    """Give a target one input. It is read, or refused by an error of one kind that names the file, in time."""
    target = TARGETS[name]
    with limited(SECONDS, GIGABYTES):
        try:
            target.read(data)
        except ParamsError as error:
            assert target.names and target.names in str(error), f"{target.names} not named: {error}"
            assert len(str(error)) > len(target.names) + 20, error


@cache
def scratch() -> Path:
    """A folder of this process for the files it is given."""
    return Path(tempfile.mkdtemp(prefix="bad_input."))


def a_file(name: str, data: bytes) -> Path:
    """The file that is given."""
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# ---- Settings ----


def read_params(data: bytes) -> None:
    """A params file, whose settings read back the same."""
    params = load_params(a_file("params.yaml", data))
    assert Params.parse(params.plain(), "again") == params
    assert params.world_names and params.seeds and params.arms


def read_recipe(data: bytes) -> None:
    """A recipe of a bundled model."""
    assert load_recipe(a_file("recipes/recipe.yaml", data)).stages


def read_claims(data: bytes) -> None:
    """A file of claims."""
    assert isinstance(claims.declared(a_file("claims.yaml", data)).claims, tuple)


def read_pins(data: bytes) -> None:
    """The lock file of hub models."""
    lock, hub.LOCK = hub.LOCK, a_file("lock.yaml", data)
    try:
        assert all(isinstance(name, str) for name in hub.read_pins())
    finally:
        hub.LOCK = lock


# ---- Documents, questions, facts ----


def read_document(ending: str, data: bytes) -> None:
    """A document; its sentences are texts on one line."""
    passages = read_folder(a_file(f"documents{ending}/a{ending}", data).parent).passages
    assert passages
    for passage in passages:
        assert passage.sentences
        for sentence in (*passage.sentences, passage.heading):
            assert sentence == " ".join(sentence.split()) and "\0" not in sentence
            sentence.encode()


def read_questions_file(ending: str, data: bytes) -> None:
    """A file of questions, each with different options of which one is true."""
    questions = read_questions(a_file(f"questions{ending}", data), ["a.txt"], 4)
    assert len({question.id for question in questions}) == len(questions) > 0
    for question in questions:
        assert question.question and len(set(question.options)) == len(question.options) >= 2
        assert 0 <= question.answer < len(question.options) and all(question.options)


def read_facts(module, data: bytes) -> None:
    """A file of facts, each of which holds in its world."""
    path = a_file("facts", data)
    assert read_lines(path)
    world = module.build(random.Random(0), STUDY, module.Params(facts=str(path), rename=False))
    assert all(world.status(fact) == Status.ENTAILED for fact in world.facts)


# ---- Results ----


class _Page(Page):
    key = KEY  # what it depends on is not the question here


@cache
def page() -> Page:
    """A page that was executed, but for its stamp."""
    target = Page(notebook_path("05"), PARAMS / "default.yaml", None, scratch() / "study").target
    a_file(f"study/{target.name}", b"{}")
    return _Page(notebook_path("05"), PARAMS / "default.yaml", None, scratch() / "study")


def read_stamp(data: bytes) -> None:
    """The stamp of a page; one that cannot be read is a reason to execute the page."""
    stamp = a_file(f"study/stamps/{page().name}.json", data)
    reason = page().stale()
    assert reason is None or reason
    assert (page().stamped is None) <= ("damaged" in (reason or "")), stamp


def read_record(data: bytes) -> None:
    """The record of a unit; one that cannot be read is that of no finished unit."""
    a_file(f"study/runs/{KEY}/rows.parquet", b"")
    a_file(f"study/runs/{KEY}/record.json", data)
    store = Store(scratch() / "study" / "runs")
    if store.has(KEY):
        assert isinstance(store.record(KEY), dict)


def read_rows(data: bytes) -> None:
    """Rows whose record knows them; verdicts rest on some of their columns."""
    rows = a_file(f"study/runs/{KEY}/rows.parquet", data)
    a_file(f"study/runs/{KEY}/record.json", json.dumps({"rows_sha256": sha256_of(rows)}).encode())
    a_file(listed_runs(Path("study")).as_posix(), f"world,seed,arm,run,status\nw,0,ft,{KEY},{FINISHED}\n".encode())
    found = rows_listed(scratch() / "study")
    assert found["correct"].dtype == bool and all(map(len, found["option_log_probs"]))


def read_trials(data: bytes) -> None:
    """The list of the trials that a study rests on; each names a folder."""
    a_file(listed_runs(Path("study")).as_posix(), data)
    assert all(set(key) <= set("0123456789abcdef") for key in runs_listed(scratch() / "study")["run"])


# ---- What models write ----


@cache
def worlds() -> tuple[World, ...]:
    """One world of each kind."""
    return tuple(
        module.build(random.Random(f"bad input/{name}"), STUDY, module.Params()) for name, module in DRAWN.items()
    )


@cache
def stated(number: int):
    """What documents of a world state."""
    return stated_in(worlds()[number], make_documents(worlds()[number], random.Random(0), copies=1))


def read_written(data: bytes) -> None:
    """A text that a model wrote: each of its sentences has a standing in each world."""
    text = data.decode("utf-8", "replace")
    sentences = [text]
    for prompts in (OF_BUNDLED, prompts_in("plain", "full"), prompts_in("chat", "full")):
        for ended in (True, False):
            sentences += sentences_in("so:", text, ended, prompts)
    assert all(sentence.strip() for sentence in sentences[1:])
    for number, world in enumerate(worlds()):
        for inference in judge(world, stated(number), Source.LOCAL, "", 0, sentences):
            assert inference.status in STATUSES
            if inference.status == Status.ENTAILED:
                assert read(world, inference.sentence).fact in world.theory.closure


def read_drafts(data: bytes) -> None:
    """A text with questions that a model drafted."""
    for question, answer in pairs_in(data.decode("utf-8", "replace")):
        assert question.endswith("?") and "?" not in answer


# ---- The table ----


def _pdf() -> bytes:
    """A PDF with a line of text."""
    writer, out = PdfWriter(), io.BytesIO()
    page = writer.add_blank_page(200, 200)
    font = DictionaryObject({NameObject("/" + k): NameObject("/" + v) for k, v in _FONT.items()})
    fonts = DictionaryObject({NameObject("/F"): font})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    content = DecodedStreamObject()
    content.set_data(b"BT /F 12 Tf 10 100 Td (Owls hunt. They sleep.) Tj ET")
    page[NameObject("/Contents")] = writer._add_object(content)
    writer.write(out)
    return out.getvalue()


def _rows() -> bytes:
    """Rows of one question."""
    row = {"world": "family", "split": "reversal", "cluster": "c", "item_id": "i", "query": "q", "seed": 0}
    row |= {"chance": 0.5, "correct": True, "options": ["a", "b"], "answers": [0]}
    return pd.DataFrame([row | {"option_log_probs": [-1.0, -2.0]}]).to_parquet(index=False)


def _said(world: World) -> bytes:
    """Some true sentences of a world, as a model may write them."""
    return "\n".join(world.render(statement) for statement in list(world.statements)[::20][:8]).encode()


_FONT = {"Type": "Font", "Subtype": "Type1", "BaseFont": "Helvetica"}
_HANDBOOK = tuple(path.read_bytes() for path in sorted((PARAMS / "documents" / "handbook").glob("*.md"))[:2])
_PAGE = "<h1>Owls</h1><p>They hunt. <b>Sleep</b>.<ul><li>mice<li>birds</ul><table><tr><td>a<td>b</table><pre>x</pre>"
_ASKED = "id,question,answer,options,document\nq1,Who hunts?,owls,owls | hawks,a.txt\nq2,Who flies?,b,hawks | owls,\n"
_STAMP = {"key": KEY, "executed": "2026", "seconds": 1, "files": {"05_compare.ipynb": ""}, "runs": {KEY: KEY}}
_YAML = (
    "{ } [ ] , : - ? & * &a *a ! !!set !!binary !!python/object/apply:os.system << | > %TAG --- ... .nan .inf".split()
)
_YAML += ["null", "~", "2020-13-40", "1e999", "0x1", "true", '"\\ud800"', '"\\0"', "\n  ", "\n- ", ": "]
_FIELDS = (
    "worlds seeds arms model name revision model_sizes models questions finetuning learning_rates family semantic facts"
)
_FIELDS += " size documents folder as_long_as train shots claims effects splits above of to stages extends race sha256"
_HTML = "<p> </p> <table> <tr> <td> <ul> <li> <h1> <pre> <script> <!-- <![ <? ]]> &#0; &#xD800; &amp; <template>"
_MARKS = [*_HTML.split(), "<title>", "- ", "1. ", "> ", "# ", "```", "|", "---", "[", "](", "\0", "\n\n"]
_JSON = ["{", "}", "[", "]", ",", ":", '"', "null", "NaN", "1e999", "-1", '"\\ud800"', '"\\u0000"', "true", "\n", "../"]
_TOLD = [". ", "? ", "\n", "- ", "1. ", "```", "<think>", "</think>", "**", "Inference: ", "did you know that ", "{s}"]
_TOLD += ["is ", "the ", "of ", "a ", "no ", "all ", "some ", "who ", ": ", "question: ", "answer: ", "{0}", "%s", "."]
_NAMES = ["gender", "man", "mother(", ")", ".", ",", "#", "%", "is_a", "_", "-", "\u0130", "\u2028", " ", "\t", "has"]
_PDF = [
    "obj",
    "endobj",
    "stream",
    "endstream",
    "/Type",
    "/Page",
    "/Kids",
    " R",
    "<<",
    ">>",
    "/Filter /FlateDecode",
    "Tj",
]
_CSV = [",", ";", '"', "\n", "\r", "\t", " | ", "option_1", "answer", "../x", "0" * 20, "finished", "nan"]
TARGETS = {
    "params": Target(read_params, "params.yaml", (*_YAML, *_FIELDS.split())),
    "recipe": Target(read_recipe, "/recipes/", (*_YAML, *_FIELDS.split())),
    "claims": Target(read_claims, "claims.yaml", (*_YAML, *_FIELDS.split())),
    "pins": Target(read_pins, "lock.yaml", (*_YAML, *_FIELDS.split())),
    "text": Target(partial(read_document, ".txt"), "a.txt", tuple(_MARKS)),
    "markdown": Target(partial(read_document, ".md"), "a.md", tuple(_MARKS)),
    "html": Target(partial(read_document, ".html"), "a.html", tuple(_MARKS)),
    "pdf": Target(partial(read_document, ".pdf"), "a.pdf", tuple(_PDF)),
    "jsonl": Target(partial(read_document, ".jsonl"), "a.jsonl", tuple(_JSON)),
    "questions": Target(partial(read_questions_file, ".csv"), "questions.csv", tuple(_CSV)),
    "questions jsonl": Target(partial(read_questions_file, ".jsonl"), "questions.jsonl", tuple(_JSON)),
    "kinship": Target(partial(read_facts, family), "facts", tuple(_NAMES)),
    "kinds": Target(partial(read_facts, semantic), "facts", tuple(_NAMES)),
    "stamp": Target(read_stamp, "", tuple(_JSON)),
    "record": Target(read_record, "", tuple(_JSON)),
    "rows": Target(read_rows, "rows.parquet", ("PAR1", "\0\0\0\0", "\x15")),
    "trials": Target(read_trials, "runs.csv", tuple(_CSV)),
    "written": Target(read_written, "", tuple(_TOLD)),
    "drafts": Target(read_drafts, "", tuple(_TOLD)),
}


def seeds(name: str) -> list[bytes]:
    """Good inputs of a target, for mutations to begin with."""
    made: dict[str, Callable[[], list[bytes]]] = {
        "params": lambda: [path.read_bytes() for path in sorted(PARAMS.glob("*.yaml"))],
        "recipe": lambda: [path.read_bytes() for path in sorted(RECIPES.glob("*.yaml"))],
        "claims": lambda: [path.read_bytes() for path in sorted(CLAIMS.glob("*.yaml"))],
        "pins": lambda: [hub.LOCK.read_bytes()],
        "text": lambda: [*_HANDBOOK],
        "markdown": lambda: [*_HANDBOOK],
        "html": lambda: [_PAGE.encode()],
        "pdf": lambda: [_pdf()],
        "jsonl": lambda: [b'{"text": "Owls hunt. They sleep.", "title": "Owls"}\n{"text": "Hawks fly."}\n'],
        "questions": lambda: [_ASKED.encode()],
        "questions jsonl": lambda: [b'{"question": "Who?", "answer": "owls", "options": ["owls", "hawks"]}\n'],
        "kinship": lambda: [(PARAMS / "facts" / "family_of_27.csv").read_bytes(), b"anna mother ben\nmale(ben).\n"],
        "kinds": lambda: [(PARAMS / "facts" / "animals.pl").read_bytes(), b"is_a(owl, bird).\nhas(bird, wings).\n"],
        "stamp": lambda: [json.dumps(_STAMP).encode()],
        "record": lambda: [json.dumps({"status": "finished", "rows_sha256": sha256_of(a_file("empty", b""))}).encode()],
        "rows": lambda: [_rows()],
        "trials": lambda: [f"world,seed,arm,run,status\nfamily,0,icl,{KEY},finished\n".encode()],
        "written": lambda: [_said(world) for world in worlds()],
        "drafts": lambda: [b"Who flies it? Anna.", b"1. Question: Who?\n   Answer: Bo.\n"],
    }
    return made[name]()
