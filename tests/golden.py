"""The golden study: tiny runs of every stage on every dataset, and the results that they had when they were recorded.

    make golden     # records them anew, once a version in study/runs/versions.py was raised

Floats are recorded whole: on the machine that recorded them a rerun is equal to the bit, elsewhere within TOLERANCE.
"""

import json
import math
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from berglund_files import write_files
from study.arms import Arm, Source
from study.data.questions import Splitting
from study.lm import generation
from study.lm.hub import identity
from study.params import Choice, Params
from study.paths import ROOT
from study.runs import versions
from study.runs.perform import work
from study.runs.run import EvaluationRun, GenerationRun, prepare
from study.runs.runner import as_chosen
from study.runs.store import Store, content_hash

FILE = Path(__file__).with_name("golden.json")
MODEL = {"name": str(ROOT / "results" / "base_model_small"), "device": "cpu"}
TOLERANCE = 1e-4  # nats; a change of the results is larger
RATE = 1e-3
NEAREST = 2e-5  # probability between what is sampled and another token: machines differ in the last bits
# Seeds that keep it, 0 where none is named. Berglund's people have so many tokens that one never does: greedy decoding.
SEEDS = dict.fromkeys(("reversals", "syllogisms", "semantic", "family", "process", "deeds"), 2)
GREEDY = ("berglund",)
DOCUMENTS = {
    "lamp.md": "# The lamp\n\nThe lamp is green when the device is ready. The lamp is red when it is not.\n",
    "device.md": "# The device\n\nThe device starts in one minute. The device stops when the door opens.\n",
}
QUESTIONS = """question,answer,option_1,option_2
When is the lamp green?,1,when the device is ready,when the door opens
When does the device stop?,2,when the lamp is red,when the door opens
When does the device start?,in one minute,,
"""
SHAPES: dict[str, dict[str, Any]] = {
    "reversals": {"size": 6, "features": 1},
    "syllogisms": {"size": 3},
    "reversal_curse": {"size": 4},
    "semantic": {"size": 6, "tops": 1},
    "family": {"generations": 3},
    "process": {"size": 6, "examples": 4, "asked": 4},
    "roles": {"size": 6},
    "deeds": {"size": 6},
    "berglund": {},
    "documents": {},
}
IN_ALL = ("icl", "ft augmented", "hybrid")
IN_ONE = (
    *("irrelevant", "icl 1", "icl retention", "ft repeated", "ft rephrased", "ft lora", "ft oracle", "ft reseeded"),
    *("false context", "retrieved", "oracle retrieved", "ft questions", "ft reversed", "ft augmented strict"),
    *("ft augmented true", "ft augmented agreed", "ft augmented half", "ft augmented replay 30", "ft distilled"),
)
WHOLE = Arm(train=(Source.DOCUMENTS,), splitting=Splitting.WHOLE)


def arms_of(dataset: str) -> list[str]:
    """The arms that are recorded on a dataset: every kind of arm on one, the main kinds on each."""
    more = {"reversals": IN_ONE, "semantic": ("ft whole", "ft augmented cumulative")}
    return [*IN_ALL, *more.get(dataset, ())]


def params_of(dataset: str, folder: Path) -> Params:
    """The tiny study of a dataset; files that it is read from are written into the folder."""
    shape = dict(SHAPES[dataset])
    if dataset == "berglund":
        shape["folder"] = str(write_files(folder))
    if dataset == "documents":
        for name, text in DOCUMENTS.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder.parent / "questions.csv").write_text(QUESTIONS, encoding="utf-8")
        shape = {"folder": str(folder), "questions": str(folder.parent / "questions.csv")}
    return Params.parse(
        {
            "worlds": {dataset: shape},
            "seeds": [SEEDS.get(dataset, 0)],
            "questions": {"per_split": 3, "options": 2 if dataset == "documents" else 4},
            "finetuning": {"epochs": 1, "fewest_steps": 3, "step_tokens": 64, "learning_rates": [RATE]},
            "augmentation": {"local_tokens": 24, "global_tokens": 24}
            | ({"temperature": 0.0} if dataset in GREEDY else {}),
            "model": MODEL,
        },
        f"golden {dataset}",
    )


