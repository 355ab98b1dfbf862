"""The site in a real browser, from its files and without a network: `make site-test`."""

import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pandas as pd
import pytest

from study.evidence.verify import published_rows
from study.paths import ROOT
from study.runs.store import PUBLISHED

pytestmark = pytest.mark.browser

SITE = ROOT / "build" / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_downloads" not in path.parts)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    """Chromium as it is installed here, else the one that Playwright brought."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens a page; what the browser complains of, or asks another host for, fails the test at its end."""
    complaints, contexts = [], []

    def open_it(address: str, viewport=WIDE, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url))
        page.on("requestfailed", lambda request: complaints.append(f"cannot be read: {request.url}"))
        name, _, state = address.partition("#")
        page.goto((SITE / name).as_uri() + (f"#{state}" if state else ""))
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def test_there_is_a_site_and_it_is_that_of_the_published_results():
    assert "index.html" in PAGES and len(PAGES) > 20, "make it first: `make site`"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_and_every_link_in_it_leads_somewhere(name, open_page):
    page = open_page(name)
    missing = []
    for address in page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)"):
        place, anchor = urldefrag(urljoin(page.url, address))
        if not place.startswith("file:"):
            assert re.match(r"https://|mailto:", place), place
            continue
        path = Path(unquote(place.removeprefix("file://")))
        inside = path.is_relative_to(SITE) and path.is_file()
        anchored = anchor and "=" not in anchor and path.suffix == ".html"
        if not inside or (anchored and f'id="{unquote(anchor)}"' not in path.read_text(encoding="utf-8")):
            missing.append(address)
    assert missing == []


