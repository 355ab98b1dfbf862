"""Versions of what results depend on besides settings, data and model.

A version is raised by hand when, and only when, the results of its stage change; earlier runs are stale then. The
golden study (`tests/test_golden.py`) fails if only one of the two changes. The source is in no key.
"""

DATA, GENERATION, FINETUNING, SCORING = "data", "generation", "finetuning", "scoring"
STAGES = {DATA: 1, GENERATION: 1, FINETUNING: 1, SCORING: 1}
DATASETS = {"documents": 2}  # of datasets whose own generator has changed; 1 where none is named
FIGURES = 3  # what notebooks draw and tabulate from rows
BASE_MODEL = 1  # the pretraining of the bundled model


def versions_of(stages: list[str], datasets: list[str]) -> dict[str, int]:
    """The versions of some stages and of the datasets they work on."""
    return {stage: STAGES[stage] for stage in stages} | {name: DATASETS.get(name, 1) for name in datasets}
