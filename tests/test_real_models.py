"""Fresh seeds of pretrained models take the place of the development seed, dataset by dataset."""

import pandas as pd
import pytest

from study.evidence.stats import accuracy_table
from study.evidence.verify import rows_listed
from study.pages import page
from study.pages.notebook_arms import control_arms, main_arms
from study.pages.page import SEEN, Page, notebook_path, real_tables
from study.pages.real_models import real_models
from study.params import load_params
from study.paths import PARAMS, RESULTS

PARAMS_OF_ONE = load_params(PARAMS / "qwen.yaml")


@pytest.fixture
def fresh(tmp_path, monkeypatch) -> pd.DataFrame:
    """Published accuracies of one method on one dataset of a real model, as its last notebook writes them."""
    table = pd.read_csv(real_tables()[SEEN][0])
    of_one = (table["model"] == PARAMS_OF_ONE.model.name) & (table["world"] == "reversals") & (table["arm"] == "ft")
    folder = tmp_path / "qwen" / "05_compare"
    folder.mkdir(parents=True)
    found = table[of_one].assign(seeds=3, value=0.5).drop(columns=["model", "parameters"])
    found.to_csv(folder / "accuracy.csv", index=False)
    (tmp_path / SEEN).mkdir(parents=True)
    table.to_csv(tmp_path / SEEN / "accuracy.csv", index=False)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    return found


def test_a_dataset_seen_on_fresh_seeds_has_none_of_the_development_seed(fresh):
    seen = pd.read_csv(real_tables()[SEEN][0])
    both = real_models()
    here = (both["model"] == PARAMS_OF_ONE.model.name) & (both["world"] == "reversals")
    assert both.loc[here, list(fresh)].equals(fresh.reset_index(drop=True)) and len(fresh)
    assert both.loc[here, "fresh"].all() and both.groupby("model")["parameters"].nunique().eq(1).all()
    others = (seen["model"] != PARAMS_OF_ONE.model.name) | (seen["world"] != "reversals")
    assert both.loc[~here, list(seen)].reset_index(drop=True).equals(seen[others].reset_index(drop=True))
    assert not both.loc[~here, "fresh"].any()


@pytest.mark.parametrize("study", sorted(real_tables().keys() - {SEEN}))
def test_what_fresh_seeds_gave_is_computed_again_from_their_rows(study):
    params = load_params(PARAMS / f"{study}.yaml")
    arms = main_arms(params), ["ft", *control_arms(params)]
    for file, some in zip(real_tables()[study], arms, strict=True):
        rows = rows_listed(RESULTS / study, some)
        found = accuracy_table(rows, params.statistics).to_csv(index=False, float_format="%.6g")
        assert found == file.read_text() and set(rows["seed"]) <= set(params.seeds)


def test_no_accuracy_is_published_twice():
    published = real_models()
    assert len(published) and not published.duplicated(["model", "world", "split", "arm"]).any()


def test_the_page_beside_real_models_rests_on_their_tables_but_not_on_its_own(fresh, tmp_path):
    file = PARAMS / "smoke.yaml"
    pages = {study: Page(notebook_path("06"), file, load_params(file), tmp_path / study) for study in ("qwen", "other")}
    before = {study: page.key for study, page in pages.items()}
    with real_tables()["qwen"][0].open("a") as table:
        table.write("\n")
    assert pages["other"].key != before["other"] and pages["qwen"].key == before["qwen"]
