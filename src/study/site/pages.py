"""The generated parts of the site's pages, as Markdown: claims, worlds, arms, settings, costs."""

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlencode

import pandas as pd
import yaml

from study.config import ParamsError
from study.data.questions import Dataset, Question
from study.evidence.claims import CLAIMS, REFUTED, REPLICATES, Claim, load_claims
from study.help import settings_of
from study.pages.page import notebook_path
from study.params import Arm, Params
from study.paths import shown
from study.runs.run import Dataset, prepare
from study.simulate import FOLDER
from study.simulate.scenario import gpus, load_scenario, scenarios
from study.site.explorer import described
from study.site.markdown import escaped, interval, link, plain_table, share, table
from study.site.published import Published
from study.worlds import WORLDS
from study.worlds.world import Split, World

# Where an executed notebook shows what a claim is about, if not in the table of all claims.
SECTIONS = {
    1: ("02_in_context", ""),
    2: ("03_finetune", ""),
    12: ("05_compare", "controls"),
    13: ("06_mechanism_and_cost", "the-gain-sits-where-the-text-has-the-answer"),
    14: ("06_mechanism_and_cost", "what-each-arm-costs"),
    17: ("06_mechanism_and_cost", "what-tuning-costs-elsewhere"),
}
EXAMPLES = 3


def explorer_link(text: str, **state: str) -> str:
    """A link to the explorer showing some of the rows."""
    return link(text, f"explorer.html#{urlencode(state)}")


def verdict(name: str) -> str:
    """A verdict in its colour, and in words."""
    return f'<span class="verdict {name.replace(" ", "-")}">{name}</span>'


def section_of(number: int) -> str:
    """A link to where a notebook shows what a claim is about."""
    notebook, anchor = SECTIONS.get(number, ("05_compare", "the-claims"))
    return f"[{notebook[:2]}](notebooks/{notebook}.ipynb{f'#{anchor}' if anchor else ''})"


def claims_table(published: Published) -> str:
    """Every claim with its verdict and the effect that decides it."""
    lines = []
    for claim in published.claims.to_dict("records"):
        number = claim["number"]
        lines.append(
            [
                f"[{number}](#claim-{number})",
                escaped(claim["claim"]),
                "this study" if claim["origin"] == "ours" else "source",
                verdict(claim["verdict"]),
                _effect(claim),
                _where(claim),
                section_of(number),
            ]
        )
    return table(lines, ["claim", "what is claimed", "of", "verdict", "effect that decides", "where", "notebook"])


def _effect(line: dict[str, float]) -> str:
    return interval(line["effect"], line["low"], line["high"]) if line["tests"] else ""


def _where(line: dict[str, str]) -> str:
    if "compared" not in line or pd.isna(line["compared"]):
        return ""
    where = "all worlds" if line["world"] == "all" else f"{line['world']}, {line['split']}"
    return f"{escaped(line['compared'])} ({escaped(where)})"


def claim_sections(published: Published) -> str:
    """Each claim at length: what was declared, every effect, and the way to its rows."""
    effects, verdicts = published.effects, published.claims.set_index("number")
    return "\n\n".join(_claim_section(claim, verdicts.loc[claim.number], effects) for claim in load_claims())


def _claim_section(claim: Claim, judged: pd.Series, effects: pd.DataFrame) -> str:
    part = effects[effects["number"] == claim.number]
    lines = [
        [
            _rows_link(line),
            escaped(line["compared"]),
            escaped(line["claimed"]),
            interval(line["effect"], line["low"], line["high"]),
            f"{line['smallest detectable']:.2f}",
            f"{line['items']} / {line['facts']} / {line['seeds']}",
            f"{line['p']:.3g}",
        ]
        for line in part.to_dict("records")
    ]
    columns = ["rows", "compared", "claimed", "effect", "smallest detectable", "items / facts / seeds", "p"]
    declared = next(
        c for c in yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))["claims"] if c["number"] == claim.number
    )
    text = yaml.safe_dump(declared, sort_keys=False, width=100, allow_unicode=True)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return "\n\n".join(
        [
            f"(claim-{claim.number})=\n## {claim.number}. {escaped(claim.claim)}",
            f"{verdict(judged['verdict'])} {_corrected(judged)}Refuted if {escaped(claim.refuted_if)}. Shown in "
            f"notebook {section_of(claim.number)}.",
            table(lines, columns) if lines else "This study's arms do not test it.",
            "<details><summary>As it was declared before the run</summary>\n\n"
            f"{fence}yaml\n{text}{fence}\n\n</details>",
        ]
    )


