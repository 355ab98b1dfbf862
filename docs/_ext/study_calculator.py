"""The calculator of costs: what each method reads, generates and trains on, from the study's own runs."""

import html
import json
from collections.abc import Iterator

from study_published import Published

from study.arms import Source
from study.evidence.headline import OFFERED
from study.pages.experiment import Experiment
from study.sums import added

NAMES = OFFERED | {"ft local": "fine-tuned + local inferences"}  # of methods that practice can choose from


def calculator(published: Published) -> str:
    """The form, with what the script needs to know of the study; prices are the reader's."""
    data = html.escape(json.dumps(list(methods(published))))
    script = '<script src="_static/calculator.js" defer></script>'
    return f'<div class="calculator" data-calculator="{data}"></div>\n{script}'


def methods(published: Published) -> Iterator[dict[str, object]]:
    """Of each method what one token of the documents leads to, and its accuracy on inferences.

    Yields:
        method; accuracy in percent; context (all, some or none of the documents); epochs over the documents and the
        generated text; tokens that local and global generation write for each token of the documents, 0 without it.
    """
    params = published.params
    table = published.table("06_mechanism_and_cost/cost_accuracy").drop_duplicates("arm").set_index("arm")
    written = {source: _mean(published, source) for source in (Source.LOCAL, Source.GLOBAL)}
    for name, said in NAMES.items():
        if name not in table.index:
            continue
        arm = params.arms[name]
        yield {
            "method": said,
            "accuracy": round(100 * float(table.loc[name, "value"])),
            "context": ("some" if arm.shots else "all") if arm.context else "none",
            "passages": arm.shots,
            "epochs": params.finetuning.epochs if arm.train else 0,
            **{source.value: mean if source in arm.train else 0.0 for source, mean in written.items()},
        }


def _mean(published: Published, source: Source) -> float:
    """Generated tokens for each token of the documents, over datasets and seeds."""
    experiment = Experiment(published.params, published.results, "06_mechanism_and_cost")
    whole = {(run.world, run.seed): record["context_tokens"] for run, record in experiment.finished(["icl"])}
    written = {
        (run.world, run.seed): experiment.store.record(run.key)["new_tokens"] / whole[run.world, run.seed]
        for trial, _ in experiment.finished(["ft augmented"])
        for run in trial.generation_runs
        if run.source is source and (run.world, run.seed) in whole
    }
    return float(added(written.values()) / len(written))
