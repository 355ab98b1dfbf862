"""Local augmentation, compared with transformers' `generate` in batches."""

from collections.abc import Sequence

import torch

from bench.baselines import GENERATED, by_generate
from bench.table import Line, Same, Say, compare
from study.arms import Source
from study.lm.generation import generate
from study.lm.loading import load
from study.lm.prompts import OF_BUNDLED
from study.params import Model, Params
from study.runs.run import prepare


def prompts_of(source: Source, worlds: Sequence[str], seed: int = 0) -> list[str]:
    """The prompts of local or global augmentation in one seed of some worlds."""
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


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """The row of generation speed."""
    model, tokenizer = load(Model(device="cpu"))
    params = Params()
    prompts = prompts_of(Source.LOCAL, params.world_names[:1] if quick else params.world_names)
    tokens, rows = params.augmentation.local_tokens, params.augmentation.batch_size
    return [
        compare(
            f"local augmentation, {len(prompts)} prompts, {tokens} tokens at most",
            f"generate, batch {GENERATED}",
            2.2,
            lambda: generate(model, tokenizer, prompts, tokens, 0.0, 0, rows).texts,
            lambda: by_generate(model, tokenizer, prompts, tokens),
            Same("texts that differ"),
            lambda ours, theirs: sum(one != other for one, other in zip(ours, theirs, strict=True)),
            rounds,
            (len(prompts), len(prompts)),
            "s a text",
            f"greedy, {torch.get_num_threads()} threads for both",
            say,
        )
    ]