def _corrected(judged: pd.Series) -> str:
    """The p-value that the verdict rests on: of the claim as a whole, after correction for the number of claims."""
    if not judged["tests"]:
        return ""
    what, column = ("beyond a bound", "p beyond") if judged["verdict"] == REFUTED else ("all within bounds", "p")
    return f"(p {judged[column]:.2g}, {what}, corrected.) "


def _rows_link(line: dict[str, str]) -> str:
    arm = line["compared"].split(" - ")[0].split(",")[0]
    if line["world"] == "all":
        return "all worlds"
    return explorer_link(f"{line['world']}, {line['split']}", world=line["world"], split=line["split"], arm=arm)


def verdicts(published: Published) -> str:
    """How many claims got which verdict, as a sentence."""
    counts = published.claims["verdict"].value_counts()
    told = ", ".join(f"{count} {_of_many(name, count)}" for name, count in counts.items())
    return f"Of {len(published.claims)} claims {told}."


def _of_many(name: str, count: int) -> str:
    """A verdict as what claims do or are."""
    if name == REPLICATES:
        return "replicates" if count == 1 else "replicate"
    return f"{'is' if count == 1 else 'are'} {name}"


def worlds_table(names: Sequence[str]) -> str:
    """What each world is, with a link to its page."""
    lines = [[f"[{name}](worlds/{name}.md)", escaped(_about(name)[0])] for name in names]
    return table(lines, ["world", "what it is"])


def _about(name: str) -> list[str]:
    """What a world's module says of it, in paragraphs."""
    return (inspect.getdoc(WORLDS[name]) or name).split("\n\n")


def settings_table(params: Params) -> str:
    """Every setting with its value in the study, its default, what is allowed, and its meaning."""
    lines = [
        [f"`{one.field}`", *map(escaped, (_here(params, one.field), one.default, one.allowed, one.description))]
        for one in settings_of(notebook_path("05"))
    ]
    return table(lines, ["setting", "here", "default", "allowed", "meaning"])


def _here(params: Params, field: str) -> str:
    """A setting's value as a params file would have it; nothing for one that groups others."""
    value: object = params.plain()
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None or isinstance(value, dict) else value if isinstance(value, str) else json.dumps(value)


def arms_table(arms: Mapping[str, Arm]) -> str:
    """What each arm trains on and what it has in context."""
    lines = []
    for name, arm in arms.items():
        said = described(arm)
        lines.append([name, said["trains on"], said["in context"], ", ".join(arm.worlds or ("all",))])
    return table([list(map(escaped, line)) for line in lines], ["arm", "trains on", "has in context", "worlds"])


def world_page(published: Published, name: str, picture: str) -> str:
    """A page about a world: what it is, what is stated and asked, and how the arms did.

    Args:
        published: the study.
        name: of the world.
        picture: Markdown of a figure; "" for none.
    """
    material = prepare(published.params, name, published.params.seeds[0])
    first, *rest = _about(name)
    return "\n\n".join(
        part
        for part in (
            f"# {name}",
            f"*{escaped(first)}*",
            *map(escaped, rest),
            picture,
            "## How the arms did",
            "Share of right answers with its interval, over all seeds. Chance is what a guess is right in.",
            accuracy_table_of(published, name),
            f"Each answer: {link('explorer', f'../explorer.html#world={name}')}.",
            "## What is stated",
            "The first documents of the first seed:",
            *(f"> {escaped(document.text)}" for document in material.documents[:EXAMPLES]),
            *(_derivations(material.world) if material.world else ()),
            "## What is asked",
            *_examples(material),
            "## Data card",
            _card(published, name, material),
        )
        if part
    )


