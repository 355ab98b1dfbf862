"""Whole pieces of the study: many seeds, all of it, beside a busy neighbour, and when there is nothing to do."""

import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import papermill
import torch

from study.bench import scoring, tuning, writing
from study.bench.table import Line, Same, Say, Took, compare, median, timed
from study.cli import study_runs
from study.config import ParamsError
from study.lm.generation import generate
from study.lm.loading import load, load_tokenizer
from study.lm.prompts import OF_BUNDLED
from study.lm.scoring import score_options
from study.params import Arm, Model, ModelSizes, Params, Source, load_params
from study.paths import PARAMS, ROOT
from study.runs.executors import available_cores
from study.runs.run import DIVERGED, EvaluationRun, GenerationRun, Run, prepare
from study.runs.runner import run, runs_of
from study.runs.store import PUBLISHED, Store, content_hash, store_of
from study.worlds.world import Split

SEEDS, RUN = 8, 2  # of the eight notebooks, so many are run in each round

NOTEBOOK = """
import json, random, tempfile
from pathlib import Path
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments
from study.data.questions import Splitting, training_texts
from study.lm.loading import load
from study.params import Params, Model
from study.runs.run import prepare

params, material = Params(), prepare(Params(), "reversals", SEED)
model, tokenizer = load(Model(device="cpu"))
texts = training_texts(material.documents, Splitting.SENTENCES)
with tempfile.TemporaryDirectory() as folder:
    Trainer(
        model=model,
        args=TrainingArguments(
            folder, per_device_train_batch_size=16, max_steps=STEPS, learning_rate=RATE, warmup_steps=10,
            optim="adamw_torch_fused", use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, seed=SEED,
        ),
        train_dataset=[{"input_ids": ids, "labels": ids} for ids in tokenizer(texts).input_ids],
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding="longest"),
    ).train()
lm = HFLM(pretrained=model.eval(), tokenizer=tokenizer, batch_size=32, add_bos_token=True, device="cpu")
asked = [(q.query, option) for q in material.questions for option in q.options]
answers = iter(lm.loglikelihood(
    [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=k) for k, pair in enumerate(asked)],
    disable_tqdm=True,
))
right = []
for question in material.questions:
    scores = [next(answers)[0] for _ in question.options]
    if question.split == "as stated":
        right.append(scores.index(max(scores)) in question.answers)
Path(RESULT).write_text(json.dumps(sum(right) / len(right)))
"""


def seeds_line(rounds: int, say: Say) -> Line:
    """Eight seeds of fine-tuning on the documents: trained and asked."""
    rate = 3e-3
    params = Params.parse(
        {
            "worlds": {"reversals": "bundled"},
            "seeds": list(range(SEEDS)),
            "arms": {"ft": Arm(train=(Source.DOCUMENTS,)).plain()},
            "finetuning": {"learning_rates": [rate]},
            "model": {"device": "cpu"},
        },
        "bench",
    )
    notebook = nbformat.v4.new_notebook()
    names = nbformat.v4.new_code_cell("SEED = 0\nSTEPS = 0\nRATE = 0.0\nRESULT = ''", metadata={"tags": ["parameters"]})
    notebook.cells = [names, nbformat.v4.new_code_cell(NOTEBOOK)]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}

    def ours() -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            rows = run(params, Store(Path(folder)), say=lambda line: None)
        trained = rows[rows["split"] == str(Split.STATED)]
        return [float(part["correct"].mean()) for _, part in trained.groupby("seed")]

    def theirs() -> list[float]:
        found = []
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "run.ipynb"
            nbformat.write(notebook, source)
            for seed in range(RUN):
                result = Path(folder) / f"{seed}.json"
                given = {"SEED": seed, "STEPS": params.finetuning.fewest_steps, "RATE": rate, "RESULT": str(result)}
                papermill.execute_notebook(
                    str(source), str(source.with_suffix(".out.ipynb")), given, kernel_name="python3", progress_bar=False
                )
                found.append(json.loads(result.read_text()))
        return found

    def alike(mine: list[float], peers: list[float], same: Same) -> None:
        for one, other in zip(mine, peers, strict=False):
            same.add(abs(one - other))

    return compare(
        f"{SEEDS} seeds of one arm",
        f"{SEEDS} papermill runs with Trainer and lm-eval",
        5,
        ours,
        theirs,
        Same("accuracy in the trained direction", 0.25),
        alike,
        rounds,
        (SEEDS, RUN),
        "s a seed",
        f"wall time on all cores; as many steps, about as many tokens; asked in both; {RUN} notebooks in a round",
        say,
    )._replace(cpu_ratio=float("nan"))


