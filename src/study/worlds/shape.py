"""What the settings of all worlds have in common."""

import random
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field

from study.config import Strict
from study.digest import sha256_of
from study.paths import ROOT, is_file, is_folder


class Given(Strict):
    """Settings of a world that is given as files; its module has `gather` instead of `build`.

    Attributes:
        PATHS: the settings that name a file or a folder, relative to the project.
    """

    PATHS: ClassVar[tuple[str, ...]] = ()

    @property
    def recipe(self) -> dict[str, Any]:
        """What the world depends on: the settings, and of files their contents, wherever they lie."""
        named = {name: ROOT / value for name in self.PATHS if (value := getattr(self, name))}
        settings = {name: value for name, value in self.plain().items() if name not in named}
        return {**settings, **{f"{name}_sha256": _contents(path) for name, path in named.items()}}


def _contents(path: Path) -> dict[str, str]:
    """SHA-256 of each file that is named or in the folder that is, hidden ones left out; of none if there is none."""
    files = sorted(path.rglob("*")) if is_folder(path) else [path]
    names = {file.relative_to(path): file for file in files if is_file(file)}
    return {
        name.as_posix(): sha256_of(file)
        for name, file in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


class Shape(Given):
    """Size of a world that is drawn, and of its documents; each world adds its own fields.

    A subclass says in `words` how many nonsense words the world takes and in `rivals` how many entities a question
    can choose from at least, and draws in `of_facts` a shape for pretraining.
    """

    size: int = Field(ge=1)
    copies: int = Field(2, ge=1, le=99, description="documents about each fact or topic, each worded differently")
    lead_ins: float = Field(0.2, ge=0, le=1, description='share of sentences behind a lead-in ("did you know that")')

    @property
    @abstractmethod
    def words(self) -> int:
        """Nonsense words the world takes."""

    @property
    def rivals(self) -> int:
        """Entities that a question can choose from at least, the true one included."""
        return self.size

    @classmethod
    @abstractmethod
    def of_facts(cls, rng: random.Random, facts: int, one_relation: bool) -> Self:
        """A shape of about so many facts; with `one_relation` nothing but its entities tells them apart."""
