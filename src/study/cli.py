"""The command line, `python -m study VERB`: what the targets of the Makefile call.

Each verb imports what it needs, so that one with nothing to do ends at once.
"""

import errno
import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from study.config import ParamsError, named_file, refuse_another_checkout
from study.lm.fetch import ensure
from study.lm.hub import identity
from study.pages.page import NotebookFailed, Page, notebook_path, place_about
from study.pages.terminal import TO_RUN, show_accuracy, show_cautions, show_pages, show_units
from study.params import Model, Params, load_params
from study.paths import NB, NOTEBOOKS, PARAMS, RESULTS, shown
from study.runs.run import DIVERGED, Run
from study.runs.store import PUBLISHED, content_hash, store_of

PRETRAINING, DOCUMENTS = "00", "07"  # notebooks that are no part of a study
PUBLISHED_FILE = PARAMS / f"{PUBLISHED.name}.yaml"
ROOM, RIGHTS = "make room on the disk", "have its owner let you read and write it"
DISK, FILES = "check the disk or the network share it lies on", "let more files be open (`ulimit -n 4096`)"
REMEDIES = {errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EFBIG: ROOM}
REMEDIES |= {errno.EACCES: RIGHTS, errno.EPERM: RIGHTS, errno.EROFS: RIGHTS}
REMEDIES |= {errno.EIO: DISK, errno.ESTALE: DISK, errno.EMFILE: FILES, errno.ENFILE: FILES}

