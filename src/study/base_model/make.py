"""Make a bundled model and ship it: `make base-model SIZE=default`, told in notebooks/00_base_model.ipynb."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from study.base_model.corpus import write_text
from study.base_model.history import checks, shipped_checks
from study.base_model.pretrain import Batches, PretrainingRun
from study.base_model.recipe import RECIPES, Pretraining
from study.base_model.tokenizer import build_tokenizer
from study.config import named_file
from study.digest import sha256_of
from study.figures import captions
from study.figures import curves as figures
from study.figures.style import save, show
from study.paths import RESULTS, ROOT, shown
from study.runs.executors import available_cores
from study.runs.store import content_hash
from study.runs.versions import BASE_MODEL
from study.worlds.words import ENDINGS, OPENINGS, PRETRAINING, STUDY, VALIDATION, lexicon_of

BUILD = ROOT / "build" / "base_model"
DEFAULT = "default"


recipe_file = partial(named_file, RECIPES, "SIZE")  # of a size


def folder_of(size: str) -> Path:
    """Where the model of a size is shipped."""
    return RESULTS / ("base_model" if size == DEFAULT else f"base_model_{size}")


def stage_table(recipe: Pretraining) -> pd.DataFrame:
    """The stages, one line each."""
    table = pd.DataFrame([stage.plain() for stage in recipe.stages])
    table["worlds"] = [", ".join(worlds) for worlds in table["worlds"]]
    return table.rename(columns={"global_": "global"}).rename_axis("stage")


def example_texts(recipe: Pretraining) -> list[str]:
    """A text of each stage, what carries loss behind bars."""
    texts = []
    for k, stage in enumerate(recipe.stages):
        small = stage.model_copy(update={"facts": min(stage.facts, 6)})
        text = write_text(random.Random(f"example/{k}"), small, PRETRAINING, small.row_tokens)
        texts.append(f"stage {k}: {text.prompt} || {text.continuation}")
    return texts


def lexicon_sizes() -> pd.DataFrame:
    """How many words each lexicon has, and that the three make up the whole word space."""
    lexicons = [lexicon_of(opening + ending) for opening in OPENINGS for ending in ENDINGS]
    counts = pd.Series(lexicons).value_counts().reindex([PRETRAINING.name, VALIDATION.name, STUDY.name])
    return counts.rename("words").to_frame()


def corpus_table(recipe: Pretraining, batches: int = 8) -> pd.DataFrame:
    """What the corpus holds, measured on the first batches of each stage."""
    tokenizer = build_tokenizer()
    period, ends = tokenizer.convert_tokens_to_ids("."), tokenizer.eos_token_id
    lines = []
    for number, stage in enumerate(recipe.stages):
        source = Batches(tokenizer, stage, f"{recipe.seed}/{number}")
        ids, labels, weights = map(torch.cat, zip(*(source[k] for k in range(batches)), strict=True))
        learned = labels != -100
        texts = int((ids == tokenizer.bos_token_id).sum())
        lines.append(
            {
                "texts in a million tokens": texts / ids.numel() * 1e6,
                "tokens with loss": float(learned.float().mean()),
                "of them with full weight": float((weights[learned] == 1).float().mean()),
                "padding": float((ids == tokenizer.pad_token_id).float().mean()),
                "sentences before the cue": float(((ids == period) & ~learned).sum() / texts),
                "inferences": float(((ids == period) & learned).sum() / texts),
                "whole texts": float(((ids == ends) & learned).sum() / texts),
            }
        )
    return pd.DataFrame(lines).rename_axis("stage").round(2)


def state_folder(recipe: Pretraining, seed: int, stage: int) -> Path:
    """Where the state of a run lies while it is in a stage, and when it has left it.

    The name is a hash of what led there: the recipe as far as that stage and the version of pretraining. So a recipe
    that differs in a later stage continues from the last stage that both have.
    """
    head = recipe.plain() | {"seed": seed, "race": None, "stages": [s.plain() for s in recipe.stages[: stage + 1]]}
    if stage < len(recipe.stages) - 1:
        head["cooldown_tokens"] = None
    if recipe.start:
        head["start"] = _start_sha256(recipe)
    return BUILD / content_hash([head, BASE_MODEL])[:12]


def _start_sha256(recipe: Pretraining) -> str | None:
    """Of the weights that a recipe starts from."""
    weights = ROOT / recipe.start / "model.safetensors" if recipe.start else None
    return sha256_of(weights) if weights and weights.is_file() else None


def taken_up(recipe: Pretraining, device: str, seed: int, say: Callable[[str], None]) -> PretrainingRun:
    """A run from its last state, or from the beginning."""
    run = PretrainingRun(recipe, device, seed)
    states = [state_folder(recipe, seed, stage) for stage in range(len(recipe.stages))]
    if there := [state for state in states if (state / "manifest.json").is_file()]:
        run.resume(there[-1])
    say(f"seed {seed}" + (f": taken up at {run.place.tokens / 1e6:.2f} M tokens" if there else ""))
    return run


def make(recipe: Pretraining, folder: Path, say: Callable[[str], None] = print) -> None:
    """Have a model in `folder` that is made by this recipe; if it is there, nothing is trained."""
    file = folder / "pretraining.json"
    there = file.is_file() and (folder / "model.safetensors").is_file()
    told = json.loads(file.read_text(encoding="utf-8")) if there else {}
    same = there and Pretraining.parse(told["recipe"], str(file)) == recipe
    if same and told.get("start_sha256") == _start_sha256(recipe):
        say(
            f"{told['tokens'] / 1e6:.1f} M tokens were read on {told['device']} with torch {told['torch']}, by this "
            f"recipe; {shown(folder)} stays as it is, remove it to train again"
        )
    else:
        pretrain(recipe, folder, say)


def pretrain(recipe: Pretraining, folder: Path, say: Callable[[str], None] = print) -> PretrainingRun:
    """Race the first stages from several seeds, take the winner through the others and ship it to `folder`.

    An interrupted run goes on from its last state, if the code and the recipe so far are still the same.
    """
    torch.set_num_threads(available_cores())
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def through(run: PretrainingRun, stages: int) -> PretrainingRun:
        while run.place.stage < stages:
            run.train_stage(say, state_folder(recipe, run.seed, run.place.stage))
        return run

    seeds = range(recipe.seed, recipe.seed + recipe.race.seeds)
    raced = [through(taken_up(recipe, device, seed, say), recipe.race.stages) for seed in seeds]
    run = max(raced, key=lambda run: (run.place.stage, -run.place.tokens))
    if len(raced) > 1:
        say(f"seed {run.seed} goes on")
    through(run, len(recipe.stages))
    run.history = [line for other in raced if other is not run for line in other.history] + run.history
    ship(run, folder)
    return run


def ship(run: PretrainingRun, folder: Path) -> None:
    """Write weights (bfloat16: they are loaded as float32 again), tokenizer, card and history."""
    folder.mkdir(parents=True, exist_ok=True)
    run.model.to(torch.bfloat16).save_pretrained(folder)
    run.model.to(torch.float32)
    run.tokenizer.save_pretrained(folder)
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run.history), encoding="utf-8")
    facts = {
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "tokens": run.place.tokens,
        "steps": run.place.step,
        "seed": run.seed,
        "device": run.device if run.device == "cpu" else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "state": state_folder(run.recipe, run.seed, len(run.recipe.stages) - 1).name,  # a hash of the recipe
        **({"start_sha256": _start_sha256(run.recipe)} if run.recipe.start else {}),
        "recipe": run.recipe.plain(),
    }
    (folder / "pretraining.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    write_card(folder)


def write_card(folder: Path) -> None:
    """The model card, from what lies in the folder: how it was made and, if it was measured, what it can do."""
    told = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    size = folder.name.removeprefix("base_model").removeprefix("_") or DEFAULT
    start = told["recipe"].get("start")
    origin = f"from `{start}`" if start else "from scratch"
    millions, read = f"{told['parameters'] / 1e6:.1f} M", f"{told['tokens'] / 1e6:.1f} M"
    card = f"""---