def serious(page) -> list[str]:
    """What axe finds that would keep people from reading the page."""
    from axe_core_python.sync_playwright import Axe

    found = Axe().run(page)["violations"]
    return [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(name, scheme, open_page):
    assert serious(open_page(name, scheme=scheme)) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_on_a_phone(name, open_page):
    page = open_page(name, NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert serious(page) == []


@pytest.mark.parametrize("width", [320, 360, 412, 700, 1011, 1073, 1135, 1331, 1385, 1438, 1920, 2560])
@pytest.mark.parametrize("name", ["index.html", "calculator.html", "claims.html", "notebooks/05_compare.html"])
def test_a_page_is_no_wider_than_the_window(name, width, open_page):
    page = open_page(name, {"width": width, "height": 900})
    box = page.locator(".content").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_search_finds_pages(open_page):
    page = open_page("index.html")
    page.fill("input[name=q] >> nth=0", "syllogisms")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")
    found = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.textContent)")
    assert any("syllogisms" in text.lower() for text in found)


def test_a_table_sorts_by_a_click_or_a_key(open_page):
    page = open_page("claims.html")
    table = page.locator("table", has_text="what is claimed")
    column = "td:first-child"
    assert [int(text) for text in table.locator(column).all_inner_texts()] == list(range(1, 21))
    table.get_by_role("button", name="claim", exact=True).press("Enter")
    table.get_by_role("button", name="claim", exact=True).click()
    assert [int(text) for text in table.locator(column).all_inner_texts()] == list(range(20, 0, -1))
    table.get_by_role("button", name="verdict").click()
    verdicts = [text.strip() for text in table.locator(".verdict").all_inner_texts()]
    assert verdicts == sorted(verdicts)


def test_the_verdicts_are_those_of_the_rows(open_page):
    published = pd.read_csv(PUBLISHED / "05_compare" / "claims.csv")["verdict"]
    table = open_page("claims.html").locator("table", has_text="what is claimed")
    assert [text.strip() for text in table.locator(".verdict").all_inner_texts()] == list(published)
    said = open_page("index.html").locator("p", has_text="claims:").inner_text()
    assert all(f"{count} {name}" in said for name, count in published.value_counts().items())


def test_the_front_page_begins_with_the_figure_the_model_and_the_table(open_page):
    page = open_page("index.html", NARROW)
    assert page.locator("figure img").first.bounding_box()["y"] < 1.2 * NARROW["height"]
    headline = pd.read_csv(PUBLISHED / "05_compare" / "headline.csv")
    assert f"{headline['parameters'].max() / 1e6:.3g} million parameters" in page.locator("article").inner_text()
    cells = page.locator("table", has_text="facts as stated").locator("td strong").all_inner_texts()
    assert cells == [f"{100 * value:.0f}" for value in headline["value"]]


def test_the_calculator_says_what_the_prices_come_to(open_page):
    page = open_page("calculator.html")

    def row(method: str) -> list[str]:
        cells = page.locator(".calculator tr", has=page.locator(f"th:text-is('{method}')")).locator("td")
        return cells.all_inner_texts()

    given = {"documents": 1000, "document": 100, "question": 10, "answer": 1, "questions": 2000, "updates": 3}
    prices = {"read": 2, "cached": 1, "written": 4, "trained": 8}  # for a million tokens
    for name, value in (given | prices).items():
        page.fill(f".calculator input[name={name}]", str(value))
    each = (1000 * 1 + 10 * 2 + 1 * 4) / 1e6
    once = 1000 * 2 / 1e6
    assert [float(text.strip("$")) for text in row("in context")[1:4]] == pytest.approx(
        [once, 1000 * each, 3 * once + 2000 * each], rel=0.01
    )
    page.uncheck(".calculator input[name=caching]")
    assert float(row("in context")[1].strip("$")) == 0 and row("in context")[4] == ""
    each_uncached, tuned = (1010 * 2 + 4) / 1e6, (10 * 2 + 4) / 1e6
    assert float(row("in context")[2].strip("$")) == pytest.approx(1000 * each_uncached, rel=0.01)
    training = 5 * 1000 * 8 / 1e6  # five passes
    assert [float(text.strip("$")) for text in row("fine-tuned")[1:3]] == pytest.approx(
        [training, 1000 * tuned], rel=0.01
    )
    assert float(row("fine-tuned")[4].removeprefix("from ")) == pytest.approx(
        training / (each_uncached - tuned), rel=0.1
    )


def test_the_comparison_shows_the_accuracies_of_the_rows_and_of_real_models(open_page):
    page = open_page("compare.html")
    page.select_option("select[name=dataset]", "family")
    page.select_option("select[name=questions]", "reversal")
    assert_shown(page, PUBLISHED, "family", "reversal")
    assert page.locator(".compare circle").count() == page.locator(".compare tbody tr").count()
    assert "GFLOP" in page.locator(".compare title").first.text_content()
    real = page.locator("select[name=model] option", has_text="1.5B")
    page.select_option("select[name=model]", label=real.inner_text())
    page.select_option("select[name=dataset]", "reversals")
    page.select_option("select[name=questions]", "reversal")
    assert_shown(page, ROOT / "results" / "qwen", "reversals", "reversal")
    assert page.locator(".compare circle").count() == 0


def assert_shown(page, results, world, split):
    """The comparison's table has the published accuracy of each method that the results have."""
    published = pd.read_csv(results / "05_compare" / "accuracy.csv")
    here = published[(published["world"] == world) & (published["split"] == split)].set_index("arm")["value"]
    rows = page.locator(".compare tbody tr").all()
    shown = {row.locator("th").inner_text(): row.locator("td").first.inner_text().split()[0] for row in rows}
    assert {arm: shown[arm] for arm in here.index} == {arm: f"{100 * value:.0f}" for arm, value in here.items()}


def test_the_explorer_opens_on_a_reversal_that_inferences_teach(open_page):
    page = open_page("explorer.html")
    page.wait_for_selector(".explorer-question td")
    assert page.locator("select[name=arm]").input_value() == "ft"
    assert page.locator("select[name=split]").input_value() == "reversal"
    assert "wrong" in page.locator(".explorer-question p").first.inner_text()
    taught = page.locator(".explorer-question tr", has=page.get_by_role("button", name="ft augmented", exact=True))
    assert taught.get_by_label("right:").count() == 1


def test_the_explorer_shows_the_rows(open_page):
    rows = published_rows(PUBLISHED)
    row = rows[(rows["world"] == "family") & (rows["seed"] == 100) & (rows["arm"] == "icl")].iloc[7]
    page = open_page(f"explorer.html#world=family&seed=100&arm=icl&split={row['split']}&item={row['item_id']}")
    page.wait_for_selector(".explorer-question td")
    text = page.locator(".explorer-question").inner_text().replace("\N{MINUS SIGN}", "-")
    for option, value in zip(row["options"], row["option_log_probs"], strict=True):
        assert option.strip() in text and f"{value:.2f}" in text
