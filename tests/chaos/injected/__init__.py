"""What a disturbed run executes first in each process: each module here becomes its `sitecustomize.py`."""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

ONCE = "STUDY_CHAOS_ONCE"  # names a file; the first process that makes it has the fault


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, change: Callable[[ModuleType], None]):
        self.name, self.change = name, change

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute, change = spec.loader.exec_module, self.change

            def and_change(module: ModuleType) -> None:
                execute(module)
                change(module)

            spec.loader.exec_module = and_change
        return spec


def after(name: str, change: Callable[[ModuleType], None]) -> None:
    """Change a module as soon as it is imported."""
    sys.meta_path.insert(0, _Finder(name, change))


def first() -> bool:
    """Whether the fault has not happened in this run yet; from now on it has."""
    try:
        os.close(os.open(os.environ[ONCE], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