def accuracy_table_of(published: Published, name: str) -> str:
    """Accuracy of every arm in a world, a column for each split."""
    found = published.accuracy(name)
    splits = [str(split) for split in Split if str(split) in set(found["split"])]
    cells = {(line.arm, line.split): share(line.value, line.low, line.high) for line in found.itertuples()}
    chance = found.groupby("split")["chance"].mean()
    arms = [arm for arm in published.params.arms if arm in set(found["arm"])]
    lines = [["*chance*", *(f"{chance[split]:.2f}" for split in splits)]]
    lines += [[escaped(arm), *(cells.get((arm, split), "") for split in splits)] for arm in arms]
    return table(lines, ["arm", *map(escaped, splits)])


def _derivations(world: World) -> Iterator[str]:
    """How many facts follow by each rule."""
    why = [(derivation.rule, derivation.hops) for derivation in world.closure.values() if derivation.supports]
    lines = [(rule, hops, count) for (rule, hops), count in sorted(Counter(why).items())]
    yield "## What follows"
    yield f"{len(world.facts)} facts are stated, and more follow:"
    yield plain_table(pd.DataFrame(lines, columns=["rule", "stated facts joined", "facts that follow"]))


def _examples(material: Dataset) -> Iterator[str]:
    """A question of each split."""
    firsts: dict[str, Question] = {}
    for question in material.questions:
        firsts.setdefault(str(question.split), question)
    for split in (str(split) for split in Split if str(split) in firsts):
        question = firsts[split]
        options = [f"**{escaped(o)}**" if k in question.answers else escaped(o) for k, o in enumerate(question.options)]
        yield f"**{escaped(split)}**: {escaped(question.query)} ... {' / '.join(options)}"


def _card(published: Published, name: str, material: Dataset) -> str:
    counts = published.table("01_generate_data", "questions")
    shape = published.params.shape(name)
    settings = ", ".join(f"{key} {value}" for key, value in shape.plain().items() if value is not None)
    lines = [
        ["purpose", "to ask what follows from facts that no model can have met before"],
        ["origin", "written by this repository from a seed; no person, no real text, no other source"],
        ["settings", escaped(settings)],
        ["documents, first seed", str(len(material.documents))],
        ["seeds", escaped(", ".join(map(str, published.params.seeds)))],
        ["questions", escaped(counts_of(counts, name))],
        ["truth", "what is entailed and what is not, by the deductive closure, held against the solver clingo"],
        ["licence", "Apache-2.0, as the repository"],
    ]
    return table(lines, ["", ""])


def simulated(name: str) -> str:
    """A table of the simulation of larger machines.

    Raises:
        ParamsError: if it is not there.
    """
    file = FOLDER / f"{name}.csv"
    if not file.is_file():
        raise ParamsError(f"{shown(file)}: missing; `make simulate` makes it")
    return plain_table(pd.read_csv(file, keep_default_na=False, na_values=[""]))


def scenarios_table() -> str:
    """What each scenario is."""
    lines = []
    for name in scenarios():
        here = load_scenario(name)
        size = f"{here.gpus:,} of {here.gpu.memory_gb:g} GB, {here.gpu.bf16_tflops:g} TFLOP/s"
        lines.append([escaped(name), escaped(here.about), size])
    return table(lines, ["scenario", "what it is", "GPUs there are"])


def gpus_table() -> str:
    """The rates and prices that are assumed, and where they are from."""
    lines = [
        [
            escaped(name.upper()),
            *(f"{value:,g}" for value in (gpu.memory_gb, gpu.bf16_tflops, gpu.memory_gb_s, gpu.node_gb_s)),
            f"{gpu.network_gb_s:g}",
            f"{gpu.dollars_hour:g}",
            escaped(f"{gpu.source}; price: {gpu.price_source}, {gpu.price_date}"),
        ]
        for name, gpu in gpus().items()
    ]
    columns = ["GPU", "GB", "TFLOP/s", "memory GB/s", "machine GB/s", "network GB/s", "dollars an hour", "from"]
    return table(lines, columns)


def counts_of(counts: pd.DataFrame, name: str) -> str:
    """Number of questions by split, from the published table."""
    here = counts[counts["world"] == name]
    return ", ".join(f"{line.split} {line.questions:,}" for line in here.itertuples())
