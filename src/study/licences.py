"""The licences of all packages that the lock files pin, as each states its own: `make licences` writes LICENCES.csv.

Each is installed as a package of its own, from where its authors publish it; none of their code is in this repository.
"""

import csv
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from study.config import ParamsError
from study.packages import Package, packages_of
from study.paths import ROOT, shown

LICENCES = ROOT / "LICENCES.csv"
# Names of SPDX, and what packages without one call theirs. Any other has to be read, and put where it belongs.
PERMISSIVE = set(
    "0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0 CC0-1.0 CNRI-Python ISC MIT MIT-0 MIT-CMU PSF-2.0 Zlib".split()
) | {
    "Apache-2.0 WITH LLVM-exception",
    "3-Clause BSD License",
    "Apache 2.0",
    "Apache 2.0 License",
    "Apache License Version 2.0, January 2004",
    "Apache License, Version 2.0",
    "Apache Software License",
    "BSD License",
    "ISC License (ISCL)",
    "MIT License",
    "Public Domain",
    "Python Software Foundation License",
    "The MIT License (MIT)",
}
COPYLEFT = {
    "GNU General Public License (GPL)",
    "GNU Lesser General Public License v2 or later (LGPLv2+)",
    "GNU Lesser General Public License v3 (LGPLv3)",
    "MPL-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)",
}


class Licence(NamedTuple):
    """A row of the list; `kind` is permissive or copyleft, `lock` the file that pins the package."""

    package: str
    version: str
    licence: str
    kind: str
    lock: str


def write_licences(locks: list[Path], target: Path = LICENCES) -> list[Licence]:
    """Write the list.

    Raises:
        ParamsError: if a package is not installed, is of another version, or has a licence that nobody has judged.
    """
    rows = sorted(licence_of(package, lock.name) for lock in locks for package in packages_of(lock))
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([Licence._fields, *rows])
    return rows


def licence_of(package: Package, lock: str) -> Licence:
    """The row of a package, from what is installed of it.

    Raises:
        ParamsError: if it is not as pinned, or its licence is neither known to be permissive nor to be copyleft.
    """
    try:
        installed = distribution(package.name)
    except PackageNotFoundError:
        raise ParamsError(
            f"{package.name} is not installed; `make licences` installs what every lock file pins"
        ) from None
    said = installed.metadata
    if said["Version"].partition("+")[0] != package.version:
        raise ParamsError(
            f"{package.name} is installed at {said['Version']}, and pinned at {package.version} in {lock}"
        )
    stated = [value.strip() for field in ("License-Expression", "License") for value in said.get_all(field) or ()]
    classified = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier") or () if line.startswith("License")]
    texts = [installed.read_text(f"licenses/{file}") or "" for file in said.get_all("License-File") or ()]
    licence = next(filter(None, map(_expression, stated)), "") or "; ".join(classified) or _head([*stated, *texts])
    return Licence(package.name, package.version, licence, kind_of(package.name, licence), lock)


def kind_of(package: str, licence: str) -> str:
    """Whether a licence is permissive, or copyleft in any part.

    Raises:
        ParamsError: if a part of it is not known.
    """
    parts = set(re.split(r" (?:AND|OR) |; ", licence))
    if unknown := parts - PERMISSIVE - COPYLEFT:
        raise ParamsError(
            f"{package} has the licence {', '.join(sorted(unknown))!r}, which is not known: read it, and if it allows "
            f"use and redistribution put it into PERMISSIVE or COPYLEFT in {shown(Path(__file__))}"
        )
    return "copyleft" if parts & COPYLEFT else "permissive"


def _expression(stated: str) -> str:
    """A licence by the names of SPDX; "" if it is stated otherwise."""
    try:
        return str(canonicalize_license_expression(stated))
    except InvalidLicenseExpression:
        return ""


def _head(texts: list[str]) -> str:
    """The title of the first text that is not empty: its first two lines, if more than the title is there."""
    lines = next((text.strip().splitlines() for text in texts if text.strip()), [])
    return " ".join(" ".join(lines[:2]).split())
