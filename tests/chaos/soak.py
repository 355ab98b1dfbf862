"""Kill processes of a study at random for as long as asked, let it finish and compare its rows.

make soak MINUTES=60                          # the core of the study in a scratch folder
make soak MINUTES=10 STUDY=smoke EXECUTOR=ray # on a cluster of two nodes, which are killed, too
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from random import Random

from chaos.check import failure
from chaos.cluster import Nodes, cluster
from chaos.compare import compare, unit_rows
from chaos.scratch import EVERY, GRACE, VICTIMS, Running, Scratch, Study
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
                amiss += failure(done, "a run that was not struck")
            before.append(running)
            late = [run for run in before if run.ended + GRACE < time.monotonic()]
            amiss += [line for run in late for line in run.orphans()]
        if done is None or done.status:
            done = disturbed.start(**nodes.environment if nodes else {}).wait(seconds=float("inf"))
        amiss += [line for run in before for line in run.orphans()]
    amiss += failure(done, "let finish, it")
    trials = disturbed.results / "runs"
    print(f"\n{kills.total()} kills in {(time.monotonic() - began) / 60:.0f} minutes: {_listed(kills)}")
    print("\n".join(amiss) or "every run that was not struck went through, and no process outlived its run")
    print(f"{len(unit_rows(trials))} units in {trials}")
    unequal = compare(str(trials), reference) if reference else 0
    return int(bool(amiss) or unequal)


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
    return bool(running.kill(victim))


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


def main(arguments: list[str] | None = None) -> int:
    """Soak a study; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="for how long processes are killed")
    parser.add_argument("--study", default="default", help="name of a file in params/")
    parser.add_argument("--folder", default="", help="empty folder that the project is copied to; a new one by default")
    parser.add_argument("--reference", default="", help="folder of undisturbed trials to compare with at the end")
    parser.add_argument("--seed", type=int, default=0, help="decides on moments and processes")
    try:
        return soak(**vars(parser.parse_args(arguments)))
    except ParamsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
