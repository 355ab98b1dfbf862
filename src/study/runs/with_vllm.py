"""The generator of a study: its own engine, or vLLM, which must be installed beside the study (`pip install vllm`).

vLLM needs a GPU. It is faster for many long texts, and generates other texts: it has its own random numbers.
"""

from collections.abc import Sequence

from study.config import ParamsError
from study.lm.flops import forward_flops, size_of
from study.lm.generation import Generation
from study.lm.hub import model_folder
from study.lm.loading import load, load_tokenizer, skeleton
from study.params import Params
from study.runs.augment import TextGenerator, generator_with


def generator_of(params: Params, seed: int) -> TextGenerator:
    """The model under study as a generator; the seed decides what it samples."""
    if params.augmentation.engine == "vllm":
        return vllm_generator(params, seed)
    return generator_with(*load(params.model), params.augmentation, seed)


def vllm_generator(params: Params, seed: int) -> TextGenerator:
    """The model under study as a generator with vLLM; each text is sampled with its own seed.

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
        generated = [answer.outputs[0] for answer in found]
        lengths = [(len(ids), len(text.token_ids)) for ids, text in zip(encoded, generated, strict=True)]
        return Generation(
            texts=[text.text for text in generated],
            ended=[text.finish_reason == "stop" for text in generated],
            prompt_tokens=sum(prompt for prompt, _ in lengths),
            new_tokens=sum(new for _, new in lengths),
            flops=sum(forward_flops(size, p) + forward_flops(size, n, past=p, predicted=n) for p, n in lengths),
        )

    return TextGenerator(write, tokenizer, engine.llm_engine.model_config.max_model_len)
