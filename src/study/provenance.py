"""Which source a result came from: recorded with it, and in no key."""

import hashlib
import subprocess
from functools import cache

from study.paths import PACKAGE, ROOT


@cache
def source() -> dict[str, str]:
    """SHA-256 of the package's source, and the commit that is checked out, "" outside git."""
    files = sorted(PACKAGE.rglob("*.py"))
    contents = "".join(f"{file.relative_to(PACKAGE).as_posix()}\n{file.read_text(encoding='utf-8')}" for file in files)
    return {"sha256": hashlib.sha256(contents.encode()).hexdigest(), "commit": _commit()}


def _commit() -> str:
    try:
        head = ["git", "rev-parse", "HEAD"]
        return subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
