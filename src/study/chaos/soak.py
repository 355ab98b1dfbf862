"""`python -m study soak`: processes of a study are killed at random for as long as asked; then its rows are compared.

make soak MINUTES=60                          # the published study, made anew in a scratch folder
make soak MINUTES=10 STUDY=smoke EXECUTOR=ray # on a cluster of two nodes, which are killed, too
python -m study compare FOLDER REFERENCE      # the rows of two folders of trials, unit by unit
"""

import shutil
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from random import Random

from study.chaos.check import unit_rows
from study.chaos.company import Nodes, cluster
from study.chaos.kills import EVERY, VICTIMS
from study.chaos.scratch import GRACE, Running, Scratch, Study
from study.config import ParamsError, named_file
from study.params import BUNDLED, load_params
from study.paths import BASE_MODEL, NOTEBOOKS, PARAMS, ROOT, shown
from study.runs.executors import RAY, chosen

PAUSE = (10.0, 240.0)  # least and most seconds between two kills; a run takes a minute to get going on a busy machine
NODE = "node"
ENDING = ("parent", "kernel", EVERY)  # whose death ends the run
TRIES = 3  # runs that may fail one after the other without having been struck


def soak(minutes: float, study: str, folder: str = "", reference: str = "", seed: int = 0) -> int:
    """Kill processes of a study at random, restart it after each kill, let it finish and compare its rows.

    Args:
        minutes: for how long; the study is let finish afterwards.
        study: name of a file in params/.
        folder: that the project is copied to; a new one by default.
        reference: folder of the undisturbed study's trials; none: compare later.
        seed: decides on moments and processes.

    Raises:
        ParamsError: if there is no such study, or the folder is not empty.
    """
    place = Path(folder or tempfile.mkdtemp(prefix="soak-")).resolve()
    disturbed, random, kills = _copied(study, place), Random(f"{seed}/soak"), Counter[str]()
    began, amiss = time.monotonic(), list[str]()
    until = began + 60 * minutes
    print(f"{study} in {place}", flush=True)
    with cluster(disturbed.scratch, 2) if chosen() == RAY else nullcontext() as nodes:
        done, before, failures = None, list[Running](), 0
        while time.monotonic() < until and failures < TRIES and (done is None or done.status):
            running = disturbed.start(**nodes.environment if nodes else {})
            struck = _disturb(running, random, nodes, until)
            done = running.wait(seconds=float("inf"))
            kills.update(struck)
            minute = (time.monotonic() - began) / 60
            print(f"{minute:6.1f} min  status {done.status}  killed: {_listed(Counter(struck))}", flush=True)
            if done.status and not struck:
                failures += 1
                amiss.append(f"a run that was not struck ended with status {done.status}: {done.err.strip()[-500:]}")
            before.append(running)
            late = [run for run in before if run.ended + GRACE < time.monotonic()]
            amiss += [f"{name} lives on" for run in late for name in run.orphans()]
        if done is None or done.status:
            done = disturbed.start(**nodes.environment if nodes else {}).wait(seconds=float("inf"))
        amiss += [f"{name} lives on" for run in before for name in run.orphans()]
    if done.status:
        amiss.append(f"let finish, it ends with status {done.status}: {done.err.strip()[-500:]}")
    trials = disturbed.results / "runs"
    print(f"\n{kills.total()} kills in {(time.monotonic() - began) / 60:.0f} minutes: {_listed(kills)}")
    print("\n".join(amiss) or "every run that was not struck went through, and no process outlived its run")
    print(f"{len(unit_rows(trials))} units in {trials}")
    unequal = compare(str(trials), reference) if reference else 0
    return int(bool(amiss) or unequal)


def compare(folder: str, reference: str) -> int:
    """Compare the rows of two folders of trials, value by value, unit by unit; 1 if they differ.

    Units are paired by their label and model, so that it does not matter which version of the code made them.
    """
    for name, place in (("FOLDER", folder), ("REFERENCE", reference)):
        if not Path(place).is_dir():
            raise ParamsError(f"{name} = {place!r}: no such folder; give a folder of trials, as results/default/trials")
    here, there = unit_rows(Path(folder)), unit_rows(Path(reference))
    other = [name for name in here if name in there and here[name] != there[name]]
    for state, names in (("other rows", other), ("missing", there.keys() - here), ("not known", here.keys() - there)):
        for name in sorted(names):
            print(f"{state}: {name}")
    equal = sum(here[name] == there[name] for name in here.keys() & there)
    print(f"{equal} of {len(there)} units equal row for row, {len(there) - equal} unequal")
    return int(equal < len(there))


def _disturb(running: Running, random: Random, nodes: Nodes | None, until: float) -> list[str]:
    """Strike a run at random moments while it goes on; who was struck."""
    struck, victims = list[str](), (*VICTIMS, NODE) if nodes else VICTIMS
    while running.goes_on():
        victim, moment = random.choice(victims), time.monotonic() + random.uniform(*PAUSE)
        while running.goes_on() and time.monotonic() < min(moment, until):
            time.sleep(0.1)
        if time.monotonic() >= until:
            break  # the run that goes on then is the one that is let finish
        if running.goes_on() and _kill(running, victim, nodes):
            struck.append(victim)
            while victim in ENDING and running.goes_on():
                time.sleep(0.1)
    return struck


def _kill(running: Running, victim: str, nodes: Nodes | None) -> bool:
    if nodes and victim == NODE:
        return nodes.lose()
    if nodes and victim == "worker":
        return nodes.kill_worker()
    return bool(running.kill("" if victim == EVERY else victim))


def _listed(kills: Counter[str]) -> str:
    return ", ".join(f"{victim} {number}" for victim, number in sorted(kills.items())) or "none"


def _copied(study: str, place: Path) -> Study:
    """The project with the models that a study names, and none of its results."""
    file = named_file(PARAMS, "STUDY", study)
    if place.is_dir() and any(place.iterdir()):
        raise ParamsError(f"FOLDER = {str(place)!r}: it is not empty; name another one, or remove it")
    params = load_params(file)
    names = [model.name for model in (params.model, *params.model_sizes.models)]
    models = [BASE_MODEL if name == BUNDLED else Path(name) for name in names]
    scratch = Scratch.make(place, pages=[page.stem for page in NOTEBOOKS.glob("0[1-6]_*.ipynb")])
    for model in models:
        if (ROOT / model).is_dir():
            shutil.copytree(ROOT / model, place / shown(ROOT / model))
    return Study(scratch, study)
