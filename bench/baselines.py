"""What the study is compared with: lm-eval, and transformers' prompt cache, `generate` and `Trainer`, as they come."""

import copy
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import DataCollatorForSeq2Seq, DynamicCache, PrinterCallback, Trainer, TrainingArguments
from transformers import PreTrainedModel as Model
from transformers import PreTrainedTokenizerBase as Tokenizer

from study.lm.attention import common_prefix

Questions = list[tuple[str, tuple[str, ...]]]  # each with its options
Losses = tuple[float, ...]  # of each step
SCORED, GENERATED = 4, 32  # texts in a batch of lm-eval and of `generate`


def shared_prefix(encoded: Sequence[list[int]]) -> int:
    """How many tokens all prompts begin with, at least one of each left out: logits come from what is read last."""
    return min(common_prefix(encoded), min(map(len, encoded)) - 1)


def lm_eval(model: Model, tokenizer: Tokenizer, batch: int = SCORED) -> HFLM:
    """lm-eval's backend around the same model."""
    positions, device = model.config.max_position_embeddings, model.device.type
    return HFLM(model, tokenizer=tokenizer, batch_size=batch, max_length=positions, add_bos_token=True, device=device)


def by_lm_eval(lm: HFLM, context: str, questions: Questions) -> list[list[float]]:
    """Log-probability of each option, by lm-eval."""
    lead = f"{context} " if context else ""
    pairs = [(lead + query, option) for query, options in questions for option in options]
    requests = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=k) for k, pair in enumerate(pairs)]
    answers = iter(lm.loglikelihood(requests, disable_tqdm=True))
    return [[next(answers)[0] for _ in options] for _, options in questions]


def by_copies(
    model: Model, tokenizer: Tokenizer, cache: DynamicCache, context: str, questions: Questions
) -> list[list[float]]:
    """Log-probability of each option by transformers' documented recipe: each prompt on a copy of the cache."""
    found = []
    with torch.inference_mode():
        for query, options in questions:
            stem, scores = tokenizer(f"{context} {query}").input_ids, []
            for option in options:
                ids = tokenizer(f"{context} {query}{option}").input_ids
                held, start = cache.get_seq_length(), common_prefix([stem, ids])
                state = copy.deepcopy(cache)
                logits = model(input_ids=torch.tensor([ids[held:]]), past_key_values=state).logits[0].log_softmax(-1)
                scores.append(sum(float(logits[k - 1 - held, ids[k]]) for k in range(start, len(ids))))
            found.append(scores)
    return found


def by_generate(model: Model, tokenizer: Tokenizer, prompts: list[str], tokens: int) -> list[str]:
    """Greedy continuations, by `generate`."""
    texts: list[str] = []
    for at in range(0, len(prompts), GENERATED):
        batch = tokenizer(prompts[at : at + GENERATED], return_tensors="pt", padding=True, padding_side="left")
        given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        pad = tokenizer.pad_token_id
        out = model.generate(**given, do_sample=False, max_new_tokens=tokens, pad_token_id=pad)
        texts += tokenizer.batch_decode(out[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    return texts


def arguments(kind: type[TrainingArguments], folder: str, **more: Any) -> TrainingArguments:
    """Settings of a training of one epoch that reports and saves nothing."""
    more = {"num_train_epochs": 1, "use_cpu": not torch.cuda.is_available(), **more}
    return kind(output_dir=folder, report_to=[], save_strategy="no", disable_tqdm=True, **more)


def losses(trainer: Trainer) -> Losses:
    """Train; the losses of the steps, where they are logged."""
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)


def by_trainer(
    model: Model,
    tokenizer: Tokenizer,
    encoded: Sequence[dict[str, list[int]]],
    kind: type[Trainer] = Trainer,
    callbacks: Sequence[Any] = (),
    **settings: Any,
) -> Losses:
    """Losses of `Trainer`: a text a row, padded to the longest of its batch."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = kind(
            model=model,
            args=arguments(TrainingArguments, folder, **settings),
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding="longest"),
            train_dataset=encoded,
            callbacks=list(callbacks),
        )
        return losses(trainer)
