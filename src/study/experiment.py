"""One study opened for work: its params, its results folder, and what notebooks do with them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from datasets import Dataset
from matplotlib.figure import Figure

from study import runner
from study.data import Document
from study.logic import Fact
from study.models import identity, pick_device
from study.params import Params, Source, load_params
from study.paths import RESULTS, ROOT, shown
from study.stats import accuracy_table
from study.store import Store, content_hash
from study.trials import Material, Trial, prepare

PUBLISHED = RESULTS / "default"


def store_of(results: Path) -> Store:
    """Finished trials of the study in a results folder, and those that the published study shares with it."""
    return Store(results / "trials", () if results == PUBLISHED else (PUBLISHED / "trials",))


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
        """Where finished trials are found."""
        return store_of(self.results)

    @property
    def output(self) -> Path:
        """Where this notebook's figures and tables go."""
        return self.results / self.notebook

    def provenance(self) -> pd.DataFrame:
        """What is about to be run, as a table."""
        model = self.params.model
        rows = {
            "worlds": ", ".join(self.params.world_names),
            "seeds": ", ".join(map(str, self.params.seeds)),
            "arms": ", ".join(self.params.arms),
            "model": model.name + (f" at {model.revision}" if model.revision else ""),
            "model SHA-256": identity(model)[:16],
            "device, dtype": f"{pick_device(model)}, {model.dtype}",
            "fine-tuning": f"{self.params.finetuning.method}, learning rate {self.params.finetuning.learning_rate}, "
            f"{self.params.finetuning.epochs} epochs, batch {self.params.finetuning.batch_size}",
            "params SHA-256": content_hash(self.params.plain())[:16],
            "results": shown(self.results),
        }
        return pd.DataFrame({"value": rows})

    def material(self, world: str, seed: int) -> Material:
        """The world, documents and questions of one seed."""
        return prepare(self.params, world, seed)

    def run(self, arms: Sequence[str]) -> pd.DataFrame:
        """Run what is not finished of some arms; the rows of their questions."""
        return runner.run(self.params, self.store, arms)

    def rows(self) -> pd.DataFrame:
        """The rows of every finished trial."""
        return runner.rows_of(runner.trials_of(self.params), self.store)

    def finished(self, arms: Sequence[str] | None = None) -> list[tuple[Trial, dict[str, Any]]]:
        """The finished trials of some arms, or of all, with their records."""
        trials = runner.trials_of(self.params, arms)
        return [(trial, self.store.record(trial.key)) for trial in trials if self.store.has(trial.key)]

    def records(self, arms: Sequence[str] | None = None) -> pd.DataFrame:
        """One row for each finished trial: status, seconds, tokens, memory."""
        lines = []
        for trial, record in self.finished(arms):
            training = record.get("training", {})
            lines.append(
                {
                    "world": trial.world,
                    "seed": trial.seed,
                    "arm": trial.arm,
                    "status": record["status"],
                    "texts": record["training_texts"],
                    "steps": training.get("steps", 0),
                    "tokens trained": training.get("tokens", 0),
                    "last loss": training.get("losses", [float("nan")])[-1],
                    "context tokens": record.get("context_tokens", 0),
                    "seconds": record["seconds"],
                    "peak GB": record["peak_memory_bytes"] / 1e9,
                }
            )
        return pd.DataFrame(lines)

    def inferences(self) -> pd.DataFrame:
        """Every sentence the model wrote for this study, with its standing in the world."""
        return runner.writings_of(self.params, self.store)

    def augmentation_quality(self) -> pd.DataFrame:
        """One row for each world, seed and source of generated text: precision, recall, contradictions."""
        lines = []
        for unit in runner.units_of(runner.trials_of(self.params))[0]:
            if self.store.has(unit.key):
                record = self.store.record(unit.key)
                place = {"world": unit.world, "seed": unit.seed, "source": record["recipe"]["writes"]}
                lines.append({**place, **record["quality"]})
        return pd.DataFrame(lines)

    def accuracy(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Accuracy with interval and chance, by world, split and arm."""
        return accuracy_table(rows, self.params.statistics)

    def save_data(self) -> pd.DataFrame:
        """Write documents and questions of every world and seed as datasets with provenance; what was written."""
        lines = []
        for world in self.params.world_names:
            for seed in self.params.seeds:
                material = self.material(world, seed)
                tables = {
                    "documents": [_document_row(material, document) for document in material.documents],
                    "questions": [question._asdict() for question in material.questions],
                    "closure": [_closure_row(material, fact) for fact in material.world.closure],
                }
                names = material.world.original_names
                if names:
                    tables["names"] = [{"word": word, "name": name} for word, name in names.items()]
                for name, rows in tables.items():
                    folder = self.output / world / f"seed_{seed}"
                    folder.mkdir(parents=True, exist_ok=True)
                    Dataset.from_list(rows).to_parquet(folder / f"{name}.parquet")
                    digest = content_hash(rows)
                    provenance = {
                        "world": {world: self.params.shape(world).recipe},
                        "questions": self.params.questions.plain(),
                        "seed": seed,
                        "rows": len(rows),
                        "rows_sha256": digest,
                    }
                    text = json.dumps(provenance, indent=1, sort_keys=True)
                    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
                    lines.append(
                        {
                            "world": world,
                            "seed": seed,
                            "file": name,
                            "rows": len(rows),
                            "sha256": digest[:16],
                        }
                    )
        return pd.DataFrame(lines)

    def publish(self, name: str, figure: Figure, numbers: pd.DataFrame) -> None:
        """Show a figure and save it as PNG, with the numbers it draws as CSV beside it."""
        self.output.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.output / f"{name}.png", dpi=160, bbox_inches="tight", metadata={"Software": None})
        self.table(name, numbers)
        plt.show()
        plt.close(figure)

    def table(self, name: str, numbers: pd.DataFrame) -> pd.DataFrame:
        """Save a table as CSV and hand it back for showing."""
        self.output.mkdir(parents=True, exist_ok=True)
        numbers.to_csv(self.output / f"{name}.csv", index=False, float_format="%.6g")
        return numbers

    def files(self) -> list[str]:
        """What this notebook has written, relative to the project."""
        return [shown(path) for path in sorted(self.output.rglob("*")) if path.is_file()]


def _document_row(material: Material, document: Document) -> dict[str, Any]:
    facts = [material.world.canonical(fact) for fact in document.facts]
    return {"facts": facts, "sentences": list(document.sentences), "text": document.text}


def _closure_row(material: Material, fact: Fact) -> dict[str, Any]:
    """A fact that holds, with why: the last rule and the stated facts it rests on."""
    derivation = material.world.closure[fact]
    supports = sorted(material.world.canonical(support) for support in derivation.supports)
    return {**fact._asdict(), "rule": derivation.rule, "hops": derivation.hops, "supports": supports}


def open_experiment(params_file: str, results: str, notebook: str) -> Experiment:
    """Open a study from a notebook; relative paths are relative to the project.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed.
    """
    pd.set_option("display.max_colwidth", None)  # sentences are shown whole
    return Experiment(load_params(ROOT / params_file), ROOT / results, notebook)


def all_arms(params: Params) -> list[str]:
    """Every arm."""
    return list(params.arms)


def in_context_arms(params: Params) -> list[str]:
    """Arms that train on nothing."""
    return [name for name, arm in params.arms.items() if not arm.train]


def finetuned_arms(params: Params) -> list[str]:
    """Arms that train on the documents alone."""
    return [name for name, arm in params.arms.items() if arm.train == (Source.DOCUMENTS,)]


def augmented_arms(params: Params) -> list[str]:
    """Arms that train on more than the documents."""
    return [name for name, arm in params.arms.items() if len(arm.train) > 1]
