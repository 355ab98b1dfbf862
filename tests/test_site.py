"""The site's pages say what the rows say, and hold nothing of their own."""

import os
import re
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
import study_article
import study_parts as parts
from pypdf import PdfReader
from study_article import ARTICLE
from study_parts import escaped, interval, plain_table
from study_published import Published

from study.config import ParamsError
from study.evidence.verify import PAGE
from study.params import load_params
from study.paths import PARAMS, ROOT
from study.runs.store import PUBLISHED, Store

DOCS = ROOT / "docs"
# Pages of what was measured or computed once; the others state no result but what is filled in.
REPORTS = {"guide.md", "log.md", "deviations.md", "cluster.md", "scaling.md", "real_models.md"}


@pytest.fixture
def site(published, tmp_path):
    """A tiny published study in a folder that may be spoilt."""
    params, results = published
    shutil.copytree(results, tmp_path / "results")
    return Published(params, tmp_path / "results")


def site_extension():
    """The extension, which needs Sphinx; that is installed for the site alone."""
    pytest.importorskip("sphinx")
    import study_site

    return study_site


def change_a_row(published: Published, arm: str) -> None:
    """Turn all answers of an arm's first trial round: what was likeliest becomes least likely."""
    listed = pd.read_csv(published.results / PAGE / "runs.csv")
    key = listed[listed["arm"] == arm]["run"].iloc[0]
    file = Store(published.results / "runs").path(key) / "rows.parquet"
    rows = pd.read_parquet(file)
    # The false options all become likelier than the true one, and the mark says so.
    rows["option_log_probs"] = [
        [-9.0 if k in answers else -1.0 for k in range(len(options))]
        for answers, options in zip(rows["answers"], rows["options"], strict=True)
    ]
    rows["correct"] = False
    rows.to_parquet(file, index=False)


def test_every_claim_is_on_the_page_with_its_verdict_and_effect(site):
    text = parts.claims_table(site)
    effects, claims = site.judged
    for claim in claims.itertuples():
        line = next(line for line in text.splitlines() if line.startswith(f"| [{claim.number}]"))
        assert f">{claim.verdict}<" in line and escaped(claim.claim) in line
        part = effects[effects["number"] == claim.number]
        shown = [interval(e.effect, e.low, e.high) in line for e in part.itertuples()]
        assert any(shown) == (len(part) > 0)
    assert len(re.findall(r"^\(claim-\d+\)=$", parts.claim_sections(site), re.M)) == len(claims)


def test_a_row_that_changes_changes_the_page(site):
    before = parts.claims_table(site), parts.accuracy_table_of(site, "reversals")
    change_a_row(site, "ft")
    fresh = Published(site.params, site.results)
    lines = [line for line in parts.accuracy_table_of(fresh, "reversals").splitlines() if line.startswith("| ft |")]
    assert re.findall(r"\d\.\d\d(?= \[)", lines[0]) == ["0.00"] * len(re.findall(r"\d\.\d\d(?= \[)", lines[0])) != []
    assert parts.accuracy_table_of(fresh, "reversals") != before[1]
    with pytest.raises(ParamsError, match=r"claim \d+: the rows say"):
        parts.claims_table(fresh)


def test_the_headline_is_that_of_the_rows_or_none(site):
    shown = parts.headline(site)
    assert "**" in shown and "million parameters" in parts.model(site)
    for arm in ("icl", "ft"):
        change_a_row(site, arm)
    with pytest.raises(ParamsError, match=r"headline\.csv: the rows give other numbers"):
        parts.headline(Published(site.params, site.results))


def test_a_verdict_that_does_not_follow_is_not_shown(site):
    file = site.results / PAGE / "claims.csv"
    file.write_text(file.read_text().replace(",inconclusive", ",supported", 1))
    with pytest.raises(ParamsError, match=r"the rows say inconclusive, published is supported; `make reproduce STUDY="):
        parts.claims_table(site)


@pytest.mark.parametrize(
    "path", [path for path in sorted(DOCS.glob("*.md")) if path.name not in REPORTS], ids=lambda path: path.name
)
def test_no_number_in_a_page_s_own_prose_is_a_result(path):
    text = re.sub(r"\[\[[\w./]+\]\]|\]\([^)]*\)|`[^`]*`|<a [^>]*>|Lampinen et al\. 2025|95 %", "", path.read_text())
    assert not re.findall(r"\d", text)


def test_what_a_model_wrote_is_text_and_never_markup():
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) `a` | b {x}`y` $z$"
    shown = plain_table(pd.DataFrame({"a": [hostile]}))
    assert "<script" not in shown.replace("\\<", "") and "](javascript" not in shown.replace("\\]", "")
    assert len(shown.splitlines()) == 3 and len(re.findall(r"(?<!\\)\|", shown.splitlines()[2])) == 2


