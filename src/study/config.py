"""Typed, frozen settings whose errors name the field, the value and what is allowed."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from study.paths import ROOT, is_file, shown

MOST_BYTES, MOST_VALUES = 2**20, 100_000  # of a params file
MOST_SHOWN = 80  # letters of a bad value

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
    place = f"line {node.start_mark.line + 1}"
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for key in keys:
        if not isinstance(key, str):
            raise ParamsError(f"{place}: {_cut(key)} is no name of a setting; write a text, in quotes")
    twice = sorted(key for key, times in Counter(keys).items() if times > 1)
    if twice:
        raise ParamsError(f"{place}: {twice} given twice in one mapping; keep one")
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ParamsError: if the file is missing, is no YAML, or holds something else than a mapping of plain values.
    """
    if not is_file(path):
        raise ParamsError(f"{path}: no such params file; give the path of a YAML file such as params/smoke.yaml")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ParamsError(f"more than the {MOST_BYTES:,} bytes that are read; leave out what is no setting")
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
        _refuse_odd(values, "", count())
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from None
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}; make the file readable") from None
    except RecursionError:
        raise ParamsError(f"{path}: nests too deeply; flatten it") from None
    except (yaml.YAMLError, ValueError) as error:  # bytes that are no UTF-8, or a date in a month that is none
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values or {}, dict):
        raise ParamsError(f"{path}: holds a {type(values).__name__}; it must hold a mapping of settings")
    return values or {}


def _refuse_odd(value: Any, place: str, counted: Iterator[int]) -> None:
    """Refuse what YAML has and no setting can be; aliases count as often as they are used.

    Raises:
        ParamsError: naming its place and the remedy.
    """
    if next(counted) > MOST_VALUES:
        raise ParamsError(f"more than the {MOST_VALUES:,} values that are read; write without aliases (*name)")
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_odd(inner, f"{place}.{name}" if place else name, counted)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_odd(inner, f"{place}.{number}", counted)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ParamsError(f"{place} = {value}: no number that a setting can have; give a finite one")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ParamsError(f"{place}: a number beyond 2^63; give a smaller one")
    elif isinstance(value, str) and re.search("[\ud800-\udfff\0]", value):
        raise ParamsError(f"{place} = {_cut(value)}: half a character or a NUL; take it out")
    elif not isinstance(value, (str, int, float, type(None))):
        raise ParamsError(f"{place} = {_cut(value)}: a {type(value).__name__}, which no setting is; write it in quotes")


def _cut(value: object) -> str:
    """A value as it is shown in a message."""
    return repr(value)[:MOST_SHOWN]


def explain(model: type[BaseModel], problem: Any) -> str:
    """One pydantic problem as "dotted.field = value: what is allowed"."""
    where = ".".join(str(part) for part in problem["loc"]) or "(settings)"
    given = f"{where} = {_cut(problem['input'])}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{given}: no such setting; allowed here: {', '.join(_fields(model, problem['loc']))}"
    if problem["type"] in KINDS:
        names = problem["input"] if isinstance(problem["input"], list) else []
        example = ", ".join(f"{name}: {{}}" for name in names if isinstance(name, str))  # a list of what is a mapping
        return f"{given}: must be {KINDS[problem['type']]}" + (f", such as {{{example}}}" if example else "")
    if problem["type"] == "missing":
        return f"{where}: missing; give it a value"
    if problem["type"] == "value_error" and (not problem["loc"] or len(repr(problem["input"])) > MOST_SHOWN):
        return f"{where}: {message}" if problem["loc"] else message
    return f"{given}: {message}"


def _fields(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The names allowed beside an unknown key."""
    here: type[BaseModel] | None = model
    for part in location[:-1]:
        if here and part in here.model_fields:
            here = model_in(here.model_fields[part].annotation)
    return sorted(here.model_fields) if here else []


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The typed model in a type, itself or within a list, a mapping or an alternative."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for model in map(model_in, get_args(annotation)) if model), None)


def refuse_another_checkout(place: Path) -> None:
    """Refuse to work from within another copy of the project than the one whose code this is.

    Raises:
        ParamsError: naming both.
    """
    here = next((f for f in (place, *place.parents) if is_file(f / "src" / "study" / "config.py")), ROOT).resolve()
    if here != ROOT:
        raise ParamsError(
            f"{here} is another copy of the project than {ROOT}, whose code this environment runs; use `make` there, "
            "or `pip install --editable .` in an environment of its own"
        )


def named_file(folder: Path, variable: str, name: str) -> Path:
    """The YAML file that a variable of make names.

    Raises:
        ParamsError: if there is none.
    """
    path = folder / f"{name}.yaml"
    if Path(name).name != name or not is_file(path):  # results are in a folder of this name
        names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        hint = " (a name, without .yaml)" if name.endswith(".yaml") else ""
        raise ParamsError(f"{variable} = {name!r}: no {shown(path)}; there are: {names}{hint}")
    return path
