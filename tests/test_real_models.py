"""Published accuracies of pretrained models."""

import pytest

from study.evidence.stats import accuracy_table
from study.evidence.verify import rows_listed
from study.pages import page
from study.pages.notebook_arms import control_arms, main_arms
from study.pages.page import Page, notebook_path, real_tables
from study.pages.real_models import real_models
from study.params import load_params
from study.paths import PARAMS, RESULTS


@pytest.mark.parametrize("study", sorted(real_tables()))
def test_what_fresh_seeds_gave_is_computed_again_from_their_rows(study):
    params = load_params(PARAMS / f"{study}.yaml")
    arms = main_arms(params), ["ft", *control_arms(params)]
    for file, some in zip(real_tables()[study], arms, strict=True):
        rows = rows_listed(RESULTS / study, some)
        found = accuracy_table(rows, params.statistics).to_csv(index=False, float_format="%.6g")
        assert found == file.read_text() and set(rows["seed"]) <= set(params.seeds)


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
