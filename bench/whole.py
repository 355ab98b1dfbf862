"""The core of the study, priced by a sample of each kind of work, compared with other libraries."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch

from bench.baselines import by_generate, by_lm_eval, lm_eval
from bench.scaling import core_speed
from bench.table import Line, Say, timed
from bench.tuning import batches_of, by_study, by_trl
from bench.writing import prompts_of
from study.arms import Source
from study.config import ParamsError
from study.lm.generation import generate
from study.lm.loading import load, load_tokenizer
from study.lm.prompts import OF_BUNDLED
from study.lm.scoring import score_options
from study.params import Model, Params, load_params
from study.paths import PARAMS
from study.runs.executors import available_cores
from study.runs.run import DIVERGED, EvaluationRun, GenerationRun, Run, prepare
from study.runs.runner import runs_of
from study.runs.store import PUBLISHED, content_hash, store_of


class Prices(NamedTuple):
    """Seconds for each kind of work, one way.

    Attributes:
        question: with its options, without a context, by world.
        behind: the same given the whole context, by world.
        step: of training.
        texts: generated, by source.
    """

    question: dict[str, float]
    behind: dict[str, float]
    step: float
    texts: dict[Source, float]


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """The units of the core of the study, priced by a fixed sample of each kind of work, done both ways in turn.

    Raises:
        ParamsError: if one of them is not published.
    """
    params, store = load_params(PARAMS / "default.yaml"), store_of(PUBLISHED)
    units = {unit.key: unit for unit in runs_of(params, store)}
    missing = sum(not store.has(key) for key in units)
    if missing:
        raise ParamsError(f"{missing} units of the core are not among the published ones; restore results/full/packs")
    context_tokens = {w: len(load_tokenizer(params.model)(_context(params, w)).input_ids) for w in params.world_names}
    mine, others = _prices(params, say)
    parts, operations, trained = [], 0.0, set()
    for unit in units.values():
        record = store.record(unit.key)
        first = isinstance(unit, EvaluationRun) and content_hash([unit.world, unit.seed, unit.training]) not in trained
        if isinstance(unit, EvaluationRun):
            trained.add(content_hash([unit.world, unit.seed, unit.training]))
        parts.append([_price(unit, record, prices, first, context_tokens) for prices in (mine, others)])
        operations += operations_of(record, trained=first)
    ours, theirs = (pd.DataFrame(way).sum() for way in zip(*parts, strict=True))
    line = Line(
        f"the core of the study, {len(units)} units",
        "the same trials by lm-eval, SFTTrainer and generate",
        ours.sum() / available_cores(),
        theirs.sum(),
        20,
        "each kind of work: see its own row",
        True,
        note="scaled from a sample of each world's questions, of steps and of texts; start-up left out for both; ours "
        "a unit on each core, theirs with all cores; a training that several trials share counts once for both; of "
        f"ours {_shares(ours)}, of theirs {_shares(theirs)}",
        floor=operations / core_speed() / available_cores(),
    )
    return [line]


def _shares(seconds: "pd.Series[float]") -> str:
    return ", ".join(f"{kind} {part:.0%}" for kind, part in (seconds / seconds.sum()).items())


def _context(params: Params, world: str) -> str:
    return OF_BUNDLED.in_context([document.text for document in prepare(params, world, 0).documents])


def _price(
    unit: Run, record: dict[str, Any], prices: Prices, first: bool, context_tokens: dict[str, int]
) -> dict[str, float]:
    """Seconds for a unit, by kind of work; a training is paid for by the first of the trials that share it."""
    if isinstance(unit, GenerationRun):
        return {"text": prices.texts[unit.source] * len(prompts_of(unit.source, (unit.world,), unit.seed))}
    if not isinstance(unit, EvaluationRun) or record["status"] == DIVERGED:
        return {}
    plain, behind = prices.question[unit.world], prices.behind[unit.world]
    share = min(1.0, float(record["context_tokens"]) / context_tokens[unit.world])
    questions, checkpoint_evals = int(record["questions"]), len(record.get("curve", ()))
    steps = int(record["training"]["steps"]) if first and unit.spec.train else 0
    asked = questions * (plain + share * (behind - plain) + checkpoint_evals * plain)
    return {"questions": asked, "training": steps * prices.step}


def operations_of(record: dict[str, Any], *, trained: bool = True) -> float:
    """Floating-point operations of a unit, as it counted them; without its training, if another has paid for that."""
    asked = record.get("questions", 0) * record.get("query_flops", 0.0) * (1 + len(record.get("curve", ())))
    training = record.get("training", {}).get("flops", 0.0) if trained else 0.0
    return float(record.get("flops", 0.0) + record.get("context_flops", 0.0) + asked + training)


def _prices(params: Params, say: Say) -> tuple[Prices, Prices]:
    """Ours on one core, as the study's units are done, and the baselines' with all cores."""
    model, tokenizer = load(Model(device="cpu"))
    lm, threads = lm_eval(model, tokenizer), torch.get_num_threads()
    mine, others = Prices({}, {}, 0.0, {}), Prices({}, {}, 0.0, {})

    def alone(work: Callable[[], object]) -> float:
        torch.set_num_threads(1)
        took = timed(work)[1].wall
        torch.set_num_threads(threads)
        return took

    for world in params.world_names:
        asked = [(q.query, q.options) for q in prepare(params, world, 0).questions]
        for context, ours, theirs, few in (
            ("", mine.question, others.question, asked[:: len(asked) // 8][:8]),
            (_context(params, world), mine.behind, others.behind, asked[:: len(asked) // 2][:2]),
        ):
            ours[world] = alone(partial(score_options, model, tokenizer, context, asked)) / len(asked)
            theirs[world] = timed(partial(by_lm_eval, lm, context, few))[1].wall / len(few)
            say(f"  {world}: {ours[world]:.4f} s a question, lm-eval {theirs[world]:.4f}")
    rows = params.augmentation.batch_size
    for source, most in ((Source.LOCAL, 16), (Source.GLOBAL, 8)):
        tokens = int(getattr(params.augmentation, f"{source}_tokens"))
        count, seconds, theirs_seconds = 0, 0.0, 0.0
        for world in params.world_names:
            prompts = prompts_of(source, (world,))[:most]
            count += len(prompts)
            seconds += alone(partial(generate, model, tokenizer, prompts, tokens, 0.0, 0, rows))
            theirs_seconds += timed(partial(by_generate, model, tokenizer, prompts, tokens))[1].wall
        mine.texts[source], others.texts[source] = seconds / count, theirs_seconds / count
        say(f"  {source} text: {mine.texts[source]:.3f} s, generate {others.texts[source]:.3f}")
    encoded = batches_of(tokenizer, 12)
    ours_step = alone(partial(by_study, copy.deepcopy(model), tokenizer, encoded)) / 12
    theirs_step = timed(partial(by_trl, copy.deepcopy(model), tokenizer, encoded))[1].wall / 12
    say(f"  step: {ours_step:.3f} s, SFTTrainer {theirs_step:.3f}")
    return mine._replace(step=ours_step), others._replace(step=theirs_step)
