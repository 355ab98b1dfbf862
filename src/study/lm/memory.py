"""Memory that a model's weights, its training and its generation take, from its shape alone.

Activations differ tenfold between model families, so they are counted: a forward pass with torch's fake tensors, which
have no content, records what autograd would keep.
"""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PreTrainedModel

from study.lm.attention import unstretched, window
from study.lm.finetuning import with_adapter
from study.lm.flops import heads_by_layer, matrices
from study.lm.loading import attention_of, skeleton
from study.lm.scoring import memory_needed, vocabulary
from study.params import Params

BITS = {"8bit": 8, "4bit": 4.5}  # with the constants of the quantization
READ_AGAIN = 1.25  # tokens read for one that is learned: texts that do not end with their step are read again
CASTS = 1.2  # copies made by casts in mixed precision, measured by the allocator
ADAM_BYTES = 8  # two moments in float32


def weight_bytes(model: PreTrainedModel, params: Params) -> int:
    """Bytes of a model's weights as they are loaded; quantization leaves embeddings and norms as they are."""
    bits = BITS.get(params.model.quantization or "")
    ends = {id(part.weight) for part in (model.get_input_embeddings(), model.get_output_embeddings())}
    return int(
        sum(
            weight.numel() * (bits / 8 if bits and weight.ndim == 2 and id(weight) not in ends else weight.itemsize)
            for weight in model.parameters()
        )
    )


def training_bytes(params: Params, method: str) -> int:
    """Bytes above the loaded weights at the peak of a step: masters, moments, and activations or gradients.

    Gradients come as activations go, so that the larger of the two counts.
    """
    model, tuning = skeleton(params.model), params.finetuning
    config, dtype, half = model.config, model.dtype, model.dtype != torch.float32
    tuned = with_adapter(model, tuning) if method == "lora" else model
    trained = sum(weight.numel() for weight in tuned.parameters() if weight.requires_grad)
    masters = half and method == "full"
    # An adapter keeps what its layers read, as their own weights do where they are trained.
    kind, read = torch.float32 if masters else dtype, round(READ_AGAIN * tuning.step_tokens)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):  # nothing is allocated, whatever is made here
            faked = AutoModelForCausalLM.from_config(config, dtype=kind, attn_implementation=attention_of(config))
            with torch.autocast("cpu", dtype, enabled=half):
                kept = kept_bytes(faked.train(), read, tuning.step_tokens)
    except Exception:  # of whatever in the model needs numbers, such as a router
        kept = estimated_bytes(model, read, tuning.step_tokens) * kind.itemsize // dtype.itemsize
    kept += tuning.step_tokens * vocabulary(model) * (4 + dtype.itemsize)  # gradients of the predictions
    kept = round(kept * CASTS) if half else kept
    raised = 4 - dtype.itemsize if masters else 0
    return int(trained * (ADAM_BYTES + raised) + max(kept, 4 * trained))


def kept_bytes(model: PreTrainedModel, tokens: int, predicted: int) -> int:
    """Bytes that a loss over the last tokens of a text keeps for the backward pass, weights aside."""
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        try:
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=predicted).logits[0]
        except TypeError:  # a model that predicts from all
            logits = model(input_ids=ids, use_cache=False).logits[0, -predicted:]
        loss = torch.nn.functional.cross_entropy(logits.float(), ids[0, -predicted:])
    del loss  # what is kept is kept until here
    return sum(kept.values())


def estimated_bytes(model: PreTrainedModel, tokens: int, predicted: int) -> int:
    """As `kept_bytes`, by a rule of thumb: what each matrix that a token meets reads and yields, and a third more."""
    widths = sum(sum(w.shape[-2:]) * (met // w[0].numel() if w.ndim > 2 else 1) for w, met in matrices(model))
    return int(4 / 3 * tokens * widths * model.dtype.itemsize) + 4 * predicted * vocabulary(model)


def reads_whole_prompts(model: PreTrainedModel, tokens: int) -> bool:
    """Whether the prefix that prompts share is read for each: attention without a log-sum-exp, or not to all of it."""
    eager = model.config._attn_implementation == "eager"
    return eager or tokens > min(window(model), unstretched(model))


def writing_bytes(model: PreTrainedModel, rows: int, shared: int, own: int) -> int:
    """Bytes above the weights for generating a batch of texts.

    Args:
        model: that generates; its shape is enough.
        rows: texts.
        shared: tokens of their common prefix.
        own: most tokens of a text after it, the generated ones included.
    """
    drawing = rows * vocabulary(model) * 3 * 8
    if not reads_whole_prompts(model, shared + own):
        return memory_needed(model, shared + rows * own, rows) + drawing
    whole, scores = rows * (shared + own), 0
    if model.config._attn_implementation == "eager":  # scores of all tokens to all, in the type and in float32
        heads = max((layer.number for layer in heads_by_layer(model.config)), default=0)
        scores = heads * rows * (shared + own) ** 2 * (2 * model.dtype.itemsize + 8)
    return memory_needed(model, whole, whole) + scores + drawing