def test_links_of_the_repository_lead_to_the_site(tmp_path):
    study_site = site_extension()
    text = (
        "[params](params/default.yaml), [page](docs/deviations.md#x), [there](https://arxiv.org/abs/1), "
        "[folder](src/study/worlds/), [other page](README.md), [outside](../../../../etc/passwd)"
    )
    file = ROOT / "build" / ".test_site.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text.replace("](", "](../").replace("](../https", "](https"))
    try:
        led = study_site.repository_page(file, DOCS / "cards" / "base_model")
    finally:
        file.unlink()
    assert led == (
        "[params](../../params/default.yaml), [page](../deviations.md#x), [there](https://arxiv.org/abs/1), "
        "folder, other page, outside"
    )


def test_names_in_double_brackets_are_filled_and_unknown_ones_refused(site):
    filled = site_extension().filled
    assert filled("a [[verdicts]] b", site, "index") == f"a {parts.verdicts(site)} b"
    assert filled("[[CHANGELOG.md]]", site, "changelog").startswith("# Changelog")
    with pytest.raises(ParamsError, match=r"nothing\.png: it or its text is missing; `make figures`"):
        filled("[[05_compare/nothing.png]]", site, "index")
    with pytest.raises(ParamsError, match=r"index: nothing computes \[\[unknown\]\]; there are: .*claims_table"):
        filled("[[unknown]]", site, "index")


def test_executed_notebooks_go_in_with_a_text_for_each_picture(tmp_path):
    folder = tmp_path / "notebooks"
    site_extension().write_notebooks(PUBLISHED, folder)
    names = {path.name for path in folder.iterdir()}
    assert {"00_base_model.ipynb", "05_compare.ipynb", "07_your_documents.ipynb"} <= names
    assert len(names) == 6 + len(site_extension().OTHER_NOTEBOOKS)  # none has taken another's place
    told = []
    for path in folder.iterdir():
        for cell in nbformat.read(path, as_version=4).cells:
            if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
                told.append(cell.metadata["mystnb"]["image"]["alt"])
    assert len(told) > 15 and all(len(text) > 10 and "<Figure" not in text for text in told)


def test_a_study_without_pages_has_no_site(published, tmp_path):
    params, _ = published
    with pytest.raises(ParamsError, match=r"runs\.csv is missing.*make reproduce"):
        parts.claims_table(Published(params, tmp_path))


@pytest.mark.nightly
def test_a_study_that_there_is_not_ends_in_one_line(tmp_path):
    site_extension()
    given = [sys.executable, "-m", "sphinx", "-q", "-d", tmp_path / "doctrees", DOCS, tmp_path / "site"]
    done = subprocess.run(given, env={**os.environ, "STUDY": "nope"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and re.fullmatch(r"STUDY = 'nope': no params/nope.yaml; there are: .*\n", done.stderr)


def test_the_article_is_filled_from_the_rows():
    text = study_article.filled(Published(load_params(PARAMS / f"{PUBLISHED.name}.yaml"), PUBLISHED))
    assert "[[" not in text and "](" not in re.sub(r"!\[[^\]]*\]\(/results/[^)]*\.svg\)|\]\(http[^)]*\)", "", text)
    verdicts = pd.read_csv(PUBLISHED / "05_compare" / "claims.csv")["verdict"]
    assert [line.split("|")[3].strip() for line in re.findall(r"^\| \d+ \|.*", text, re.M)] == list(verdicts)
    assert set(re.findall(r"@(\w+)", text)) <= set(
        re.findall(r"@\w+{(\w+)", (ARTICLE.parent / "references.bib").read_text())
    )


def test_the_article_s_pdf_is_of_the_published_rows():
    claims = Published(load_params(PARAMS / f"{PUBLISHED.name}.yaml"), PUBLISHED).claims
    text = "".join(page.extract_text() for page in PdfReader(ARTICLE.with_suffix(".pdf")).pages)
    words = "|".join(claims["verdict"].unique())
    said = re.findall(rf"\b({words}) ([−+]\d\.\d\d) \[", text)
    shown = [f"{effect:+.2f}".replace("-", "−") for effect in claims["effect"]]
    assert said == [*zip(claims["verdict"], shown, strict=True)]


def test_columns_of_the_article_s_tables_are_as_wide_as_their_text():
    table = "| a | bb |\n| --- | --- |\n| some long text | b |\n"
    rule = study_article.in_proportion(table).splitlines()[1].strip("|").split("|")
    assert [len(part) for part in rule] == [len(" some long text "), len(" bb ")]
