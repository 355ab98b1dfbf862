"""Pretrain the bundled base model, stage by stage, until it learns in context: from scratch, or from a checkpoint.

A stage ends when its skill stands on held-out words, or when its tokens are spent. The first stages have the shortest
sentences and few words: with them, and with attention that starts as in `study.base_model.architecture`, the skill to
look an entity up comes within one million tokens.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from study.base_model.architecture import build_model, grown, started
from study.base_model.corpus import write_text
from study.base_model.recipe import Pretraining, Stage
from study.base_model.skill import stage_skill
from study.base_model.tokenizer import build_tokenizer
from study.digest import sha256_of
from study.paths import ROOT
from study.runs.executors import available_cores
from study.sums import added
from study.worlds.words import PRETRAINING
from study.worlds.world import Split

SHORTEST_TEXT = 40  # tokens: no text is begun in less room than this


class Batch(NamedTuple):
    """A step's texts, each (rows, row_tokens): token ids, labels (-100 on prompts and padding), their weights."""

    ids: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class Batches(Dataset[Batch]):
    """The batches of a stage.

    A batch is a function of its seed and number alone, so that it does not matter who writes it, nor when.
    """

    tokenizer: PreTrainedTokenizerFast
    stage: Stage
    seed: str

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`, of as many as are asked for."""
        rng = random.Random(f"{self.seed}/{number}")
        rows = self._rows(rng)
        # A prompt can fill its row; where no row has anything to learn, another batch is drawn.
        while not (rows.labels != -100).any():
            rows = self._rows(rng)
        return rows

    def _rows(self, rng: random.Random) -> Batch:
        encode, stage = self.tokenizer.backend_tokenizer.encode, self.stage
        shape = (stage.batch_tokens // stage.row_tokens, stage.row_tokens)
        ids, labels = np.full(shape, self.tokenizer.pad_token_id, np.int64), np.full(shape, -100, np.int64)
        weights = np.full(shape, stage.lead_weight, np.float32)
        for row in range(len(ids)):
            at = 0
            while at == 0 or stage.row_tokens - at > SHORTEST_TEXT:
                text = write_text(rng, stage, PRETRAINING, stage.row_tokens - at)
                prompt = encode(text.prompt).ids
                continuation = encode(text.continuation, add_special_tokens=False)
                own = [*continuation.ids, self.tokenizer.eos_token_id]
                for begin, end in text.answers:
                    answer = slice(*(at + len(prompt) + continuation.char_to_token(k) for k in (begin, end - 1)))
                    weights[row, answer] = 1.0
                whole = (prompt + own)[: stage.row_tokens - at]
                ids[row, at : at + len(whole)] = whole
                labels[row, at + len(prompt) : at + len(whole)] = whole[len(prompt) :]
                at += len(whole)
        return Batch(*map(torch.from_numpy, (ids, labels, weights)))

    def stream(self, first: int, workers: int) -> Iterator[Batch]:
        """Endless batches from number `first` on, written ahead by so many processes, or on demand by this one."""
        loader: DataLoader[Batch] = DataLoader(
            self,
            batch_size=None,
            sampler=range(first, 10**9),
            num_workers=workers,
            prefetch_factor=8 if workers else None,
            multiprocessing_context="forkserver" if workers else None,
        )
        return iter(loader)


def has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16, so that it is the faster type."""
    return bool(torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class NotFinite(RuntimeError):
    """The loss or the gradient is not a number; the message says where."""


@dataclass
class Place:
    """How far a run has come; with the weights and the optimizers' state it is the whole of it.

    Attributes:
        stage: number of the current stage.
        step: steps taken.
        tokens: read in them.
        stage_steps, stage_tokens: those of the current stage.
        warm_from: the step from which the learning rates rise to their full size.
        layers: of the model.
    """

    stage: int = 0
    step: int = 0
    tokens: int = 0
    stage_steps: int = 0
    stage_tokens: int = 0
    warm_from: int = 0
    layers: int = 0


class PretrainingRun:
    """A model, its optimizers and its place on the way through the stages."""

    def __init__(self, recipe: Pretraining, device: str, seed: int | None = None) -> None:
        self.recipe, self.device = recipe, device
        self.seed = recipe.seed if seed is None else seed
        self.tokenizer = build_tokenizer()
        # One thread for each part of a batch is faster than all threads on each product of small matrices.
        self.parts = available_cores() if device == "cpu" else 1
        self.threads = ThreadPoolExecutor(self.parts, initializer=torch.set_num_threads, initargs=(1,))
        if recipe.start:
            model = started(ROOT / recipe.start, recipe.architecture)
        else:
            model = build_model(recipe.architecture, len(self.tokenizer), recipe.stages[0].layers, self.seed)
        self.place = Place(layers=model.config.num_hidden_layers)
        self._use(model)
        self.history: list[dict[str, Any]] = []

    def _use(self, model: Qwen3ForCausalLM) -> None:
        """Train this model from now on: Muon for the matrices of each layer, AdamW for the embedding and the norms."""
        self.model = model.to(self.device)
        rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=self.recipe.adamw_learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
        ]
        for block in model.model.layers:
            matrices = [p for p in block.parameters() if p.ndim == 2]
            self.optimizers.append(torch.optim.Muon(matrices, lr=self.recipe.muon_learning_rate, weight_decay=0.01))
        self.rates = [group["lr"] for o in self.optimizers for group in o.param_groups]

    def _precision(self) -> torch.autocast:
        """Matrix products in bfloat16 where that is the faster type; weights and optimizers stay in float32."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu" or has_bfloat16())

    def skip_to(self, stage: int) -> None:
        """Begin with a stage, at its depth."""
        settings, self.place.stage = self.recipe.stages[stage], stage
        if settings.layers > self.place.layers:
            torch.manual_seed(self.seed)
            self._use(grown(self.model, settings.layers))
            self.place.layers, self.place.warm_from = settings.layers, self.place.step
        # Eager attention is faster on short rows, fused attention on long ones.
        short = settings.row_tokens <= 128 and self.device == "cpu"
        self.model.set_attn_implementation("eager" if short else "sdpa")

    def loss_of(self, ids: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted sum of the loss over labelled tokens, in nats; the head is applied to what predicts one, no more."""
        learn = labels[:, 1:] != -100
        with self._precision():
            logits = self.model.lm_head(self.model.model(ids).last_hidden_state[:, :-1][learn])
        loss = F.cross_entropy(logits.float(), labels[:, 1:][learn], reduction="none")
        return (loss * weights[:, 1:][learn]).sum()

    def gradients(self, batch: Batch) -> float:
        """Set the gradients of the weighted mean loss per labelled token, a thread to each part; return the loss."""
        parameters, total = list(self.model.parameters()), batch.weights[:, 1:][batch.labels[:, 1:] != -100].sum()

        def of_part(part: tuple[torch.Tensor, ...]) -> tuple[float, tuple[torch.Tensor, ...]]:
            loss = self.loss_of(*part) / total
            return loss.item(), torch.autograd.grad(loss, parameters)

        chunks = zip(*(tensor.to(self.device).chunk(self.parts) for tensor in batch), strict=True)
        parts = list(self.threads.map(of_part, chunks))
        for parameter, *found in zip(parameters, *(gradients for _, gradients in parts), strict=True):
            parameter.grad = sum(found[1:], found[0])
        return float(added(loss for loss, _ in parts))

    def train_step(self, batch: Batch, scale: float) -> float:
        """One update on one batch; returns the loss.

        Raises:
            NotFinite: before the weights are touched.
        """
        self.model.train()
        value = self.gradients(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            raise NotFinite(
                f"loss {value}, gradient norm {norm.item()} at stage {self.place.stage}, step {self.place.step}, "
                f"{self.place.tokens / 1e6:.2f} M tokens; the last checkpoint is good: lower muon_learning_rate "
                f"(now {self.recipe.muon_learning_rate}) or raise warmup_steps (now {self.recipe.warmup_steps})"
            )
        groups = [group for o in self.optimizers for group in o.param_groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * scale
        list(self.threads.map(lambda optimizer: optimizer.step(), self.optimizers))
        self.place.step += 1
        self.place.stage_steps += 1
        self.place.tokens += batch.ids.numel()
        self.place.stage_tokens += batch.ids.numel()
        return value

    def _rate(self) -> float:
        """Share of the full learning rates at this step: up at the beginning, down at the end of the last stage."""
        stage = self.recipe.stages[self.place.stage]
        rising = min(1.0, (self.place.step - self.place.warm_from + 1) / self.recipe.warmup_steps)
        left = stage.most_tokens - self.place.stage_tokens
        if self.place.stage < len(self.recipe.stages) - 1 or left >= self.recipe.cooldown_tokens:
            return stage.rate * rising
        return stage.rate * max(0.02, left / self.recipe.cooldown_tokens)

    def train_stage(self, say: Callable[[str], None], checkpoint: Path | None = None) -> None:
        """Train through the current stage: until its gate is passed, or its tokens are spent."""
        place, stage = self.place, self.recipe.stages[self.place.stage]
        last = place.stage == len(self.recipe.stages) - 1
        self.skip_to(place.stage)
        workers = 0 if self.device == "cpu" else max(1, available_cores() - 2)
        source = Batches(self.tokenizer, stage, f"{self.seed}/{place.stage}").stream(place.stage_steps, workers)
        passed, losses, begun, begun_tokens = False, [], time.monotonic(), place.tokens
        while place.stage_tokens < stage.most_tokens and not passed:
            checks = place.stage_tokens // stage.check_tokens
            losses.append(self.train_step(next(source), self._rate()))
            if place.stage_tokens // stage.check_tokens == checks:
                continue
            speed = (place.tokens - begun_tokens) / (time.monotonic() - begun)
            with self._precision():
                skill = stage_skill(self.model, self.tokenizer, stage, worlds=12)
            line = {"seed": self.seed, "stage": place.stage, "tokens": place.tokens, "loss": float(np.mean(losses))}
            self.history.append({**line, **skill})
            left = max(0, sum(s.most_tokens for s in self.recipe.stages[place.stage :]) - place.stage_tokens)
            by_split = pd.Series(skill).groupby(lambda name: name.split("/")[1]).mean()
            shown = "  ".join(f"{split} {right:.2f}" for split, right in by_split.items())
            say(
                f"stage {place.stage}  {place.tokens / 1e6:6.2f} M tokens  {speed:5.0f} tokens/s  at most "
                f"{left / speed / 60:3.0f} min left  loss {line['loss']:.3f}  {shown}"
            )
            passed = not last and standing(skill, stage) >= stage.gate
            losses, begun, begun_tokens = [], time.monotonic(), place.tokens
            if checkpoint and not passed:
                self.save(checkpoint)
        place.stage, place.stage_steps, place.stage_tokens = place.stage + 1, 0, 0
        if checkpoint:
            self.save(checkpoint)

    def save(self, folder: Path) -> None:
        """Write the whole state, then the manifest that says what it is: a torn checkpoint has none that fits."""
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / "state.pt.part"
        torch.save({"model": self.model.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers]}, state)
        name = f"state-{self.place.step}.pt"
        manifest = {
            "file": name,
            "sha256": sha256_of(state),
            "seed": self.seed,
            "place": self.place.__dict__,
            "history": self.history,
        }
        state.rename(folder / name)
        part = folder / "manifest.json.part"
        part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        part.rename(folder / "manifest.json")
        for old in folder.glob("state-*.pt"):
            if old.name != name:
                old.unlink()

    def resume(self, folder: Path) -> None:
        """Take up a saved state; on a CPU the run goes on bit for bit as if it had never stopped.

        Raises:
            ValueError: if the state is not the one its manifest tells of.
        """
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        file = folder / manifest["file"]
        if not file.is_file() or sha256_of(file) != manifest["sha256"]:
            raise ValueError(f"{file} is not what its manifest says; remove {folder} to begin again")
        place = Place(**manifest["place"])
        self._use(build_model(self.recipe.architecture, len(self.tokenizer), place.layers, self.seed))
        state = torch.load(file, map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.place, self.history, self.seed = place, manifest["history"], manifest["seed"]


def standing(skill: dict[str, float], stage: Stage) -> float:
    """Mean accuracy in the splits that a stage teaches."""
    shares = {str(Split.REVERSAL): stage.reverse, str(Split.STATED): stage.restate, str(Split.REPHRASED): stage.restate}
    return float(np.mean([right for name, right in skill.items() if shares.get(name.split("/")[1], stage.chains)]))
