"""Coverage-guided fuzzing of all that comes from outside, by atheris: `make fuzz SECONDS=60 TARGET=params`.

An input that fails is kept in build/fuzz/<target>/failures, one for each place in the code where inputs fail. Once that
is mended, it becomes an example in `test_bad_input.py`.
"""

import hashlib
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

FUZZ = Path(__file__).parents[1] / "build" / "fuzz"
PACKAGE = "/src/study/"
# What these do with an input tells the fuzzer whether it is a new one.
INSTRUMENTED = ["study", "yaml", "bs4", "html", "markdown_it", "pypdf", "csv", "json"]


class Fuzzed:
    """One target: takes inputs until its time is over, and keeps those that fail."""

    def __init__(self, name: str, check, seconds: float) -> None:
        self.name, self.check, self.folder = name, check, FUZZ / name.replace(" ", "_")
        self.ends, self.inputs, self.failures = time.monotonic() + seconds, 0, set()

    def __call__(self, data: bytes) -> None:
        """Give it one input."""
        if time.monotonic() > self.ends:  # libFuzzer's own end leaves no time for a last word
            print(f"{self.name}: {self.inputs:,} inputs, {len(self.failures)} failures", flush=True)
            os._exit(1 if self.failures else 0)
        self.inputs += 1
        try:
            self.check(data)
        except Exception as error:
            self.keep(data, error)

    def keep(self, data: bytes, error: Exception) -> None:
        """Keep an input if none has failed like it."""
        frames = [
            f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__) if PACKAGE in f.filename
        ]
        place = f"{type(error).__name__} {frames[-1:]}"
        if place not in self.failures:
            self.failures.add(place)
            file = self.folder / "failures" / hashlib.sha256(place.encode()).hexdigest()[:12]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.with_suffix(".txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
            print(f"{self.name}: {type(error).__name__}: {str(error)[:200]!r}, kept as {file}", flush=True)


def fuzz(name: str, seconds: float) -> None:
    """Fuzz one target, which ends the process."""
    FUZZ.mkdir(parents=True, exist_ok=True)
    with (FUZZ / "log.txt").open("w") as log:
        os.dup2(log.fileno(), 2)  # what atheris and libFuzzer say of themselves
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        import bad_input
    if name not in bad_input.TARGETS:
        print(f"TARGET = {name!r}: no such target; there are: {', '.join(bad_input.TARGETS)}")
        sys.exit(2)
    target, folder = bad_input.TARGETS[name], FUZZ / name.replace(" ", "_")
    corpus, words = folder / "corpus", folder / "words.txt"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in bad_input.seeds(name):
        (corpus / hashlib.sha256(seed).hexdigest()[:12]).write_bytes(seed)
    quoted = ["".join(f"\\x{byte:02x}" for byte in word.encode()) for word in target.words]
    words.write_text("".join(f'"{word}"\n' for word in quoted), encoding="utf-8")
    options = [f"-dict={words}", "-timeout=1000000", "-rss_limit_mb=0", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], Fuzzed(name, lambda data: bad_input.run(name, data), seconds))
    atheris.Fuzz()


def main(target: str, seconds: str) -> int:
    """Fuzz one target, or each in a process of its own; 0 if nothing failed."""
    if target:
        fuzz(target, float(seconds))
    from bad_input import TARGETS

    codes = {name: subprocess.run([sys.executable, __file__, name, seconds]).returncode for name in TARGETS}
    for name, code in codes.items():
        if code not in (0, 1):  # it had no time to say so itself
            print(f"{name}: ended by {code}; the last input is in {FUZZ / name.replace(' ', '_')}, if it was that")
    return int(any(codes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
