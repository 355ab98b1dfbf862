"""The study runs with the network cut, and seeks nothing there: no telemetry, no look whether there is something newer.

A guard in every Python process refuses and writes down what leads beyond this machine (`cut_off/sitecustomize.py`);
where the system lets one make a network namespace, the processes have no network, and the kernel counts
attempts.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml

from study.paths import NOTEBOOKS, PARAMS, ROOT

CUT_OFF = Path(__file__).parent / "cut_off"
pytestmark = pytest.mark.nightly
NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")
ARMS = {
    "base": {},
    "icl": {"context": "documents"},
    "ft": {"train": ["documents"]},
    "ft augmented": {"train": ["documents", "local", "global"]},
}
SMALL = {
    "seeds": [0],
    "arms": ARMS,
    "questions": {"per_split": 4, "options": 4},
    "finetuning": {"epochs": 1, "fewest_steps": 2, "checkpoint_evals": 1, "step_tokens": 256, "learning_rates": [1e-3]},
    "augmentation": {"local_tokens": 8, "global_tokens": 8, "samples": 1},
}
PAGES = ("01_generate_data", "05_compare")  # the latter runs every arm
DOCUMENTS = ("designers.md", "inventors.md")


def can_be_cut() -> bool:
    """Whether a process may have a network namespace of its own."""
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    )


def environment(attempts: Path) -> dict[str, str]:
    """What a user's shell has, and the guard; nothing says that there is no network."""
    said = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    path = os.pathsep.join(filter(None, [str(CUT_OFF), os.environ.get("PYTHONPATH", "")]))
    return {**said, "PYTHONPATH": path, "ATTEMPTS": str(attempts)}


def write_studies(place: Path, model_folder: Path) -> None:
    """A study of a world with two of its pages, and one of documents, on the tiny model."""
    small = {**SMALL, "model": {"name": str(model_folder), "device": "cpu"}}
    finetuning = {"selection_seeds": [1000], "selection_worlds": ["reversals"]}
    worlds = {"reversals": {"size": 6, "features": 1}}
    study = {**small, "worlds": worlds, "finetuning": {**SMALL["finetuning"], **finetuning}}
    (place / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    (place / "notebooks").mkdir()
    for page in PAGES:
        shutil.copy(NOTEBOOKS / f"{page}.ipynb", place / "notebooks")
    (place / "firm").mkdir()
    for name in DOCUMENTS:
        shutil.copy(PARAMS / "documents" / "handbook" / name, place / "firm")
    head, *lines = (PARAMS / "documents" / "handbook_questions.csv").read_text(encoding="utf-8").splitlines()
    asked = [line for line in lines if line.endswith(DOCUMENTS)]
    (place / "questions.csv").write_text("\n".join([head, *asked]) + "\n", encoding="utf-8")
    firm = {"folder": str(place / "firm"), "questions": str(place / "questions.csv")}
    finetuning["selection_worlds"] = ["documents"]
    study |= {"worlds": {"documents": firm}, "finetuning": {**SMALL["finetuning"], **finetuning}}
    (place / "firm.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory, model_folder):
    """Both studies, made, looked at and verified in processes without a network."""
    place, cut = tmp_path_factory.mktemp("cut_off"), can_be_cut()
    write_studies(place, model_folder)
    verbs = [f"{verb} --study study" for verb in ("plan", "reproduce", "plan", "status", "verify", "figures")]
    command = [*(NAMESPACE if cut else ()), sys.executable, str(CUT_OFF), str(place), *verbs, "documents --study firm"]
    given = {**environment(place / "attempts"), "CUT": "1" if cut else ""}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    return SimpleNamespace(place=place, cut=cut, status=done.returncode, said=done.stdout + done.stderr)


def test_a_study_is_made_looked_at_and_verified_without_a_network(cut_off):
    assert cut_off.status == 0, cut_off.said[-3000:]
    results = cut_off.place / "results"
    for page in [results / "study" / f"{name}.ipynb" for name in PAGES] + [
        results / "firm" / "firm" / "07_your_documents.ipynb"
    ]:
        cells = nbformat.read(page, as_version=4).cells
        assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    assert re.search(r"(\d+) of \1 runs are finished", cut_off.said)
    assert "verdicts match" in cut_off.said
    assert (results / "firm" / "firm" / "07_your_documents" / "report.html").is_file()


def test_no_process_of_it_seeks_anything_beyond_this_machine(cut_off):
    attempts = cut_off.place / "attempts"
    assert not attempts.exists(), attempts.read_text()


def test_the_kernel_was_asked_for_nothing_beyond_this_machine(cut_off):
    if not cut_off.cut:
        pytest.skip("this system lets nobody but root make a network namespace")
    counted = json.loads((cut_off.place / "counters.json").read_text())
    assert set(counted["study"].values()) == {0}
    assert sum(counted["and one more"].values()) == 1  # which shows that it counts


SWALLOWED = """
import socket, subprocess, sys, urllib.request
from contextlib import suppress
if sys.argv[1:]:
    sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
with suppress(OSError):
    urllib.request.urlopen("http://telemetry.invalid/")
with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    any_socket.sendto(b"", ("192.0.2.1", 9))
with suppress(OSError):
    socket.create_server(("", 0))
socket.create_server(("127.0.0.1", 0)).close()
"""


def test_what_a_library_tries_and_forgets_is_known_in_processes_of_processes_too(tmp_path):
    attempts = tmp_path / "attempts"
    command = [sys.executable, "-c", SWALLOWED, SWALLOWED]
    subprocess.run(command, env=environment(attempts), check=True)
    events = [line.split(" by ")[0] for line in attempts.read_text().splitlines()]
    assert events == ["socket.getaddrinfo telemetry.invalid", "socket.sendto 192.0.2.1", "socket.bind "]
