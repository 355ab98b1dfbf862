"""Load the model under study, and say which one it is."""

import hashlib
from functools import cache
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from study.params import BUNDLED, Model
from study.paths import BASE_MODEL
from study.strict import ParamsError

logging.disable_progress_bar()  # it says nothing of a model that loads in a moment

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


def pick_device(params: Model) -> str:
    """The device asked for, or the best there is.

    Raises:
        ParamsError: if the device asked for is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if params.device == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[params.device]:
        names = ", ".join(device for device, present in there.items() if present)
        raise ParamsError(f"model.device = {params.device!r}: not on this machine; here are: {names}")
    return params.device


def load_tokenizer(params: Model) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; one without a padding token pads with the end of the text."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder(params), local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load(params: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in evaluation mode on its device, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(
        model_folder(params), dtype=getattr(torch, params.dtype), local_files_only=True, attn_implementation="sdpa"
    )
    return model.to(pick_device(params)).eval(), load_tokenizer(params)
