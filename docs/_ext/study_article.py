"""The article: its text with what is computed from the rows of a study, as PDF by Pandoc and Typst.

Names in double brackets stand for what is computed, as on the site.
"""

import re
import sys
from pathlib import Path

import matplotlib
from study_parts import PARTS, escaped, first_sentence, interval, table, text_of
from study_published import Published

from study.config import named_file
from study.params import load_params
from study.paths import PARAMS, RESULTS, ROOT, shown
from study.runs.store import PUBLISHED

WIDEST = 56  # characters of a column, against which the others are measured
ARTICLE = ROOT / "docs" / "article" / "article.md"
BUILD = ROOT / "build"


def claims(published: Published) -> str:
    """Every claim with its verdict and the effect that decides it."""
    lines = [
        [
            str(claim["number"]),
            escaped(claim["claim"]),
            claim["verdict"],
            interval(claim["effect"], claim["low"], claim["high"]) if claim["tests"] else "",
        ]
        for claim in published.claims.to_dict("records")
    ]
    return table(lines, ["", "claim", "verdict", "effect that decides"])


def in_proportion(text: str) -> str:
    """Tables whose columns are as wide as what is in them, up to a limit: Pandoc reads that from their rules."""

    def ruled(found: re.Match[str]) -> str:
        lines = found[0].splitlines()
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in (lines[0], *lines[2:])]
        widths = [min(WIDEST, max(map(len, column))) for column in zip(*rows, strict=True)]
        lines[1] = f"|{'|'.join('-' * max(3, width) for width in widths)}|"
        return "\n".join(lines) + "\n"

    return re.sub(r"^\|.*\n\|(?: --- \|)+\n(?:\|.*\n?)+", ruled, text, flags=re.MULTILINE)


def figure(published: Published, name: str) -> str:
    """A figure with its caption."""
    picture = (published.results / name).with_suffix(".svg")
    return f"![{escaped(first_sentence(text_of(picture)))}](/{picture.relative_to(ROOT)})"


def filled(published: Published) -> str:
    """The article in Pandoc's Markdown."""
    own = {"claims": claims}

    def part(found: re.Match[str]) -> str:
        name = found[1]
        if name.endswith(".png"):
            return figure(published, name)
        text = (own.get(name) or PARTS[name])(published)
        return in_proportion(re.sub(r"\[([^\]]*)\]\((?!http)[^)]*\)", r"\1", text))  # links of the site

    return re.sub(r"\[\[([\w./]+)\]\]", part, ARTICLE.read_text(encoding="utf-8"))


def write(published: Published, target: Path) -> None:
    """Write the article as PDF."""
    import pypandoc  # these two are installed for the article alone
    import typst

    options = ["--standalone", "--citeproc", f"--bibliography={ARTICLE.with_name('references.bib')}"]
    BUILD.mkdir(exist_ok=True)
    source = BUILD / "article.typ"
    text = pypandoc.convert_text(filled(published), "typst", "markdown", extra_args=options)
    source.write_text(text, encoding="utf-8")
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # of the text in figures
    typst.compile(str(source), output=str(target), root=str(ROOT), font_paths=[str(fonts)])


if __name__ == "__main__":
    study = sys.argv[1] or PUBLISHED.name
    made = BUILD / "article.pdf" if sys.argv[1] else ARTICLE.with_suffix(".pdf")
    write(Published(load_params(named_file(PARAMS, "STUDY", study)), RESULTS / study), made)
    print(f"open {shown(made)}")
