"""What readers see is in the field's words: none of those that this project once had of its own."""

import json
import re

import pytest

from study.paths import ROOT

OWN_WORDS = re.compile(
    r"\b(?:anew|told|from nothing|turn(?:s|ed)? round|held against|peers?|thousand million|ladder|"
    r"behind a context|does not follow|finished before|mend(?:s|ed)?|trials?|refuted|unresolved|trained direction|"
    r"billions of operations|wrote)\b",
    re.IGNORECASE,
)
FIRST_EDITION = re.compile(r"^\| \d+ \|.*$|^Then: .*$", re.MULTILINE)  # its verdicts as they were called then
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "params/documents/README.md")),
    *(path for path in ROOT.glob("docs/*.md") if path.name not in ("log.md", "changelog.md")),
    *ROOT.glob("docs/cards/*.md"),
    *ROOT.glob("notebooks/*.ipynb"),
    *ROOT.glob("src/study/figures/*.py"),
    ROOT / "src" / "study" / "arms.py",
]


def own_words_in(text: str) -> list[str]:
    return OWN_WORDS.findall(FIRST_EDITION.sub("", text))


@pytest.mark.parametrize("path", [path for path in PAGES if path.is_file()], ids=lambda path: path.name)
def test_readers_find_the_field_s_words(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert own_words_in(text) == []


def test_an_own_word_is_found():
    assert own_words_in("The context is read anew.\n| 3 | unresolved | inconclusive |") == ["anew"]