class Prices(NamedTuple):
    """Seconds for each kind of work, one way.

    Attributes:
        question: with its options, without a context, by world.
        behind: behind the whole context, by world.
        step: of training.
        texts: written, by source.
    """

    question: dict[str, float]
    behind: dict[str, float]
    step: float
    texts: dict[Source, float]


def study_line(say: Say) -> Line:
    """The published study's units, priced by a fixed sample of each kind of work, done both ways in turn.

    Raises:
        ParamsError: if the published study is not finished.
    """
    params = load_params(PARAMS / "default.yaml")
    params, store = params.model_copy(update={"model_sizes": ModelSizes()}), store_of(PUBLISHED)
    units = {unit.key: unit for unit in runs_of(params, store)}
    missing = sum(not store.has(key) for key in units)
    if missing:
        raise ParamsError(f"{missing} units of the published study are missing here; run `make reproduce` first")
    context_tokens = {w: len(load_tokenizer(params.model)(_context(params, w)).input_ids) for w in params.world_names}
    mine, peers = _prices(params, say)
    ours = theirs = 0.0
    trained = set()
    for unit in units.values():
        record = store.record(unit.key)
        first = isinstance(unit, EvaluationRun) and content_hash([unit.world, unit.seed, unit.training]) not in trained
        if isinstance(unit, EvaluationRun):
            trained.add(content_hash([unit.world, unit.seed, unit.training]))
        ours += _price(unit, record, mine, first, context_tokens)
        theirs += _price(unit, record, peers, first, context_tokens)
    ours /= available_cores()
    return Line(
        work=f"the whole default study, {len(units)} units",
        against="the same trials by lm-eval, SFTTrainer and generate",
        unit="s",
        ours=ours,
        theirs=theirs,
        ratio=theirs / ours,
        cpu_ratio=float("nan"),
        target=15,
        at_most=False,
        same="each kind of work: see its own row",
        right=True,
        note="scaled from a sample of each world's questions, of steps and of texts; start-up left out for both; ours "
        "a unit on each core, the peers' with all cores; a training that several trials share counts once for both",
    )


def _context(params: Params, world: str) -> str:
    return OF_BUNDLED.in_context([document.text for document in prepare(params, world, 0).documents])


def _price(unit: Run, record: dict[str, Any], prices: Prices, first: bool, context_tokens: dict[str, int]) -> float:
    """Seconds for a unit; a training is paid for by the first of the trials that share it."""
    if isinstance(unit, GenerationRun):
        return prices.texts[unit.source] * len(writing.prompts_of(unit.source, (unit.world,), unit.seed))
    if not isinstance(unit, EvaluationRun) or record["status"] == DIVERGED:
        return 0.0
    plain, behind = prices.question[unit.world], prices.behind[unit.world]
    share = min(1.0, float(record["context_tokens"]) / context_tokens[unit.world])
    questions, checkpoint_evals = int(record["questions"]), len(record.get("curve", ()))
    steps = int(record["training"]["steps"]) if first and unit.spec.train else 0
    return questions * (plain + share * (behind - plain) + checkpoint_evals * plain) + steps * prices.step


