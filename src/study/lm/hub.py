"""Where a model's files are, and their hashes; nothing is loaded, and no network is used.

Models of the hub are pinned in `params/models/lock.yaml`, which `make fetch` writes (`fetch.py`).
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from pydantic import Field
from tokenizers import Tokenizer

from study.config import ParamsError, Strict, read_yaml
from study.digest import sha256_of
from study.params import BUNDLED, Model
from study.paths import BASE_MODEL, PARAMS, is_file, is_folder, shown

LOCK = PARAMS / "models" / "lock.yaml"
LFS = b"version https://git-lfs"
UNPACKED = "unpacked.json"  # the hashes of a GGUF file's model, unpacked
FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


class File(Strict):
    """A file of a hub model as it was fetched."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Pin(Strict):
    """A hub model in the lock file."""

    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$", description="commit; none while hashes alone pin it")
    files: dict[str, File] | None = Field(None, min_length=1, description="none while it was never fetched")


def read_pins() -> dict[str, Pin]:
    """The hub models in the lock file, by name.

    Raises:
        ParamsError: naming the entry that cannot be read.
    """
    if not LOCK.is_file():
        return {}
    stat = LOCK.stat()
    return dict(_pins_in(LOCK, stat.st_size, stat.st_mtime_ns))


@cache
def _pins_in(file: Path, size: int, modified_ns: int) -> dict[str, Pin]:
    return {name: Pin.parse(pin, f"{shown(file)}, {name}") for name, pin in read_yaml(file).items()}


def pin_of(params: Model) -> Pin | None:
    """The pin of a hub model; None for the bundled one and for a folder.

    Raises:
        ParamsError: if the model is not in the lock file, or is pinned there at another revision.
    """
    if params.name == BUNDLED:
        return None
    pin, command = read_pins().get(params.name), fetching(params)
    if pin is None and is_folder(Path(params.name)):
        return None
    if pin is None:
        what = f"neither {BUNDLED!r}, nor a folder here, nor in {shown(LOCK)}"
        raise ParamsError(f"model.name = {params.name!r}: {what}; a model of the hub is pinned there by `{command}`")
    if params.revision not in (None, pin.revision):
        what = f"{shown(LOCK)} has {params.name} at {pin.revision!r}"
        remedy = f"leave revision out, or move the pin with `{command}`"
        raise ParamsError(f"model.revision = {params.revision!r}: {what}; {remedy}")
    known = ", ".join(pin.files or {}) or "none"
    if not params.file and pin.files and all(file.endswith(".gguf") for file in pin.files):
        raise ParamsError(
            f"model.name = {params.name!r}: its weights are in GGUF files; add model.file, one of: {known}"
        )
    if params.file and params.file not in (pin.files or {}):
        what = f"{shown(LOCK)} records no such file of {params.name} ({known})"
        raise ParamsError(f"model.file = {params.file!r}: {what}; pin it with `{command}`")
    return pin


def fetching(params: Model) -> str:
    """The command that fetches a model of the hub."""
    given = {"MODEL": params.name, "FILE": params.file, "REVISION": params.revision}
    return " ".join(["make fetch", *(f"{name}={value}" for name, value in given.items() if value)])


def unpacked_folder(sha256: str) -> Path:
    """Where the model of a GGUF file is unpacked, beside the hub's own cache."""
    return Path(constants.HF_HOME) / "unpacked" / sha256


def gguf_sha256(params: Model) -> str:
    """SHA-256 of a model's GGUF file: of a hub model as recorded, of a folder's own as it is.

    Raises:
        ParamsError: if there is none.
    """
    if pin := pin_of(params):
        return (pin.files or {})[str(params.file)].sha256
    file = Path(params.name) / str(params.file)
    if not is_file(file):
        raise ParamsError(f"model.file = {params.file!r}: not in the folder {params.name}; correct one of the two")
    return sha256_of(file)


def is_weights(file: str) -> bool:
    """Whether a file of a model holds weights, and not its settings or tokenizer."""
    return file.endswith(".safetensors")


