"""Load the model under study: nothing is fetched, and code that comes with weights is never run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tokenizers.processors import TemplateProcessing
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
from study.lm.attention import close
from study.lm.hub import model_folder, settings_in
from study.params import Model

ADAPTER = "adapter_config.json"
IMPLEMENTATIONS = (None, "eager", "sdpa")
PROBE = "a"
MOST_SHOWN = 300  # characters of a package's error message
SAFE = "give a model that transformers loads from safetensors without code of its own"
NO_CODE = {"local_files_only": True, "trust_remote_code": False}

logging.disable_progress_bar()  # it says nothing of a model that loads in a moment


def pick_device(params: Model) -> str:
    """The device in the settings, or the best of this machine.

    Raises:
        ParamsError: if this machine does not have the device.
    """
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if params.device == "auto":
        return here[-1]
    if params.device not in here:
        raise ParamsError(f"model.device = {params.device!r}: not on this machine; here are: {', '.join(here)}")
    return params.device


def load_tokenizer(params: Model) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; one without a padding token pads with the end of the text."""
    with loading(f"model.name = {params.name!r}"):
        tokenizer = AutoTokenizer.from_pretrained(model_folder(params, weights=False), **NO_CODE)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    _put_nothing_after(tokenizer, params)
    return tokenizer


def _put_nothing_after(tokenizer: PreTrainedTokenizerBase, params: Model) -> None:
    """Have a tokenizer put no token after a text: it would end every prompt, and be scored with every option.

    Raises:
        ParamsError: if it cannot be had so.
    """
    before, after = _around(tokenizer)
    if after and tokenizer.is_fast:
        named = [(tokenizer.convert_ids_to_tokens(token), token) for token in before]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=[*(name for name, _ in named), "$A"], special_tokens=named
        )
    elif after:
        tokenizer.add_eos_token = False
    if after and _around(tokenizer) != (before, []):
        what = f"its tokenizer puts {tokenizer.convert_ids_to_tokens(after)} after every text"
        raise ParamsError(f"model.name = {params.name!r}: {what}; save it with add_eos_token = False")


def _around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The tokens that a tokenizer puts before and after a text."""
    bare, whole = (tokenizer(PROBE, add_special_tokens=special).input_ids for special in (False, True))
    at = next((k for k in range(len(whole)) if whole[k : k + len(bare)] == bare), len(whole))
    return whole[:at], whole[at + len(bare) :]


@contextmanager
def loading(named: str, remedy: str = SAFE) -> Iterator[None]:
    """Turn whatever loading raises into a ParamsError that names the model and says what to do."""
    try:
        yield
    except (ParamsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of whatever package reads the file
        what = " ".join(str(error).split())
        what = f"{what[:MOST_SHOWN]} ..." if len(what) > MOST_SHOWN else what
        raise ParamsError(f"{named}: cannot be loaded ({type(error).__name__}: {what}); {remedy}") from error


def load_config(params: Model) -> PretrainedConfig:
    """The settings of a model.

    Raises:
        ParamsError: if they cannot be read, or name an adapter or a kernel of the hub.
    """
    folder = model_folder(params, weights=False)
    for name, value in settings_in(folder / "config.json").items():
        if name.endswith("_implementation") and value not in IMPLEMENTATIONS:  # else a kernel of the hub, which is code
            allowed = ", ".join(map(repr, IMPLEMENTATIONS))
            what = f"{name} = {value!r} in config.json; only {allowed} are loaded, remove it"
            raise ParamsError(f"model.name = {params.name!r}: {what}")
    if (folder / ADAPTER).exists():  # transformers would add it to the weights
        raise ParamsError(f"model.name = {params.name!r}: has {ADAPTER}; merge the adapter and save the model whole")
    with loading(f"model.name = {params.name!r}"):
        return AutoConfig.from_pretrained(folder, **NO_CODE)


def attention_of(config: PretrainedConfig) -> str | None:
    """The attention a model is loaded with: None for transformers' default; eager where scores are capped."""
    return "eager" if getattr(config.get_text_config(), "attn_logit_softcapping", None) else None


def quantization_of(params: Model) -> BitsAndBytesConfig | None:
    """How the weights are quantized on loading, if they are.

    Raises:
        ParamsError: if bitsandbytes is not installed.
    """
    if params.quantization is None:
        return None
    if not is_bitsandbytes_available():
        what = "bitsandbytes is not installed; `pip install bitsandbytes`, or leave it out"
        raise ParamsError(f"model.quantization = {params.quantization!r}: {what}")
    if params.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, params.dtype),
    )


def load(params: Model) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in evaluation mode on its device, and its tokenizer."""
    folder, quantized, device = model_folder(params), quantization_of(params), pick_device(params)
    placed = params.device_map or ({"": device} if quantized else None)
    attention = attention_of(load_config(params))
    with loading(f"model.name = {params.name!r}"):
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
        what = f"its safetensors lack {len(lacking)} weights, such as {lacking[0]}; give all files of the model"
        raise ParamsError(f"model.name = {params.name!r}: {what}")
    model, tokenizer = (model if placed else model.to(device)).eval(), load_tokenizer(params)
    refuse_what_is_no_causal_model(params, model)
    return model, tokenizer


@torch.inference_mode()
def refuse_what_is_no_causal_model(params: Model, model: PreTrainedModel) -> None:
    """Refuse a model that cannot read a text, or whose predictions depend on what comes after.

    Raises:
        ParamsError: if it is one.
    """
    texts = [[3, 5, 4, 6, 3, 5, 4, 6], [3, 5, 4, 6, 5, 3, 6, 4], [3, 5, 4, 6]]
    with loading(f"model.name = {params.name!r}"):
        first, *others = (model(input_ids=torch.tensor([ids], device=model.device)).logits[0, :4] for ids in texts)
    if not all(close(first, other) for other in others):
        what = "its predictions depend on the tokens after them, or on how many there are, as in an encoder"
        raise ParamsError(f"model.name = {params.name!r}: {what}; give a causal language model")


def refuse_unknown_tokens(params: Model, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that has tokens without an embedding; `model` may be without weights.

    Raises:
        ParamsError: if it has.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    if tokenizer.vocab_size > rows:  # without what was added to it, which no text gives
        what = f"its tokenizer has {tokenizer.vocab_size} tokens, its embedding {rows} rows"
        raise ParamsError(f"model.name = {params.name!r}: {what}; give the tokenizer that was saved with the weights")


def skeleton(params: Model) -> PreTrainedModel:
    """The model without weights, which takes no memory."""
    config = load_config(params)
    options = {"dtype": getattr(torch, params.dtype), "attn_implementation": attention_of(config)}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, **options).eval()
