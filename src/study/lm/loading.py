"""Load the model under study."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import is_bitsandbytes_available, logging

from study.config import ParamsError
from study.lm.hub import model_folder, settings_in
from study.params import Model

# Nothing is fetched, and code that lies beside weights is neither run nor asked about.
ADAPTER = "adapter_config.json"
IMPLEMENTATIONS = (None, "eager", "sdpa")
MOST_SHOWN = 300  # letters of what a package says
NO_CODE = {"local_files_only": True, "trust_remote_code": False}

logging.disable_progress_bar()  # it says nothing of a model that loads in a moment


def pick_device(params: Model) -> str:
    """The device asked for, or the best there is.

    Raises:
        ParamsError: if the device asked for is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available()}
    if params.device == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[params.device]:
        names = ", ".join(device for device, present in there.items() if present)
        raise ParamsError(f"model.device = {params.device!r}: not on this machine; here are: {names}")
    return params.device


def load_tokenizer(params: Model) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; one without a padding token pads with the end of the text."""
    with _loading(params):
        tokenizer = AutoTokenizer.from_pretrained(model_folder(params, weights=False), **NO_CODE)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@contextmanager
def _loading(params: Model) -> Iterator[None]:
    """Say whose files they are that cannot be loaded.

    Raises:
        ParamsError: naming the model.
    """
    try:
        yield
    except (ParamsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of whatever package a file of theirs is for
        what = " ".join(str(error).split())
        what = f"{what[:MOST_SHOWN]} ..." if len(what) > MOST_SHOWN else what
        raise ParamsError(
            f"model.name = {params.name!r}: cannot be loaded ({type(error).__name__}: {what}); give a model that "
            "transformers loads from safetensors without code of its own"
        ) from error


def load_config(params: Model) -> PretrainedConfig:
    """The settings of a model.

    Raises:
        ParamsError: if they cannot be read, or want something else loaded beside the weights.
    """
    folder = model_folder(params, weights=False)
    for name, value in settings_in(folder / "config.json").items():
        if name.endswith("_implementation") and value not in IMPLEMENTATIONS:  # else a kernel of the hub, which is code
            raise ParamsError(
                f"model.name = {params.name!r}: {name} = {value!r} in config.json; only "
                f"{', '.join(map(repr, IMPLEMENTATIONS))} are loaded, remove it"
            )
    if (folder / ADAPTER).exists():  # its weights would be put over those that are there
        raise ParamsError(f"model.name = {params.name!r}: has {ADAPTER}; merge the adapter and save the model whole")
    with _loading(params):
        return AutoConfig.from_pretrained(folder, **NO_CODE)


def attention_of(config: PretrainedConfig) -> str | None:
    """The attention a model is loaded with: by default torch's own, if it has that one; not where scores are capped."""
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return "eager" if capped else None


def quantization_of(params: Model) -> BitsAndBytesConfig | None:
    """How the weights are quantized while they are loaded, if they are.

    Raises:
        ParamsError: if bitsandbytes is not installed.
    """
    if params.quantization is None:
        return None
    if not is_bitsandbytes_available():
        raise ParamsError(
            f"model.quantization = {params.quantization!r}: bitsandbytes is not installed; `pip install bitsandbytes`, "
            "or leave it out"
        )
    if params.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, params.dtype),
    )


def load(params: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in evaluation mode on its device, and its tokenizer; code that comes with weights is never run."""
    folder, quantized, device = model_folder(params), quantization_of(params), pick_device(params)
    placed = params.device_map or ({"": device} if quantized else None)
    attention = attention_of(load_config(params))
    with _loading(params):
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, params.dtype),
            use_safetensors=True,
            attn_implementation=attention,
            output_loading_info=True,
            **NO_CODE,
            **({"quantization_config": quantized} if quantized else {}),
            **({"device_map": placed} if placed else {}),
        )
    lacking = sorted(found["missing_keys"])
    if lacking:  # they would be drawn at random
        raise ParamsError(
            f"model.name = {params.name!r}: its safetensors lack {len(lacking)} weights, such as {lacking[0]}; give "
            "all files of the model"
        )
    return (model if placed else model.to(device)).eval(), load_tokenizer(params)


def skeleton(params: Model) -> PreTrainedModel:
    """The model without weights: its shape alone, which takes no memory."""
    config = load_config(params)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, params.dtype), attn_implementation=attention_of(config)
        )
    return model.eval()
