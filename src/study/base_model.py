"""Make the bundled model and ship it: `make base-model`, told in notebooks/00_base_model.ipynb."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

from study import figures
from study.corpus import write_text
from study.params import Pretraining, Stage
from study.paths import ROOT
from study.pretrain import Run, skill
from study.runner import available_cores
from study.store import code_hash, content_hash
from study.words import ENDINGS, OPENINGS, PRETRAINING, STUDY, VALIDATION, lexicon_of
from study.world import Split

BUILD = ROOT / "build" / "base_model"
FACT_COUNTS = (8, 32, 64)


def stage_table(params: Pretraining) -> pd.DataFrame:
    """The stages, one line each."""
    table = pd.DataFrame([stage.plain() for stage in params.stages])
    table["worlds"] = [", ".join(worlds) for worlds in table["worlds"]]
    return table.rename(columns={"global_": "global"}).rename_axis("stage")


def example_texts(params: Pretraining) -> list[str]:
    """A text of each stage, what carries loss behind bars."""
    texts = []
    for k, stage in enumerate(params.stages):
        small = stage.model_copy(update={"facts": min(stage.facts, 6)})
        text = write_text(random.Random(f"example/{k}"), small, PRETRAINING, small.row_tokens)
        texts.append(f"stage {k}: {text.prompt} || {text.continuation}")
    return texts


def lexicon_sizes() -> pd.DataFrame:
    """How many words each lexicon has, and that the three make up the whole word space."""
    lexicons = [lexicon_of(opening + ending) for opening in OPENINGS for ending in ENDINGS]
    counts = pd.Series(lexicons).value_counts().reindex([PRETRAINING.name, VALIDATION.name, STUDY.name])
    return counts.rename("words").to_frame()


def pretrain(params: Pretraining, folder: Path, say: Callable[[str], None] = print) -> Run:
    """Take a model through all stages and ship it to `folder`.

    An interrupted run goes on from its last checkpoint, if params and code are still the same.
    """
    checkpoint = BUILD / content_hash([params.plain(), code_hash("pretrain")])[:12] / "checkpoint.pt"
    torch.set_num_threads(available_cores())
    run = Run(params, "cuda" if torch.cuda.is_available() else "cpu")
    if checkpoint.is_file():
        run.resume(checkpoint)
        say(f"resumed at {run.tokens / 1e6:.2f} M tokens")
    while run.stage < len(params.stages):
        run.train_stage(say, checkpoint)
    ship(run, folder)
    return run


def ship(run: Run, folder: Path) -> None:
    """Write weights (bfloat16: they are loaded as float32 again), tokenizer, card and history."""
    folder.mkdir(parents=True, exist_ok=True)
    run.model.to(torch.bfloat16).save_pretrained(folder)
    run.model.to(torch.float32)
    run.tokenizer.save_pretrained(folder)
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run.history), encoding="utf-8")
    count = sum(p.numel() for p in run.model.parameters())
    card = f"""---
license: apache-2.0
pipeline_tag: text-generation
---
# The bundled base model

A Qwen3 of {count / 1e6:.1f} M parameters, pretrained from scratch on {run.tokens / 1e6:.1f} M tokens of nonsense worlds
written by this repository (`notebooks/00_base_model.ipynb`), so that the study runs offline on two cores.
It reads facts in its context and writes what follows from them, in the wordings of `src/study/worlds/`;
it knows nothing else. Its training words and the study's words are disjoint by a hash of each word.

Made with seed {run.params.seed} by `make base-model`. How its skills came is in `history.jsonl`, how they stand in
`skills.csv`.
"""
    (folder / "README.md").write_text(card, encoding="utf-8")


def skill_figure(run: Run, folder: Path) -> None:
    """In-context accuracy on held-out words along training."""
    table = pd.DataFrame(run.history)
    long = table.melt(["stage", "tokens", "loss"], var_name="skill", value_name="accuracy").dropna(subset="accuracy")
    figure = figures.skill_history(long)
    figure.savefig(folder / "skills.png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    plt.show()
    plt.close(figure)


def final_skills(run: Run, folder: Path, worlds: int = 16) -> pd.DataFrame:
    """In-context accuracy by world, split and number of facts, eight options, one relation for all facts."""
    last: Stage = run.params.stages[-1].model_copy(update={"openings": len(OPENINGS), "one_relation": 1.0})
    lines = []
    for facts in FACT_COUNTS:
        for name, accuracy in skill(run.model, run.tokenizer, last, facts, worlds, asked=8).items():
            world, split = name.split("/")
            lines.append({"world": world, "split": split, "facts": facts, "accuracy": accuracy})
    table = pd.DataFrame(lines)
    table.to_csv(folder / "skills.csv", index=False)
    order = [str(split) for split in Split]
    wide = table.pivot_table("accuracy", ["world", "split"], "facts").round(3)
    return wide.sort_index(key=lambda index: index.map(lambda v: order.index(v) if v in order else v))
