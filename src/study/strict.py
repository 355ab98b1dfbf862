"""Typed, frozen settings whose errors name the field, the value and what is allowed."""

import json
import re
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from study.paths import shown

KINDS = {"tuple_type": "a list, such as [1, 2]", "model_type": "a mapping of settings", "dict_type": "a mapping"}


class ParamsError(ValueError):
    """Settings that cannot be run; the message names the dotted field, the bad value and the remedy."""


class Strict(BaseModel):
    """A frozen model without silent conversions and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def parse(cls, values: dict[str, Any], source: str) -> Self:
        """Validate plain values, as read from YAML.

        Raises:
            ParamsError: one line for each bad field.
        """
        try:
            return cls.model_validate_json(json.dumps(values))
        except ValidationError as error:
            lines = [f"  {explain(cls, problem)}" for problem in error.errors()]
            raise ParamsError("\n".join([f"{source}: these settings cannot be run", *lines])) from None

    def plain(self) -> dict[str, Any]:
        """The settings as JSON values, every default written out."""
        return self.model_dump(mode="json")


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: 1e-5 is a number, and a key given twice is an error."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ParamsError(f"line {node.start_mark.line + 1}: {sorted(twice)} given twice in one mapping; keep one")
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ParamsError: if the file is missing, is no YAML, or holds something else than a mapping.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such params file; give the path of a YAML file such as params/smoke.yaml")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from None
    if not isinstance(values or {}, dict):
        raise ParamsError(f"{path}: holds a {type(values).__name__}; it must hold a mapping of settings")
    return values or {}


def explain(model: type[BaseModel], problem: Any) -> str:
    """One pydantic problem as "dotted.field = value: what is allowed"."""
    where = ".".join(str(part) for part in problem["loc"]) or "(settings)"
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(_fields(model, problem["loc"]))
        return f"{where} = {problem['input']!r}: no such setting; allowed here: {allowed}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(problem["input"])
    if problem["type"] in KINDS:
        return f"{where} = {shown[:80]}: must be {KINDS[problem['type']]}"
    if problem["type"] == "missing":
        return f"{where}: missing; give it a value"
    if problem["type"] == "value_error" and (not problem["loc"] or len(shown) > 80):
        return f"{where}: {message}" if problem["loc"] else message
    return f"{where} = {shown[:80]}: {message}"


def _fields(model: Any, location: tuple[Any, ...]) -> list[str]:
    """The names allowed beside an unknown key."""
    here: Any = model
    for part in location[:-1]:
        inner = here.model_fields[part].annotation if part in getattr(here, "model_fields", {}) else here
        kinds: list[Any] = [inner, *getattr(inner, "__args__", ())]
        here = next((kind for kind in kinds if hasattr(kind, "model_fields")), inner)
    return sorted(here.model_fields) if hasattr(here, "model_fields") else []


def named_file(folder: Path, variable: str, name: str) -> Path:
    """The YAML file that a variable of make names.

    Raises:
        ParamsError: if there is none.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        hint = " (a name, without .yaml)" if name.endswith(".yaml") else ""
        raise ParamsError(f"{variable} = {name!r}: no {shown(path)}; there are: {names}{hint}")
    return path
