"""Load the model under study."""

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

from study.hub import model_folder
from study.params import Model
from study.strict import ParamsError

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
    tokenizer = AutoTokenizer.from_pretrained(model_folder(params, weights=False), local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


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
    folder, device, quantized = model_folder(params), pick_device(params), quantization_of(params)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, params.dtype),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        attn_implementation=attention_of(AutoConfig.from_pretrained(folder, local_files_only=True)),
        **({"quantization_config": quantized, "device_map": {"": device}} if quantized else {}),
    )
    return (model if quantized else model.to(device)).eval(), load_tokenizer(params)


def skeleton(params: Model) -> PreTrainedModel:
    """The model without weights: its shape alone, which takes no memory."""
    config = AutoConfig.from_pretrained(model_folder(params, weights=False), local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, params.dtype), attn_implementation=attention_of(config)
        )
    return model.eval()
