"""Fetch and pin a hub model, or fetch a public dataset: `make fetch MODEL=owner/name`, `make fetch DATA=name`.

Nothing else in the study uses a network. Of a model only what is loaded is fetched: safetensors, settings and
tokenizer, never code and never pickles, which can run code.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from huggingface_hub import HfApi, constants, is_offline_mode, try_to_load_from_cache

from study.config import ParamsError
from study.data import public as public_data
from study.digest import sha256_of
from study.lm.hub import (
    FILES,
    LOCK,
    UNPACKED,
    File,
    Pin,
    cached_folder,
    gguf_sha256,
    is_weights,
    pin_of,
    read_pins,
    unpacked_folder,
    verify_files,
)
from study.params import Model
from study.paths import is_file, is_folder, shown

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
GITHUB = "https://raw.githubusercontent.com"
HEADER = "# Hub models: the commit each is pinned at, and what was fetched. `make fetch MODEL=owner/name` writes this."


def fetch_gguf(model: Model, weights: Path | None = None, say: Callable[[str], None] = print) -> None:
    """Fetch a GGUF file of the hub and unpack its model, or unpack the one that lies in a folder.

    Args:
        model: names the file; it is pinned by its hash, and by its commit once it came from the hub.
        weights: folder that holds the file, whole or in numbered parts; nothing is fetched then.
        say: takes a line of progress.

    Raises:
        ParamsError: if it cannot be had, is not what was recorded, or cannot be unpacked.
    """
    from study.lm.gguf import pieces_in, unpack  # only here is torch needed

    name, file = model.name, str(model.file)
    if is_folder(Path(name)):
        unpack([Path(name) / file], gguf_sha256(model), say)
        return
    pins = read_pins()
    pin = pins.get(name)
    entry = (pin.files or {}).get(file) if pin else None
    if weights:
        if entry is None:
            what = f"{shown(LOCK)} records no {file} of {name}, so nothing tells whether a file is the right one"
            raise ParamsError(f"WEIGHTS = {str(weights)!r}: {what}; fetch it once from the hub, which pins it")
        unpack(pieces_in(weights, file, entry), entry.sha256, say)
        say(f"{name}, {file}: here, from {weights}")
        return
    if is_offline_mode():
        raise ParamsError(f"MODEL = {name!r}: HF_HUB_OFFLINE is set, so nothing is fetched; give WEIGHTS, or unset it")
    api, wanted = HfApi(), model.revision or (pin.revision if pin else None)
    with _of_the_hub(name, wanted):
        info = api.model_info(name, revision=wanted, files_metadata=True)
        at_hub = {sibling.rfilename: sibling for sibling in info.siblings or ()}.get(file)
    if at_hub is None:
        raise ParamsError(f"FILE = {file!r}: {name} at {info.sha} has no such file; see its page for their names")
    say(f"{name} at {info.sha}: {file}, {_shown_size(at_hub.size or 0)}")
    found = _downloaded(api, name, str(info.sha), file, entry, at_hub.lfs.sha256 if at_hub.lfs else None)
    path = try_to_load_from_cache(name, file, revision=str(info.sha))
    unpack([Path(str(path))], found.sha256, say)
    _write_pins({**pins, name: Pin(revision=str(info.sha), files={**((pin and pin.files) or {}), file: found})})
    say(f"  recorded in {shown(LOCK)}")


def fetch(name: str, revision: str | None = None, weights: bool = True, say: Callable[[str], None] = print) -> None:
    """Fetch a hub model into the hub's cache and record its files in the lock file.

    Args:
        name: of the repository, owner/name.
        revision: commit, branch or tag to pin; by default the pinned commit, or the newest if there is none.
        weights: whether to fetch them; otherwise the hub's own hashes of them are recorded.
        say: takes a line of progress.

    Raises:
        ParamsError: if it cannot be fetched, has no safetensors, does not fit on the disk, or is not what was recorded.
    """
    pins = read_pins()
    pin = pin_of(Model(name=name)) if name in pins else None
    cache = Path(constants.HF_HUB_CACHE)
    if is_offline_mode():
        remedy = f"unset it, or bring {cache} and {shown(LOCK)} from where the model was fetched"
        raise ParamsError(f"MODEL = {name!r}: HF_HUB_OFFLINE is set, so nothing is fetched; {remedy}")
    api = HfApi()
    wanted = revision or (pin.revision if pin else None)
    with _of_the_hub(name, wanted):
        info = api.model_info(name, revision=wanted, files_metadata=True)
        commit, at_hub = str(info.sha), {sibling.rfilename: sibling for sibling in info.siblings or ()}
        recorded = (pin.files if pin and pin.revision == commit else None) or {}
        names = sorted(recorded or _loaded(api, name, commit, set(at_hub)))
    if pin and pin.revision != commit:
        say(f"{name}: the pin moves from {pin.revision} to {commit}")
    size = {file: at_hub[file].size or 0 if file in at_hub else 0 for file in names}
    hashes = {file: lfs.sha256 if (lfs := sibling.lfs) else None for file, sibling in at_hub.items()}
    later = [f for f in names if is_weights(f) and (f in recorded or hashes.get(f)) and not weights]
    here = [file for file in names if isinstance(try_to_load_from_cache(name, file, revision=commit), str)]
    needed = sum(size[file] for file in names if file not in (*here, *later))
    free = shutil.disk_usage(next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())).free
    if needed > free:
        what = f"{_shown_size(needed)} are needed in {cache}, {_shown_size(free)} are free"
        raise ParamsError(f"MODEL = {name!r}: {what}; make room, or set HF_HUB_CACHE to a folder on a larger disk")
    say(f"{name} at {commit}: {len(names)} files, {_shown_size(sum(size.values()))}, in {cache}")
    files = {file: recorded.get(file) or File(sha256=hashes[file] or "", bytes=size[file]) for file in later}
    for file in (file for file in names if file not in later):
        say(f"  {file}, {_shown_size(size[file])}" + (", is there" if file in here else ""))
        files[file] = _downloaded(api, name, commit, file, recorded.get(file), hashes.get(file))
    _write_pins({**pins, name: Pin(revision=commit, files=files)})
    say(f"  recorded in {shown(LOCK)}")


@contextmanager
def _of_the_hub(name: str, revision: str | None) -> Iterator[None]:
    """Turn the many errors of the hub's client into a ParamsError with a remedy."""
    try:
        yield
    except ParamsError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise ParamsError(
            f"MODEL = {name!r}, REVISION = {revision or 'main'!r}: the hub did not give it ({said}); check the name, "
            "revision and network; of a gated model accept the terms on its page and set HF_TOKEN"
        ) from error


