"""What `make help-nb` says of a notebook and its settings is what can be run."""

import re

import pytest
import yaml

from study import cli
from study.base_model.recipe import load_recipe
from study.config import ParamsError
from study.help import example_of, head_of, settings_of
from study.params import Params, load_params
from study.paths import NOTEBOOKS

ALL = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
SETTINGS = {setting.field: setting for setting in settings_of(ALL[3])}


def flat(values, path=""):
    """Nested settings as {dotted.path: value}."""
    if isinstance(values, dict) and values:
        return {k: v for key, inner in values.items() for k, v in flat(inner, f"{path}.{key}" if path else key).items()}
    return {path: values}


def test_every_setting_of_the_params_is_listed():
    values = Params().plain()
    values["arms"] = {"NAME": values["arms"]["ft"]}
    listed = set(SETTINGS)
    assert set(flat(values)) <= listed
    assert {"worlds.berglund.people", "model_sizes.models.N.dtype", "worlds.family.rename"} <= listed


def test_a_listed_default_is_the_default_and_a_listed_bound_is_held():
    assert SETTINGS["finetuning.epochs"][1:] == ("whole number, >= 1", "5", "passes over an arm's texts")
    assert Params().finetuning.epochs == 5
    with pytest.raises(ParamsError, match="epochs"):
        Params.parse({"finetuning": {"epochs": 0}}, "test")
    assert SETTINGS["model.quantization"].allowed == "8bit | 4bit or null"
    assert SETTINGS["worlds.reversals"].allowed == "bundled | source | settings or null"
    recipe = {setting.field: setting for setting in settings_of(ALL[0])}
    assert recipe["stages.N.facts"].default == "must be given"


@pytest.mark.parametrize("notebook", ALL, ids=lambda path: path.stem)
def test_the_example_of_a_notebook_can_be_run_and_changes_a_listed_setting(notebook, tmp_path):
    text, place = example_of(notebook)
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    if place.startswith("params/base_model"):
        (tmp_path / "default.yaml").write_text((NOTEBOOKS.parent / place).with_name("default.yaml").read_text())
        assert load_recipe(file) != load_recipe(tmp_path / "default.yaml")
    else:
        assert load_params(file) != Params()
    fields = {setting.field for setting in settings_of(notebook)}
    assert set(flat({k: v for k, v in yaml.safe_load(text).items() if k != "extends"})) <= fields


@pytest.mark.parametrize("notebook", ALL, ids=lambda path: path.stem)
def test_a_notebook_begins_with_a_title_and_a_question(notebook):
    title, question = head_of(notebook)
    assert re.match(r"\d\. \w", title) and question.startswith("Question. ") and "?" in question


def test_the_help_of_a_notebook_shows_its_parameters_its_settings_and_how_to_run_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    assert cli.main(["help-nb", "03"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3. Fine-tuned: what does the model infer?")
    assert any(re.match(r" ?PARAMS_FILE +\"params/default.yaml\" +settings: differences", line) for line in lines)
    assert any(re.match(r" ?finetuning\.epochs +whole number,.* 5 +passes over", line) for line in lines)
    assert lines[-1].strip() == "make nb NB=03 PARAMS=mine.yaml"
    assert max(map(len, lines)) <= 90 and not any("\x1b" in line for line in lines)


def test_help_of_a_notebook_that_is_not_there_names_those_that_are(capsys):
    assert cli.main(["help-nb", "77"]) == 1
    assert "NB = '77': no notebook begins with that number; there are: 00_base_model" in capsys.readouterr().err