def cached_folder(name: str, pin: Pin, weights: bool) -> Path | None:
    """The folder of the hub's cache that holds the recorded files of a model; None if one is missing."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    files = [file for file in pin.files or () if weights or not is_weights(file)]
    try:
        folder = Path(snapshot_download(name, revision=pin.revision, allow_patterns=files, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if files and all((folder / file).is_file() for file in files) else None


def model_folder(params: Model, weights: bool = True) -> Path:
    """The local folder of model and tokenizer, which are of the same revision therefore.

    Without `weights`, those of a hub model may be missing.

    Raises:
        ParamsError: if the folder holds no model, or the hub model was not fetched.
    """
    if params.file:
        if is_file((folder := unpacked_folder(gguf_sha256(params))) / UNPACKED):
            return folder
        what = f"{params.file} was not unpacked here yet; `{fetching(params)}`"
        raise ParamsError(f"model.name = {params.name!r}: {what}; with the file on disk, add WEIGHTS=folder")
    if pin := pin_of(params):
        if cached := cached_folder(params.name, pin, weights):
            return cached
        what = f"not all files of revision {pin.revision!r} are here; fetch them with `{fetching(params)}`"
        raise ParamsError(f"model.name = {params.name!r}: {what}")
    folder, remedy = Path(params.name), "give a folder written by save_pretrained"
    if params.name == BUNDLED:
        folder = BASE_MODEL
        remedy = "restore results/base_model from the repository, or make it again with `make base-model`"
    if not is_file(folder / "config.json") or not any(folder.glob("*.safetensors")):
        raise ParamsError(f"model.name = {params.name!r}: no config.json and safetensors weights there; {remedy}")
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            if opened.read(len(LFS)) == LFS:
                what = f"{file.name} is a pointer of Git LFS, not the weights"
                raise ParamsError(f"model.name = {params.name!r}: {what}; run `git lfs pull` there")
    return folder


def settings_in(file: Path) -> dict[str, Any]:
    """The settings in a JSON file of a model; none if there is no such file.

    Raises:
        ParamsError: if it holds no JSON object.
    """
    try:
        settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ParamsError(f"{file}: no JSON ({error}); fetch or save the model again") from None
    if not isinstance(settings, dict):
        raise ParamsError(f"{file}: holds a {type(settings).__name__}, no JSON object; fetch or save the model again")
    return settings


def verified_folder(params: Model) -> Path:
    """As `model_folder`, with a hub model's files compared with the lock file."""
    folder, pin = model_folder(params), pin_of(params)
    if params.file:
        for file, recorded in settings_in(folder / UNPACKED).items():
            if sha256_of(folder / file) != recorded:
                what = f"{folder / file} was changed since it was unpacked"
                raise ParamsError(f"model.name = {params.name!r}: {what}; remove {folder}, and `{fetching(params)}`")
        return folder
    verify_files(params.name, folder, pin.files or {} if pin else {})
    return folder


def verify_files(name: str, folder: Path, recorded: Mapping[str, File]) -> None:
    """Compare a hub model's files with the lock file.

    Raises:
        ParamsError: naming a file that differs.
    """
    for file, entry in recorded.items():
        found = sha256_of(folder / file)
        if found != entry.sha256:
            what = f"{file} has SHA-256 {found}, {shown(LOCK)} records {entry.sha256}"
            remedy = f"remove {(folder / file).resolve()} and fetch it again with `make fetch MODEL={name}`"
            raise ParamsError(f"{name}: {what}; these are not the weights of the study: {remedy}")


def identity(params: Model) -> str:
    """SHA-256 over names and contents of all files of model and tokenizer; of a hub model from the lock file alone."""
    pin = pin_of(params)
    hashes: Mapping[str, str]
    if params.file:
        hashes = {params.file: gguf_sha256(params)}
    elif pin and pin.files:
        hashes = {name: file.sha256 for name, file in pin.files.items()}
    else:
        folder = model_folder(params)
        hashes = {path.name: sha256_of(path) for pattern in FILES for path in folder.glob(pattern)}
    return hashlib.sha256("".join(f"{name} {hashes[name]}\n" for name in sorted(hashes)).encode()).hexdigest()


def tokenizer_in(file: Path) -> Tokenizer:
    """The tokenizer in a file tokenizer.json.

    Raises:
        ParamsError: if it holds none.
    """
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # that is all the package raises
        raise ParamsError(f"{file}: no tokenizer ({error}); fetch or save the model again") from None