def _downloaded(api: HfApi, name: str, commit: str, file: str, recorded: File | None, at_hub: str | None) -> File:
    """Download a file, unless it is in the cache, and compare it with the lock file and with what the hub says."""
    with _of_the_hub(name, commit):
        path = Path(api.hf_hub_download(name, file, revision=commit))
    verify_files(name, path.parent, {file: recorded} if recorded else {})
    found = File(sha256=sha256_of(path), bytes=path.stat().st_size)
    if at_hub not in (None, found.sha256):
        what = f"{file} has SHA-256 {found.sha256}, the hub says {at_hub}"
        raise ParamsError(f"MODEL = {name!r}: {what}; remove {path.resolve()} and fetch it again")
    return found


def _loaded(api: HfApi, name: str, commit: str, there: set[str]) -> set[str]:
    """The files of a repository that its model is loaded from; of two kinds of weights the one transformers prefers.

    Raises:
        ParamsError: if there are no weights among them.
    """
    weights = {WEIGHTS} & there
    if not weights and INDEX in there:
        index = json.loads(Path(api.hf_hub_download(name, INDEX, revision=commit)).read_text(encoding="utf-8"))
        weights = {file for file in index["weight_map"].values() if is_weights(file)} & there
    if not weights or "config.json" not in there:
        raise ParamsError(
            f"MODEL = {name!r} at REVISION = {commit!r}: no config.json with {WEIGHTS} or {INDEX} there; pickled "
            "weights (.bin, .pt) are not taken, for they can run any code when they are loaded; choose a repository "
            "with safetensors"
        )
    others = {file for file in there if "/" not in file and not is_weights(file)}
    return weights | {file for file in others if any(fnmatch(file, pattern) for pattern in FILES)}


def _shown_size(size: int) -> str:
    unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    return f"{size / unit:.1f} {name}"


def _write_pins(pins: dict[str, Pin]) -> None:
    """Write the lock file, sorted; strings are quoted as in JSON, so a commit of digits stays one."""
    lines = [HEADER]
    for name, pin in sorted(pins.items()):
        lines += [f"{json.dumps(name)}:"] + [f"  revision: {json.dumps(pin.revision)}"] * bool(pin.revision)
        lines += ["  files:"] if pin.files else []
        for file, entry in sorted((pin.files or {}).items()):
            lines.append(f'    {json.dumps(file)}: {{sha256: "{entry.sha256}", bytes: {entry.bytes}}}')
    _put(LOCK, ("\n".join(lines) + "\n").encode())


def _put(path: Path, contents: bytes) -> None:
    """Write a file under another name and rename it, so that it appears whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(contents)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def fetch_data(name: str, base: str = GITHUB, say: Callable[[str], None] = print) -> None:
    """Fetch a public dataset into the build folder; no file is kept unless all are as published.

    Raises:
        ParamsError: if it cannot be fetched, or is not as it was published.
    """
    if name not in public_data.PUBLIC_DATA:
        raise ParamsError(f"DATA = {name!r}: no such dataset; there are: {', '.join(public_data.PUBLIC_DATA)}")
    data, folder = public_data.PUBLIC_DATA[name], public_data.FETCHED / name
    source = f"{base}/{data.repository}/{data.commit}/{data.folder}"
    say(f"{name}: {len(data.files)} files from {source}")
    contents = {}
    for file, recorded in data.files.items():
        try:
            with urlopen(f"{source}/{file}", timeout=60) as answer:  # noqa: S310 (https, or what a test serves)
                contents[file] = answer.read()
        except (OSError, HTTPException) as error:
            raise ParamsError(f"DATA = {name!r}: {source}/{file}: {error}; check the network and try again") from error
        found = sha256(contents[file]).hexdigest()
        if found != recorded:
            what = f"{source}/{file} has SHA-256 {found}, not {recorded} as it was published"
            raise ParamsError(f"DATA = {name!r}: {what}; nothing is kept; try again, or check for a proxy in between")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in contents.items():
        _put(folder / file, text)
        say(f"  {file}, {_shown_size(len(text))}")
    say(f"  in {shown(folder)}")


def ensure(params: Model, weights: bool = True) -> None:
    """Fetch a pinned hub model if it is not here; without `weights`, settings and tokenizer are enough.

    Raises:
        ParamsError: if it cannot be fetched.
    """
    pin = pin_of(params)
    if params.file:
        if not is_file(unpacked_folder(gguf_sha256(params)) / UNPACKED):
            fetch_gguf(params)
    elif pin and not (pin.files and cached_folder(params.name, pin, weights)):
        fetch(params.name, weights=weights)
