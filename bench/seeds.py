"""Many seeds of one arm, compared with a notebook for each that uses transformers' Trainer and lm-eval."""

import json
import tempfile
from pathlib import Path

from bench.baselines import by_lm_eval, by_trainer, lm_eval
from bench.scaling import core_speed
from bench.table import Line, Same, Say, compare, largest
from bench.whole import operations_of
from study.arms import Arm, Source
from study.data.questions import Splitting, training_texts
from study.lm.loading import load
from study.params import Model, Params
from study.paths import ROOT
from study.runs.executors import available_cores
from study.runs.run import prepare
from study.runs.runner import run, runs_of
from study.runs.store import Store
from study.worlds.world import Split

SEEDS, RUN = 8, 2  # of the eight notebooks, so many are run in each round
RATE = 3e-3
CELLS = (
    "seed, steps, result = 0, 0, ''",
    "from bench.seeds import write_accuracy\nwrite_accuracy(seed, steps, result)",
)


def write_accuracy(seed: int, steps: int, result: str) -> None:
    """What a notebook does: fine-tune on the documents of a seed, score its questions, write the accuracy to a file."""
    material = prepare(Params(), "reversals", seed)
    model, tokenizer = load(Model(device="cpu"))
    texts = tokenizer(training_texts(material.documents, Splitting.SENTENCES)).input_ids
    by_trainer(
        model,
        tokenizer,
        [{"input_ids": ids, "labels": ids} for ids in texts],
        per_device_train_batch_size=16,
        max_steps=steps,
        learning_rate=RATE,
        warmup_steps=10,
        optim="adamw_torch_fused",
        logging_strategy="no",
        use_cpu=True,
        seed=seed,
    )
    lm = lm_eval(model.eval(), tokenizer, batch=32)
    scored = by_lm_eval(lm, "", [(q.query, q.options) for q in material.questions])
    pairs = [(q, scores) for q, scores in zip(material.questions, scored, strict=True) if q.split == Split.STATED]
    right = [scores.index(max(scores)) in question.answers for question, scores in pairs]
    Path(result).write_text(json.dumps(sum(right) / len(right)))


def by_study(params: Params, operations: list[float]) -> list[float]:
    """Accuracy on the facts as stated for each seed, by this study; what all of it took is added to `operations`."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        rows = run(params, store, say=lambda line: None)
        operations.append(sum(operations_of(store.record(unit.key)) for unit in runs_of(params, store)))
    trained = rows[rows["split"] == str(Split.STATED)]
    return [float(part["correct"].mean()) for _, part in trained.groupby("seed")]


def by_notebooks(steps: int) -> list[float]:
    """The same for the first seeds, each in a notebook of its own."""
    import nbformat
    import papermill  # the notebooks import this module, and do not pay for these

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "run.ipynb", Path(folder) / "accuracy.json"
        nbformat.write(notebook, source)
        for seed in range(RUN):
            given = {"seed": seed, "steps": steps, "result": str(result)}
            out = str(source.with_suffix(".out.ipynb"))
            papermill.execute_notebook(
                str(source), out, given, kernel_name="python3", progress_bar=False, cwd=str(ROOT)
            )
            found.append(json.loads(result.read_text()))
    return found


def lines(rounds: int, quick: bool, say: Say) -> list[Line]:
    """Eight seeds of fine-tuning on the documents: trained and evaluated."""
    params = Params.parse(
        {
            "worlds": {"reversals": "bundled"},
            "seeds": list(range(SEEDS)),
            "arms": {"ft": Arm(train=(Source.DOCUMENTS,)).plain()},
            "finetuning": {"learning_rates": [RATE]},
            "model": {"device": "cpu"},
        },
        "bench",
    )
    operations = list[float]()
    line = compare(
        f"{SEEDS} seeds of one arm",
        f"{SEEDS} papermill runs with Trainer and lm-eval",
        6,
        lambda: by_study(params, operations),
        lambda: by_notebooks(params.finetuning.fewest_steps),
        Same("accuracy in the trained direction", 0.25),
        lambda ours, theirs: largest([abs(a - b) for a, b in zip(ours, theirs, strict=False)]),
        rounds,
        (SEEDS, RUN),
        "s a seed",
        f"wall time on all cores; as many steps, about as many tokens; asked in both; {RUN} notebooks in a round",
        say,
    )
    floor = operations[-1] / SEEDS / core_speed() / available_cores()
    return [line._replace(cpu_ratio=float("nan"), floor=floor)]  # the work is done in other processes
