"""CTranslate2 and OpenVINO GenAI, which generate from a model on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino_genai
import torch
from ctranslate2 import Generator, get_supported_compute_types
from ctranslate2.converters import TransformersConverter
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.baselines import GENERATED, shared_prefix


class CTranslate2:
    """A model in CTranslate2's form, in the type it has here, or in float32 where that has no fast products there."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path):
        kind, self.tokenizer = str(model.dtype).removeprefix("torch."), tokenizer
        kind = kind if kind in get_supported_compute_types("cpu") else "float32"
        self.name = f"CTranslate2, {kind}"
        model.save_pretrained(folder / "hub")
        tokenizer.save_pretrained(folder / "hub")
        converted = TransformersConverter(str(folder / "hub")).convert(str(folder / "ctranslate2"), quantization=kind)
        threads = torch.get_num_threads()
        self.engine: Any = Generator(converted, device="cpu", intra_threads=threads, compute_type=kind)

    def generate(self, prompts: Sequence[str], most: int) -> list[str]:
        """Greedy continuations; the prefix that all prompts share is decoded once a call."""
        encoded = self.tokenizer([*prompts]).input_ids
        shared = shared_prefix(encoded)
        tokens = [self.tokenizer.convert_ids_to_tokens(ids) for ids in encoded]
        found = self.engine.generate_batch(
            [row[shared:] for row in tokens],
            static_prompt=tokens[0][:shared] or None,
            cache_static_prompt=False,
            max_batch_size=GENERATED,
            max_length=most,
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=[self.tokenizer.eos_token_id],
        )
        return list(self.tokenizer.batch_decode([row.sequences_ids[0] for row in found], skip_special_tokens=True))


class OpenVino:
    """A GGUF file, as OpenVINO GenAI reads it: batched as texts come and go, with its cache of prefixes."""

    def __init__(self, file: Path):
        schedule = openvino_genai.SchedulerConfig()
        schedule.enable_prefix_caching = True
        threads = torch.get_num_threads()
        self.engine: Any = openvino_genai.LLMPipeline(
            str(file), "CPU", scheduler_config=schedule, INFERENCE_NUM_THREADS=threads
        )

    def generate(self, prompts: Sequence[str], most: int) -> list[str]:
        """Greedy continuations."""
        given = openvino_genai.GenerationConfig(max_new_tokens=most, do_sample=False, apply_chat_template=False)
        return list(self.engine.generate([*prompts], given).texts)