def results_of(dataset: str) -> dict[str, Any]:
    """What comes of a dataset's runs, by stage."""
    with tempfile.TemporaryDirectory() as place:
        (folder := Path(place) / "files").mkdir()
        params, store = params_of(dataset, folder), Store(Path(place) / "runs")
        (seed,) = params.seeds
        made, model = prepare(params, dataset, seed), identity(params.model)
        arms = [arm for arm in arms_of(dataset) if arm == "ft whole" or arm in params.arms_in(dataset)]
        specs = {arm: as_chosen(params.arms.get(arm, WHOLE), Choice(rate=RATE), dataset)[0] for arm in arms}
        runs = [EvaluationRun(dataset, seed, params, model, arm, spec, RATE) for arm, spec in specs.items()]
        found: dict[str, Any] = {
            "data": content_hash([[d.text for d in made.documents], [q._asdict() for q in made.questions]]),
            "generation": {},
            "finetuning": {},
            "scoring": {},
        }
        for source in (Source.LOCAL, Source.GLOBAL):
            generation = GenerationRun(dataset, seed, params, model, source)
            assert work([generation], store, threads=1) == {}
            found["generation"][str(source)] = list(store.rows(generation.key)["sentence"])
        for run in runs:
            assert work([run], store, threads=1) == {}
            record, rows = store.record(run.key), store.rows(run.key)
            if "training" in record:
                found["finetuning"][run.arm] = {name: record["training"][name] for name in ("steps", "losses")}
            found["scoring"][run.arm] = [value for values in rows["option_log_probs"] for value in values]
        return found


def machine() -> str:
    """What decides on the last bits of a result."""
    flags = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {flags}, torch {torch.__version__.partition('+')[0]}"


def recorded() -> dict[str, Any]:
    """What was recorded."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def versions_now() -> dict[str, int]:
    """The versions of stages and datasets."""
    return versions.versions_of(list(versions.STAGES), list(SHAPES))


def differences(expected: Any, found: Any, tolerance: float, place: str = "") -> Iterator[str]:
    """Where two results differ, numbers by more than the tolerance."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        for name in expected:
            yield from differences(expected[name], found[name], tolerance, f"{place}.{name}" if place else name)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for k, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, tolerance, f"{place}[{k}]")
    elif isinstance(expected, float) and isinstance(found, float):
        if abs(expected - found) > tolerance:
            yield f"{place}: {found!r}, not {expected!r}"
    elif expected != found:
        yield f"{place}: {found!r}, not {expected!r}"


def without_reason(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What speaks against recording: a stage that changed under its version, a version raised for nothing."""
    was, now = old["versions"], new["versions"]
    raised = {name for name in now if now[name] != was.get(name)}
    for dataset, results in new["results"].items():
        if dataset not in old["results"]:
            continue
        before = old["results"][dataset]
        stages = [stage for stage in versions.STAGES if of_the_same(results[stage], before[stage]) != before[stage]]
        if stages and not raised & {dataset, *list(versions.STAGES)[: list(versions.STAGES).index(stages[0]) + 1]}:
            yield f"{dataset}: {stages[0]} changed; raise its version in study/runs/versions.py"
    for name in raised & set(was):
        of = [r for d, r in new["results"].items() if name in (d, *versions.STAGES)]
        before = [r for d, r in old["results"].items() if name in (d, *versions.STAGES)]
        stage = name if name in versions.STAGES else "data"
        if [r[stage] for r in of] == [r[stage] for r in before]:
            yield f"{name}: its version was raised, but its results are the same; take it back"


def of_the_same(new: Any, old: Any) -> Any:
    """The new results of the arms that were recorded; arms may be added."""
    return {arm: new.get(arm) for arm in old} if isinstance(old, dict) else new


class Watched(generation.Draw):
    """A draw that keeps how near another token was."""

    nearest = math.inf

    def __call__(self, logits: torch.Tensor, items: Sequence[int]) -> torch.Tensor:
        if self.temperature:
            upto = (logits.double() / self.temperature).softmax(-1).cumsum(-1)
            drawn = torch.tensor([self.drawn[item][self.step] for item in items])
            Watched.nearest = min(Watched.nearest, float((upto - drawn[:, None] * upto[:, -1:]).abs().min()))
        return super().__call__(logits, items)


def main() -> int:
    """Record the golden study; refused where results and versions do not go together, or other machines differ."""
    torch.set_num_threads(1)
    generation.Draw = Watched  # type: ignore[misc]
    new: dict[str, Any] = {"machine": machine(), "versions": versions_now(), "results": {}}
    for name in SHAPES:
        Watched.nearest = math.inf
        new["results"][name] = results_of(name)
        if Watched.nearest < NEAREST:
            print(
                f"{name}: a sampled token is within {Watched.nearest:.0e} of another; use other SEEDS", file=sys.stderr
            )
            return 1
    wrong = list(without_reason(recorded(), new)) if FILE.is_file() and recorded()["machine"] == new["machine"] else []
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    FILE.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
