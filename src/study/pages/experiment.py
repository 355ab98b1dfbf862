"""One study opened for work: its params, its results folder, and what notebooks do with them."""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
from datasets import Dataset as Table
from filelock import BaseFileLock
from IPython.core.getipython import get_ipython
from IPython.display import HTML
from matplotlib.figure import Figure

from study.config import ParamsError, refuse_another_checkout
from study.data.questions import Dataset
from study.data.tables import tables_of
from study.evidence.stats import accuracy_table
from study.figures.style import save, show
from study.lm.hub import identity
from study.lm.prompt_style import speaks
from study.pages.notebook_arms import arms_of
from study.pages.page import own_results
from study.pages.tables import folded, show_plainly
from study.params import Params, load_params
from study.paths import RESULTS, ROOT, shown
from study.runs import runner, selection
from study.runs.run import FINISHED, EvaluationRun, prepare
from study.runs.store import HELD, Store, content_hash, locked, store_of

PARAMETERS = ("PARAMS_FILE", "RESULTS")
datasets.disable_progress_bars()  # a table is written in a moment, and a page would keep every step of it


@dataclass(frozen=True)
class Experiment:
    """A study as one notebook sees it.

    Attributes:
        params: the resolved settings.
        results: the folder all results go to.
        notebook: name of the notebook; its figures and tables go to a folder of that name.
    """

    params: Params
    results: Path
    notebook: str

    @property
    def store(self) -> Store:
        """Where finished runs are found."""
        return store_of(self.results)

    @property
    def output(self) -> Path:
        """Where this notebook's figures and tables go."""
        return self.results / self.notebook

    @property
    def arms(self) -> list[str]:
        """The arms that this notebook runs."""
        return arms_of(self.notebook, self.params)

    def provenance(self) -> HTML:
        """What is about to be run, as a table that a click opens."""
        model, tuning, told = self.params.model, self.params.finetuning, self.params.prompts
        rows = {
            "worlds": ", ".join(self.params.world_names),
            "seeds": ", ".join(map(str, self.params.seeds)),
            "arms": ", ".join(self.params.arms),
            "model": model.name + (f" at {model.revision}" if model.revision else ""),
            "model SHA-256": identity(model)[:16],
            "device, dtype": f"{model.device}, {model.dtype}",
            "prompts": f"{speaks(model) if told.style == 'auto' else told.style}, {told.wording}",
            "fine-tuning": f"{tuning.method}, {tuning.epochs} epochs and {tuning.fewest_steps} steps at least, "
            f"{tuning.step_tokens} tokens a step, learning rates {', '.join(f'{r:g}' for r in tuning.learning_rates)}",
            "params SHA-256": content_hash(self.params.plain())[:16],
            "results": shown(self.results),
        }
        return folded(f"Model, settings and seeds: {shown(self.results)}", pd.DataFrame({"value": rows}))

    def material(self, world: str, seed: int) -> Dataset:
        """The documents and questions of one seed."""
        return prepare(self.params, world, seed)

    def materials(self, seeds: int | None = None) -> Iterator[tuple[str, int, Dataset]]:
        """World, seed, documents and questions, of the first so many seeds or of all."""
        for world, seed in itertools.product(self.params.world_names, self.params.seeds[:seeds]):
            yield world, seed, self.material(world, seed)

    def run(self, arms: Sequence[str] | None = None, params: Params | None = None) -> pd.DataFrame:
        """Run what is not finished of some arms, or of another model's study; the rows of their questions.

        One notebook does so after the other: each takes all cores, and finds what the last one did.
        """
        lock = locked(self.results, ".runs.lock", wait=True)
        try:
            return runner.run(params or self.params, self.store, arms)
        finally:
            lock.release()

    def rows(self, arms: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of every finished trial, of some arms or of all."""
        return runner.rows_of(runner.evaluation_runs_of(self.params, self.store, arms), self.store)

    def finished(self, arms: Sequence[str] | None = None) -> list[tuple[EvaluationRun, dict[str, Any]]]:
        """The finished runs of some arms, or of all, with their records."""
        trials = runner.evaluation_runs_of(self.params, self.store, arms)
        return [(trial, self.store.record(trial.key)) for trial in trials if self.store.has(trial.key)]

    def records(self, arms: Sequence[str] | None = None) -> pd.DataFrame:
        """One row for each finished trial: status, seconds, tokens, memory."""
        return pd.DataFrame(
            {
                "world": trial.world,
                "seed": trial.seed,
                "arm": trial.arm,
                "run": trial.key,
                "status": record["status"],
                "learning rate": training.get("learning_rate", float("nan")),
                "texts": training.get("texts", 0),
                "steps": training.get("steps", 0),
                "tokens learned": training.get("learned_tokens", 0),
                "last loss": training.get("losses", [float("nan")])[-1],
                "context tokens": record.get("context_tokens", 0),
                "facts in context": record.get("share_of_facts_in_context", 0.0),
                "documents in context": record.get("share_of_documents_in_context", 0.0),
                "seconds": training.get("seconds", 0.0) + record["seconds"],
                "peak GB": record["peak_memory_bytes"] / 1e9,
            }
            for trial, record in self.finished(arms)
            for training in [record.get("training", {})]
        )

    def curves(self) -> pd.DataFrame:
        """Accuracy along the training of the arms with a curve: one row for each trial, split and share of its steps.

        The first point is the untuned model's, if its arm is in the study; the last one the trial's own. Each has the
        chance, questions and facts of its world, seed and split beside it.
        """
        rows = self.rows()
        if rows.empty:
            return rows
        key = ["world", "seed", "split"]
        counts = {"chance": ("chance", "mean"), "items": ("item_id", "nunique"), "facts": ("cluster", "nunique")}
        about = rows[~rows["retention"]].groupby(key).agg(**counts)
        means = rows.groupby(["world", "seed", "arm", "split"])["correct"].mean()
        untuned = next((name for name, arm in self.params.arms.items() if not (arm.train or arm.context)), None)
        parts, lines = self.params.finetuning.checkpoint_evals + 1, []
        for trial, record in self.finished([name for name, arm in self.params.arms.items() if arm.curve]):
            if record["status"] != FINISHED:
                continue
            place = {"world": trial.world, "arm": trial.arm, "seed": trial.seed}
            points = {round(parts * look.pop("step") / record["training"]["steps"]): look for look in record["curve"]}
            for part, arm in ((0, untuned), (parts, trial.arm)):
                if (trial.world, trial.seed, arm) in means:
                    points[part] = means[trial.world, trial.seed, arm].to_dict()
            for part, right in sorted(points.items()):
                lines += [{**place, "split": s, "trained": part / parts, "accuracy": v} for s, v in right.items()]
        return pd.DataFrame(lines).join(about, on=key) if lines else pd.DataFrame()

    def learning_rates(self, arms: Sequence[str]) -> pd.DataFrame:
        """For each of these arms and candidates the accuracy on the selection seeds, and which was chosen.

        Of what the settings say was chosen before, the rate alone. "edge" marks a chosen rate with none beyond it.
        """
        choices, lines = selection.chosen(self.params, self.store), []
        runs = selection.selection_runs(self.params, arms)
        for arm in (arm for arm in arms if arm in choices):
            whole = choices[arm].whole
            if arm not in runs:
                rates = {"": choices[arm].rate} | ({f"whole, {', '.join(whole)}": min(whole.values())} if whole else {})
                lines += [{"arm": arm, "splitting": w, "learning rate": r, "chosen": True} for w, r in rates.items()]
                continue
            table = selection.selection_table(runs[arm], self.store)
            for way, tried in table.groupby("splitting"):
                rates = tried["learning rate"]
                taken = selection.gentlest_as_good(tried) if way == "whole" else choices[arm].rate
                for rate, part in tried.groupby("learning rate"):
                    means = part.drop(columns=[*selection.UNIT, "splitting", "learning rate"]).mean()
                    edge = rate == taken and rates.min() < rates.max() and rate in (rates.min(), rates.max())
                    place = {"arm": arm, "splitting": way, "learning rate": rate}
                    lines.append({**place, **means, "chosen": rate == taken, "edge": edge})
        return pd.DataFrame(lines)

    def inferences(self) -> pd.DataFrame:
        """Every sentence the model wrote for this study, with its standing in the world."""
        parts = [self.store.rows(unit.key) for unit in runner.generation_runs_of(self.params, self.store)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def augmentation_quality(self) -> pd.DataFrame:
        """One row for each world, seed and source of generated text: precision, recall, contradictions."""
        return pd.DataFrame(
            {"world": run.world, "seed": run.seed, "source": str(run.source), **self.store.record(run.key)["quality"]}
            for run in runner.generation_runs_of(self.params, self.store)
        )

    def accuracy(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Accuracy with interval and chance, by world, split and arm."""
        return accuracy_table(rows, self.params.statistics) if len(rows) else rows

    def save_data(self) -> pd.DataFrame:
        """Write documents and questions of every world and seed as datasets with provenance; what was written."""
        lines = []
        for world, seed, material in self.materials():
            folder = self.output / world / f"seed_{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            for name, rows in tables_of(material).items():
                Table.from_list(rows).to_parquet(folder / f"{name}.parquet")
                about: dict[str, Any] = {
                    "world": {world: self.params.shape(world).recipe},
                    "questions": self.params.questions.plain(),
                    "seed": seed,
                    "rows": len(rows),
                    "rows_sha256": content_hash(rows),
                }
                text = json.dumps(about, indent=1, sort_keys=True)
                (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
                written = {"file": name, "rows": len(rows), "sha256": about["rows_sha256"][:16]}
                lines.append({"world": world, "seed": seed, **written})
        return pd.DataFrame(lines)

    def publish(self, name: str, figure: Figure, numbers: pd.DataFrame, alt: str) -> None:
        """Save a figure as PNG and SVG, the numbers it draws as CSV and what it shows in words; show it in a notebook.

        The same figure gives the same bytes; the picture shown is the one saved.
        """
        file = self.output / f"{name}.png"
        self.table(name, numbers)
        save(figure, file)
        save(figure, file.with_suffix(".svg"))
        file.with_suffix(".txt").write_text(alt + "\n", encoding="utf-8")
        show(figure, file, alt)

    def table(self, name: str, numbers: pd.DataFrame) -> pd.DataFrame:
        """Save a table as CSV and hand it back for showing."""
        self.output.mkdir(parents=True, exist_ok=True)
        numbers.to_csv(self.output / f"{name}.csv", index=False, float_format="%.6g")
        return numbers

    def files(self) -> list[str]:
        """What this notebook has written, relative to the project."""
        return [shown(path) for path in sorted(self.output.rglob("*")) if path.is_file()]


_held: dict[Path, BaseFileLock] = {}  # results folders that this kernel keeps others out of


def open_experiment(params_file: str, results: str, notebook: str) -> Experiment:
    """Open a study from a notebook; relative paths, those in the params too, are relative to the project.

    The kernel is moved there, so that a notebook opened by hand, or given to papermill, does what the launcher does:
    it keeps others out of the results folder, and results of other settings as they are.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed; if papermill was given what is no parameter;
            if another run works in the results folder.
    """
    refuse_another_checkout(Path.cwd())
    os.chdir(ROOT)
    if shell := get_ipython():
        show_plainly(shell)
    file, folder = (Path(os.path.normpath(ROOT / given)) for given in (params_file, results))
    params = load_params(file)
    if os.environ.get(HELD) != str(folder):
        if not _held:
            _refuse_unknown_parameters()
        own = own_results(notebook, file, params)
        if folder.is_relative_to(RESULTS) and folder != own and file.parent != folder:
            print(f"{shown(folder)} holds results of other settings; those of {shown(file)} go to {shown(own)}")
            folder = own
        if folder not in _held:
            _held[folder] = locked(folder)
    return Experiment(params, folder, notebook)


def _refuse_unknown_parameters() -> None:
    """Refuse what papermill was given besides the parameters; it would change nothing, and say so nowhere."""
    shell = get_ipython()
    names = shell.user_ns if shell else {}
    data = (str, int, float, list, dict, type(None))
    found = [
        name for name, value in names.items() if isinstance(value, data) and name not in (*PARAMETERS, "In", "Out")
    ]
    if unknown := [name for name in found if not name.startswith("_")]:
        raise ParamsError(
            f"{unknown[0]} = {names[unknown[0]]!r}: no parameter of this notebook, which has "
            f"{' and '.join(PARAMETERS)}; write settings into a YAML file and name it: -p PARAMS_FILE mine.yaml"
        )
