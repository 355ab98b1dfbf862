"""Every result that README gives is computed here from the published rows."""

import json
import math
import re
import struct

import pandas as pd
import pytest

from study.evidence.claims import CONTRADICTED, INCONCLUSIVE, SUPPORTED, claims_of
from study.evidence.headline import METHODS, shares
from study.evidence.verify import rows_listed
from study.params import load_params
from study.paths import PARAMS, RESULTS, ROOT
from study.runs.store import PUBLISHED

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())
DEVELOPED = pd.read_csv(RESULTS / "development" / "05_compare" / "accuracy.csv")
COLUMNS = [*dict.fromkeys(METHODS.values())]


def percent(share: float) -> int:
    return math.floor(100 * float(share) + 0.5)


def table_of(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Accuracy of each method on each kind of question, over all datasets and seeds, then chance."""
    statistics = load_params(PARAMS / f"{PUBLISHED.name}.yaml").statistics
    return {line[0]: line[1:] for line in shares(rows, METHODS, statistics).to_numpy().tolist()}


def table_in(text: str) -> dict[str, list[str]]:
    lines = re.findall(r"^\| ([a-z ,-]+) ((?:\| \d+ % )+)\|$", text, re.MULTILINE)
    return {name: re.findall(r"\d+%", cells.replace(" %", "%")) for name, cells in lines}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return rows_listed(PUBLISHED, list(METHODS))


def test_the_table_is_that_of_the_rows_and_of_the_figure(rows):
    assert table_in(README) == table_of(rows)
    drawn = pd.read_csv(PUBLISHED / "05_compare" / "headline.csv")
    named = [name for name in COLUMNS if name in set(drawn["method"])]
    assert f"| accuracy on | {' | '.join(named)} | chance |" in README
    shown = {
        question: [f"{value:.0%}" for value in [*part["value"], part["chance"].mean()]]
        for question, part in drawn.groupby("question")
    }
    assert shown == table_in(README)


def test_another_answer_would_change_the_table(rows):
    flipped = rows.assign(correct=~rows["correct"].astype(bool))
    assert table_in(README) != table_of(flipped)


def test_verdicts_are_counted_as_published():
    verdicts = pd.read_csv(PUBLISHED / "05_compare" / "claims.csv")["verdict"]
    said = re.search(r"Of its (\d+) claims, (\d+) are supported, (\d+) contradicted and (\d+) inconclusive", PROSE)
    counts = [len(verdicts), *((verdicts == verdict).sum() for verdict in (SUPPORTED, CONTRADICTED, INCONCLUSIVE))]
    assert list(map(int, said.groups())) == counts


def test_costs_are_those_of_the_published_table():
    table = pd.read_csv(PUBLISHED / "06_mechanism_and_cost" / "cost_accuracy.csv").drop_duplicates(["context", "arm"])
    first = table.drop_duplicates("arm").set_index("arm")
    number = r"(\d+) % \[(\d+), (\d+)\]"
    said = re.search(rf"Averaged over (\d+) kinds .* accuracy is {number} in context and {number} after", PROSE)
    of = [percent(first.loc[arm, c]) for arm in ("icl", "ft augmented") for c in ("value", "low", "high")]
    shown = pd.read_csv(PUBLISHED / "05_compare" / "accuracy.csv")
    kinds = shown[~shown["split"].isin(["as stated", "rephrased"])].drop_duplicates(["world", "split"])
    assert list(map(int, said.groups())) == [len(kinds), *of]
    assert first["value"].idxmax() == "icl"
    cached, again = (
        float(f"{break_even:.2g}")
        for break_even in table[table["arm"] == "ft augmented"].set_index("context")["pays from"]
    )
    said = re.search(
        r"about ([\d,]+) questions on if the context's prefix is cached, and from ([\d,]+) if it is not", PROSE
    )
    assert [float(number.replace(",", "")) for number in said.groups()] == [cached, again] and cached > again
    both = re.search(r"\*Both\* depends on the learning rate: (\d+) % here, (\d+) % at a gentler rate", PROSE)
    gentler = DEVELOPED[~DEVELOPED["split"].isin(["as stated", "rephrased"]) & (DEVELOPED["arm"] == "hybrid")]
    assert list(map(int, both.groups())) == [percent(first.loc["hybrid", "value"]), percent(gentler["value"].mean())]


def test_what_strict_text_changes_is_that_of_the_development_seed():
    said = re.search(r"reversals fall from (\d+) % to (\d+) %, two-hop syllogisms from (\d+) % to (\d+) %", PROSE)
    kinds = (
        DEVELOPED["split"] == "reversal",
        (DEVELOPED["split"] == "two hops") & (DEVELOPED["world"] == "syllogisms"),
    )
    found = [
        percent((part["value"] * part["items"]).sum() / part["items"].sum())
        for kind in kinds
        for arm in ("ft augmented", "ft augmented strict")
        for part in [DEVELOPED[kind & (DEVELOPED["arm"] == arm)]]
    ]
    assert list(map(int, said.groups())) == found


def test_real_models_are_shown_as_they_were_measured():
    found = pd.read_csv(RESULTS / "development" / "qwen" / "accuracy.csv")
    worlds = {"reversals": "comparisons", "reversal_curse": "people and descriptions", "family": "families"}
    lines = {}
    for (model, world), part in found[found["split"] == "reversal"].groupby(["model", "world"]):
        values = {line["arm"]: f"{line['value']:.0%}" for line in part.to_dict("records")}
        if world in worlds and "ft" in values:
            name = worlds[world], f"{re.search('[0-9.]+(?=B-)', model)[0]} B"
            cells = [values.get(arm, "") for arm in ("icl", "retrieved", "ft", "ft local")]
            chance = part[part["arm"] == "ft"]["chance"].item()
            lines[name] = [*cells, f"{chance:.0%}"]
    table = README[README.index("| reversals of |") :].split("\n\n")[0].splitlines()[2:]
    shown = [[cell.strip() for cell in line.replace(" %", "%").strip("|").split("|")] for line in table]
    assert {(name, model): cells for name, model, *cells in shown} == lines
    small = found[found["model"].str.contains("0.5B") & (found["world"] == "reversals")]
    either = small[(small["split"] == "reversal or contradiction") & small["arm"].str.startswith(("ft", "hybrid"))]
    assert len(either) > 5 and (either["low"] < either["chance"]).all()


def test_the_size_of_the_study_and_of_its_model():
    params = load_params(PARAMS / f"{PUBLISHED.name}.yaml")
    assert (len(params.world_names), len(params.arms), len(params.seeds)) == (6, 22, 3)
    assert "Six datasets with nonsense names, three seeds, 22 methods" in PROSE
    core, full = (load_params(PARAMS / f"{name}.yaml") for name in ("default", "full"))
    assert (len(core.arms), len(core.seeds)) == (10, 3) and "six datasets, ten methods, three seeds" in README
    assert (len(full.arms), len(full.seeds)) == (44, 12) and README.count("44 methods") == 2
    assert "twenty claims" in PROSE and len(claims_of(full)) == 20 and "twelve fresh seeds" in README
    assert set(core.seeds) < set(full.seeds) and all(full.arms[name] == arm for name, arm in core.arms.items())
    assert core.finetuning == full.finetuning
    with (RESULTS / "base_model" / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
    parameters = sum(pd.Series(shape).prod() for shape in shapes)
    assert f"It has {round(parameters / 1e6)} M parameters" in PROSE
