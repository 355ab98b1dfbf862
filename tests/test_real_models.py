"""Published accuracies of pretrained models."""

import pandas as pd
import pytest

from study.evidence.stats import accuracy_table
from study.evidence.verify import rows_listed
from study.pages import page
from study.pages.notebook_arms import control_arms, main_arms
from study.pages.page import Page, notebook_path, real_tables
from study.pages.real_models import real_models
from study.params import load_params
from study.paths import PARAMS, RESULTS
from study.runs.packs import unpacked


@pytest.mark.parametrize("study", sorted(real_tables()))
def test_what_fresh_seeds_gave_is_computed_again_from_their_rows(study):
    params = load_params(PARAMS / f"{study}.yaml")
    arms = main_arms(params), ["ft", *control_arms(params)]
    for file, some in zip(real_tables()[study], arms, strict=True):
        rows = rows_listed(RESULTS / study, some)
        found = accuracy_table(rows, params.statistics).to_csv(index=False, float_format="%.6g")
        assert found == file.read_text() and set(rows["seed"]) <= set(params.seeds)


def test_accuracies_by_size_and_number_of_facts_are_those_of_the_packed_rows(tmp_path):
    table = pd.read_csv(RESULTS / "sizes" / "06_mechanism_and_cost" / "model_sizes.csv")
    (tmp_path / "packs").symlink_to(RESULTS / "sizes" / "packs")
    runs = unpacked(tmp_path / "runs")
    for (model, facts, arm), part in table.groupby(["model", "in the dataset", "arm"]):
        name = f"reversals-{arm.replace(' ', '-')}-{model.rpartition('/')[2].lower()}-seed"
        rows = [pd.read_parquet(file / "rows.parquet") for file in sorted(runs.glob(f"{name}*"))]
        rows = pd.concat(some for some in rows if (some["split"] == "reversal").sum() == facts)
        assert (part["seeds"] == rows["seed"].nunique()).all() and part["seeds"].min() >= 1
        found = rows.groupby("split")["correct"].mean()[part["split"]]
        assert part["value"].to_numpy() == pytest.approx(found.to_numpy(float), abs=1e-6), (model, facts, arm)


def test_no_accuracy_is_published_twice():
    published = real_models()
    assert published.groupby("model")["parameters"].nunique().eq(1).all()
    assert len(published) and not published.duplicated(["model", "world", "split", "arm"]).any()


def test_the_page_beside_real_models_rests_on_their_tables_but_not_on_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    (tmp_path / "qwen" / "05_compare").mkdir(parents=True)
    (tmp_path / "qwen" / "05_compare" / "accuracy.csv").write_text("value\n")
    file = PARAMS / "smoke.yaml"
    pages = {study: Page(notebook_path("06"), file, load_params(file), tmp_path / study) for study in ("qwen", "other")}
    before = {study: page.key for study, page in pages.items()}
    with real_tables()["qwen"][0].open("a") as table:
        table.write("\n")
    assert pages["other"].key != before["other"] and pages["qwen"].key == before["qwen"]
