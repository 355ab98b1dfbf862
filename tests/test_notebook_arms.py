"""The table of which notebook runs which arms, against what the cells of the notebooks do when they are executed."""

import ast
import json
import re
from types import SimpleNamespace

import pytest

from study.cli import study_runs
from study.config import ParamsError
from study.pages.notebook_arms import NOTEBOOK_ARMS, arms_of, control_arms, first_notebooks, main_arms, studies_of
from study.params import load_params
from study.paths import NOTEBOOKS, PARAMS
from study.runs.runner import runs_of, waves_of
from study.runs.store import Store

STUDIED = sorted(path for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb") if not path.name.startswith("00"))


def executed(notebook, params):
    """What a notebook asks to be run, in turn: its statements about arms and runs are executed, and record calls."""
    calls = []
    opened = SimpleNamespace(
        params=params,
        arms=arms_of(notebook.stem, params),
        run=lambda arms: calls.append((params, list(arms))),
    )

    def run_model_sizes(experiment):
        calls.extend((other, list(other.arms)) for other in experiment.params.other_models)

    cells = json.loads(notebook.read_text())["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert "runner" not in source
    namespace = {"experiment": opened, "model_sizes": SimpleNamespace(run_model_sizes=run_model_sizes)}
    for statement in map(ast.unparse, ast.parse(source).body):
        if re.search(r"^arms = |experiment\.run\(|run_model_sizes\(|import .*_arms", statement):
            exec(statement, namespace)  # noqa: S102
    return calls


def test_every_notebook_has_a_row():
    assert list(NOTEBOOK_ARMS) == sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def test_arms_of_fewer_datasets_are_controls_unless_all_that_are_tuned_have_as_few():
    full, real = (load_params(PARAMS / f"{name}.yaml") for name in ("full", "qwen"))
    assert full.arms["ft lora"].worlds and "ft lora" in control_arms(full)
    assert real.arms["ft"].worlds and {"icl", "ft", "ft augmented strict"} <= set(main_arms(real))


@pytest.mark.parametrize("notebook", STUDIED, ids=lambda path: path.stem)
def test_a_notebook_runs_the_arms_that_the_table_says(notebook):
    params = load_params(PARAMS / "full.yaml")
    found = {}
    for studied, arms in executed(notebook, params):
        found.setdefault(studied.model.name, set()).update(arms)
    said = {studied.model.name: set(arms) for studied, arms in studies_of(notebook.stem, params) if arms}
    assert found == said
    assert len(found) == {"01": 0, "06": 2}.get(notebook.name[:2], 1)


def test_each_run_of_the_published_study_is_counted_under_the_notebook_that_runs_it_first(tmp_path):
    whole, store = load_params(PARAMS / "full.yaml"), Store(tmp_path)
    params, runs = whole.model_copy(update={"seeds": whole.seeds[:1]}), study_runs("full")
    first = {}
    for run in runs:
        for studied, arms in executed(run.notebook, params):
            for unit in (unit for wave in waves_of(studied, store, arms) for unit in wave):
                first.setdefault(unit.key, run.name)
    units = runs_of(params, store)
    said = first_notebooks(units, params, [run.name for run in runs])
    assert len(units) > 400 and said == [first[unit.key] for unit in units]
    by_label = {f"{unit.params.model.name}: {unit.label}": name[:2] for unit, name in zip(units, said, strict=True)}
    expected = {"icl": "02", "ft": "03", "ft retention": "03", "ft augmented": "04", "ft augmented retention": "04"}
    expected |= {"hybrid": "04", "icl retention": "05"}
    expected["local text"] = "03"  # for "ft repeated", which trains for as many steps as an arm with that text
    assert {name: by_label[f"bundled: family / seed 100 / {name}"] for name in expected} == expected
    assert {by_label[label] for label in by_label if label.startswith("results/")} == {"06"}


def test_it_is_the_same_once_learning_rates_are_chosen(params, tmp_path):
    """One rate for all is a choice made before anything is run; the keys of trials differ then, not the notebooks."""
    one = params.model_copy(update={"finetuning": params.finetuning.model_copy(update={"learning_rates": (1e-3,)})})
    names = list(NOTEBOOK_ARMS)
    said = []
    for studied in (params, one):
        units = runs_of(studied, Store(tmp_path))
        first = first_notebooks(units, studied, names)
        said.append({u.label: name for u, name in zip(units, first, strict=True) if u.seed in params.seeds})
    assert said[0] == said[1] and set(said[0].values()) == {name for name in names if name[:2] in "02 03 04 05"}


def test_runs_that_no_notebook_of_a_study_does_are_under_none(params, tmp_path):
    units = runs_of(params, Store(tmp_path))
    assert set(first_notebooks(units, params, ["01_generate_data"])) == {""}
    said = first_notebooks(units, params, ["07_your_documents"])
    assert set(said) == {"07_your_documents"}


def test_a_notebook_without_a_row_is_told_where_to_add_one(params):
    with pytest.raises(ParamsError, match="notebook = '08_mine': no row .* add one to NOTEBOOK_ARMS"):
        arms_of("08_mine", params)
    assert studies_of("08_mine", params) == []
