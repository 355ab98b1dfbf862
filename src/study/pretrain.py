"""Pretrain the bundled base model from scratch, stage by stage, until it learns in context.

To look an entity up backwards, a model must gather a fact's subject at its object, find the object again, and
carry the subject over: two layers that are worth nothing without each other. From random weights that comes
after millions of tokens or not at all. Two things bring it within one million, on one core in minutes: the
shortest sentences first, and attention that starts out looking at neighbours and at equal words (`look_up_start`).
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from study.corpus import inferences_by_fact, small_world, write_text
from study.data import Question, make_documents, questions_of_split
from study.params import Architecture, Pretraining, Stage
from study.prompts import context_prompt
from study.score import score_options
from study.tokenizer import build_tokenizer
from study.words import PRETRAINING, VALIDATION
from study.world import Split

SHORTEST_TEXT = 40  # tokens: no text is begun in less room than this


def build_model(architecture: Architecture, vocabulary: int, seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 with weights drawn from `seed`, its attention as `look_up_start` leaves it."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=architecture.width,
            intermediate_size=3 * architecture.width,
            num_hidden_layers=architecture.layers,
            num_attention_heads=architecture.width // architecture.head_width,
            num_key_value_heads=architecture.width // architecture.head_width,
            head_dim=architecture.head_width,
            max_position_embeddings=architecture.positions,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    look_up_start(model, torch.Generator().manual_seed(seed))
    return model


@torch.no_grad()
def look_up_start(model: Qwen3ForCausalLM, generator: torch.Generator) -> None:
    """Start attention as a retriever would have it; training is free to change every weight.

    In even layers but the last, head h looks h + 1 tokens back: queries and keys read a direction that all
    embeddings share, and the query is turned against the rotary positions. In odd layers queries and keys are one
    orthogonal map, so that a token looks at its own kind. Values and outputs are orthogonal maps everywhere.
    The idea is that of mimetic initialization (Trockman & Kolter 2023, arXiv 2305.09828).
    """
    config = model.config
    width, head_width, heads = config.hidden_size, config.head_dim, config.num_attention_heads
    # Query and key are normalized, so their scale is free: a large one makes the start outlast noisy first steps.
    scale, few = 3.0, min(3, head_width // 2)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def orthogonal() -> torch.Tensor:
        q: torch.Tensor = torch.linalg.qr(normal(width, width))[0]
        return q

    shared = torch.nn.functional.normalize(normal(width), dim=0)
    own = normal(config.vocab_size, width)
    own -= torch.outer(own @ shared, shared)
    model.model.embed_tokens.weight.copy_(0.05 * (own + width**0.5 * shared))
    # The highest rotary frequencies tell neighbouring positions apart best.
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(0, head_width, 2) / head_width)[:few]
    key = torch.zeros(head_width)
    key[:few] = 1.0
    for layer, block in enumerate(model.model.layers[:-1] if len(model.model.layers) > 1 else model.model.layers):
        attention = block.self_attn
        if layer % 2:
            query_map = key_map = orthogonal()
        else:
            query = torch.zeros(heads, head_width)
            angles = torch.outer(torch.arange(1, heads + 1), frequencies)
            query[:, :few] = angles.cos()
            query[:, head_width // 2 : head_width // 2 + few] = -angles.sin()
            query_map = torch.outer(query.flatten(), shared) + normal(width, width) * 0.1 / width**0.5
            key_map = torch.outer(key.repeat(heads), shared) + normal(width, width) * 0.1 / width**0.5
        attention.q_proj.weight.copy_(scale * query_map)
        attention.k_proj.weight.copy_(scale * key_map)
    for block in model.model.layers:
        block.self_attn.v_proj.weight.copy_(orthogonal())
        block.self_attn.o_proj.weight.copy_(0.1 * orthogonal())


def batches(
    tokenizer: PreTrainedTokenizerFast, stage: Stage, batch_tokens: int, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (rows, row_tokens) pairs of ids and labels; labels are -100 on prompts and padding."""
    encode = tokenizer.backend_tokenizer.encode
    rows = max(1, batch_tokens // stage.row_tokens)
    while True:
        ids = np.full((rows, stage.row_tokens), tokenizer.pad_token_id, np.int64)
        labels = np.full((rows, stage.row_tokens), -100, np.int64)
        for row in range(rows):
            at = 0
            while at == 0 or stage.row_tokens - at > SHORTEST_TEXT:
                text = write_text(rng, stage, PRETRAINING, stage.row_tokens - at)
                prompt = encode(text.prompt).ids
                own = [*encode(text.continuation, add_special_tokens=False).ids, tokenizer.eos_token_id]
                whole = (prompt + own)[: stage.row_tokens - at]
                ids[row, at : at + len(whole)] = whole
                labels[row, at + len(prompt) : at + len(whole)] = whole[len(prompt) :]
                at += len(whole)
        # A prompt can fill its row; where no row has anything to learn, another batch is drawn.
        if (labels != -100).any():
            yield torch.from_numpy(ids), torch.from_numpy(labels)


def skill(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    stage: Stage,
    facts: int,
    worlds: int,
    asked: int = 4,
    options: int = 8,
) -> dict[str, float]:
    """In-context accuracy on held-out words, by "world/split", each question asked alone.

    A question asked after others could be answered by elimination; here only a look-up helps. It has `options`
    options, or as many as there are facts if they are fewer.
    """
    right: dict[str, list[bool]] = {}
    for name in dict.fromkeys(stage.worlds):
        for k in range(worlds):
            rng = random.Random(f"skill/{name}/{k}")
            world = small_world(rng, name, VALIDATION._replace(openings=stage.openings), facts, stage.one_relation > 0)
            documents = make_documents(world, rng, min(2, stage.wordings), stage.lead_ins, stage.wordings)
            groups = list(inferences_by_fact(world, documents, stage.wordings).values())
            questions: list[Question] = []
            for split, group in ((Split.REVERSAL, 0), (Split.TRAINED, 1), (Split.TWO_HOPS, 2)):
                pool = sorted({s for statements in groups for s in statements[group]})
                some = rng.sample(pool, min(asked, len(pool)))
                questions += questions_of_split(world, some, split, min(options, facts), f"skill/{k}")
            if not questions:
                continue
            context = context_prompt([document.text for document in documents])
            with torch.autocast(model.device.type, torch.bfloat16):
                scores = score_options(model, tokenizer, context, [(q.query, q.options) for q in questions])
            for question, score in zip(questions, scores, strict=True):
                best = int(np.argmax(score.log_probs))
                right.setdefault(f"{name}/{question.split}", []).append(best in question.answers)
    return {name: float(np.mean(answers)) for name, answers in right.items()}


def optimizers(model: Qwen3ForCausalLM, params: Pretraining) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the embedding and the norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=params.muon_learning_rate, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=params.adamw_learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


class Run:
    """A model, its optimizers and counters on their way through the stages."""

    def __init__(self, params: Pretraining, device: str) -> None:
        self.params, self.device = params, device
        self.tokenizer = build_tokenizer()
        self.model = build_model(params.architecture, len(self.tokenizer), params.seed).to(device)
        self.optimizers = optimizers(self.model, params)
        self.rates = [group["lr"] for o in self.optimizers for group in o.param_groups]
        self.stage = self.step = self.tokens = 0
        self.history: list[dict[str, Any]] = []

    def train_step(self, ids: torch.Tensor, labels: torch.Tensor, scale: float) -> float:
        """One update on one batch; returns the loss in nats per labelled token."""
        self.model.train()
        learn = labels[:, 1:] != -100
        with torch.autocast(self.device, torch.bfloat16):
            hidden = self.model.model(ids.to(self.device)).last_hidden_state[:, :-1]
            logits = self.model.lm_head(hidden[learn.to(self.device)])
        loss = F.cross_entropy(logits.float(), labels[:, 1:][learn].to(self.device))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        groups = [group for o in self.optimizers for group in o.param_groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * scale
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += ids.numel()
        return loss.item()

    def train_stage(self, say: Callable[[str], None], checkpoint: Path | None = None) -> bool:
        """Train through the current stage; whether its gate was passed."""
        stage, last = self.params.stages[self.stage], self.stage == len(self.params.stages) - 1
        # Eager attention is faster on short rows, fused attention on long ones.
        self.model.set_attn_implementation("eager" if stage.row_tokens <= 128 and self.device == "cpu" else "sdpa")
        source = batches(
            self.tokenizer, stage, self.params.batch_tokens, random.Random(f"{self.params.seed}/{self.tokens}")
        )
        started, losses, passed = self.tokens, [], False
        checked, cooling = self.tokens, stage.most_tokens - self.params.cooldown_tokens if last else None
        while self.tokens - started < stage.most_tokens:
            scale = min(1.0, (self.step + 1) / self.params.warmup_steps)
            if cooling is not None and self.tokens - started > cooling:
                left = (started + stage.most_tokens - self.tokens) / self.params.cooldown_tokens
                scale = max(0.02, left)
            losses.append(self.train_step(*next(source), scale))
            if self.tokens - checked >= self.params.check_tokens:
                checked = self.tokens
                now = skill(self.model, self.tokenizer, stage, stage.facts, worlds=12 if stage.facts > 20 else 24)
                taught = (Split.REVERSAL,) * (stage.reverse > 0) + (Split.TRAINED,) * (stage.restate > 0)
                standing = float(np.mean([right for name, right in now.items() if name.endswith(taught)]))
                line = {"stage": self.stage, "tokens": self.tokens, "loss": float(np.mean(losses))}
                self.history.append({**line, **now})
                shown = "  ".join(f"{name} {right:.2f}" for name, right in now.items())
                place = f"stage {self.stage}  {self.tokens / 1e6:6.2f} M tokens"
                say(f"{place}  loss {line['loss']:.3f}  {shown}")
                losses = []
                if checkpoint:
                    self.save(checkpoint)
                if standing >= stage.gate and not last:
                    passed = True
                    break
        self.stage += 1
        if checkpoint:
            self.save(checkpoint)
        return passed

    def save(self, checkpoint: Path) -> None:
        """Write the whole state beside its place and rename it, so that a torn checkpoint cannot be met."""
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        part = checkpoint.with_suffix(".part")
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "counters": {
                "stage": self.stage,
                "step": self.step,
                "tokens": self.tokens,
                "history": self.history,
            },
        }
        torch.save(state, part)
        part.rename(checkpoint)

    def resume(self, checkpoint: Path) -> None:
        """Take up a saved state; the texts of an unfinished stage are drawn afresh."""
        state = torch.load(checkpoint, map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.__dict__.update(state["counters"])
