"""Scoring the options of questions: against lm-eval's backend for transformers, and a copied prompt cache."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from study.bench.table import Line, Same, Say, compare
from study.lm.attention import PrefixCache, common_prefix
from study.lm.hub import model_folder
from study.lm.loading import load_tokenizer
from study.lm.prompts import OF_BUNDLED
from study.lm.scoring import OptionScores, score_options
from study.params import Model, Params
from study.runs.run import likeliest, prepare

Questions = list[tuple[str, tuple[str, ...]]]
QUESTIONS = 256  # about as many as a trial of the study has
BATCH = 4  # of lm-eval
# Context tokens, target, and how many questions lm-eval is asked: it takes the same time for each.
LENGTHS = ((256, 25, 16), (1024, 60, 8), (4096, 170, 2), (16384, 300, 1))
ROOM = 512  # tokens of a question, at most


def long_model(positions: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The bundled model, with room for longer contexts than it was trained on; and its tokenizer."""
    folder = model_folder(Model())
    config = AutoConfig.from_pretrained(folder, max_position_embeddings=positions)
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation="sdpa")
    return model.eval(), load_tokenizer(Model())


def passage(tokenizer: PreTrainedTokenizerBase, tokens: int) -> str:
    """Documents of the study's worlds, one after another, that take so many tokens or a few less."""
    params, count, seed = Params(), 2, 0
    sentences: list[str] = []
    while count < tokens:
        for document in prepare(params, "reversals", seed).documents:
            length = len(tokenizer(document.text, add_special_tokens=False).input_ids)
            if count + length > tokens:
                return OF_BUNDLED.in_context(sentences)
            sentences.append(document.text)
            count += length
        seed += 1
    return OF_BUNDLED.in_context(sentences)


def questions_of_four(count: int) -> Questions:
    """Questions of the study with four options of several tokens."""
    found: Questions = []
    for seed in range(count):
        params = Params.parse({"questions": {"options": 4}}, "bench")
        found += [(q.query, q.options) for q in prepare(params, "reversals", seed).questions if len(q.options) == 4]
        if len(found) >= count:
            break
    return found[:count]


def peer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> HFLM:
    """lm-eval's backend around the same model."""
    return HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=BATCH,
        max_length=model.config.max_position_embeddings,
        add_bos_token=True,
        device=model.device.type,
    )


def by_peer(lm: HFLM, context: str, questions: Questions) -> list[list[float]]:
    """Log-probability of each option, by lm-eval."""
    lead = f"{context} " if context else ""
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=(lead + query, option), idx=k)
        for k, (query, option) in enumerate((query, option) for query, options in questions for option in options)
    ]
    answers = iter(lm.loglikelihood(requests, disable_tqdm=True))
    return [[next(answers)[0] for _ in options] for _, options in questions]


