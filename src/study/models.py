"""Load the model under study."""

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from study.hub import model_folder
from study.params import Model
from study.strict import ParamsError

logging.disable_progress_bar()  # it says nothing of a model that loads in a moment


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


def attention_of(config: PretrainedConfig) -> str:
    """The attention a model is loaded with: torch's own, unless scores are capped, which that one leaves out."""
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return "eager" if capped else "sdpa"


def load(params: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in evaluation mode on its device, and its tokenizer."""
    folder = model_folder(params)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, params.dtype),
        local_files_only=True,
        attn_implementation=attention_of(AutoConfig.from_pretrained(folder, local_files_only=True)),
    )
    return model.to(pick_device(params)).eval(), load_tokenizer(params)
