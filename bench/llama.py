"""llama.cpp through its Python bindings; `pip install llama-cpp-python` compiles them, `make bench` does not.

As its own multiple-choice evaluation has it, a context is decoded once and shared by sequences, and tokens that several
options begin with belong to several sequences. Generation decodes many sequences in parallel.
"""

import ctypes
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import llama_cpp as lib
import numpy as np
import torch

from bench.baselines import shared_prefix
from study.lm.attention import common_prefix
from study.lm.scoring import TokenizedQuestion

BATCH = 512  # tokens of a call
KINDS = {"float32": lib.LLAMA_FTYPE_ALL_F32, "bfloat16": lib.LLAMA_FTYPE_MOSTLY_BF16}
QUIET = lib.llama_log_callback(lambda *_: None)
lib.llama_log_set(QUIET, ctypes.c_void_p(0))
Token = tuple[int, int, Sequence[int], bool]  # itself, its position, its sequences, whether logits are wanted


def unquantized(file: Path, kind: str, copy: Path) -> Path:
    """A GGUF file's weights in float32 or bfloat16."""
    if not copy.is_file():
        given = lib.llama_model_quantize_default_params()
        given.ftype, given.allow_requantize, given.nthread = KINDS[kind], True, torch.get_num_threads()
        if lib.llama_model_quantize(str(file).encode(), str(copy).encode(), given):
            raise RuntimeError(f"{file}: llama.cpp cannot convert it")
    return copy


class Llama:
    """A model with room for so many tokens in so many sequences, on the threads that torch has."""

    def __init__(self, file: Path, tokens: int, sequences: int):
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(str(file).encode(), lib.llama_model_default_params())
        given = lib.llama_context_default_params()
        given.n_ctx, given.n_seq_max, given.kv_unified = tokens, sequences, True
        given.n_batch = given.n_ubatch = BATCH
        given.n_threads = given.n_threads_batch = torch.get_num_threads()
        self.context = lib.llama_init_from_model(self.model, given)
        if not self.context:
            raise RuntimeError(f"{file}: llama.cpp cannot load it")
        self.memory = lib.llama_get_memory(self.context)
        self.vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.batch, self.sequences = lib.llama_batch_init(BATCH, 0, sequences), sequences

    def __del__(self) -> None:
        lib.llama_batch_free(self.batch)
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)

    def decode(self, tokens: Sequence[Token]) -> np.ndarray:
        """Logits of the tokens that want them, (wanted, vocabulary), until the next call."""
        batch = self.batch
        for k, (token, position, sequences, asked) in enumerate(tokens):
            batch.token[k], batch.pos[k], batch.logits[k] = token, position, asked
            batch.n_seq_id[k] = len(sequences)
            for n, sequence in enumerate(sequences):
                batch.seq_id[k][n] = sequence
        batch.n_tokens = len(tokens)
        if lib.llama_decode(self.context, batch):
            raise RuntimeError("llama.cpp finds no room")
        wanted = sum(token[3] for token in tokens)
        return np.ctypeslib.as_array(lib.llama_get_logits(self.context), shape=(max(1, wanted), self.vocabulary))

    def prefill(self, ids: Sequence[int]) -> None:
        """Forget all, and decode a prefix that sequences may share, as sequence 0."""
        lib.llama_memory_clear(self.memory, False)
        for at in range(0, len(ids), BATCH):
            self.decode([(token, at + k, (0,), False) for k, token in enumerate(ids[at : at + BATCH])])

    def begin(self, sequences: Sequence[int]) -> None:
        """Let sequences hold the prefix alone."""
        for sequence in sequences:
            lib.llama_memory_seq_rm(self.memory, sequence, -1, -1)
            lib.llama_memory_seq_cp(self.memory, 0, sequence, -1, -1)

    def score(self, prefix: Sequence[int], asked: Sequence[TokenizedQuestion]) -> list[list[float]]:
        """Log-probability of each option of each question after a prefix."""
        self.prefill(prefix)
        found, left = list[list[float]](), [*asked]
        while left:
            tokens, options, counts, first = list[Token](), list[list[tuple[int, int]]](), list[int](), 1
            while left:
                question, shared = left[0], common_prefix(left[0].options)
                last = first + len(question.options)
                taken = shared + sum(len(ids) - shared for ids in question.options)
                if tokens and (last > self.sequences or len(tokens) + taken > BATCH):
                    break
                begun = len(tokens)
                tokens += _tokens(question.options[0][:shared], len(prefix), range(first, last))
                for sequence, ids in enumerate(question.options, first):
                    places = [*range(begun, begun + shared), *range(len(tokens), len(tokens) + len(ids) - shared)]
                    tokens += _tokens(ids[shared:], len(prefix) + shared, (sequence,))
                    options.append([(places[k - 1], ids[k]) for k in range(question.start, len(ids))])
                counts.append(len(left.pop(0).options))
                first = last
            self.begin(range(1, first))
            wanted = sorted({place for option in options for place, _ in option})
            for place in wanted:
                tokens[place] = (*tokens[place][:3], True)
            logits = torch.from_numpy(self.decode(tokens)).log_softmax(-1)
            row = {place: number for number, place in enumerate(wanted)}
            scores = (sum(float(logits[row[place], token]) for place, token in option) for option in options)
            found += [[*islice(scores, count)] for count in counts]
        return found

    def generate(self, prompts: Sequence[list[int]], most: int, ends: frozenset[int]) -> list[list[int]]:
        """Greedy continuations: prompts in parallel, as many sequences at a time as there is room for."""
        shared = shared_prefix(prompts)
        self.prefill(prompts[0][:shared])
        texts: list[list[int]] = [[] for _ in prompts]
        for at in range(0, len(prompts), self.sequences - 1):
            rows = range(at, min(at + self.sequences - 1, len(prompts)))
            self.begin(range(1, len(rows) + 1))
            last = self._read(prompts, rows, shared)
            for step in range(most):
                for row in [*last]:
                    texts[row].append(last[row])
                    if last[row] in ends or step == most - 1:
                        del last[row]
                if not last:
                    break
                tokens = [(token, len(prompts[row]) + step, (row - at + 1,), True) for row, token in last.items()]
                last = dict(zip(last, self.decode(tokens).argmax(-1).tolist(), strict=True))
        return texts

    def _read(self, prompts: Sequence[list[int]], rows: range, shared: int) -> dict[int, int]:
        """The first token after each prompt; prompts are packed into calls."""
        first, tokens, ending = dict[int, int](), list[Token](), list[int]()
        for row in rows:
            own = _tokens(prompts[row][shared:], shared, (row - rows.start + 1,))
            if len(tokens) + len(own) > BATCH:
                first |= dict(zip(ending, self.decode(tokens).argmax(-1).tolist(), strict=True))
                tokens, ending = [], []
            tokens += [*own[:-1], (*own[-1][:3], True)]
            ending.append(row)
        return first | dict(zip(ending, self.decode(tokens).argmax(-1).tolist(), strict=True))


def _tokens(ids: Sequence[int], begin: int, sequences: Sequence[int]) -> list[Token]:
    return [(token, begin + k, sequences, False) for k, token in enumerate(ids)]
