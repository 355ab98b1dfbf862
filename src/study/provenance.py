"""Which source a result came from: recorded with it, and in no key."""

import hashlib
import subprocess
from functools import cache

from study.paths import PACKAGE, ROOT


@cache
def source() -> dict[str, str]:
    """SHA-256 of the package's source, and the commit it is at where git knows."""
    files = sorted(PACKAGE.rglob("*.py"))
    contents = "".join(f"{file.relative_to(PACKAGE).as_posix()}\n{file.read_text(encoding='utf-8')}" for file in files)
    return {"sha256": hashlib.sha256(contents.encode()).hexdigest(), "commit": _commit()}


def _commit() -> str:
    """The commit, marked where tracked source differs from it; "" outside git."""
    try:
        head = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        done = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
