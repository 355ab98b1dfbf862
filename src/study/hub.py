"""Where a model's files are, and which model they are; nothing of it is loaded."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from study.params import BUNDLED, Model
from study.paths import BASE_MODEL
from study.strict import ParamsError

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
FILES = (*WEIGHTS, "*.json", "*.txt", "*.model", "*.jinja")


def model_folder(params: Model) -> Path:
    """The local folder of a model's files; a hub model is fetched at its pinned revision.

    One folder serves model and tokenizer, so both are of the same revision.

    Raises:
        ParamsError: if the folder holds no model, or the hub cannot give it.
    """
    if params.name == BUNDLED:
        folder = BASE_MODEL
        remedy = "restore results/base_model from the repository, or make it anew with `make base-model`"
    elif Path(params.name).is_dir():
        folder, remedy = Path(params.name), "give a folder written by save_pretrained"
    else:
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(params.name, revision=params.revision, allow_patterns=list(FILES)))
        except Exception as error:  # the hub client raises many kinds; each means that the model is not to be had
            raise ParamsError(
                f"model.name = {params.name!r} at revision {params.revision!r}: the hub did not give it ({error}); "
                "check the name, the revision, the network, and HF_TOKEN for a gated model"
            ) from error
        remedy = "the repository holds no safetensors weights; choose one that does"
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ParamsError(f"model.name = {params.name!r}: no config.json and safetensors weights there; {remedy}")
    return folder


@cache
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(params: Model) -> str:
    """SHA-256 over the names and contents of all files the model and its tokenizer are loaded from."""
    total = hashlib.sha256()
    folder = model_folder(params)
    for path in sorted({path for pattern in FILES for path in folder.glob(pattern)}):
        stat = path.stat()
        total.update(f"{path.name} {_sha256(path, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return total.hexdigest()


def count_tokens(params: Model, texts: Sequence[str]) -> list[int]:
    """Tokens of each text under the model's tokenizer, special tokens not counted."""
    file = model_folder(params) / "tokenizer.json"
    if not file.is_file():  # an old kind, which only transformers reads
        from study.models import load_tokenizer

        tokenizer = load_tokenizer(params)
        return [len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
    encoded = Tokenizer.from_file(str(file)).encode_batch(list(texts), add_special_tokens=False)
    return [len(text.ids) for text in encoded]
