"""Real models: scoring, generation and LoRA, compared with what is fastest elsewhere.

The models are Qwen2.5-Coder of 0.5 and 1.5 B where `make fetch` has brought them, else random weights in the shape of
the smaller, in the type whose products this processor computes fastest. Rows on llama.cpp need its bindings; these and
OpenVINO's need the model's GGUF file in the hub's cache or in the folder that WEIGHTS names.
"""

import copy
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config

from bench.baselines import GENERATED, Questions, by_generate, by_lm_eval, lm_eval, shared_prefix
from bench.engines import CTranslate2, OpenVino
from bench.scaling import operations, product_speed
from bench.scoring import both_ways, difference, memory_from_now, peak_memory
from bench.table import Line, Same, Say, compare
from bench.tuning import BATCH, STEP_TOKENS, batches_of, by_peft, by_study
from study.config import ParamsError
from study.lm.flops import size_of, training_flops
from study.lm.generation import generate
from study.lm.loading import load, load_tokenizer
from study.lm.scoring import OptionScores, score_options, tokens_of
from study.params import Model, Params, load_params
from study.paths import PARAMS
from study.runs.run import likeliest, prepare, prompts_of

SMALL, LARGE = (PARAMS / f"{name}.yaml" for name in ("qwen_small", "qwen"))
SHAPE = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14}
SHAPE |= {"num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768, "tie_word_embeddings": True}
COUNT, NEW = 64, 32  # questions or prompts, tokens of a text: about as many as a run of the study has
Length = tuple[int, int, int]  # context tokens, target, and how many questions lm-eval scores
LENGTHS: tuple[Length, ...] = ((256, 3, 4), (1024, 3, 2), (4096, 6, 1))
FEW = 12  # of each, in a quick run, and given to the larger model
SEQUENCES = 65  # of llama.cpp at a time, the shared prefix among them
STEPS = 6
OTHERS = 0.2  # share of answers or texts that rounding may change: in bfloat16 5 or 6 of 64 texts differ from float32's
# Of an option's log-probability, in nats: in bfloat16 this way and transformers' own lie .6 and .8 from float32.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.8}
LOSS = {torch.float32: 1e-3, torch.bfloat16: 0.05}  # of the last loss, in nats


class Real:
    """A model, what it is given, and how fast this processor multiplies in its type.

    Raises:
        ParamsError: if the model was not fetched, and it has no shape to be drawn at random in.
    """

    def __init__(self, settings: Path, size: str, shape: dict[str, Any] | None = None) -> None:
        self.params, self.size = load_params(settings), size  # whose texts it is given
        speeds = {dtype: product_speed(dtype) for dtype in TOLERANCE}
        self.dtype = max(speeds, key=lambda dtype: speeds[dtype])
        self.speed, self.kind = speeds[self.dtype], str(self.dtype).removeprefix("torch.")
        named = self.params.model.model_copy(update={"dtype": self.kind, "device": "cpu"})
        try:
            self.model, self.tokenizer = load(named)
            self.name = f"Qwen2.5-Coder {size}"
        except ParamsError:
            if shape is None:
                raise
            torch.manual_seed(0)
            self.model = AutoModelForCausalLM.from_config(Qwen2Config(**shape), dtype=self.dtype).eval()
            self.params, self.tokenizer = Params(), load_tokenizer(Model())
            self.name = f"random weights in the shape of Qwen2.5 {size}"
        self.note = f"{self.name}, {self.kind}, {torch.get_num_threads()} threads"

    def context(self, tokens: int) -> str:
        """Documents that take about so many tokens."""
        sentences, count, seed = list[str](), 0, 0
        while count < tokens:
            documents = [document.text for document in prepare(self.params, "reversals", seed).documents]
            sentences += documents
            count += sum(map(len, self.tokenizer(documents).input_ids))
            seed += 1
        ids = self.tokenizer(" ".join(sentences), add_special_tokens=False).input_ids[:tokens]
        return str(self.tokenizer.decode(ids))

    def questions(self, count: int) -> Questions:
        """Questions with four options each."""
        found: Questions = []
        for seed in range(count):
            found += [(q.query, q.options[:4]) for q in prepare(self.params, "reversals", seed).questions]
            if len(found) >= count:
                break
        return found[:count]

    def prompts(self, count: int) -> list[str]:
        """Requests for what follows from one sentence."""
        wording, sentences, seed = prompts_of(self.params), list[str](), 0
        while len(sentences) < count:
            documents = prepare(self.params, "reversals", seed).documents
            sentences += [sentence for document in documents for sentence in document.stating]
            seed += 1
        return [wording.from_one(sentence) for sentence in sentences[:count]]


def gguf_file(model: Model) -> Path | None:
    """The model's GGUF file, if it has one that is here whole."""
    if model.file is None:
        return None
    folder = os.environ.get("WEIGHTS")
    cached = try_to_load_from_cache(model.name, model.file)
    places = [Path(folder) / model.file] if folder else []
    places += [Path(cached)] if isinstance(cached, str) else []
    return next((place for place in places if place.is_file()), None)


def by_rewinding(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: str, questions: Questions
) -> list[list[float]]:
    """Log-probability of each option by transformers' own cache: the prefix once, cropped back after each option."""
    prefix, asked = tokens_of(tokenizer, context, questions)
    cache, found = DynamicCache(config=model.config), []
    with torch.inference_mode():
        model(input_ids=torch.tensor([prefix]), past_key_values=cache, logits_to_keep=1)
        for question in asked:
            scores = []
            for ids in question.options:
                keep = len(ids) - question.start + 1
                out = model(input_ids=torch.tensor([ids]), past_key_values=cache, logits_to_keep=keep)
                logits = out.logits[0, :-1].float().log_softmax(-1)
                scores.append(sum(float(row[token]) for row, token in zip(logits, ids[question.start :], strict=True)))
                cache.crop(-len(ids))
            found.append(scores)
    return found


Scorer = Callable[[str, Questions], list[list[float]]]


def other_choices(ours: list[OptionScores], theirs: list[list[float]]) -> float:
    """The share of questions of which the likeliest option is another one."""
    return sum(likeliest(a.log_probs) != likeliest(b) for a, b in zip(ours, theirs, strict=True)) / len(ours)


def scorers(real: Real, folder: Path) -> Iterator[tuple[str, Scorer, bool]]:
    """Baselines of scoring: name, work, and whether it scores every question."""
    yield "lm-eval, hf backend", partial(by_lm_eval, lm_eval(real.model, real.tokenizer, 1)), False
    yield "transformers' cache, cropped", partial(by_rewinding, real.model, real.tokenizer), True
    for name, llama in llamas(real, folder):

        def scored(context: str, questions: Questions, llama: Any = llama) -> list[list[float]]:
            return list(llama.score(*tokens_of(real.tokenizer, context, questions)))

        yield name, scored, True


def llamas(real: Real, folder: Path) -> Iterator[tuple[str, Any]]:
    """llama.cpp on the file as it is, and on its weights in the model's type."""
    try:
        from bench.llama import Llama, unquantized
    except ModuleNotFoundError:
        return
    file = gguf_file(real.params.model)
    if file is None:
        return
    room = LENGTHS[-1][0] + 4096
    yield f"llama.cpp, {real.kind}", Llama(unquantized(file, real.kind, folder / f"{real.kind}.gguf"), room, SEQUENCES)
    yield "llama.cpp, Q4_K_M", Llama(file, room, SEQUENCES)


def engines(real: Real, folder: Path, say: Say) -> Iterator[tuple[str, Callable[[list[str]], list[str]]]]:
    """Baselines of generation that can read the model: name, work."""
    encode, ends = real.tokenizer, frozenset({int(real.tokenizer.eos_token_id)})

    def by_llama(llama: Any, prompts: list[str]) -> list[str]:
        texts = llama.generate(encode(prompts).input_ids, NEW, ends)
        return list(encode.batch_decode(texts, skip_special_tokens=True))

    yield f"generate, batch {GENERATED}", lambda prompts: by_generate(real.model, real.tokenizer, prompts, NEW)
    engine = CTranslate2(real.model, real.tokenizer, folder)
    yield engine.name, partial(engine.generate, most=NEW)
    if file := gguf_file(real.params.model):
        try:
            openvino = OpenVino(file)
        except RuntimeError as error:  # the smaller model's holds numbers of a kind that it does not know
            say(f"  without OpenVINO GenAI, {file.name}: {str(error).strip().splitlines()[-1]}")
        else:
            yield "OpenVINO GenAI, Q4_K_M", partial(openvino.generate, most=NEW)
    for name, llama in llamas(real, folder):
        yield name, partial(by_llama, llama)


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """Rows of the smaller model, and of the larger one if it was fetched."""
    small = Real(SMALL, "0.5 B", SHAPE)
    if quick:
        return rows(small, LENGTHS[:1], FEW, 2, rounds, say)
    found = rows(small, LENGTHS, COUNT, STEPS, rounds, say)
    try:
        large = Real(LARGE, "1.5 B")
    except ParamsError as error:
        say(f"  without 1.5 B: {error}")
        return found
    found += rows(large, LENGTHS[1:], FEW, STEPS, rounds, say)
    del large  # each way of the next row loads its own
    return [*found, memory(say)]


def rows(real: Real, lengths: Sequence[Length], count: int, steps: int, rounds: int, say: Say) -> list[Line]:
    """Rows of one model, with so many questions, as many prompts, and steps of LoRA."""
    say(f"  {real.note}, {real.speed / 1e9:.0f} GFLOP/s in products")
    with tempfile.TemporaryDirectory() as folder:
        return [
            *scoring(real, Path(folder), lengths, count, rounds, say),
            *generation(real, Path(folder), count, rounds, say),
            lora(real, steps, rounds, say),
        ]


def scoring(real: Real, folder: Path, lengths: Sequence[Length], count: int, rounds: int, say: Say) -> Iterator[Line]:
    """Four options of each question given a context."""
    questions = real.questions(count)
    for name, scorer, every in scorers(real, folder):
        rounded = real.dtype != torch.float32
        scores = Same("log-probabilities", TOLERANCE[real.dtype]), partial(difference, rounded=rounded)
        choices = Same("share of choices that differ", OTHERS), other_choices
        same, differs = choices if "llama" in name else scores
        for tokens, target, few in lengths:
            context, scored = real.context(tokens), count if every else few
            floor = operations(real.model, real.tokenizer, context, questions) / real.speed / count
            line = compare(
                f"{real.size}: 4 options given {tokens:,}, {name}",
                name,
                target,
                partial(score_options, real.model, real.tokenizer, context, questions),
                partial(scorer, context, questions[:scored]),
                same,
                differs,
                rounds,
                (count, scored),
                "s a question",
                real.note,
                say,
            )
            yield line._replace(floor=floor)


def generation(real: Real, folder: Path, count: int, rounds: int, say: Say) -> Iterator[Line]:
    """Greedy local text."""
    prompts, size = real.prompts(count), size_of(real.model)
    encoded, made = real.tokenizer(prompts).input_ids, list[int]()
    shared = shared_prefix(encoded)  # read once

    def ours() -> list[str]:
        found = generate(real.model, real.tokenizer, prompts, NEW, 0.0, 0, GENERATED)
        made.append(found.new_tokens)
        return found.texts

    for name, theirs in engines(real, folder, say):
        alike = "Q4" not in name and ("float32" not in name or real.kind == "float32")  # else texts part
        line = compare(
            f"{real.size}: {count} local prompts, {NEW} tokens at most, {name}",
            name,
            1.2,
            ours,
            partial(theirs, prompts),
            Same("share of texts that differ", OTHERS if alike else 1.0),
            lambda one, other: sum(a.strip() != b.strip() for a, b in zip(one, other, strict=True)) / len(one),
            rounds,
            (count, count),
            "s a text",
            f"greedy, {real.note}",
            say,
        )
        read = shared + sum(len(ids) - shared for ids in encoded) + made[-1]
        yield line._replace(floor=2 * (size.body * read + size.head * made[-1]) / real.speed / count)


def lora(real: Real, steps: int, rounds: int, say: Say) -> Line:
    """Steps of a LoRA adapter on the study's texts."""
    encoded = batches_of(real.tokenizer, steps)
    size = size_of(real.model)._replace(trained=0.0)
    floor = sum(training_flops(size, len(ids)) for ids in encoded) / steps / real.speed

    def fresh() -> PreTrainedModel:
        shared = {id(weight): weight for weight in real.model.parameters()}  # frozen
        return copy.deepcopy(real.model, shared)

    line = compare(
        f"{real.size}: LoRA, {steps} steps of {STEP_TOKENS} tokens in {BATCH} texts",
        "PEFT and transformers' Trainer",
        1.5,
        lambda: by_study(fresh(), real.tokenizer, encoded, "lora"),
        lambda: by_peft(fresh(), real.tokenizer, encoded),
        Same("last loss", LOSS[real.dtype]),
        lambda ours, theirs: abs(ours[-1] - theirs[-1]),
        rounds,
        (steps, steps),
        "s a step",
        f"constant rate, the same texts in each step, with setting up; {real.note}",
        say,
    )
    return line._replace(floor=floor)


def memory(say: Say) -> Line:
    """Peak memory of LoRA steps of the larger model, weights included, each way in a process of its own."""
    ours, theirs = both_ways("bench.real", say)
    same = Same("last loss", LOSS[getattr(torch, ours["kind"])], abs(ours["loss"] - theirs["loss"]))
    return Line(
        f"1.5 B: peak memory of LoRA, {STEP_TOKENS} tokens in {BATCH} texts",
        "PEFT and transformers' Trainer",
        ours["bytes"] / 1e6,
        theirs["bytes"] / 1e6,
        0.8,
        str(same),
        same.right,
        "MB",
        at_most=True,
        note=f"with the model's weights, {ours['weights'] / 1e6:.0f} MB; resident memory after loading",
    )


def _peak(way: str) -> dict[str, Any]:
    """Bytes that one way takes, those of the weights, their type, and its last loss."""
    real = Real(LARGE, "1.5 B")
    encoded = batches_of(real.tokenizer, 2)
    weights = sum(weight.nbytes for weight in real.model.parameters())
    memory_from_now()
    tune = partial(by_study, method="lora") if way == "ours" else by_peft
    losses = tune(real.model, real.tokenizer, encoded)
    return {"bytes": peak_memory(), "weights": weights, "kind": real.kind, "loss": losses[-1]}


if __name__ == "__main__":
    print(json.dumps(_peak(sys.argv[1])))
