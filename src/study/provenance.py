"""Which source and processor a result came from: recorded with it, and in no key."""

import hashlib
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

from study.paths import PACKAGE, ROOT, is_file

CPUS = Path("/proc/cpuinfo")


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


def processor(device: str, threads: int) -> str:
    """What computes on a device: the name of the GPU, or that of the CPU with its vectors and threads."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}, threads: {threads}"


def cpu_name() -> str:
    """What the system calls the CPU."""
    lines = CPUS.read_text(encoding="utf-8").splitlines() if is_file(CPUS) else []
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(names)) or platform.processor()
