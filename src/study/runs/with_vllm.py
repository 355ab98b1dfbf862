"""Text written by vLLM, which must be installed beside the study (`pip install vllm`) and needs a GPU.

It writes faster than the study's own engine where many long texts are written, and not the same text: it draws random
numbers of its own.
"""

from collections.abc import Sequence

from study.config import ParamsError
from study.lm.flops import forward_flops, size_of
from study.lm.generation import Generation
from study.lm.hub import model_folder
from study.lm.loading import load_tokenizer, skeleton
from study.params import Params
from study.runs.augment import TextGenerator


def vllm_generator(params: Params, seed: int) -> TextGenerator:
    """The model under study as it writes with vLLM; each text is drawn with a seed of its own.

    Raises:
        ParamsError: if vLLM is not installed, or the weights are to be quantized by bitsandbytes.
    """
    try:
        from vllm import LLM, SamplingParams
    except ModuleNotFoundError as error:
        raise ParamsError(
            "augmentation.engine = 'vllm': vllm is not installed; install it on a machine with a GPU, or use own"
        ) from error
    if params.model.quantization:
        raise ParamsError("augmentation.engine = 'vllm': not together with model.quantization; use own")
    folder, tokenizer = model_folder(params.model), load_tokenizer(params.model)
    engine = LLM(model=str(folder), dtype=params.model.dtype, seed=seed, trust_remote_code=False)
    size = size_of(skeleton(params.model))

    def write(prompts: Sequence[str], tokens: int, special_tokens: bool) -> Generation:
        encoded = tokenizer(list(prompts), add_special_tokens=special_tokens).input_ids
        sampling = [
            SamplingParams(temperature=params.augmentation.temperature, max_tokens=tokens, seed=(seed << 32) + k)
            for k in range(len(encoded))
        ]
        found = engine.generate([{"prompt_token_ids": ids} for ids in encoded], sampling, use_tqdm=False)
        written = [answer.outputs[0] for answer in found]
        return Generation(
            texts=[text.text for text in written],
            ended=[text.finish_reason == "stop" for text in written],
            prompt_tokens=sum(map(len, encoded)),
            new_tokens=sum(len(text.token_ids) for text in written),
            flops=sum(
                forward_flops(size, len(ids))
                + forward_flops(size, len(text.token_ids), past=len(ids), predicted=len(text.token_ids))
                for ids, text in zip(encoded, written, strict=True)
            ),
        )

    return TextGenerator(write, tokenizer, engine.llm_engine.model_config.max_model_len)
