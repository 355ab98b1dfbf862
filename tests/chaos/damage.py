"""What can happen to a file, and the kinds of files that a study has."""

import os
from collections.abc import Callable
from pathlib import Path

GARBAGE = bytes(range(256)) * 4
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "garbage": lambda file: file.write_bytes(GARBAGE),
    "gone": lambda file: file.unlink(),
}
RESULTS = {
    "rows": "runs/*/rows.parquet",
    "record": "runs/*/record.json",
    "stamp": "stamps/*.json",
    "page": "*.ipynb",
    "table": "0*/*.csv",
    "figure": "0*/*.png",
    "figure in SVG": "0*/*.svg",
    "caption": "0*/*.txt",
}
