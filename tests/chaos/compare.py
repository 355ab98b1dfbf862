"""The rows of two folders of trials, unit by unit: `PYTHONPATH=tests python -m chaos.compare FOLDER REFERENCE`."""

import json
import sys
from pathlib import Path

from chaos.check import rows_digest
from study.config import ParamsError


def unit_rows(trials: Path) -> dict[str, str]:
    """Digests of the rows of all units in a folder of trials, by label and model, whatever their keys."""
    found = {}
    for file in sorted(trials.glob("[!.]*/record.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        name = f"{record['label']} ({record['recipe']['model_sha256'][:8]})"
        found[name] = rows_digest(file.parent)
    return found


def compare(folder: str, reference: str) -> int:
    """Compare the rows of two folders of trials, value by value, unit by unit; 1 if they differ.

    Units are paired by their label and model, so that it does not matter which version of the code made them.

    Raises:
        ParamsError: if one of them is no folder.
    """
    for name, place in (("FOLDER", folder), ("REFERENCE", reference)):
        if not Path(place).is_dir():
            raise ParamsError(f"{name} = {place!r}: no such folder; give a folder of runs (results/default/runs)")
    here, there = unit_rows(Path(folder)), unit_rows(Path(reference))
    other = [name for name in here if name in there and here[name] != there[name]]
    for state, names in (("other rows", other), ("missing", there.keys() - here), ("unknown", here.keys() - there)):
        for name in sorted(names):
            print(f"{state}: {name}")
    equal = sum(here[name] == there[name] for name in here.keys() & there)
    print(f"{equal} of {len(there)} units equal row for row, {len(there) - equal} unequal")
    return int(equal < len(there))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        sys.exit(compare(*sys.argv[1:]))
    except ParamsError as error:
        sys.exit(f"error: {error}")
