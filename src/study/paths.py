"""Where things are, whatever the working directory."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
PARAMS = ROOT / "params"
RESULTS = ROOT / "results"
NB = "nb"  # folder of results of notebooks that are run alone
PACKAGE = Path(__file__).resolve().parent
BASE_MODEL = RESULTS / "base_model"
CLAIMS = PARAMS / "claims"


def is_file(path: Path) -> bool:
    """Whether there is such a file, whatever somebody gave as its name."""
    return os.path.isfile(path)  # noqa: PTH113 (of too long a name, the method of a path raises an error)


def is_folder(path: Path) -> bool:
    """Whether there is such a folder, whatever somebody gave as its name."""
    return os.path.isdir(path)  # noqa: PTH112


def shown(path: Path) -> str:
    """A path as readers should see it: relative to the project where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
