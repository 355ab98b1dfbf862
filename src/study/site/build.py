"""`make site`: the sources of the site's pages, written from results, and Sphinx, which makes HTML of them.

The pages' own prose is in `source/`. Nothing is executed, and no network is needed.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nbformat

from study.config import ParamsError
from study.params import Params
from study.paths import RESULTS, ROOT, shown
from study.simulate import FOLDER
from study.site import SITE, pages
from study.site.explorer import write_explorer
from study.site.harmless import harmless, plain_markdown, still
from study.site.markdown import escaped, link, plain_table
from study.site.published import Published

HERE = Path(__file__).parent
# Files of the repository that are pages of the site.
PAGES = {
    "DEVIATIONS.md": "deviations.md",
    "CONTRIBUTING.md": "contributing.md",
    "LOG.md": "log.md",
    "CHANGELOG.md": "changelog.md",
    "results/base_model/README.md": "cards/base_model.md",
    "results/base_model_cpu/README.md": "cards/base_model_cpu.md",
    "results/base_model_small/README.md": "cards/base_model_small.md",
}
NOTEBOOKS_ELSEWHERE = (
    "base_model/00_base_model.ipynb",
    "base_model_cpu/00_base_model.ipynb",
    "documents/handbook/07_your_documents.ipynb",
)
WORLD_PICTURES = {"family": "family_tree", "semantic": "hierarchy"}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


@dataclass(frozen=True)
class Sources:
    """The folder that Sphinx reads, and the files that go into the site as they are.

    Attributes:
        folder: of the pages' sources.
        files: of what pages link to.
    """

    folder: Path
    files: Path

    def write(self, page: str, text: str) -> None:
        """Write one page."""
        target = self.folder / page
        _made(target.parent)
        target.write_text(text.rstrip() + "\n", encoding="utf-8")

    def file(self, path: Path, page: str) -> str:
        """Put a file of the repository into the site; the address of the copy, seen from a page."""
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(path.name)
        target = self.files / name
        _made(target.parent)
        shutil.copyfile(path, target)
        return f"{'../' * page.count('/')}files/{name.as_posix()}"

    def picture(self, png: Path, page: str) -> str:
        """A figure with its alternative text as caption, and links to it and its numbers."""
        text = png.with_suffix(".txt").read_text(encoding="utf-8")
        shutil.copyfile(png, _made(self.folder / "figures" / png.parent.name) / png.name)
        kinds = [(kind, png.with_suffix(f".{kind}")) for kind in ("csv", "svg", "png")]
        shown_too = [(kind, still(path) if kind == "svg" else path) for kind, path in kinds if path.is_file()]
        links = ", ".join(link(kind.upper(), self.file(path, page)) for kind, path in shown_too)
        told = " ".join(text.split())
        return f"```{{figure}} /figures/{png.parent.name}/{png.name}\n:alt: {told}\n\n{escaped(told)} ({links})\n```"

    def led_to_the_site(self, text: str, home: Path, page: str) -> str:
        """Markdown of the repository with its links led to pages and files of the site.

        Args:
            text: as it stands in a file.
            home: the folder of that file.
            page: that it becomes.
        """

        def one(found: re.Match[str]) -> str:
            image, said, target, anchor = found[1], found[2], found[3], found[4] or ""
            if re.match(r"[a-z]+:", target):
                return found[0]
            path = (home / target).resolve()
            if not path.is_relative_to(ROOT):
                return said
            name = shown(path)
            up = "../" * page.count("/")
            if name in PAGES:
                return f"[{said}]({up}{PAGES[name]}{anchor})"
            if path.suffix == ".ipynb" and path.is_relative_to(RESULTS):
                return f"[{said}]({up}notebooks/{path.name}{anchor})"
            if path.is_file() and image:
                return f"![{said}]({self._copied(path, page)})"
            return link(said.strip("`*"), self.file(path, page)) if path.is_file() else said

        return _LINK.sub(one, text)

    def _copied(self, path: Path, page: str) -> str:
        shutil.copyfile(path, _made(self.folder / "figures") / path.name)
        return f"{'../' * page.count('/')}figures/{path.name}"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_sources(published: Published, folder: Path, files: Path) -> None:
    """Everything that Sphinx makes the site of.

    Args:
        published: the study.
        folder: to be read by Sphinx.
        files: to be copied into the site; what is no file of the repository goes beside it.
    """
    sources = Sources(folder, files)
    for path in sorted((HERE / "source").glob("*.md")):
        sources.write(path.name, _filled(path.read_text(encoding="utf-8"), parts(published, sources, path.name)))
    shutil.copyfile(HERE / "source" / "way.svg", _made(folder / "figures") / "way.svg")
    for name in published.params.world_names:
        page = f"worlds/{name}.md"
        png = published.results / "01_generate_data" / f"{WORLD_PICTURES.get(name, '')}.png"
        picture = sources.picture(png, page) if png.is_file() else ""
        sources.write(page, pages.world_page(published, name, picture))
    for name, page in PAGES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        text = plain_markdown(text, path) if path.is_relative_to(RESULTS) else text
        sources.write(page, sources.led_to_the_site(text, path.parent, page))
    write_notebooks(published, folder / "notebooks")
    write_explorer(published.params, published.results, files.parent / "explorer")
    write_downloads(published, files.parent / "downloads")


def parts(published: Published, sources: Sources, page: str) -> dict[str, Callable[[], str]]:
    """What makes the generated parts of a page, by the name that stands for each there."""
    params, mechanism = published.params, "06_mechanism_and_cost"

    def picture(notebook: str, name: str) -> Callable[[], str]:
        return lambda: sources.picture(published.results / notebook / f"{name}.png", page)

    def simulation(name: str) -> Callable[[], str]:
        return lambda: sources.picture(FOLDER / f"{name}.png", page)

    def numbers(name: str) -> Callable[[], str]:
        return lambda: plain_table(published.table(mechanism, name))

    def file(name: str) -> Callable[[], str]:
        return lambda: link(name, sources.file(ROOT / name, page))

    return {
        "accuracy": picture("05_compare", "accuracy"),
        "differences": picture("05_compare", "differences"),
        "effects": picture("05_compare", "effects"),
        "emergence": picture("02_in_context", "emergence"),
        **{name: picture(mechanism, name) for name in ("costs", "cost_accuracy")},
        **{name: numbers(name) for name in ("mean_costs", "break_even", "decisions")},
        **{f"simulated_{name}": simulation(name) for name in ("scaling", "losses", "shards", "checks")},
        **{f"{name}_table": partial(pages.simulated, name) for name in ("summary", "needs", "checks")},
        "scenarios": pages.scenarios_table,
        "gpus": pages.gpus_table,
        "claims_table": lambda: pages.claims_table(published),
        "claim_sections": lambda: pages.claim_sections(published),
        "verdicts": lambda: pages.verdicts(published),
        "arms": lambda: pages.arms_table(params.arms),
        "settings": lambda: pages.settings_table(params),
        "worlds": lambda: pages.worlds_table(params.world_names),
        "explorer": lambda: (HERE / "explorer.html").read_text(encoding="utf-8"),
        "params_file": file("params/default.yaml"),
        "claims_file": file("params/claims/default.yaml"),
    }


def _filled(text: str, made: dict[str, Callable[[], str]]) -> str:
    """A page with its generated parts, each named in double brackets."""
    return re.sub(r"\[\[(\w+)\]\]", lambda found: made[found[1]](), text)


def write_notebooks(published: Published, folder: Path) -> None:
    """Copies of the executed notebooks, their code folded away, pictures with their texts.

    Raises:
        ParamsError: if one was not executed, or holds something else than what was.
    """
    _made(folder)
    executed = sorted(published.results.glob("0[1-6]_*.ipynb"))
    for path in [*executed, *(RESULTS / name for name in NOTEBOOKS_ELSEWHERE)]:
        if not path.is_file():
            raise ParamsError(f"{shown(path)}: not executed; `make reproduce` and `make documents` make it")
        notebook, heading = harmless(path), ""
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                heading = next(iter(re.findall(r"^#+ (.+)", cell.source, re.MULTILINE)), heading)
                continue
            cell.metadata["tags"] = ["hide-input"]
            told = [o["data"]["text/plain"] for o in cell.outputs if "image/png" in o.get("data", {})]
            if told:  # a picture that a notebook shows without words is what its section is about
                alt = heading if told[0].startswith("<Figure") else " ".join(told[0].split())
                cell.metadata["mystnb"] = {"image": {"alt": alt}}
        nbformat.write(notebook, folder / path.name)


def write_downloads(published: Published, folder: Path) -> None:
    """All rows in one file, and the tables of effects and claims."""
    _made(folder)
    published.rows.to_parquet(folder / "rows.parquet", index=False, compression="zstd")
    published.effects.to_csv(folder / "effects.csv", index=False, float_format="%.6g")
    published.claims.to_csv(folder / "claims.csv", index=False, float_format="%.6g")


def build(params: Params, results: Path, target: Path = SITE) -> None:
    """Make the site.

    Args:
        params: of the study.
        results: its folder.
        target: the folder of the site, replaced when the new one is whole.

    Raises:
        ParamsError: if Sphinx is not installed, something of the study is not published, or a page has an error.
    """
    try:
        from sphinx.cmd.build import build_main
    except ModuleNotFoundError as error:
        raise ParamsError("sphinx is not installed; `make site` does it, from requirements/site.lock") from error
    work = target.with_name(f".{target.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    extra = work / "extra"
    write_sources(Published(params, results), work / "source", extra / "files")
    arguments = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(HERE), "-d", str(work / "doctrees")]
    if build_main([*arguments, "-D", f"html_extra_path={extra}", str(work / "source"), str(work / "html")]):
        raise ParamsError(f"the site has errors, told above; its sources are in {shown(work)}")
    shutil.rmtree(target, ignore_errors=True)
    (work / "html").replace(target)
    shutil.rmtree(work)
