"""What the lock files pin: names, versions, and hashes of all that is published of them."""

from pathlib import Path
from typing import NamedTuple

from study.paths import ROOT


class Package(NamedTuple):
    """A package at the one version that is installed; without hashes if whose machine it is chooses the build."""

    name: str
    version: str
    hashes: tuple[str, ...]


def lock_files(root: Path = ROOT) -> list[Path]:
    """All lock files."""
    return sorted(root.glob("requirements*.lock"))


def packages_of(lock: Path) -> list[Package]:
    """The packages of a lock file, in its order."""
    lines = lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    packages = []
    for words in (line.split() for line in lines if not line.startswith("#")):
        if words:
            name, _, version = words[0].partition("==")
            packages.append(Package(name, version, tuple(word.removeprefix("--hash=sha256:") for word in words[1:])))
    return packages
