"""Files of every kind that are empty, cut in half, garbage or gone."""

import os
import shutil

import pytest

from chaos.check import failure, finished
from chaos.conftest import QUICK
from chaos.damage import DAMAGES, RESULTS
from study.runs.store import key_in

pytestmark = pytest.mark.chaos
MODEL = ("config.json", "model.safetensors", "tokenizer.json")


@pytest.mark.parametrize("kinds", [[*RESULTS]] if QUICK else [[kind] for kind in RESULTS], ids=", ".join)
def test_torn_results(kinds, reference, random, all_survived):
    """Results that were torn after they were finished are not taken for finished, and are made again."""
    study = reference.copied_study("torn")
    before, damaged = finished(study), []
    for number, kind in enumerate(kinds):
        for file, damage in chosen(study, kind, number, random):
            DAMAGES[damage](file)
            damaged.append(f"{damage} {kind}")
            before.pop(key_in(file.parent.name), None)
    amiss = reference.amiss(study, before) + failure(study.finish(verb="plan"), "`plan`")
    done = study.finish()
    amiss += failure(done) + (["a traceback"] if "Traceback" in done.err else [])
    shutil.rmtree(study.results / "damaged", ignore_errors=True)  # where damaged units are set aside
    amiss += reference.unlike(study)
    all_survived((name, amiss) for name in damaged)


def chosen(study, kind, number, random):
    """Files of a kind with what is done to each: every damage to another file, or one damage in the short form."""
    files = [file for file in sorted(study.results.glob(RESULTS[kind])) if file.is_file()]
    damages = list(DAMAGES)[number % len(DAMAGES) :][:1] if QUICK else list(DAMAGES)
    return list(zip(random.sample(files, min(len(files), len(damages))), damages, strict=False))


@pytest.mark.long
def test_leftovers(reference):
    """Parts that a killed process left beside their places, whole or not, are nobody's results."""
    study = reference.copied_study("leftovers")
    units = sorted(finished(study))
    for unit in units[:2]:
        shutil.copytree(study.store.path(unit), study.store.folder / f".{unit}.left")
        os.truncate(study.store.folder / f".{unit}.left" / "rows.parquet", 100)
        shutil.rmtree(study.store.path(unit))
    for run in study.runs:
        shutil.copy(run.target, study.results / f".{run.name}.part.ipynb")
        shutil.copy(run.stamp, run.stamp.with_suffix(".part"))
        os.truncate(study.results / f".{run.name}.part.ipynb", 1000)
    before = {unit: digest for unit, digest in finished(study).items() if unit not in units[:2]}
    amiss = reference.amiss(study, before)
    amiss += [f"{unit} is called finished" for unit in units[:2] if study.store.has(unit)]
    assert amiss + reference.resumed(study) == []


@pytest.mark.parametrize("damage", ["half", "garbage"])
def test_torn_params(damage, reference):
    """A params file that is torn is refused by its name, and results are left alone."""
    study = reference.copied_study("settings")
    whole = study.file.read_bytes()
    DAMAGES[damage](study.file)
    done = study.finish()
    study.file.write_bytes(whole)
    assert done.unclear(study.file.name) + reference.unlike(study) == []


@pytest.mark.long
@pytest.mark.parametrize("name", MODEL)
@pytest.mark.parametrize("damage", ["half"] if QUICK else DAMAGES)
def test_torn_model(damage, name, reference):
    """A model whose files are torn ends in an error that names them or it; whole again, nothing is to be done."""
    file, study = reference.study.scratch.folder / "model" / name, reference.copied_study("model")
    before, whole = finished(study), file.read_bytes()
    DAMAGES[damage](file)
    try:
        done = study.finish()
    finally:
        file.write_bytes(whole)
    amiss = done.unclear(f"{file.name}|{file.parent}") + reference.amiss(study, before)
    shutil.rmtree(study.results / "failed", ignore_errors=True)  # what a failed run keeps for its user
    assert amiss + reference.resumed(study) == []
