"""A model in one GGUF file, unpacked once into a folder that loads like any other.

The weights of such a file are quantized; unpacked they are bfloat16, two bytes each.
"""

import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from study.config import ParamsError
from study.digest import sha256_of
from study.lm.hub import UNPACKED, File, unpacked_folder
from study.lm.loading import NO_CODE, loading
from study.paths import is_folder

BYTES = 2  # of a weight


def pieces_in(folder: Path, name: str, entry: File) -> list[Path]:
    """The files of a folder that are, one after the other, the recorded file: itself, or its numbered parts.

    Raises:
        ParamsError: if there are none.
    """
    if not is_folder(folder):
        raise ParamsError(
            f"WEIGHTS = {str(folder)!r}: no such folder; give the one that holds {name}, whole or in parts"
        )
    found = {}
    for pieces in _sequences(folder):
        if sum(piece.stat().st_size for piece in pieces) == entry.bytes:
            digest = _sha256_of(pieces)
            if digest == entry.sha256:
                return pieces
            found[pieces[0].name] = digest
    what = "; ".join(f"{piece} is as long, but has SHA-256 {digest}" for piece, digest in found.items())
    raise ParamsError(
        f"WEIGHTS = {str(folder)!r}: holds no {name} of {entry.bytes:,} bytes with SHA-256 {entry.sha256}, whole or in "
        f"numbered parts{f' ({what})' if what else ''}; get that file, or leave WEIGHTS out to fetch it from the hub"
    )


def _sha256_of(pieces: list[Path]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        with piece.open("rb") as opened:
            hashlib.file_digest(opened, lambda: digest)
    return digest.hexdigest()


def _sequences(folder: Path) -> Iterator[list[Path]]:
    """Each file of a folder, and all files whose names differ by a number alone, in the order of that number."""
    numbered: dict[tuple[str, str], list[tuple[int, Path]]] = defaultdict(list)
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        yield [file]
        if last := re.match(r"(.*?)(\d+)(\D*)$", file.name):
            numbered[last[1], last[3]].append((int(last[2]), file))
    yield from ([file for _, file in sorted(parts)] for parts in numbered.values() if len(parts) > 1)


def unpack(pieces: list[Path], sha256: str, say: Callable[[str], None] = print) -> Path:
    """The folder of a GGUF file's model, unpacked now if it is not there; it appears whole or not at all.

    Args:
        pieces: the file, or its parts in order.
        sha256: of the whole, which names the folder.
        say: takes a line of progress.

    Raises:
        ParamsError: if it cannot be read, holds no causal language model that transformers knows, or does not fit on
            the disk.
    """
    folder = unpacked_folder(sha256)
    if (folder / UNPACKED).is_file():
        return folder
    named = pieces[0].name
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    part.mkdir(parents=True, exist_ok=True)
    try:
        joined = sum(piece.stat().st_size for piece in pieces) if len(pieces) > 1 else 0
        _refuse_without_room(part, joined, named)
        source = pieces[0]
        if joined:
            source = part / "joined.gguf"
            with source.open("wb") as whole:
                for piece in pieces:
                    with piece.open("rb") as opened:
                        shutil.copyfileobj(opened, whole)
        weights = _weights_in(source, named)
        _refuse_without_room(part, BYTES * weights, named)
        say(f"  unpacking {weights / 1e6:,.0f} million weights, {BYTES * weights / 1e9:.1f} GB, into {folder}")
        _save(source, part, named)
        if joined:
            source.unlink()
        hashes = {path.name: sha256_of(path) for path in sorted(part.iterdir())}
        (part / UNPACKED).write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier try
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _refuse_without_room(folder: Path, needed: int, named: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"unpacking takes {needed / 1e9:.1f} GB in {folder.parent}, {free / 1e9:.1f} GB are free"
        raise ParamsError(f"FILE = {named!r}: {what}; make room, or set HF_HOME to a folder on a larger disk")


def _weights_in(source: Path, named: str) -> int:
    try:
        return sum(int(tensor.n_elements) for tensor in GGUFReader(source).tensors)
    except Exception as error:  # of whatever the file holds
        raise ParamsError(f"FILE = {named!r}: no GGUF file ({type(error).__name__}: {error}); get it again") from None


def _save(source: Path, folder: Path, named: str) -> None:
    options = {"gguf_file": source.name, **NO_CODE}
    remedy = "give a causal language model whose architecture transformers reads from GGUF, or the same in safetensors"
    with loading(f"FILE = {named!r}", remedy):
        model, found = AutoModelForCausalLM.from_pretrained(
            source.parent,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **options)
    if lacking := sorted(found["missing_keys"]):  # they would be drawn at random
        raise ParamsError(f"FILE = {named!r}: lacks {len(lacking)} weights, such as {lacking[0]}; get the whole model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
