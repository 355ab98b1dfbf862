"""The Sphinx extension that fills the site from the results of a study; nothing is executed.

A name in double brackets in a page stands for what is computed: `[[claims_table]]`, `[[05_compare/accuracy.png]]` for a
figure of the study, `[[CONTRIBUTING.md]]` for a file of the repository. The pages of datasets and of executed
notebooks are written into `docs/datasets/` and `docs/notebooks/` before Sphinx looks for pages.
"""

import os
import re
import shutil
from pathlib import Path

import nbformat
from sphinx.application import Sphinx
from study_explorer import write_explorer
from study_parts import DATASETS, NOTEBOOKS, PARTS, dataset_page, figure
from study_published import Published

from study.config import ParamsError, named_file
from study.params import load_params
from study.paths import PARAMS, RESULTS, ROOT, shown
from study.runs.store import PUBLISHED

DOCS = ROOT / "docs"
# Notebooks of the site that are not of the study itself.
GUIDE = "guide"
OTHER_NOTEBOOKS = (
    "base_model/00_base_model.ipynb",
    "documents/handbook/07_your_documents.ipynb",
)
_PART = re.compile(r"\[\[([\w./]+)\]\]")
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def filled(text: str, published: Published, docname: str) -> str:
    """A page with what its names in double brackets stand for.

    Args:
        text: Markdown.
        published: the study.
        docname: of the page, as Sphinx names it.

    Raises:
        ParamsError: if nothing computes a name, or a figure or table is not published.
    """

    def part(found: re.Match[str]) -> str:
        name = found[1]
        if name.endswith(".md"):
            return repository_page(ROOT / name, DOCS / docname)
        if name.endswith(".png"):
            return figure(published.results / name)
        if name not in PARTS:
            raise ParamsError(f"{docname}: nothing computes [[{name}]]; there are: {', '.join(PARTS)}")
        return PARTS[name](published)

    return _PART.sub(part, text)


def repository_page(file: Path, page: Path) -> str:
    """Markdown of a file outside `docs/`, its links as seen from the page that it becomes.

    A link to what is no file of the repository, a folder say, becomes its text.
    """

    def seen_from_page(found: re.Match[str]) -> str:
        said, target, anchor = found[1], found[2], found[3] or ""
        path = (file.parent / target).resolve()
        a_page = path.suffix != ".md" or path.is_relative_to(DOCS)
        if not (path.is_relative_to(ROOT) and path.is_file() and a_page):
            return said
        return f"[{said}]({os.path.relpath(path, page.parent)}{anchor})"

    return _LINK.sub(seen_from_page, file.read_text(encoding="utf-8"))


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_datasets(published: Published, folder: Path) -> None:
    """A page for each dataset of the study."""
    _emptied(folder)
    for name in published.params.world_names:
        (folder / f"{name}.md").write_text(dataset_page(published, name) + "\n", encoding="utf-8")


def write_notebooks(results: Path, folder: Path) -> None:
    """Copies of the executed notebooks, their code folded away, each picture with an alternative text.

    Raises:
        ParamsError: if one was not executed.
    """
    _emptied(folder)
    executed = sorted(results.glob("0[1-6]_*.ipynb"))
    for path in [*executed, *(RESULTS / name for name in OTHER_NOTEBOOKS)]:
        if not path.is_file():
            made_by = "`make reproduce`, `make base-model` or `make documents`"
            raise ParamsError(f"{shown(path)}: not executed; {made_by} makes it")
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.metadata = nbformat.from_dict({"tags": ["hide-input"], "mystnb": _described(cell)})
        nbformat.write(notebook, folder / path.name)


def _described(cell: nbformat.NotebookNode) -> dict[str, dict[str, str]]:
    """The alternative text of a cell's picture is its caption."""
    said = [output["data"]["text/plain"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return {"image": {"alt": " ".join(said[0].split())}} if said else {}


def write_downloads(published: Published, folder: Path) -> None:
    """All rows in one file, and the tables of effects and claims."""
    _emptied(folder)
    published.rows.to_parquet(folder / "rows.parquet", index=False, compression="zstd")
    published.effects.to_csv(folder / "effects.csv", index=False, float_format="%.6g")
    published.claims.to_csv(folder / "claims.csv", index=False, float_format="%.6g")


def _begin(app: Sphinx) -> None:
    """Before Sphinx looks for pages: those that are generated, and files that no page contains."""
    name, site = app.config.study_name, Path(app.outdir)
    try:
        app.study = Published(load_params(named_file(PARAMS, "STUDY", name)), RESULTS / name)
        write_datasets(app.study, DOCS / DATASETS)
        write_notebooks(app.study.results, DOCS / NOTEBOOKS)
        write_explorer(app.study, site / "explorer")
        write_downloads(app.study, site / "downloads")
    except ParamsError as error:
        raise SystemExit(str(error)) from None  # any other error, Sphinx buries in a report for its developers


def _fill(app: Sphinx, docname: str, content: list[str]) -> None:
    page = DOCS / f"{docname}.md"
    if docname == GUIDE:  # it links to folders and model cards, for who reads it in the repository
        content[0] = repository_page(page, page)
    try:
        content[0] = filled(content[0], app.study, docname)
    except ParamsError as error:
        raise SystemExit(str(error)) from None


def setup(app: Sphinx) -> dict[str, bool]:
    """As Sphinx calls it."""
    app.add_config_value("study_name", PUBLISHED.name, "env")
    app.connect("builder-inited", _begin)
    app.connect("source-read", _fill)
    return {"parallel_read_safe": False}  # pages are read with what one process has computed