license: apache-2.0
pipeline_tag: text-generation
---
# {folder.name}

A Qwen3 of {millions} parameters, pretrained {origin} on {read} tokens of nonsense worlds written by this
repository (`notebooks/00_base_model.ipynb`), so that the study runs offline on two cores.
It reads facts in its context and writes what follows from them, in the wordings of `src/study/worlds/`;
it knows nothing else. Its training words and the study's words are disjoint by a hash of each word.

Made by `make base-model SIZE={size}`, seed {told["seed"]}, {told["steps"]} steps on {told["device"]} with torch
{told["torch"]}.
The whole recipe is in `pretraining.json`, how its skills came in `history.jsonl`.
"""
    report = folder / "skill_report.md"
    if report.is_file():
        card += f"\n{report.read_text(encoding='utf-8')}"
    (folder / "README.md").write_text(card, encoding="utf-8")


def publish(figure: Figure, file: Path, alt: str) -> None:
    """Save a figure and show it, with what it shows in words."""
    save(figure, file)
    show(figure, file, alt)


def race_table(folder: Path, recipe: Pretraining) -> pd.DataFrame:
    """For each raced seed the million tokens after which it had passed each stage, and how it stood then."""
    table = checks(folder)
    raced = table[(table["stage"] < recipe.race.stages) & table["skill"].str.endswith("/reversal")]
    last = raced[raced["tokens"] == raced.groupby(["seed", "stage"])["tokens"].transform("max")]
    found = last.groupby(["seed", "stage"]).agg(tokens=("tokens", "max"), reversal=("accuracy", "mean"))
    return (found.assign(tokens=found["tokens"] / 1e6)).rename(columns={"tokens": "million tokens"}).unstack().round(2)


def skill_figure(folder: Path) -> None:
    """In-context accuracy on held-out words along training, of the run that was shipped."""
    table = shipped_checks(folder)
    publish(figures.skill_history(table), folder / "skills.png", captions.emergence(table))


def loss_figure(folder: Path) -> None:
    """Loss along training, a line for each seed; that of the run that was shipped from the first model on."""
    every, shipped = checks(folder), shipped_checks(folder)
    others = every[every["seed"] != shipped["seed"].iloc[-1]]
    table = pd.concat([others, shipped]).drop_duplicates(["seed", "tokens"])
    publish(figures.loss_history(table), folder / "loss.png", captions.loss_history(table))
