"""The one table of which notebook runs which arms; below it, the groups of arms that notebooks run and show.

Notebooks, the stamps of their pages, `make plan` and `make status` all ask it.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from study.arms import Arm, Context, Keep, Source
from study.config import ParamsError
from study.params import Params
from study.runs.run import EvaluationRun, Run
from study.runs.runner import waves_of
from study.runs.store import Store, content_hash

Group = Callable[[Params], list[str]]


def _is_variant(arm: Arm, params: Params) -> bool:
    strict = arm.keep == (Keep.STRICT,) and Source.ORACLE not in arm.train  # carries the claims
    if (arm.keep or arm.as_long_as) and not strict:
        return True
    some = arm.shots and arm.context is Context.DOCUMENTS
    fixed = arm.learning_rates and not arm.method
    beside = {Source.REPHRASED, Source.QUESTIONS, Source.REVERSED, Source.REPLAY} & set(arm.train)
    odd = arm.context in (Context.IRRELEVANT, Context.SUPPORTING, Context.FALSE)
    widest = max((len(each.worlds or params.world_names) for each in params.arms.values() if each.train), default=0)
    limited = arm.worlds and len(arm.worlds) < widest
    other = arm.retention or arm.reseed or limited or arm.half or arm.distilled
    return bool(some or fixed or beside or odd or other)


def _where(holds: Callable[[Arm, Params], object]) -> Group:
    """The arms of a study of which something holds, in the order of its params."""
    return lambda params: [name for name, arm in params.arms.items() if holds(arm, params)]


all_arms = _where(lambda arm, _: True)
in_context_arms = _where(lambda arm, _: not arm.train and not arm.retention)
finetuned_arms = _where(lambda arm, _: arm.train == (Source.DOCUMENTS,) and not arm.retention)
augmented_arms = _where(lambda arm, _: len(arm.train) > 1 and not arm.retention)
# Evaluated on another dataset than the one they were trained on.
retention_arms = _where(lambda arm, _: arm.retention)
# Those of the study's question, without controls, variants and partial contexts; then the others, without a context and
# with one.
main_arms = _where(lambda arm, params: not _is_variant(arm, params))
control_arms = _where(lambda arm, params: _is_variant(arm, params) and not arm.retention and not arm.context)
context_arms = _where(lambda arm, params: _is_variant(arm, params) and not arm.retention and arm.context)
# Of use to somebody with nothing but documents and a model.
practical_arms = _where(
    lambda arm, params: (
        (arm.train or arm.context) and not (_is_variant(arm, params) or arm.keep or Source.ORACLE in arm.train)
    )
)

NOTEBOOK_ARMS: dict[str, tuple[Group, ...]] = {
    "00_base_model": (),
    "01_generate_data": (),
    "02_in_context": (in_context_arms,),
    "03_finetune": (in_context_arms, finetuned_arms),
    "04_augmented_finetune": (augmented_arms,),
    "05_compare": (all_arms,),
    "06_mechanism_and_cost": (all_arms,),
    "07_your_documents": (all_arms,),
}
MODEL_SIZES_NOTEBOOK = "06_mechanism_and_cost"  # also runs the arms of the model-size comparison on its other models

NOTHING_FINISHED = Store(Path(os.devnull))


def arms_of(notebook: str, params: Params) -> list[str]:
    """The arms that a notebook runs, in the order of the params.

    Raises:
        ParamsError: if the table has no row for the notebook.
    """
    if notebook not in NOTEBOOK_ARMS:
        raise ParamsError(
            f"notebook = {notebook!r}: no row says which arms it runs; add one to NOTEBOOK_ARMS in "
            "src/study/pages/notebook_arms.py"
        )
    named = {name for group in NOTEBOOK_ARMS[notebook] for name in group(params)}
    return [name for name in params.arms if name in named]


def studies_of(notebook: str, params: Params) -> list[tuple[Params, list[str]]]:
    """What a notebook runs: the study with some of its arms, and the other models; nothing without a row."""
    if notebook not in NOTEBOOK_ARMS:
        return []
    other_models = params.other_models if notebook == MODEL_SIZES_NOTEBOOK else ()
    return [(params, arms_of(notebook, params)), *((other, all_arms(other)) for other in other_models)]


def first_notebooks(units: Sequence[Run], params: Params, notebooks: Sequence[str]) -> list[str]:
    """Of each unit the first of a study's notebooks, in the order of their execution, that runs it, or ""."""
    first: dict[str, str] = {}
    ran: dict[str, set[str]] = {}
    for notebook in notebooks:
        for study, arms in studies_of(notebook, params):
            before = ran.setdefault(content_hash(study.plain()), set())
            if not set(arms) <= before:
                for wave in waves_of(study, NOTHING_FINISHED, arms):
                    first = {_key_without_rate(unit): notebook for unit in wave} | first
                before |= set(arms)
    return [first.get(_key_without_rate(unit), "") for unit in units]


def _key_without_rate(unit: Run) -> str:
    """A key that does not change once the learning rate is chosen; candidates of one choice share it."""
    return replace(unit, learning_rate=None).key if isinstance(unit, EvaluationRun) else unit.key