def _prices(params: Params, say: Say) -> tuple[Prices, Prices]:
    """Ours on one core, as the study's units are done, and the peers' with all cores."""
    model, tokenizer = load(Model(device="cpu"))
    lm, threads = scoring.peer(model, tokenizer), torch.get_num_threads()
    mine, peers = Prices({}, {}, 0.0, {}), Prices({}, {}, 0.0, {})

    def alone(work: Callable[[], object]) -> float:
        torch.set_num_threads(1)
        took = timed(work)[1].wall
        torch.set_num_threads(threads)
        return took

    for world in params.world_names:
        asked = [(q.query, q.options) for q in prepare(params, world, 0).questions]
        for context, ours, theirs, few in (
            ("", mine.question, peers.question, asked[:: len(asked) // 8][:8]),
            (_context(params, world), mine.behind, peers.behind, asked[:: len(asked) // 2][:2]),
        ):
            ours[world] = alone(partial(score_options, model, tokenizer, context, asked)) / len(asked)
            theirs[world] = timed(partial(scoring.by_peer, lm, context, few))[1].wall / len(few)
            say(f"  {world}: {ours[world]:.4f} s a question, lm-eval {theirs[world]:.4f}")
    rows = params.augmentation.batch_size
    for source, most in ((Source.LOCAL, 16), (Source.GLOBAL, 8)):
        tokens = int(getattr(params.augmentation, f"{source}_tokens"))
        count, seconds, theirs_seconds = 0, 0.0, 0.0
        for world in params.world_names:
            prompts = writing.prompts_of(source, (world,))[:most]
            count += len(prompts)
            seconds += alone(partial(generate, model, tokenizer, prompts, tokens, 0.0, 0, rows))
            took = timed(partial(writing.by_generate, model, tokenizer, prompts, tokens))[1]
            theirs_seconds += took.wall
        mine.texts[source], peers.texts[source] = seconds / count, theirs_seconds / count
        say(f"  {source} text: {mine.texts[source]:.3f} s, generate {peers.texts[source]:.3f}")
    encoded = tuning.batches_of(tokenizer, 12)
    ours_step = alone(partial(tuning.here, copy.deepcopy(model), tokenizer, encoded, "full")) / 12
    theirs_step = timed(partial(tuning.with_trl, copy.deepcopy(model), tokenizer, encoded))[1].wall / 12
    say(f"  step: {ours_step:.3f} s, SFTTrainer {theirs_step:.3f}")
    return mine._replace(step=ours_step), peers._replace(step=theirs_step)


def neighbour_line(rounds: int, say: Say) -> Line:
    """The study's kinds of work with all cores, beside a process that keeps one busy."""
    model, tokenizer = load(Model(device="cpu"))
    context, questions = scoring.passage(tokenizer, 1024), scoring.questions_of_four(128)
    prompts, encoded = writing.prompts_of(Source.LOCAL, ("reversals",))[:32], tuning.batches_of(tokenizer, 6)

    def work() -> None:
        score_options(model, tokenizer, context, questions)
        generate(model, tokenizer, prompts, 64, 0.0, 0, 32)
        tuning.here(copy.deepcopy(model), tokenizer, encoded, "full")

    work()
    alone: list[Took] = []
    beside: list[Took] = []
    for number in range(rounds):
        alone.append(timed(work)[1])
        with _busy():
            beside.append(timed(work)[1])
        say(f"  beside a busy process, round {number + 1}: {beside[-1].wall:.2f} s, alone {alone[-1].wall:.2f} s")
    a, b = median(alone), median(beside)
    return Line(
        work="scoring, writing and tuning beside one busy process",
        against="alone",
        unit="s",
        ours=b.wall,
        theirs=a.wall,
        ratio=b.wall / a.wall,
        cpu_ratio=b.cpu / a.cpu,
        target=2.5,
        at_most=True,
        same="the same work",
        right=True,
        note="",
    )


@contextmanager
def _busy() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def again_line(rounds: int, say: Say) -> Line:
    """`make reproduce` when all is up to date."""
    stale = [reason for reason in (run.stale() for run in study_runs("default")) if reason]
    imported: set[str] = set()
    if not stale:
        command = [sys.executable, "-X", "importtime", "-m", "study", "reproduce"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
        imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "import time:" in line}
    heavy = sorted(imported & {"torch", "transformers", "papermill", "ipykernel", "jupyter_client", "zmq"})
    times: list[Took] = []
    for _ in range(0 if stale else rounds):
        took = timed(partial(subprocess.run, ["make", "reproduce"], cwd=ROOT, capture_output=True, check=True))[1]
        times.append(took)
        say(f"  second make reproduce: {took.wall:.2f} s")
    wall = median(times).wall if times else float("nan")
    return Line(
        work="second `make reproduce`",
        against="a limit in seconds",
        unit="s",
        ours=wall,
        theirs=1.0,
        ratio=wall,
        cpu_ratio=float("nan"),
        target=1.0,
        at_most=True,
        same="no kernel, no torch" if not heavy else f"imported: {', '.join(heavy)}",
        right=not (stale or heavy),
        note=f"run `make reproduce` first: {stale[0]}" if stale else "",
    )
