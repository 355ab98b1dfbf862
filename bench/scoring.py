"""Scoring the options of questions, compared with lm-eval's backend for transformers and a copied prompt cache."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from bench.baselines import SCORED, Questions, by_copies, by_lm_eval, lm_eval
from bench.table import Line, Same, Say, compare, largest
from study.lm.attention import PrefixCache
from study.lm.hub import model_folder
from study.lm.loading import load_tokenizer
from study.lm.prompts import OF_BUNDLED
from study.lm.scoring import OptionScores, score_options
from study.params import Model, Params
from study.paths import ROOT
from study.runs.run import likeliest, prepare

QUESTIONS = 256  # about as many as a trial of the study has
# Context tokens, target, and how many questions lm-eval scores: it takes the same time for each.
LENGTHS = ((256, 25, 16), (1024, 60, 8), (4096, 170, 2), (16384, 300, 1))
ROOM = 512  # tokens of a question, at most


def long_model(positions: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The bundled model, with room for longer contexts than it was trained on; and its tokenizer."""
    folder = model_folder(Model())
    config = AutoConfig.from_pretrained(folder, max_position_embeddings=positions)
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation="sdpa")
    return model.eval(), load_tokenizer(Model())


def context_of(tokenizer: PreTrainedTokenizerBase, tokens: int) -> str:
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


def difference(ours: list[OptionScores], theirs: list[list[float]], *, rounded: bool = False) -> float:
    """The largest difference of the scores that both have; infinite if a choice differs, unless ties may be rounded."""
    found = [0.0]
    for score, values in zip(ours, theirs, strict=False):
        found += [abs(one - other) for one, other in zip(score.log_probs, values, strict=True)]
        found += [float("inf")] * (not rounded and likeliest(score.log_probs) != likeliest(values))
    return largest(found)


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """Rows of scoring speed."""
    model, tokenizer = long_model(LENGTHS[-1][0] + ROOM)
    lm, questions = lm_eval(model, tokenizer), questions_of_four(QUESTIONS)
    single = [(query, tuple(option.rstrip(".") for option in options)) for query, options in questions]
    contexts = {tokens: context_of(tokenizer, tokens) for tokens, *_ in LENGTHS}

    def line(
        work: str,
        against: str,
        target: float,
        ours: Callable[[], object],
        theirs: Callable[[], object],
        few: int,
        note: str,
    ) -> Line:
        same, counts = Same("log-probabilities", 1e-4), (len(questions), few)
        return compare(work, against, target, ours, theirs, same, difference, rounds, counts, "s a question", note, say)

    found = [
        line(
            f"4 options of several tokens behind {tokens:,}",
            "lm-eval, hf backend",
            target,
            partial(score_options, model, tokenizer, contexts[tokens], questions),
            partial(by_lm_eval, lm, contexts[tokens], questions[:few]),
            few,
            f"{len(questions)} questions; lm-eval, which takes the same for each, is asked {few}",
        )
        for tokens, target, few in (LENGTHS[:2] if quick else LENGTHS)
    ]
    found.append(
        line(
            "4 options of one token behind 1,024",
            "lm-eval, hf backend with its logits cache",
            20,
            partial(score_options, model, tokenizer, contexts[1024], single),
            partial(by_lm_eval, lm, contexts[1024], single[:32]),
            32,
            f"{len(single)} questions; lm-eval is asked 32",
        )
    )
    for tokens, target in ((1024, 4), (4096, 6))[: 1 if quick else 2]:
        prefix_cache, cache = PrefixCache(model), DynamicCache(config=model.config)
        score_options(model, tokenizer, contexts[tokens], questions[:1], prefix_cache=prefix_cache)
        with torch.inference_mode():
            model(input_ids=torch.tensor([tokenizer(contexts[tokens]).input_ids]), past_key_values=cache)
        found.append(
            line(
                f"one more question behind {tokens:,}",
                "prompt cache copied, as transformers' documentation has it",
                target,
                partial(score_options, model, tokenizer, contexts[tokens], questions, prefix_cache=prefix_cache),
                partial(by_copies, model, tokenizer, cache, contexts[tokens], questions[:32]),
                32,
                "the context has been read before by both",
            )
        )
    return found


SHAPE = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
SHAPE |= {"num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 4096, "tie_word_embeddings": True}


def memory(rounds: int, quick: bool, say: Say) -> list[Line]:
    """Peak memory above the model, each way in a process of its own, at the shape of a model of 135 M weights."""
    ours, theirs = both_ways("bench.scoring", say)
    pairs = zip(ours["scores"], theirs["scores"], strict=True)
    same = Same("log-probabilities", 1e-3, largest([abs(one - other) for one, other in pairs]))
    return [
        Line(
            "peak memory above the model, context of 2,048, vocabulary of 49,152",
            f"lm-eval, batch {SCORED}",
            ours["bytes"] / 1e6,
            theirs["bytes"] / 1e6,
            0.05,
            str(same),
            same.right,
            "MB",
            at_most=True,
            note="random weights in the shape of a Llama of 135 M; resident memory, each way in a process of its own",
        )
    ]


def both_ways(module: str, say: Say) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a module of the benchmark prints when it is run our way, and the baseline's way: bytes, and results."""
    taken = []
    for way in ("ours", "theirs"):
        command = [sys.executable, "-m", module, way]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
        taken.append(json.loads(done.stdout.splitlines()[-1]))
        say(f"  peak memory, {way}: {taken[-1]['bytes'] / 1e6:.0f} MB")
    return taken[0], taken[1]


def _peak(way: str) -> dict[str, Any]:
    """Bytes that one way takes beside those taken before it, and its scores; on Linux."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model, tokenizer = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval(), load_tokenizer(Model())
    context, questions = context_of(tokenizer, 2048), questions_of_four(4)
    lm = lm_eval(model, tokenizer) if way == "theirs" else None
    score_options(model, tokenizer, "", questions[:1])  # a first call takes memory that is neither's
    before = memory_from_now()
    if lm:
        scores: Sequence[Sequence[float]] = by_lm_eval(lm, context, questions)
    else:
        scores = [score.log_probs for score in score_options(model, tokenizer, context, questions)]
    return {"bytes": peak_memory() - before, "scores": [value for values in scores for value in values]}


def memory_from_now() -> int:
    """Resident bytes of this process, whose peak is counted anew; on Linux."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_memory() -> int:
    """The most resident bytes of this process since it was counted anew."""
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


if __name__ == "__main__":
    print(json.dumps(_peak(sys.argv[1])))
