"""What must be installed beside the study: weights in fewer bits (bitsandbytes), text written by vLLM."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest

from study.arms import Source
from study.config import ParamsError
from study.lm import loading as models
from study.lm.finetuning import finetune
from study.lm.generation import generate
from study.lm.loading import load, skeleton
from study.lm.memory import weight_bytes
from study.lm.scoring import score_options
from study.params import Params
from study.runs.augment import augment
from study.runs.run import prepare
from study.runs.with_vllm import generator_of

quantizing = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is an extra: pip install bitsandbytes"
)


def in_bits(params, bits):
    model = {**params.model.plain(), "quantization": bits, "dtype": "bfloat16"}
    return Params.parse({**params.plain(), "model": model, "finetuning": {"method": "lora", "lora_rank": 2}}, "test")


@quantizing
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_a_quantized_model_answers_writes_and_learns_through_an_adapter(params, bits):
    study = in_bits(params, bits)
    model, tokenizer = load(study.model)
    assert model.get_memory_footprint() == pytest.approx(weight_bytes(skeleton(study.model), study), rel=0.1)
    question = [("vazed sees", [" ditav.", " gol."])]
    exact, rounded = (score_options(m, tokenizer, "", question)[0].log_probs for m in (load(params.model)[0], model))
    assert rounded == pytest.approx(exact, rel=0.2)
    assert len(generate(model, tokenizer, ["vazed sees"], 4, 0.0, 0, 1).texts) == 1
    encoded = [tokenizer("vazed sees ditav.").input_ids]
    tuning = study.finetuning.model_copy(update={"step_tokens": 16})
    tuned, training = finetune(model, tokenizer, encoded, tuning, 1e-2, 30, 0)
    assert training.losses[-1] < training.losses[0] - 0.5
    assert score_options(tuned, tokenizer, "", question)[0].log_probs[0] > rounded[0]


def test_bits_without_bitsandbytes_are_refused(params, monkeypatch):
    monkeypatch.setattr(models, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(ParamsError, match=r"model\.quantization = '4bit': bitsandbytes is not installed; `pip install"):
        load(in_bits(params, "4bit").model)


def by_vllm(params):
    return params.model_copy(update={"augmentation": params.augmentation.model_copy(update={"engine": "vllm"})})


def test_vllm_that_is_not_installed_is_refused(params):
    if importlib.util.find_spec("vllm"):
        pytest.skip("vllm is installed")
    with pytest.raises(ParamsError, match=r"augmentation\.engine = 'vllm': vllm is not installed"):
        generator_of(by_vllm(params), 0)


def test_vllm_is_given_the_same_prompts_and_read_the_same_way(params, monkeypatch):
    """A stand-in with vLLM's interface, which writes one sentence; what it is asked and how it is read is tested."""
    asked = []

    class LLM:
        def __init__(self, **how):
            assert how["trust_remote_code"] is False and how["dtype"] == "float32"
            self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=1024))

        def generate(self, prompts, sampling, use_tqdm):
            asked.extend(zip(prompts, sampling, strict=True))
            texts = [
                SimpleNamespace(text="vazed sees ditav.", token_ids=[1, 2, 3], finish_reason="stop") for _ in prompts
            ]
            return [SimpleNamespace(outputs=[text]) for text in texts]

    stand_in = ModuleType("vllm")
    stand_in.LLM, stand_in.SamplingParams = LLM, lambda **how: how
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    study, material = by_vllm(params), prepare(params, "reversals", 0)
    generator = generator_of(study, 0)
    inferences, written, _ = augment(generator, material.world, material.documents, Source.LOCAL, study, "reversals/0")
    assert len(asked) == len(written.texts) and all(written.ended) and written.flops > 0
    assert {i.sentence for i in inferences} == {"vazed sees ditav."}
    assert len({how["seed"] for _, how in asked}) == len(asked)  # each text is drawn with a seed of its own
    own = generator.tokenizer(f"{inferences[0].document} so:").input_ids
    assert asked[0][0]["prompt_token_ids"] == own and asked[0][1]["max_tokens"] == study.augmentation.local_tokens
