"""How scoring scales, beside the time that its matrix products alone would take."""

import time
from functools import partial

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from bench.baselines import Questions
from bench.scoring import ROOM, context_of, long_model, questions_of_four
from bench.table import Say, median, timed
from study.lm.flops import size_of
from study.lm.prefix_scoring import Trie
from study.lm.scoring import CHUNK_TOKENS, chunks, score_options, tokens_of

LENGTHS = (64, 256, 1024, 4096, 16384)
COUNTS = (1, 8, 64, 512)
OPTIONS = (1, 2, 4, 8, 16)
SHAPES = ((4, 128), (6, 256), (8, 512), (12, 768))  # layers, width


def product_speed(dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second in a large matrix product, with the threads there are."""
    a, b = torch.randn(1024, 1024, dtype=dtype), torch.randn(1024, 1024, dtype=dtype)
    a @ b
    begun = time.perf_counter()
    for _ in range(20):
        a @ b
    return 20 * 2 * 1024**3 / (time.perf_counter() - begun)


def core_speed() -> float:
    """The same with one thread, in float32."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    speed = product_speed()
    torch.set_num_threads(threads)
    return speed


def operations(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: str, questions: Questions) -> float:
    """Operations that scoring cannot do without: each shared token once, each pair of tokens that see each other."""
    size, (prefix, asked) = size_of(model), tokens_of(tokenizer, context, questions)
    nodes = predicting = pairs = 0
    for chunk in chunks(asked, sorted(range(len(asked)), key=lambda k: asked[k].options), CHUNK_TOKENS, 10**9):
        trie = Trie()
        for number in chunk:
            for ids in asked[number].options:
                trie.add(ids, asked[number].start)
        nodes += len(trie.ids)
        predicting += len({trie.parents[node] for node in trie.scored})
        pairs += sum(depth + 1 for depth in trie.depths)
    pairs += nodes * len(prefix) + len(prefix) * (len(prefix) + 1) // 2
    return 2 * size.body * (len(prefix) + nodes) + 2 * size.head * predicting + 4 * size.attention * pairs


def shaped(tokenizer: PreTrainedTokenizerBase, layers: int, width: int) -> PreTrainedModel:
    """A random model of the bundled architecture."""
    torch.manual_seed(0)
    heads = width // 32
    shape = {"hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": layers, "head_dim": 32}
    shape |= {"num_attention_heads": heads, "num_key_value_heads": heads, "max_position_embeddings": 4096}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **shape)).eval()


def curves(rounds: int, say: Say) -> pd.DataFrame:
    """One line for each point of each curve: seconds measured, and the floor."""
    model, tokenizer = long_model(LENGTHS[-1] + ROOM)
    questions, speed = questions_of_four(max(COUNTS)), product_speed()
    contexts = {tokens: context_of(tokenizer, tokens) for tokens in LENGTHS}
    words = list(dict.fromkeys(option for _, options in questions for option in options))
    points: list[tuple[str, float, PreTrainedModel, str, Questions]] = [
        *(("context tokens", tokens, model, contexts[tokens], questions[:256]) for tokens in LENGTHS),
        *(("questions", count, model, contexts[1024], questions[:count]) for count in COUNTS),
        *(
            ("options", n, model, contexts[1024], [(query, tuple(words[:n])) for query, _ in questions[:64]])
            for n in OPTIONS
        ),
    ]
    for layers, width in SHAPES:
        other = shaped(tokenizer, layers, width)
        points.append(("weights", other.num_parameters(), other, contexts[1024], questions[:64]))
    lines = []
    for curve, at, other, context, asked in points:
        work = partial(score_options, other, tokenizer, context, asked)
        seconds = median([timed(work)[1] for _ in range(rounds)]).wall
        floor = operations(other, tokenizer, context, asked) / speed
        lines.append({"curve": curve, "at": at, "seconds": seconds, "floor": floor})
        say(f"  {curve} {at:,}: {seconds:.3f} s, floor {floor:.3f} s")
    return pd.DataFrame(lines)
