"""Every setting that a params file may hold, read off the typed models: what `make help-nb` shows beside a notebook."""

import json
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from study.base_model.recipe import Pretraining
from study.config import model_in
from study.datasets import WORLDS
from study.pages.terminal import show_table, show_text
from study.params import Params

TYPES: dict[Any, str] = {int: "whole number", float: "number", bool: "true or false", str: "text", NoneType: "null"}
MODULES: dict[type[BaseModel], Any] = {module.Params: module for module in WORLDS.values()}
PLACES: dict[Any, str] = {tuple: ".N", dict: ".NAME"}
BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "at least", "pattern": "like"}
# What to write into a params file to see something change on a notebook's page; fine-tuning where no other is named.
EXAMPLES = {
    "00": "{extends: default, seed: 7}",
    "01": "worlds: {reversals: {size: 12}, family: {generations: 3}}",
    "02": "questions: {options: 4}",
    "07": "{worlds: {documents: handbook}, finetuning: {learning_rates: [3e-4]}}",
}
EXAMPLE = "finetuning: {learning_rates: [3e-4]}"


class Setting(NamedTuple):
    """One setting.

    Attributes:
        field: its dotted name, as errors have it; NAME stands for a name of your choice, N for a number from 0 on.
        allowed: type, values and bounds.
        default: in YAML.
        description: what it does.
    """

    field: str
    allowed: str
    default: str
    description: str


def head_of(notebook: Path) -> tuple[str, str]:
    """Title and question of a notebook, as its first cell has them."""
    cell = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]
    title, *rest = "".join(cell["source"]).split("\n\n")
    question = next((part for part in rest if part.startswith("**Question.**")), "")
    return title.lstrip("# "), re.sub(r"\*+", "", question)


def example_of(notebook: Path) -> tuple[str, str]:
    """A params file worth a try with a notebook, as its text and where it goes: a recipe beside the one it extends."""
    number = notebook.name[:2]
    return EXAMPLES.get(number, EXAMPLE), "params/base_model/mine.yaml" if number == "00" else "mine.yaml"


def settings_of(notebook: Path) -> list[Setting]:
    """Every setting that a params file of a notebook may hold."""
    return list(_settings(Pretraining if notebook.name.startswith("00") else Params, ""))


def _settings(model: type[BaseModel], path: str) -> Iterator[Setting]:
    for name, info in model.model_fields.items():
        field, inner = f"{path}{name}", model_in(info.annotation)
        place = PLACES.get(get_origin(info.annotation), "")
        # A group of settings whose default is that of each of them needs no row of its own.
        if inner is None or place or inner in MODULES or info.default != inner():
            documented = MODULES.get(inner, inner).__doc__ if inner else ""
            about = info.description or (documented or "").partition("\n")[0]
            yield Setting(field, _allowed(info), _default(info), about)
        # What may take the place of another group has the settings of that one.
        if inner and (info.default is not None or inner in MODULES):
            yield from _settings(inner, f"{field}{place}.")


def _allowed(info: FieldInfo) -> str:
    """Types, values and bounds of a setting in words."""
    found = [(sign, getattr(limit, name, None)) for limit in info.metadata for name, sign in BOUNDS.items()]
    return ", ".join([_kind(info.annotation), *(f"{sign} {bound}" for sign, bound in found if bound is not None)])


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (Union, UnionType):
        return " or ".join(map(_kind, inner))
    if origin is tuple:
        return f"list of {_kind(inner[0])}" if inner[-1] is Ellipsis else f"list of {len(inner)}: {_kind(inner[0])}"
    if origin is dict:
        return f"mapping of names to {_kind(inner[1])}"
    if annotation in MODULES:
        return " | ".join([*MODULES[annotation].PRESETS, "settings"])
    if issubclass(annotation, Enum):
        return " | ".join(str(member) for member in annotation)
    return "settings" if issubclass(annotation, BaseModel) else TYPES[annotation]


def _default(info: FieldInfo) -> str:
    """A default as a params file would have it; of many things with settings of their own, their names."""
    value = info.default
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, BaseModel):
        value = {name: given for name, given in value if given is not None}
    if isinstance(value, dict):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def show(notebook: Path, parameters: dict[str, Any]) -> None:
    """Print what a notebook asks, its parameters as papermill has them, its settings, and how to run it with others."""
    title, question = head_of(notebook)
    text, file = example_of(notebook)
    show_text(f"{title}\n\n{question}\n")
    rows = [[name, given["default"], given["help"]] for name, given in parameters.items()]
    show_table(["parameter", "default", "what it is"], rows, whole=["parameter"])
    show_text(
        "\nWhat the file that PARAMS_FILE names may hold, in YAML. What it leaves out is as by default; a list or a "
        "mapping that it gives, such as worlds or arms, replaces the default one.\n"
    )
    show_table(["setting", "allowed", "default", "what it is"], settings_of(notebook), whole=["setting"])
    print(f"\nFor example:\n\n    echo '{text}' > {file}\n    make nb NB={notebook.name[:2]} PARAMS={file}")
