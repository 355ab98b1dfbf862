"""`make documents`: from a folder of documents and a file of questions to a recommendation."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from study.advice.drafts import draft_questions
from study.config import ParamsError, named_file
from study.data.questions import Document
from study.documents.questions import UserQuestion, read_questions, write_questions
from study.documents.read import read_folder
from study.lm.fetch import ensure
from study.lm.hub import model_folder, tokenizer_in
from study.pages.execute import execute
from study.pages.page import Page, notebook_path, place_about
from study.params import Params
from study.paths import PARAMS, ROOT, shown
from study.runs.forecast import show_time
from study.runs.run import prepare
from study.runs.store import store_of

UNREAD = 0.02  # share of the tokens of documents, or of questions, that a model may not know


def ask(docs: str, questions: str, study: str, base: Params, place: Path) -> int:
    """Run the study of documents and questions, or draft questions if there are none; an exit status.

    Args:
        docs: folder; "" for the documents of the params.
        questions: file; "" for those of the params if docs is "", and to draft some otherwise.
        study: name of the params file with all other settings.
        base: these settings.
        place: folder of the results of all studies.

    Raises:
        ParamsError: for any problem of the files, before anything is run.
    """
    run = page_about(docs, questions, study, base, place)
    given = run.params.plain()["worlds"]["documents"]
    params, results, folder, file = run.params, run.results, given["folder"], given["questions"]
    # Problems of the files are reported before a model is fetched.
    files = read_folder(ROOT / folder).files
    for read in (read for read in files if read.left_out):
        print(f"{read.file}: not read: {read.left_out}")
    asked = read_questions(ROOT / file, [read.file for read in files], params.questions.options) if file else []
    ensure(params.model, weights=False)
    documents = prepare(params, "documents", params.seeds[0]).documents
    _refuse_unread(params, [document.text for document in documents], asked, file)
    ensure(params.model)
    if not file:
        return _draft(params, folder, study, results, documents)
    show_time(params, store_of(results))
    results.mkdir(parents=True, exist_ok=True)
    if docs:
        run.params_file.write_text(json.dumps(params.plain(), indent=1) + "\n", encoding="utf-8")  # JSON is YAML, too
    if reason := run.stale():
        print(f"{run.name}: {reason}", flush=True)
        execute(run)
    print(f"the recommendation: {shown(results / run.name / 'report.html')}\nthe notebook: {shown(run.target)}")
    return 0


def page_about(docs: str, questions: str, study: str, base: Params, place: Path) -> Page:
    """The page about documents and questions, with the arguments of `ask`; given ones' settings are not written yet.

    Raises:
        ParamsError: if no documents are given.
    """
    given = base.plain()["worlds"]["documents"]
    if docs:
        given = {"folder": _from_root(docs), "questions": _from_root(questions) if questions else None}
    elif questions or not given:
        raise ParamsError(
            "DOCS is empty; give a folder of documents, as in `make documents DOCS=folder QUESTIONS=file`"
        )
    params = Params.parse({**base.plain(), "worlds": {"documents": given}}, "DOCS and QUESTIONS")
    results = place_about(place, study, given["folder"], given=bool(docs))
    return Page(
        notebook_path("07"), results / "params.yaml" if docs else named_file(PARAMS, "STUDY", study), params, results
    )


def _from_root(path: str) -> str:
    """A given path, relative to the project if it lies inside."""
    return shown(Path(path).resolve())


def _refuse_unread(params: Params, documents: Sequence[str], questions: Sequence[UserQuestion], file: str) -> None:
    """Refuse what the model's tokenizer does not know, and options that are the same to it.

    Raises:
        ParamsError: with one of the words, or with the line of such options.
    """
    path = model_folder(params.model, weights=False) / "tokenizer.json"
    tokenizer = tokenizer_in(path) if path.is_file() else None
    if tokenizer is None:
        return
    asked = [" ".join((question.question, *question.options)) for question in questions]
    for what, texts in (("documents", documents), ("questions", asked)):
        _refuse_unknown_words(params.model.name, tokenizer, what, texts)
    for question in questions:
        tokens = [tuple(tokenizer.encode(f" {option}", add_special_tokens=False).ids) for option in question.options]
        if len({*tokens}) < len(tokens):
            raise ParamsError(
                f"{file}, line {question.line}: two of its options are the same to the tokenizer of "
                f"{params.model.name!r}: {', '.join(map(repr, question.options))}; keep one of them"
            )


def _refuse_unknown_words(model: str, tokenizer: Tokenizer, what: str, texts: Sequence[str]) -> None:
    unknown = getattr(tokenizer.model, "unk_token", None)
    tokens = [
        (token, text[slice(*place)])
        for text in texts
        for encoding in [tokenizer.encode(text, add_special_tokens=False)]
        for token, place in zip(encoding.tokens, encoding.offsets, strict=True)
    ]
    words = [word for token, word in tokens if token == unknown]
    share = len(words) / max(1, len(tokens))
    if unknown is not None and share > UNREAD:
        raise ParamsError(
            f"model.name = {model!r}: it does not know {share:.0%} of the words of these {what}, such "
            f"as {words[0]!r}; take a model that reads their language, as STUDY=documents_cpu does"
        )


def _draft(params: Params, docs: str, study: str, results: Path, about: Sequence[Document]) -> int:
    file = results / "questions.csv"
    if file.exists():
        raise ParamsError(f"{shown(file)} is there already; edit it and give it as QUESTIONS, or move it away")
    drafts = draft_questions(params, about)
    if not drafts:
        raise ParamsError(
            f"DOCS = {docs!r}: the model drafted no question that the documents answer; write some yourself"
        )
    write_questions(file, drafts)
    print(f"{len(drafts)} questions drafted in {shown(file)}\nreview and edit them, then:")
    print(f"  make documents STUDY={study} DOCS={docs} QUESTIONS={shown(file)}")
    return 0