P = ParamSpec("P")
app = typer.Typer(help=__doc__, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
Study = Annotated[str, typer.Option(help="name of a file in params/")]
Docs = Annotated[str, typer.Option(help="folder of text, Markdown, HTML, Word, PDF or JSONL")]
Questions = Annotated[str, typer.Option(help="CSV or JSONL file")]
Number = Annotated[str, typer.Argument(help="first digits of the notebook's name, such as 03")]
Size = Annotated[str, typer.Option(help="name of a file in params/base_model/")]


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a scheduler sends it before it kills; it is cleaned up after like Ctrl-C."""


def verb(does: Callable[P, int]) -> Callable[P, int]:
    """Make a function that returns an exit status a verb."""

    @functools.wraps(does)
    def ended(*args: P.args, **given: P.kwargs) -> None:
        raise typer.Exit(exit_status(functools.partial(does, *args, **given)))

    app.command()(ended)
    return does


def exit_status(work: Callable[[], int]) -> int:
    """Do the work of a verb; its exit status, with what went wrong and what would help on standard error."""
    try:
        refuse_another_checkout(Path.cwd())
        return work()
    except BrokenPipeError:  # the reader of the output has gone, as in `make plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ParamsError, NotebookFailed) as error:
        said, status = f"error: {error}", 1
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        place = f" ({error.filename})" if error.filename else ""
        remedy = f"what is finished is kept: {REMEDIES[error.errno]} and run again"
        said, status = f"error: {error.strerror}{place}; {remedy}", 1
    except KeyboardInterrupt as error:
        what, status = ("terminated", 143) if isinstance(error, Terminated) else ("\ninterrupted", 130)
        said = f"{what}; finished runs are kept, and the next run goes on from them"
    print(said, file=sys.stderr)
    return status


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; its exit status, 2 for what is no verb or no option of it."""

    def terminate(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        app(arguments, prog_name="python -m study")
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("a command line ends with an exit status")


def study_file(study: str) -> Path:
    """The params file of a named study.

    Raises:
        ParamsError: if there is none.
    """
    return named_file(PARAMS, "STUDY", study)


def study_runs(study: str, docs: str = "", questions: str = "") -> list[Page]:
    """The notebooks of a study in order; of somebody's documents the one that `make documents` executes."""
    if docs or questions:
        from study.advice.ask import page_about

        study = "documents" if study == "default" else study
        return [page_about(docs, questions, study, load_params(study_file(study)), RESULTS)]
    file = study_file(study)
    params = load_params(file)
    show_cautions(params)
    if params.world_names == ("documents",):
        place = place_about(RESULTS, study, params.plain()["worlds"]["documents"]["folder"])
        return [Page(notebook_path(DOCUMENTS), file, params, place)]
    notebooks = sorted(p for p in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb") if p.name[:2] not in (PRETRAINING, DOCUMENTS))
    return [Page(notebook, file, params, RESULTS / study) for notebook in notebooks]


def models_of(params: Params) -> tuple[Model, ...]:
    """The model of a study and those of its model-size comparison."""
    return (params.model, *params.model_sizes.models)


@verb
def reproduce(study: Study = "default") -> int:
    """Execute what is not up to date of a study."""
    runs = study_runs(study)
    for model in models_of(runs[0].params):
        ensure(model, weights=False)
        identity(model)  # no model: say so before any work
    stale = []
    for run in runs:
        reason = run.stale()
        print(f"{run.name}: {reason or 'up to date'}", flush=True)
        stale += [run] if reason else []
    if stale:
        started = time.monotonic()
        for model in models_of(runs[0].params):
            ensure(model)
        from study.pages.execute import execute
        from study.runs.forecast import show_time

        show_time(runs[0].params, store_of(runs[0].results))
        execute(*stale)
        print(f"{len(stale)} notebooks executed in {time.monotonic() - started:.0f} s")
        show_accuracy(runs[0].params, runs[0].results)
        _beside_the_published(runs[0].params, runs[0].results)
    else:
        folder = shown(runs[0].results)
        print(f"nothing to do: study {study!r} is up to date in {folder} (to run it again, remove that folder)")
    return 0


def _beside_the_published(params: Params, results: Path) -> None:
    """Print how a study agrees with the published one."""
    from study.pages.reproduction import report

    if params.world_names != ("documents",):
        report(params, results, PUBLISHED, load_params(PUBLISHED_FILE))


@verb
def nb(
    number: Number, params_file: Annotated[str, typer.Argument(help="YAML file of differences from the defaults")]
) -> int:
    """Execute one notebook with other params into a folder of its own, and print what differs."""
    from study.base_model.recipe import load_recipe
    from study.pages.execute import execute

    if not params_file:
        raise ParamsError("PARAMS is empty; give the path of a params file, as in `make nb NB=03 PARAMS=mine.yaml`")
    notebook, file = notebook_path(number), Path(params_file).resolve()
    params = load_recipe(file) if notebook.name.startswith(PRETRAINING) else load_params(file)
    results = RESULTS / NB / f"{notebook.stem}-{file.stem}-{content_hash(params.plain())[:8]}"
    run = Page(notebook, file, params, results)
    print(f"{notebook.stem} with {shown(file)} into {shown(results)}", flush=True)

    if isinstance(params, Params):
        show_cautions(params)
        for model in models_of(params):
            ensure(model)
    execute(run)
    if isinstance(params, Params):
        from study.pages.difference import show_differences

        show_differences(run, load_params(PUBLISHED_FILE))
    return 0


@verb
def help_nb(number: Number) -> int:
    """Say what a notebook asks, and every setting that it can be run with."""
    notebook = notebook_path(number)
    from papermill import inspect_notebook

    from study.help import show

    show(notebook, inspect_notebook(str(notebook)))
    return 0


@verb
def plan(
    study: Study = "default",
    docs: Docs = "",
    questions: Questions = "",
    verbose: Annotated[bool, typer.Option("--verbose", help="list every run")] = False,
) -> int:
    """Say what `reproduce` or `documents` would do and take, without doing it; refuse what cannot fit."""
    runs = study_runs(study, docs, questions)
    params, store = runs[0].params, store_of(runs[0].results)
    for model in models_of(params):
        ensure(model, weights=False)
    show_pages(runs)
    print()
    units = _show_units(runs)
    for unit, state in units if verbose else ():
        print(f"  {state:8}  {unit.key}  {unit.label}")
    waiting = sum(state == TO_RUN for _, state in units)
    print(f"\n{len(units) - waiting} of {len(units)} runs are finished")
    if waiting:
        from study.runs.forecast import forecast

        found = forecast(params, store)
        print("\n".join(found.lines()))
        found.refuse_what_cannot_fit()
    return 0


@verb
def status(study: Study = "default", docs: Docs = "", questions: Questions = "") -> int:
    """Say what is finished, what diverged and what failed."""
    runs = study_runs(study, docs, questions)
    for unit, state in _show_units(runs):
        if state == DIVERGED:
            print(f"diverged: {unit.label}: {store_of(runs[0].results).record(unit.key)['error']}")
    print()
    show_pages(runs)
    return 0


def _show_units(runs: list[Page]) -> list[tuple[Run, str]]:
    """Print how many runs of a study are in which state; all of them with their states."""
    from study.pages.notebook_arms import first_notebooks
    from study.runs.runner import runs_of

    params, store = runs[0].params, store_of(runs[0].results)
    units = runs_of(params, store)
    states = [str(store.record(unit.key)["status"]) if store.has(unit.key) else TO_RUN for unit in units]
    show_units(units, states, first_notebooks(units, params, [run.name for run in runs]))
    return [*zip(units, states, strict=True)]


@verb
def pack(study: Study = "default") -> int:
    """Put the finished runs of a study together, a file for each dataset and seed, as it is published."""
    from study.runs.packs import PACKS, pack
    from study.runs.runner import runs_of

    params, results = load_params(study_file(study)), RESULTS / study
    store = store_of(results)
    finished = [store.path(unit.key) for unit in runs_of(params, store) if store.has(unit.key)]
    written = pack(finished, results / PACKS)
    size = sum(file.stat().st_size for file in written)
    print(f"{len(finished)} runs in {len(written)} files of {size / 1e6:.1f} MB in {shown(results / PACKS)}")
    return 0


@verb
def documents(docs: Docs = "", questions: Questions = "", study: Study = "documents") -> int:
    """Say which way to give a model the facts of somebody's documents; without questions, draft some."""
    from study.advice.ask import ask

    return ask(docs, questions, study, load_params(study_file(study)), RESULTS)


@verb
def figures(study: Study = PUBLISHED.name) -> int:
    """Redraw the figures of a study from its results; no model is loaded."""
    from study.pages.draw import redraw

    changed = redraw(load_params(study_file(study)), RESULTS / study)
    for file in (file for file, new in changed.items() if new):
        print(f"changed: {file}")
    print(f"{sum(changed.values())} of {len(changed)} files changed")
    return 0


@verb
def verify(study: Study = PUBLISHED.name) -> int:
    """Recompute every claim of a study from its rows, and compare these with the published study's."""
    from study.evidence.verify import seeds_by_freshness
    from study.evidence.verify import verify as recomputed

    params = load_params(study_file(study))
    effects, claims = recomputed(params, RESULTS / study)
    for claim in claims.itertuples():
        print(f"\n{claim.number}. {claim.claim}")
        for line in effects[effects["number"] == claim.number].itertuples():
            print(
                f"   {line.effect:+6.2f} [{line.low:+.2f}, {line.high:+.2f}]  claimed {line.claimed:14}  "
                f"{line.world}, {line.split}: {line.compared} ({line.items} items, "
                f"{line.facts} facts, {line.seeds} seeds)"
            )
        print(f"   {claim.verdict}" + ("" if claim.follows else f", but {claim.published} is published"))
    for what, seeds in seeds_by_freshness(params, RESULTS / study).items():
        if seeds:
            print(f"\nseeds {', '.join(map(str, seeds))}: {what}")
    _beside_the_published(params, RESULTS / study)
    wrong = (~claims["follows"]).sum()
    print(f"\n{wrong} of {len(claims)} published verdicts differ" if wrong else f"\nall {len(claims)} verdicts match")
    return int(wrong > 0)


@verb
def fetch(
    model: Annotated[str, typer.Option(help="model of the hub, owner/name")] = "",
    revision: Annotated[str, typer.Option(help="commit, branch or tag to pin; by default the pinned commit")] = "",
    file: Annotated[str, typer.Option(help="GGUF file of the model, to be unpacked")] = "",
    weights: Annotated[str, typer.Option(help="folder that holds that file, whole or in parts; no network")] = "",
    data: Annotated[str, typer.Option(help="name of a public data set")] = "",
) -> int:
    """Fetch a hub model and pin it, or a public data set."""
    from study.lm.fetch import fetch as fetch_model
    from study.lm.fetch import fetch_data, fetch_gguf

    if not model and not data:
        raise ParamsError("neither MODEL nor DATA is given; as in `make fetch MODEL=Qwen/Qwen3-1.7B`")
    if weights and not file:
        raise ParamsError(f"WEIGHTS = {weights!r} without FILE; name the GGUF file of the model that lies there")
    if file:
        given = {"name": model, "file": file, "revision": revision or None}
        fetch_gguf(Model.parse(given, "make fetch"), Path(weights) if weights else None)
    elif model:
        fetch_model(model, revision or None)
    if data:
        fetch_data(data)
    return 0


@verb
def base_model(size: Size = "default") -> int:
    """Pretrain a bundled model."""
    from study.base_model.make import folder_of, recipe_file
    from study.base_model.recipe import load_recipe
    from study.pages.execute import execute

    file, folder = recipe_file(size), folder_of(size)
    run = Page(NOTEBOOKS / "00_base_model.ipynb", file, load_recipe(file), folder)
    if run.stale() is None:
        print(f"nothing to do: {shown(folder)} is up to date; remove that folder to train again")
        return 0
    execute(run)
    return 0


@verb
def base_report(size: Size = "default") -> int:
    """Measure a bundled model's skills beside their targets."""
    from study.base_model.make import folder_of, recipe_file
    from study.base_model.report import report, verdict

    recipe_file(size)
    folder = folder_of(size)
    if not (folder / "pretraining.json").is_file():
        raise ParamsError(f"SIZE = {size!r}: no model in {shown(folder)}; make it with `make base-model SIZE={size}`")
    targets = report(folder)
    print(targets.round(2).to_string(index=False))
    print(verdict(targets))
    return 0 if targets["met"].all() else 1
