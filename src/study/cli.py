"""The verbs of the launcher, what the targets of the Makefile call: reproduce, nb, plan, status, verify, and more.

Each imports what it needs, so that one with nothing to do ends at once.
"""

import argparse
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from study.config import ParamsError, named_file
from study.lm.fetch import ensure
from study.lm.hub import identity
from study.pages.page import NotebookFailed, Page, notebook_path, place_about
from study.params import Params, load_params
from study.paths import NOTEBOOKS, PARAMS, RESULTS, shown
from study.runs.store import PUBLISHED, content_hash, store_of

PRETRAINING, DOCUMENTS = "00", "07"  # notebooks that are no part of a study
ROOM, RIGHTS = "make room on the disk", "make it writable"
REMEDIES = {errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EFBIG: ROOM}
REMEDIES |= {errno.EACCES: RIGHTS, errno.EPERM: RIGHTS, errno.EROFS: RIGHTS}


def study_file(study: str) -> Path:
    """The params file of a named study.

    Raises:
        ParamsError: if there is none.
    """
    return named_file(PARAMS, "STUDY", study)


def study_runs(study: str) -> list[Page]:
    """The notebooks of a study in order; of somebody's documents the one that `make documents` executes."""
    file = study_file(study)
    params = load_params(file)
    if params.world_names == ("documents",):
        place = place_about(RESULTS, params.plain()["worlds"]["documents"]["folder"])
        return [Page(notebook_path(DOCUMENTS), file, params, place)]
    notebooks = sorted(p for p in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb") if p.name[:2] not in (PRETRAINING, DOCUMENTS))
    return [Page(notebook, file, params, RESULTS / study) for notebook in notebooks]


def reproduce(study: str) -> int:
    """Execute what is not up to date of a study."""
    runs = study_runs(study)
    models = (runs[0].params.model, *runs[0].params.model_sizes.models)
    for model in models:
        ensure(model, weights=False)
        identity(model)  # no model: say so before any work
    started, executed = time.monotonic(), 0
    for run in runs:
        reason = run.stale()
        if reason is None:
            print(f"{run.name}: up to date")
            continue
        print(f"{run.name}: {reason}", flush=True)
        for model in models:
            ensure(model)
        if not executed:
            from study.runs.forecast import refuse_what_cannot_fit

            refuse_what_cannot_fit(run.params, store_of(run.results))
        from study.pages.execute import execute

        begun = time.monotonic()
        execute(run)
        executed += 1
        print(f"{run.name}: written to {shown(run.target)} in {time.monotonic() - begun:.0f} s", flush=True)
    folder = shown(runs[0].results)
    if executed:
        print(f"{executed} notebooks executed in {time.monotonic() - started:.0f} s")
        print(summary(runs[0].params, runs[0].results))
    else:
        print(f"nothing to do: study {study!r} is up to date in {folder} (to see it made anew, remove that folder)")
    return 0


def summary(params: Params, results: Path) -> str:
    """Accuracy by arm and split as text."""
    from study.runs.runner import evaluation_runs_of, rows_of

    rows = rows_of(evaluation_runs_of(params, store_of(results)), store_of(results))
    if rows.empty:
        return "no finished trials"
    mean = rows.pivot_table("correct", ["world", "split"], "arm", sort=False)
    table = mean.reindex(columns=[arm for arm in params.arms if arm in mean.columns])
    table["chance"] = rows.groupby(["world", "split"])["chance"].mean()
    return f"\naccuracy, seeds {', '.join(map(str, params.seeds))}\n{table.round(2).to_string()}"


def changed(theirs: object, mine: object, path: str = "") -> Iterator[str]:
    """A line for each setting that differs, by its dotted path; what only one side has is one line."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for key in {**theirs, **mine}:
            yield from changed(theirs.get(key), mine.get(key), f"{path}.{key}" if path else key)
    elif mine is None and isinstance(theirs, dict):
        yield f"  {path}: left out"
    elif theirs != mine:
        yield f"  {path}: {theirs!r} -> {mine!r}"


def one_notebook(number: str, params_file: str) -> int:
    """Execute one notebook with other params into a folder of its own, and print what differs."""
    from study.base_model.recipe import load_recipe
    from study.pages.execute import execute

    if not params_file:
        raise ParamsError("PARAMS is empty; give the path of a params file, as in `make nb NB=03 PARAMS=mine.yaml`")
    notebook, file = notebook_path(number), Path(params_file).resolve()
    if notebook.name.startswith("00"):
        recipe = load_recipe(file)
        results = RESULTS / "nb" / f"{notebook.stem}-{file.stem}-{content_hash(recipe.plain())[:8]}"
        execute(Page(notebook, file, recipe, results))
        print(f"written to {shown(results)}")
        return 0
    params, published = load_params(file), load_params(study_file("default"))
    results = RESULTS / "nb" / f"{notebook.stem}-{file.stem}-{content_hash(params.plain())[:8]}"
    run = Page(notebook, file, params, results)
    print(f"{notebook.stem} with {shown(file)} into {shown(results)}", flush=True)
    for model in (params.model, *params.model_sizes.models):
        ensure(model)
    execute(run)
    print(f"written to {shown(run.target)}\n\nparams that differ from params/default.yaml")
    print("\n".join(changed(published.plain(), params.plain())) or "  none")
    show_differences(run)
    return 0


def help_notebook(number: str) -> int:
    """Say what a notebook asks, and every setting that it can be run with."""
    notebook = notebook_path(number)
    from papermill import inspect_notebook

    from study.help import show

    show(notebook, inspect_notebook(str(notebook)))
    return 0


def show_differences(run: Page) -> None:
    """Print what a notebook's arms answer otherwise than in the published study, in words and as a table."""
    from study.evidence.difference import difference_table, in_short, rows_listed, show
    from study.pages.execute import runs_in
    from study.runs.runner import rows_of

    trials = [trial for trial in runs_in(run) if trial.params == run.params]  # the ladder's models are others
    here = rows_of(trials, store_of(run.results))
    if here.empty:
        print("\nthis notebook runs no trials, so no accuracy is compared")
        return
    table = difference_table(
        here, rows_listed(PUBLISHED, [*dict.fromkeys(trial.arm for trial in trials)]), run.params.statistics
    )
    print(f"\naccuracy here and in {shown(PUBLISHED)}\n{in_short(table, run.params.statistics.confidence)}\n")
    show(table)


def plan(study: str, verbose: bool = False) -> int:
    """Say what `reproduce` would do and what it would take, without doing it; refuse what cannot fit."""
    from study.runs.runner import runs_of
    from study.terminal import TO_RUN, show_pages, show_units, states_of

    runs = study_runs(study)
    params, store = runs[0].params, store_of(runs[0].results)
    for model in (params.model, *params.model_sizes.models):
        ensure(model, weights=False)
    show_pages(runs)
    units = runs_of(params, store)
    states = states_of(units, store)
    print()
    show_units(units, states, params)
    for unit, state in zip(units, states, strict=True):
        if verbose:
            print(f"  {state:8}  {unit.key}  {unit.label}")
    print(f"\n{len(units) - states.count(TO_RUN)} of {len(units)} units are finished")
    if TO_RUN in states:
        from study.runs.forecast import forecast

        found = forecast(params, store)
        print("\n".join(found.lines()))
        found.refuse_what_cannot_fit()
    return 0


def status(study: str) -> int:
    """Say what is finished, what diverged and what failed."""
    from study.runs.run import DIVERGED
    from study.runs.runner import runs_of
    from study.terminal import show_pages, show_units, states_of

    runs = study_runs(study)
    store = store_of(runs[0].results)
    units = runs_of(runs[0].params, store)
    states = states_of(units, store)
    show_units(units, states, runs[0].params)
    for unit, state in zip(units, states, strict=True):
        if state == DIVERGED:
            print(f"diverged: {unit.label}: {store.record(unit.key)['error']}")
    print()
    show_pages(runs)
    return 0


def documents(docs: str, questions: str, study: str) -> int:
    """Say which way to give a model the facts of somebody's documents; without questions, draft some."""
    from study.advice.ask import inquire

    return inquire(docs, questions, study, load_params(study_file(study)), RESULTS)


def figures(study: str) -> int:
    """Redraw the figures of a study from its results; no model is loaded."""
    from study.pages.draw import redraw

    params = load_params(study_file(study))
    changed = redraw(params, RESULTS / study)
    for file in (file for file, new in changed.items() if new):
        print(f"changed: {file}")
    print(f"{sum(changed.values())} of {len(changed)} files changed")
    return 0


def verify(study: str) -> int:
    """Recompute every claim of a published study from its rows."""
    from study.evidence.verify import verify

    effects, claims = verify(load_params(study_file(study)), RESULTS / study)
    for claim in claims.itertuples():
        print(f"\n{claim.number}. {claim.claim}")
        for line in effects[effects["number"] == claim.number].itertuples():
            where = "all worlds" if line.world == "all" else f"{line.world}, {line.split}"
            print(
                f"   {line.effect:+6.2f} [{line.low:+.2f}, {line.high:+.2f}]  claimed {line.claimed:14}  {where}: "
                f"{line.compared} ({line.items} items, {line.facts} facts, {line.seeds} seeds)"
            )
        print(f"   {claim.verdict}" + ("" if claim.follows else f", but {claim.published} is published"))
    wrong = (~claims["follows"]).sum()
    print(f"\n{len(claims)} claims recomputed, {wrong} published verdicts do not follow from the published rows")
    return int(wrong > 0)


def site(study: str) -> int:
    """Make the site of a study from its results."""
    from study.site import SITE
    from study.site.build import build

    build(load_params(study_file(study)), RESULTS / study)
    print(f"open {shown(SITE / 'index.html')}")
    return 0


def fetch(model: str, revision: str, data: str) -> int:
    """Fetch a hub model and pin it, or a public data set."""
    from study.lm.fetch import fetch, fetch_data

    if not model and not data:
        raise ParamsError("neither MODEL nor DATA is given; as in `make fetch MODEL=Qwen/Qwen3-1.7B`")
    if model:
        fetch(model, revision or None)
    if data:
        fetch_data(data)
    return 0


def base_model(size: str) -> int:
    """Pretrain a bundled model anew."""
    from study.base_model.make import folder_of, recipe_file
    from study.base_model.recipe import load_recipe
    from study.pages.execute import execute

    file, folder = recipe_file(size), folder_of(size)
    run = Page(NOTEBOOKS / "00_base_model.ipynb", file, load_recipe(file), folder)
    reason = run.stale()
    if reason is None:
        print(f"nothing to do: {shown(folder)} is up to date; remove that folder to train anew")
        return 0
    execute(run)
    print(f"written to {shown(folder)}")
    return 0


def base_report(size: str) -> int:
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


def bench(quick: bool, only: str) -> int:
    """Measure speed against what others use, in turn on this machine."""
    try:
        from study.bench.run import run
    except ModuleNotFoundError as error:
        raise ParamsError(
            f"{error.name} is not installed; `make bench` does it, from requirements/bench.lock"
        ) from error
    return run(quick, only)


def chaos(faults: int, only: str, seed: int, quick: bool) -> int:
    """Disturb a tiny study by every fault in turn, resume it and hold it against the undisturbed one."""
    from study.chaos.run import run

    return run(faults, [name.strip() for name in only.split(",") if name.strip()], seed, quick)


def soak(minutes: float, study: str, folder: str, reference: str, seed: int) -> int:
    """Kill processes of a study at random for as long as asked, let it finish and compare its rows."""
    from study.chaos.soak import soak

    return soak(minutes, study, folder, reference, seed)


def compare(folder: str, reference: str) -> int:
    """Compare two folders of trials, unit by unit and value by value."""
    from study.chaos.soak import compare

    return compare(folder, reference)


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a scheduler sends it before it kills; what is cleared away behind Ctrl-C is behind it, too."""


def _terminate(*_: object) -> None:
    raise Terminated


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, does in (
        ("reproduce", reproduce),
        ("status", status),
        ("figures", figures),
        ("verify", verify),
        ("site", site),
    ):
        sub = verbs.add_parser(verb, help=(does.__doc__ or "").splitlines()[0])
        sub.add_argument("--study", default="default", help="name of a file in params/")
        sub.set_defaults(does=lambda given, does=does: does(given.study))
    sub = verbs.add_parser("plan", help=(plan.__doc__ or "").splitlines()[0])
    sub.add_argument("--study", default="default", help="name of a file in params/")
    sub.add_argument("--verbose", action="store_true", help="list every unit")
    sub.set_defaults(does=lambda given: plan(given.study, given.verbose))
    sub = verbs.add_parser("nb", help=(one_notebook.__doc__ or "").splitlines()[0])
    sub.add_argument("number", help="first digits of the notebook's name, such as 03")
    sub.add_argument("params_file", help="YAML file of differences from the defaults")
    sub.set_defaults(does=lambda given: one_notebook(given.number, given.params_file))
    sub = verbs.add_parser("help-nb", help=(help_notebook.__doc__ or "").splitlines()[0])
    sub.add_argument("number", help="first digits of the notebook's name, such as 03")
    sub.set_defaults(does=lambda given: help_notebook(given.number))
    sub = verbs.add_parser("fetch", help=(fetch.__doc__ or "").splitlines()[0])
    sub.add_argument("--model", default="", help="model of the hub, owner/name")
    sub.add_argument("--revision", default="", help="commit, branch or tag to pin; by default the pinned commit")
    sub.add_argument("--data", default="", help="name of a public data set")
    sub.set_defaults(does=lambda given: fetch(given.model, given.revision, given.data))
    for verb, makes in (("base-model", base_model), ("base-report", base_report)):
        sub = verbs.add_parser(verb, help=(makes.__doc__ or "").splitlines()[0])
        sub.add_argument("--size", default="default", help="name of a file in params/base_model/")
        sub.set_defaults(does=lambda given, makes=makes: makes(given.size))
    sub = verbs.add_parser("documents", help=(documents.__doc__ or "").splitlines()[0])
    sub.add_argument("--docs", default="", help="folder of text, Markdown, HTML, PDF or JSONL")
    sub.add_argument("--questions", default="", help="CSV or JSONL file")
    sub.add_argument("--study", default="documents", help="name of a file in params/")
    sub.set_defaults(does=lambda given: documents(given.docs, given.questions, given.study))
    sub = verbs.add_parser("bench", help=(bench.__doc__ or "").splitlines()[0])
    sub.add_argument("--quick", action="store_true", help="the fast rows only, once each; nothing is written")
    sub.add_argument("--only", default="", help="names of groups of rows")
    sub.set_defaults(does=lambda given: bench(given.quick, given.only))
    sub = verbs.add_parser("chaos", help=(chaos.__doc__ or "").splitlines()[0])
    sub.add_argument("--faults", type=int, default=100, help="how many processes are killed, one after the other")
    sub.add_argument("--only", default="", help="names of faults, between commas")
    sub.add_argument("--seed", type=int, default=0, help="decides on moments and files")
    sub.add_argument("--quick", action="store_true", help="the short form")
    sub.set_defaults(does=lambda given: chaos(given.faults, given.only, given.seed, given.quick))
    sub = verbs.add_parser("soak", help=(soak.__doc__ or "").splitlines()[0])
    sub.add_argument("--minutes", type=float, default=60, help="for how long processes are killed")
    sub.add_argument("--study", default="default", help="name of a file in params/")
    sub.add_argument("--folder", default="", help="empty folder that the project is copied to; a new one by default")
    sub.add_argument("--reference", default="", help="folder of undisturbed trials to compare with at the end")
    sub.add_argument("--seed", type=int, default=0, help="decides on moments and processes")
    sub.set_defaults(does=lambda given: soak(given.minutes, given.study, given.folder, given.reference, given.seed))
    sub = verbs.add_parser("compare", help=(compare.__doc__ or "").splitlines()[0])
    sub.add_argument("folder", help="of trials, such as results/default/trials")
    sub.add_argument("reference", help="folder of trials, too")
    sub.set_defaults(does=lambda given: compare(given.folder, given.reference))
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(given.does(given))
    except (ParamsError, NotebookFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of the output has gone, as in `make plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        place = f" ({error.filename})" if error.filename else ""
        print(
            f"error: {error.strerror}{place}; what is finished is kept: {REMEDIES[error.errno]} and run again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as error:
        what, exit_status = ("terminated", 143) if isinstance(error, Terminated) else ("\ninterrupted", 130)
        print(f"{what}; finished trials are kept, and the next run goes on from them", file=sys.stderr)
        return exit_status