def by_copies(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cache: DynamicCache, context: str, questions: Questions
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


def hold_together(ours: list[OptionScores], theirs: list[list[float]], same: Same) -> None:
    """Compare the scores of the questions that both have, and their choice."""
    for score, values in zip(ours, theirs, strict=False):
        for one, other in zip(score.log_probs, values, strict=True):
            same.add(abs(one - other))
        if likeliest(score.log_probs) != likeliest(values):
            same.add(float("inf"))


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """Rows of scoring speed."""
    model, tokenizer = long_model(LENGTHS[-1][0] + ROOM)
    lm, questions, found = peer(model, tokenizer), questions_of_four(QUESTIONS), []
    for tokens, target, asked in LENGTHS[:2] if quick else LENGTHS:
        context = passage(tokenizer, tokens)
        found.append(
            compare(
                f"4 options of several tokens behind {tokens:,}",
                "lm-eval, hf backend",
                target,
                partial(score_options, model, tokenizer, context, questions),
                partial(by_peer, lm, context, questions[:asked]),
                Same("log-probabilities", 1e-4),
                hold_together,
                rounds,
                (len(questions), asked),
                "s a question",
                f"{len(questions)} questions; lm-eval, which takes the same for each, is asked {asked}",
                say,
            )
        )
    context = passage(tokenizer, 1024)
    single = [(query, tuple(option.rstrip(".") for option in options)) for query, options in questions]
    found.append(
        compare(
            "4 options of one token behind 1,024",
            "lm-eval, hf backend with its logits cache",
            20,
            lambda: score_options(model, tokenizer, context, single),
            lambda: by_peer(lm, context, single[:32]),
            Same("log-probabilities", 1e-4),
            hold_together,
            rounds,
            (len(single), 32),
            "s a question",
            f"{len(single)} questions; lm-eval is asked 32",
            say,
        )
    )
    for tokens, target in ((1024, 4), (4096, 6))[: 1 if quick else 2]:
        found.append(_marginal(model, tokenizer, tokens, target, questions, rounds, say))
    return found


def _marginal(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: int,
    target: float,
    questions: Questions,
    rounds: int,
    say: Say,
) -> Line:
    context, prefix_cache, cache = passage(tokenizer, tokens), PrefixCache(model), DynamicCache(config=model.config)
    score_options(model, tokenizer, context, questions[:1], prefix_cache=prefix_cache)
    with torch.inference_mode():
        model(input_ids=torch.tensor([tokenizer(context).input_ids]), past_key_values=cache)
    return compare(
        f"one more question behind {tokens:,}",
        "prompt cache copied, as transformers' documentation has it",
        target,
        lambda: score_options(model, tokenizer, context, questions, prefix_cache=prefix_cache),
        lambda: by_copies(model, tokenizer, cache, context, questions[:32]),
        Same("log-probabilities", 1e-4),
        hold_together,
        rounds,
        (len(questions), 32),
        "s a question",
        "the context has been read before by both",
        say,
    )


SHAPE = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
SHAPE |= {"num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 4096, "tie_word_embeddings": True}


def memory_line(say: Say) -> Line:
    """Peak memory above the model, each way in a process of its own, at the shape of a model of 135 M weights."""
    taken = {}
    for way in ("ours", "theirs"):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "study.bench.scoring", way],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ,
        )
        taken[way] = json.loads(done.stdout.splitlines()[-1])
        say(f"  memory above the model, {way}: {taken[way]['bytes'] / 1e6:.0f} MB")
    same = Same("log-probabilities", 1e-3)
    for one, other in zip(taken["ours"]["scores"], taken["theirs"]["scores"], strict=True):
        same.add(abs(one - other))
    ours, theirs = (taken[way]["bytes"] / 1e6 for way in ("ours", "theirs"))
    return Line(
        work="peak memory above the model, context of 2,048, vocabulary of 49,152",
        against=f"lm-eval, batch {BATCH}",
        unit="MB",
        ours=ours,
        theirs=theirs,
        ratio=ours / theirs,
        cpu_ratio=float("nan"),
        target=0.05,
        at_most=True,
        same=str(same),
        right=same.right,
        note="random weights in the shape of a Llama of 135 M; resident memory, each way in a process of its own",
    )


def _peak(way: str) -> dict[str, Any]:
    """Bytes that one way takes above what there is before it, and its scores; on Linux."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model, tokenizer = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval(), load_tokenizer(Model())
    context, questions = passage(tokenizer, 2048), questions_of_four(4)
    lm = peer(model, tokenizer) if way == "theirs" else None
    score_options(model, tokenizer, "", questions[:1])  # what any first call takes is neither's
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    if lm:
        scores: Sequence[Sequence[float]] = by_peer(lm, context, questions)
    else:
        scores = [score.log_probs for score in score_options(model, tokenizer, context, questions)]
    return {"bytes": _status("VmHWM") - before, "scores": [value for values in scores for value in values]}


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


if __name__ == "__main__":
    print(json.dumps(_peak(sys.argv[1])))
