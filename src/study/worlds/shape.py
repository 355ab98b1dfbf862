"""What the settings of all worlds have in common."""

import random
from abc import abstractmethod
from hashlib import sha256
from typing import Any, Self

from pydantic import Field

from study.paths import ROOT
from study.strict import Strict


class Shape(Strict):
    """Size of a world and of its documents; each world adds its own fields.

    A subclass says in `words` how many nonsense words the world takes and in `rivals` how many entities a question
    can choose from at least, and draws in `of_facts` a shape for pretraining.
    """

    size: int = Field(ge=1)
    copies: int = Field(2, ge=1, le=99, description="documents about each fact or topic, each worded differently")
    lead_ins: float = Field(0.2, ge=0, le=1, description='share of sentences behind a lead-in ("did you know that")')

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings, and the content of the file they name, if they do: what the world depends on."""
        path = getattr(self, "facts", None)
        file = ROOT / path if path else None
        return {
            **self.plain(),
            **({"facts_sha256": sha256(file.read_bytes()).hexdigest()} if file and file.is_file() else {}),
        }

    @property
    @abstractmethod
    def words(self) -> int:
        """Nonsense words the world takes."""

    @property
    @abstractmethod
    def rivals(self) -> int:
        """Entities that a question can choose from at least, the true one included."""

    @classmethod
    @abstractmethod
    def of_facts(cls, rng: random.Random, facts: int, one_relation: bool) -> Self:
        """A shape of about so many facts; with `one_relation` nothing but its entities tells them apart."""
