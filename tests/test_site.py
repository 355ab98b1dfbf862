"""The site's pages say what the rows say, and hold nothing of their own."""

import re
import shutil

import nbformat
import pandas as pd
import pytest

from study.config import ParamsError
from study.evidence.verify import PAGE
from study.paths import RESULTS, ROOT
from study.site import pages
from study.site.build import HERE, Sources, write_notebooks
from study.site.markdown import escaped, interval, plain_table
from study.site.published import Published


@pytest.fixture
def site(published, tmp_path):
    """A tiny published study in a folder that may be spoilt."""
    params, results = published
    shutil.copytree(results, tmp_path / "results")
    return Published(params, tmp_path / "results")


def change_a_row(published: Published, arm: str) -> None:
    """Turn all answers of an arm's first trial round: what was likeliest becomes least likely."""
    listed = pd.read_csv(published.results / PAGE / "runs.csv")
    file = published.results / "runs" / listed[listed["arm"] == arm]["run"].iloc[0] / "rows.parquet"
    rows = pd.read_parquet(file)
    # The false options all become likelier than the true one, and the mark says so.
    rows["option_log_probs"] = [
        [-9.0 if k in answers else -1.0 for k in range(len(options))]
        for answers, options in zip(rows["answers"], rows["options"], strict=True)
    ]
    rows["correct"] = False
    rows.to_parquet(file, index=False)


def test_every_claim_is_on_the_page_with_its_verdict_and_effect(site):
    text = pages.claims_table(site)
    effects, claims = site.judged
    for claim in claims.itertuples():
        line = next(line for line in text.splitlines() if line.startswith(f"| [{claim.number}]"))
        assert f">{claim.verdict}<" in line and escaped(claim.claim) in line
        part = effects[effects["number"] == claim.number]
        shown = [interval(e.effect, e.low, e.high) in line for e in part.itertuples()]
        assert any(shown) == (len(part) > 0)
    assert len(re.findall(r"^\(claim-\d+\)=$", pages.claim_sections(site), re.M)) == len(claims)


def test_a_row_that_changes_changes_the_page(site):
    before = pages.claims_table(site), pages.accuracy_table_of(site, "reversals")
    change_a_row(site, "ft")
    fresh = Published(site.params, site.results)
    lines = [line for line in pages.accuracy_table_of(fresh, "reversals").splitlines() if line.startswith("| ft |")]
    assert re.findall(r"\d\.\d\d(?= \[)", lines[0]) == ["0.00"] * len(re.findall(r"\d\.\d\d(?= \[)", lines[0])) != []
    assert pages.accuracy_table_of(fresh, "reversals") != before[1] and pages.claims_table(fresh) != before[0]


def test_a_verdict_that_does_not_follow_is_not_shown(site):
    file = site.results / PAGE / "claims.csv"
    file.write_text(file.read_text().replace(",unresolved", ",replicates", 1))
    with pytest.raises(ParamsError, match=r"the rows say unresolved, published is replicates; `make reproduce`"):
        pages.claims_table(site)


@pytest.mark.parametrize("path", sorted((HERE / "source").glob("*.md")), ids=lambda path: path.name)
def test_no_number_in_a_page_s_own_prose_is_a_result(path):
    text = re.sub(r"\[\[\w+\]\]|\]\([^)]*\)|`[^`]*`|<a [^>]*>|Lampinen et al\. 2025|95 %", "", path.read_text())
    assert not re.findall(r"\d", text)


def test_what_a_model_wrote_is_text_and_never_markup():
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) `a` | b {x}`y` $z$"
    shown = plain_table(pd.DataFrame({"a": [hostile]}))
    assert "<script" not in shown.replace("\\<", "") and "](javascript" not in shown.replace("\\]", "")
    assert len(shown.splitlines()) == 3 and len(re.findall(r"(?<!\\)\|", shown.splitlines()[2])) == 2


def test_links_of_the_repository_lead_to_the_site(tmp_path):
    sources = Sources(tmp_path / "pages", tmp_path / "files")
    text = (
        "[params](params/default.yaml), [page](DEVIATIONS.md#x), [five](results/default/05_compare.ipynb), "
        "[there](https://arxiv.org/abs/1), [folder](src/study/worlds/), [`code`](src/study/lm/scoring.py)"
    )
    led = sources.led_to_the_site(text, ROOT, "contributing.md")
    assert '<a href="files/params/default.yaml">params</a>' in led
    assert "[page](deviations.md#x)" in led and "[five](notebooks/05_compare.ipynb)" in led
    assert "[there](https://arxiv.org/abs/1)" in led and ", folder," in led
    assert '<a href="files/src/study/lm/scoring.py">code</a>' in led
    assert (tmp_path / "files/params/default.yaml").read_bytes() == (ROOT / "params/default.yaml").read_bytes()
    assert 'href="../files/' in sources.led_to_the_site(text, ROOT, "cards/base_model.md")


def test_executed_notebooks_go_in_with_a_text_for_each_picture(published, tmp_path):
    params, _ = published
    write_notebooks(Published(params, RESULTS / "default"), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"00_base_model.ipynb", "05_compare.ipynb", "07_your_documents.ipynb"} <= names
    told = []
    for path in tmp_path.iterdir():
        for cell in nbformat.read(path, as_version=4).cells:
            if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
                told.append(cell.metadata["mystnb"]["image"]["alt"])
    assert len(told) > 15 and all(len(text) > 10 and "<Figure" not in text for text in told)


def test_a_study_without_pages_has_no_site(published, tmp_path):
    params, _ = published
    with pytest.raises(ParamsError, match=r"trials\.csv is missing.*make reproduce"):
        pages.claims_table(Published(params, tmp_path))
