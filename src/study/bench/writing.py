"""Local augmentation: against transformers' `generate` in batches."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.bench.table import Line, Same, Say, compare
from study.lm.generation import generate
from study.lm.loading import load
from study.lm.prompts import OF_BUNDLED
from study.params import Model, Params, Source
from study.runs.run import prepare

BATCH = 32  # of the peer


def prompts_of(source: Source, worlds: Sequence[str], seed: int = 0) -> list[str]:
    """What the study gives the model to write local or global text from, in one seed of some worlds."""
    found: dict[str, None] = {}
    for world in worlds:
        documents = prepare(Params(), world, seed).documents
        texts = [document.text for document in documents]
        for document in documents:
            if source is Source.LOCAL:
                found |= dict.fromkeys(map(OF_BUNDLED.from_one, document.stating))
            else:
                found[OF_BUNDLED.from_all(texts, document.text)] = None
    return list(found)


def by_generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str], tokens: int
) -> list[str]:
    """Greedy continuations, by transformers."""
    texts: list[str] = []
    for at in range(0, len(prompts), BATCH):
        batch = tokenizer(prompts[at : at + BATCH], return_tensors="pt", padding=True, padding_side="left")
        out = model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            do_sample=False,
            max_new_tokens=tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        texts += tokenizer.batch_decode(out[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    return texts


def _unlike(ours: list[str], theirs: list[str], same: Same) -> None:
    same.add(sum(one != other for one, other in zip(ours, theirs, strict=True)))


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """The row of writing speed."""
    model, tokenizer = load(Model(device="cpu"))
    params = Params()
    prompts = prompts_of(Source.LOCAL, params.world_names[:1] if quick else params.world_names)
    tokens, rows = params.augmentation.local_tokens, params.augmentation.batch_size
    return [
        compare(
            f"local augmentation, {len(prompts)} prompts, {tokens} tokens at most",
            f"generate, batch {BATCH}",
            2.2,
            lambda: generate(model, tokenizer, prompts, tokens, 0.0, 0, rows).texts,
            lambda: by_generate(model, tokenizer, prompts, tokens),
            Same("texts that differ", 0),
            _unlike,
            rounds,
            (len(prompts), len(prompts)),
            "s a text",
            f"greedy, {torch.get_num_threads()} threads for both",
            say,
        )
    ]
