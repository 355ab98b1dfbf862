"""Files of every kind that are empty, cut in half, garbage or gone."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from study.chaos.check import finished
from study.chaos.fault import Chaos, Outcome
from study.chaos.kills import resumed
from study.chaos.scratch import Study

GARBAGE = bytes(range(256)) * 4
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "garbage": lambda file: file.write_bytes(GARBAGE),
    "gone": lambda file: file.unlink(),
}
RESULTS = {
    "rows": "trials/*/rows.parquet",
    "record": "trials/*/record.json",
    "stamp": "stamps/*.json",
    "page": "*.ipynb",
    "table": "0*/*.csv",
    "figure": "0*/*.png",
    "figure in SVG": "0*/*.svg",
    "caption": "0*/*.txt",
}
MODEL = ("config.json", "model.safetensors", "tokenizer.json")


def results(chaos: Chaos) -> Iterator[Outcome]:
    """Results that were torn after they were finished are not taken for finished, and made again."""
    kinds = list(RESULTS)
    for group in [kinds] if chaos.quick else [[kind] for kind in kinds]:
        study = chaos.scratch.study("torn", like=chaos.reference.study)
        before, damaged = finished(study), []
        for number, kind in enumerate(group):
            for file, damage in _chosen(chaos, study, kind, number):
                DAMAGES[damage](file)
                damaged.append(f"{damage} {kind}")
                before.pop(file.parent.name, None)
        amiss = chaos.reference.amiss(study, before)
        plan = study.finish(verb="plan")
        amiss += [f"`plan` fails: {plan.err.strip()[-500:]!r}"] if plan.status else []
        done = study.finish()
        amiss += ["a traceback"] if "Traceback" in done.err else []
        shutil.rmtree(study.results / "damaged", ignore_errors=True)  # where damaged units are set aside
        amiss += resumed(chaos, study, done)
        yield from (Outcome(f"torn results: {name}", amiss) for name in damaged)


def _chosen(chaos: Chaos, study: Study, kind: str, number: int) -> list[tuple[Path, str]]:
    """Files of a kind with what is done to each: every damage to another file, or one damage in the short form."""
    files = [file for file in sorted(study.results.glob(RESULTS[kind])) if file.is_file()]
    damages = list(DAMAGES)[number % len(DAMAGES) :][:1] if chaos.quick else list(DAMAGES)
    return list(zip(chaos.random.sample(files, min(len(files), len(damages))), damages, strict=False))


def leftovers(chaos: Chaos) -> Iterator[Outcome]:
    """Parts that a killed process left beside their places, whole or not, are nobody's results."""
    study = chaos.scratch.study("leftovers", like=chaos.reference.study)
    units = sorted(finished(study))
    for unit in units[:2]:
        shutil.copytree(study.runs.store.folder / unit, study.runs.store.folder / f".{unit}.left")
        os.truncate(study.runs.store.folder / f".{unit}.left" / "rows.parquet", 100)
        shutil.rmtree(study.runs.store.folder / unit)
    for run in study.runs:
        shutil.copy(run.target, study.results / f".{run.name}.part.ipynb")
        shutil.copy(run.stamp, run.stamp.with_suffix(".part"))
        os.truncate(study.results / f".{run.name}.part.ipynb", 1000)
    before = {unit: digest for unit, digest in finished(study).items() if unit not in units[:2]}
    amiss = chaos.reference.amiss(study, before)
    amiss += [f"{unit} is called finished" for unit in units[:2] if study.runs.store.has(unit)]
    yield Outcome("parts left over", amiss + resumed(chaos, study, study.finish()))


def settings(chaos: Chaos) -> Iterator[Outcome]:
    """A params file that is torn is refused by its name, and results are left alone."""
    for damage in ("half", "garbage"):
        study = chaos.scratch.study("settings", like=chaos.reference.study)
        whole = study.file.read_bytes()
        DAMAGES[damage](study.file)
        done = study.finish()
        study.file.write_bytes(whole)
        amiss = done.unclear(study.file.name) + chaos.reference.unlike(study)
        yield Outcome(f"torn params: {damage}", amiss)
        shutil.rmtree(study.results)


def model(chaos: Chaos) -> Iterator[Outcome]:
    """A model whose files are torn ends in an error that names them or it; whole again, nothing is to be done."""
    for file in [chaos.scratch.folder / "model" / name for name in MODEL]:
        for damage in ("half",) if chaos.quick else DAMAGES:
            study = chaos.scratch.study("model", like=chaos.reference.study)
            before, whole = finished(study), file.read_bytes()
            DAMAGES[damage](file)
            try:
                done = study.finish()
            finally:
                file.write_bytes(whole)
            amiss = done.unclear(f"{file.name}|{file.parent}") + chaos.reference.amiss(study, before)
            yield Outcome(f"torn model: {damage} {file.name}", amiss + _as_before(chaos, study))


def _as_before(chaos: Chaos, study: Study) -> list[str]:
    """What is amiss once all is whole again; what a failed run kept for its user may be there."""
    shutil.rmtree(study.results / "failed", ignore_errors=True)
    return resumed(chaos, study, study.finish())
