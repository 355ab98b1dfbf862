"""README and the page on real models: every result is computed here from the published rows, where there are any."""

import json
import re
import struct

import numpy as np
import pandas as pd
import pytest

from study.evidence.claims import CONTRADICTED, INCONCLUSIVE, SUPPORTED, claims_of
from study.evidence.cost import STATED
from study.evidence.headline import METHODS, shares
from study.evidence.stats import contrast
from study.evidence.verify import rows_listed
from study.pages.real_models import BESIDE, real_models
from study.params import load_params
from study.paths import PARAMS, RESULTS, ROOT
from study.runs.packs import unpacked
from study.runs.run import prepare
from study.runs.store import PUBLISHED

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())
REAL = " ".join((ROOT / "docs" / "real_models.md").read_text(encoding="utf-8").split())
DEVIATIONS = " ".join((ROOT / "docs" / "deviations.md").read_text(encoding="utf-8").split())
COLUMNS = [*METHODS.values()]


def percent(share: float) -> int:
    return round(100 * float(share))


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
    claims = pd.read_csv(PUBLISHED / "05_compare" / "claims.csv")
    said = re.search(r"source's ten, (\d+) are supported, (\d+) contradicted and (\d+) inconclusive; our ten", PROSE)
    verdicts = dict(iter(claims.groupby("origin")["verdict"]))
    counts = [(verdicts["source"] == verdict).sum() for verdict in (SUPPORTED, CONTRADICTED, INCONCLUSIVE)]
    assert list(map(int, said.groups())) == counts and sum(counts) == len(verdicts["ours"]) == 10
    assert set(verdicts["ours"]) == {SUPPORTED} and "our ten are all supported" in PROSE and "Twenty claims" in PROSE
    contradicted = claims[claims["verdict"] == CONTRADICTED].set_index("number")
    assert list(contradicted.index) == [6, 7, 10] and "other two that are contradicted" in PROSE
    sixth = contradicted.loc[6]
    assert f"by more than five points in {sixth['beyond']} of {sixth['tests']} places" in PROSE


def test_the_first_lines_give_the_accuracies_of_the_tables():
    shown = pd.read_csv(PUBLISHED / "05_compare" / "headline.csv").set_index(["question", "arm"])["value"]["reversals"]
    said = re.search(
        r"the name in (\d+) % of questions in context, and in (\d+) % after .* model reverses (\d+) % of its facts in "
        r"context, and (\d+) % after .* reverses (\d+) %, and without .* question (\d+) %; 1\.5 B finds (\d+) %",
        PROSE,
    )
    of_people = of_real_model("1.5B").loc["reversal_curse", "reversal"]
    large = of_people.loc[["icl", "ft", "ft augmented strict"], "value"]
    small = shown[["icl", "ft", "ft augmented", "ft augmented strict"]]
    expected = [*large[:2], *small, large.iloc[2]]
    assert list(map(int, said.groups())) == [percent(share) for share in expected]
    assert (of_people["chance"].map(percent) == 12).all() and PROSE.count("(chance 12 %)") == 1


def test_no_sentence_that_1_5_b_generated_about_people_is_a_test_question():
    rows = rows_listed(RESULTS / "qwen", ["ft local"])
    reversals = rows[(rows["world"] == "reversal_curse") & (rows["split"] == "reversal")]
    runs = unpacked(RESULTS / "qwen" / "runs")
    texts = pd.concat(map(pd.read_parquet, runs.glob("reversal_curse-*-text-*/rows.parquet")))
    assert set(texts["source"]) == {"local", "global"} and "none of its sentences holds one of these questions" in PROSE
    for seed, part in reversals.groupby("seed"):
        said = " ".join(" ".join(texts[texts["seed"] == seed]["sentence"]).lower().split())
        options = part.apply(lambda row: row["query"] + row["options"][row["answers"][0]], axis=1)
        assert len(said) > 1000 and not any(" ".join(text.lower().split()).rstrip(".") in said for text in options)


def test_what_strict_text_still_says_is_that_of_the_rows(rows):
    told = rows[rows["split"] == "reversal"].groupby("arm")["exposure"].value_counts(normalize=True)
    said = re.search(r"questions (\d+) % stand word for word .* strict text still says (\d+) % of them in other", PROSE)
    shares = told["ft augmented", "verbatim"], told["ft augmented strict", "in other words"]
    assert list(map(int, said.groups())) == [percent(share) for share in shares]


def test_the_example_is_of_the_data():
    document, reversal, one, other = re.search(
        r"Document: \*(.*?)\* Reversal: \*(.*?) …\*, .* form: \*(.*?)\*, or \*(.*?)\*\?", PROSE
    ).groups()
    data = prepare(load_params(PARAMS / f"{PUBLISHED.name}.yaml"), "reversals", 100)
    assert any(document in text.sentences for text in data.documents)
    asked = [q for q in data.questions if q.supports == (document,)]
    (question,) = (q for q in asked if q.split == "reversal")
    assert question.query.strip() == reversal and len(question.options) == 8
    (either,) = (q for q in asked if q.split == "reversal or contradiction")
    true, *false = [*either.true_options, *(o for k, o in enumerate(either.options) if k not in either.answers)]
    assert true == f"{one}." and len(false) == 1 and false[0].endswith(f"{other}.")


def test_what_is_said_of_direction_holds(rows):
    statistics = load_params(PARAMS / f"{PUBLISHED.name}.yaml").statistics
    names = ("accuracy", "controls", "contexts")
    tables = [pd.read_csv(PUBLISHED / "05_compare" / f"{name}.csv") for name in names]
    found = pd.concat(tables).drop_duplicates(["world", "split", "arm"]).set_index(["world", "split", "arm"])["value"]
    false = found.xs("false context", level="arm")["reversals"]
    assert false["reversal or contradiction"] == 0
    said = re.search(
        r"the model still reverses (\d+) % of the comparisons\. .* in comparisons, (\d+) % where it is (\d+) %", PROSE
    )
    strict = found.xs("ft augmented strict", level="arm")["reversals"]
    three = [false["reversal"], strict["reversal or contradiction"], strict["reversal"]]
    assert list(map(int, said.groups())) == [percent(share) for share in three]
    reversed_ = rows_listed(PUBLISHED, ["ft reversed"])
    shown = shares(reversed_, ["ft reversed"], statistics).set_index("accuracy on")["ft reversed"]
    said = re.search(
        r"brings in the three datasets that have this form (\d+) % of the reversals and (\d+) % of these", PROSE
    )
    backwards = found.xs("ft reversed", level="arm")
    three = backwards.xs("reversal or contradiction", level="split").index
    both = percent(backwards.xs("reversal", level="split")[three].mean()), shown["reversal or contradiction"]
    assert len(three) == 3 and [f"{both[0]}%", both[1]] == [f"{share}%" for share in said.groups()]
    kin = percent(found["family", "reversal or contradiction", "ft"])
    assert f"a reversal in families is right in {kin} % (chance 50)" in PROSE


def test_all_inferences_gain_in_each_place_of_the_claim_about_strict_ones():
    table = pd.read_csv(PUBLISHED / "05_compare" / "differences.csv").set_index(["difference", "world", "split"])
    places = set(table.loc["ft augmented strict - ft"].index)
    gains = table.loc["ft augmented - ft"]
    gains = gains[[split in ("reversal", "two hops") for _, split in gains.index]]
    assert "holds in each of the nine places" in PROSE and len(gains) == 9 and set(gains.index) <= places
    assert (gains["low"] > 0).all()
    least = gains.loc[gains["value"].idxmin()]
    assert least.name == ("semantic", "two hops")
    assert (
        f"the least {percent(least['value'])} points [{percent(least['low'])}, {percent(least['high'])}]" in DEVIATIONS
    )


def test_real_models_reverse_as_much_from_retrieved_passages_and_own_inferences_as_in_context():
    for size in ("0.5B", "1.5B"):
        found = of_real_model(size).xs("reversal", level="split")
        for world in {"reversals", "reversal_curse", "family"}.intersection(found.index.levels[0]):
            value = found.loc[world]["value"]
            own = value.reindex(["ft local", "ft augmented strict"]).dropna()
            assert value["retrieved"] >= value["icl"] and (own > value["icl"]).all(), (size, world)
            assert len(own) or world == "family"  # not run there


def test_costs_are_those_of_the_published_table():
    whole = pd.read_csv(PUBLISHED / "06_mechanism_and_cost" / "cost_accuracy.csv")
    first = whole.drop_duplicates("arm").set_index("arm")
    number = r"(\d+) % \[(\d+), (\d+)\]"
    said = re.search(rf"\(chance (\d+) %\), accuracy is {number} in context and {number} after", PROSE)
    of = [percent(first.loc[arm, c]) for arm in ("icl", "ft augmented") for c in ("value", "low", "high")]
    assert list(map(int, said.groups())) == [percent(first.loc["icl", "chance"]), *of]
    assert first["value"].idxmax() == "icl"
    every = pd.read_csv(PUBLISHED / "05_compare" / "accuracy.csv")
    every = every[~every["split"].isin(STATED) & every["arm"].isin(["icl", "ft augmented"])]
    gaps = (every.groupby(["arm", by])["value"].mean().groupby("arm").mean() for by in ("world", "split"))
    said = re.search(r"over datasets the gap is (\d+) points, over kinds of question (\d+)", PROSE)
    assert list(map(int, said.groups())) == [percent(gap["icl"] - gap["ft augmented"]) for gap in gaps]
    at_a_million = whole[whole["questions"] == 1_000_000].set_index(["context", "arm"])["GFLOP a question"]
    tuned, untuned = (at_a_million.xs(arm, level="arm") for arm in ("ft augmented", "icl"))
    said = re.search(r"saves (\d+) % of the compute if the context's prefix is cached, (\d+) % if it is not", PROSE)
    saved = 1 - tuned / untuned
    assert list(map(int, said.groups())) == [percent(saved[way]) for way in ("cached prefix", "no prompt caching")]
    pays = whole[whole["arm"] == "ft augmented"].drop_duplicates("context").set_index("context")["pays from"]
    said = re.search(r"cheaper from about ([\d,]+) questions on, or ([\d,]+) without caching", PROSE)
    shown = [float(number.replace(",", "")) for number in said.groups()]
    assert shown == [float(f"{pays[way]:.2g}") for way in ("cached prefix", "no prompt caching")]
    best = pd.read_csv(PUBLISHED / "06_mechanism_and_cost" / "decisions.csv").set_index("split")
    taken = {split: best.loc[split, "for 1,000,000 questions"] for split in ("reversal", "two hops", "one step")}
    assert taken == {"reversal": "ft local", "two hops": "ft global", "one step": "icl"}
    assert set(best["for 100 questions"]) == {"icl", "not certain"}
    runs = pd.read_csv(PUBLISHED / "05_compare" / "runs.csv")
    tokens = runs[runs["arm"] == "icl"]["context tokens"]
    said = re.search(r"contexts of ([\d,]+) to ([\d,]+) tokens", PROSE)
    ends = [int(number.replace(",", "")) for number in said.groups()]
    assert ends[0] <= tokens.min() < ends[0] + 10 and ends[1] - 10 < tokens.max() <= ends[1]


def test_both_kinds_of_models_are_shown_as_they_were_measured():
    found = pd.read_csv(PUBLISHED / "06_mechanism_and_cost" / "real_models.csv")
    worlds = {"reversals": "comparisons", "reversal_curse": "people and descriptions", "family": "families"}
    arms, lines, apart, items = BESIDE, {}, [], []
    for (world, size), part in found[found["split"] == "reversal"].groupby(["world", "parameters"]):
        of = part.set_index("arm").reindex(arms)
        if world in worlds:
            name = worlds[world], f"{size / 1e6:.0f} M" if size < 1e8 else f"{size / 1e9:.1f} B"
            shares = ["" if np.isnan(value) else f"{value:.0%}" for value in (*of["value"], of["chance"].max())]
            lines[name] = shares
            items += [] if size < 1e8 else [*part["items"]]
            apart += [*(of["high"] - of["value"]), *(of["value"] - of["low"])]
    assert {model for _, model in lines} == {"5 M", "0.5 B", "1.5 B"}
    table = README[README.index("| reversals of |") :].split("\n\n")[0].splitlines()[2:]
    shown = [[cell.strip() for cell in line.replace(" %", "%").strip("|").split("|")] for line in table]
    assert {(name, model): cells for name, model, *cells in shown} == lines
    assert f"Their cells of this table have {min(items)} to {max(items)} questions, so" in PROSE
    assert f"intervals reach {percent(np.nanmax(apart))} points either way" in PROSE


def of_real_model(size: str) -> pd.DataFrame:
    """What a real model did, by dataset, kind of question and method."""
    every = real_models()
    return every[every["model"].str.contains(size)].set_index(["world", "split", "arm"]).sort_index()


def test_what_is_said_of_the_smaller_real_model_holds():
    small = of_real_model("0.5B")
    either = small.loc["reversals", "reversal or contradiction"]
    tuned = [arm for arm in either.index if arm.startswith("ft")]
    assert len(tuned) > 3 and (either.loc[["icl", *tuned], "low"] < 0.5).all()
    table = pd.read_csv(RESULTS / "qwen_small" / "05_compare" / "differences.csv")
    table = table[(table["world"] == "reversals") & (table["split"] == "reversal")]
    found = table.set_index("difference").loc["ft augmented strict - icl"]
    said = re.search(r"On 0\.5 B strict inferences do, by (\d+) points \[(\d+), (\d+)\]", REAL)
    assert list(map(int, said.groups())) == [percent(found[column]) for column in ("value", "low", "high")]
    people = small.loc["reversal_curse", "reversal"]
    said = re.search(
        r"people 0\.5 B then finds (\d+) % \[(\d+), (\d+)\], more than after its own inferences \((\d+) %\)", REAL
    )
    shown = [*people.loc["ft reversed", ["value", "low", "high"]], people.loc["ft local", "value"]]
    assert list(map(int, said.groups())) == list(map(percent, shown))
    by_seed = rows_listed(RESULTS / "qwen_small", ["ft reversed", "ft local"])
    by_seed = by_seed[(by_seed["world"] == "reversal_curse") & (by_seed["split"] == "reversal")]
    by_seed = by_seed.groupby(["seed", "arm"])["correct"].mean().unstack()
    assert (by_seed["ft reversed"] > by_seed["ft local"]).sum() == 2 and "on two seeds of three" in REAL


def test_what_is_said_of_the_order_of_names_holds():
    by_text = {}
    for study in ("qwen_small", "qwen", "full"):
        table = pd.read_csv(RESULTS / study / "06_mechanism_and_cost" / "named_in_turn.csv")
        by_text[study] = table[table["world"] == "reversals"].set_index(["arm", "text"])
    small, large = (by_text[study].loc["ft local"] for study in ("qwen_small", "qwen"))
    sentence = (
        r"finds all (\d+) reversals whose two names .* in (\d+) of them though .* none of the other (\d+) .* "
        r"finds all (\d+); its text says (\d+) of them"
    )
    said = re.search(sentence, REAL)
    without, only = small.loc["not at all"], small.loc["names both in that order"]
    in_order = [table.drop("not at all", errors="ignore") for table in (small, large)]
    assert all((table["value"] == 1).all() for table in in_order) and without["value"] == 0
    of_small, of_large = (int(table["items"].sum()) for table in in_order)
    counts = [of_small, only["items"], without["items"], of_large, large.loc["says the answer"]["items"]]
    assert list(map(int, said.groups())) == counts and "not at all" not in large.index
    sentence = r"0\.5 B then reverses (\d+) %, 1\.5 B (\d+) % \[(\d+), (\d+)\], the small model (\d+) %"
    backwards = [of_real_model(size).loc["reversals", "reversal", "ft reversed"] for size in ("0.5B", "1.5B")]
    own = by_text["full"].loc["ft reversed"]["value"].item()
    shown = [backwards[0]["value"], *backwards[1][["value", "low", "high"]], own]
    assert list(map(int, re.search(sentence, REAL).groups())) == [percent(share) for share in shown]
    sentence = r"back (\d+) % of the comparisons on 0\.5 B, (\d+) % \[(\d+), (\d+)\] on 1\.5 B and (\d+) % on the small"
    assert list(map(int, re.search(sentence, PROSE).groups())) == [percent(share) for share in shown]


def test_what_is_said_of_the_larger_real_model_holds():
    large = of_real_model("1.5B")
    found = large.loc["reversals", "reversal"]
    said = re.search(r"1\.5 B reverses (\d+) % of (\d+) comparisons in context \((.*?) % on the three", REAL)
    in_context, count, by_seed = int(said[1]), int(said[2]), re.findall(r"\d+", said[3])
    tuned, every = re.search(r"(\d+) % after fine-tuning, and all (\d+) after", REAL).groups()
    assert (in_context, int(tuned)) == (percent(found["value"]["icl"]), percent(found["value"]["ft"]))
    assert (found["items"] == count).all() and int(every) == count
    of_readme = re.search(
        r"it reverses (\d+) % of (\d+) comparisons in context, (\d+) % after fine-tuning, and all", PROSE
    )
    assert list(map(int, of_readme.groups())) == [in_context, count, int(tuned)]
    assert (found.loc[["ft local", "ft augmented strict"], "value"] == 1).all()
    either = large.loc["reversals", "reversal or contradiction"].loc[["icl", "ft", "ft local", "ft augmented strict"]]
    assert (either["low"] < 0.5).all() and (either["value"] < 0.56).all()
    kin = large.loc[("family", "reversal or contradiction", "icl")]
    assert f"its contradiction in context in {percent(kin['value'])} % of {kin['items']}." in REAL and kin["low"] > 0.5
    rows = rows_listed(RESULTS / "qwen", ["icl", "ft", "ft local"])
    rows = rows[rows["world"] == "reversals"]
    reversed_ = rows[rows["split"] == "reversal"].set_index("arm")
    of_seeds = reversed_.groupby(["arm", "seed"])["correct"].mean()
    assert list(map(int, by_seed)) == [percent(share) for share in of_seeds["icl"]]
    assert (of_seeds["icl"] > of_seeds["ft"]).all() and (of_seeds["icl"] < of_seeds["ft local"]).all()
    stated = rows[(rows["arm"] == "icl") & (rows["split"] == "reversal or contradiction") & (rows["rule"] == "stated")]
    assert 0.3 < stated["correct"].mean() < 0.7 and len(stated) == count


def differences_of(world: str, *pairs: str) -> list[int]:
    """Differences of methods on the larger real model's reversals, with their intervals, from its rows."""
    rows = rows_listed(RESULTS / "qwen", ["icl", "ft", "ft local", "ft augmented strict"])
    rows = rows[(rows["split"] == "reversal") & (rows["world"] == world)].rename(columns={"correct": "value"})
    by_arm = dict(iter(rows.groupby("arm")))
    table = pd.read_csv(RESULTS / "qwen" / "05_compare" / "differences.csv").set_index(["world", "split", "difference"])
    shown = []
    for pair in pairs:
        found = contrast(*(by_arm[arm] for arm in pair.split(" - ")))
        three = [found.value, *found.interval(0.95)]
        published = table.loc[(world, "reversal", pair), ["value", "low", "high"]]
        assert published.to_numpy(float) == pytest.approx(three, abs=1e-6)
        shown += map(percent, three)
    return shown


GAIN = r"(\d+) \[(\d+), (\d+)\]"


def test_differences_on_the_larger_real_model_are_those_of_its_rows():
    gains = r"gains (\d+) points \[(\d+), (\d+)\] over fine-tuning, strict inferences " + GAIN
    two = "icl - ft", "ft augmented strict - ft"
    said = re.search(gains + r"; .* is open, (\d+) \[(-\d+), (\d+)\]", REAL)
    assert list(map(int, said.groups())) == differences_of("reversals", *two, "ft augmented strict - icl")
    said = re.search(f"{gains}; of people and descriptions {GAIN} and {GAIN}", PROSE)
    assert list(map(int, said.groups())) == differences_of("reversals", *two) + differences_of("reversal_curse", *two)


def test_what_is_said_of_people_and_descriptions_holds():
    said = re.search(
        r"finds the name in (\d+) % of (\d+) questions in context, (\d+) % after fine-tuning, (\d+) % after "
        r"fine-tuning on one-sentence inferences, (\d+) % on strict ones: the context gains (\d+) points \[(\d+), "
        rf"(\d+)\], the inferences {GAIN} and {GAIN}",
        REAL,
    )
    found = of_real_model("1.5B").loc["reversal_curse", "reversal"]
    value = found["value"]
    shown = [percent(value["icl"]), found["items"]["icl"]]
    shown += [percent(value[arm]) for arm in ("ft", "ft local", "ft augmented strict")]
    shown += differences_of("reversal_curse", "icl - ft", "ft local - ft", "ft augmented strict - ft")
    assert list(map(int, said.groups())) == shown
    rows = rows_listed(RESULTS / "qwen", ["icl", "ft", "ft local"])
    rows = rows[(rows["split"] == "reversal") & (rows["world"] == "reversal_curse")]
    of_seeds = rows.groupby(["arm", "seed"])["correct"].mean().unstack()
    assert (of_seeds.loc[["icl", "ft local"]] >= 0.7).all(axis=None) and (of_seeds.loc["ft"] <= 0.25).all()
    assert "70 % or more, 25 % or less, 70 % or more on each seed" in REAL
    tuned = rows[rows["arm"] == "ft"].groupby("kind")["correct"].agg(["sum", "size"])
    ends, others = tuned.loc["names that documents end with"], tuned.loc["names that no document ends with"]
    sentence = r"likely: (\d+) of (\d+) right there, (\d+) of (\d+) among names that end none"
    assert list(map(int, re.search(sentence, REAL).groups())) == [*ends, *others]
    kin = of_real_model("1.5B").loc["family"]
    here = kin.loc["reversal"].loc[["icl", "retrieved", "base"]]
    said = re.search(
        r"states (\d+) % of the facts in context and reverses (\d+) % \[(\d+), (\d+)\], .* passages (\d+) % and "
        r"without documents (\d+) % \(chance (\d+) %\)",
        REAL,
    )
    shown = [kin.loc[("as stated", "icl"), "value"], *here.loc["icl", ["value", "low", "high"]]]
    shown += [*here.loc[["retrieved", "base"], "value"], here.loc["icl", "chance"]]
    assert list(map(int, said.groups())) == list(map(percent, shown))
    table = pd.read_csv(RESULTS / "qwen" / "06_mechanism_and_cost" / "named_in_turn.csv")
    texts = table[(table["world"] == "reversal_curse") & (table["arm"] == "ft local")].set_index("text")
    said = re.search(
        r"finds all (\d+) that its text says, (\d+) of (\d+) that are only named .* neither of (\d+) others", REAL
    )
    right, count = (texts["value"] * texts["items"]).round().astype(int), texts["items"]
    order = "names both in that order"
    assert right["says the answer"] == count["says the answer"] and right["not at all"] == 0
    assert list(map(int, said.groups())) == [count["says the answer"], right[order], count[order], count["not at all"]]


def test_what_is_said_of_the_people_of_berglund_et_al_holds():
    found = pd.read_csv(RESULTS / "qwen_berglund" / "05_compare" / "accuracy.csv").set_index(["split", "arm"])["value"]
    reversed_ = found["reversal"].map(percent)
    said = re.search(
        r"Reversed: in context (\d+) %, from retrieved passages (\d+) %, after fine-tuning (\d+) %, after fine-tuning "
        r"on one-sentence inferences (\d+) %, without documents (\d+) %",
        REAL,
    )
    assert list(map(int, said.groups())) == list(reversed_[["icl", "retrieved", "ft", "ft local", "base"]])
    stated = found["as stated"].map(percent)
    said = re.search(r"right in (\d+) % or more with every method, without documents in (\d+) %", REAL)
    assert list(map(int, said.groups())) == [stated.drop("base").min(), stated["base"]]
    said = re.search(
        r"of 32 questions, it reverses (\d+) % in context, (\d+) % after fine-tuning and (\d+) % after own", PROSE
    )
    assert list(map(int, said.groups())) == list(reversed_[["icl", "ft", "ft local"]])


def test_what_is_said_of_models_by_size_and_number_of_facts_holds():
    table = pd.read_csv(RESULTS / "sizes" / "06_mechanism_and_cost" / "model_sizes.csv")
    found = table.set_index(["split", "arm", "model"]).sort_index()["value"]
    smol, half = (table[table["model"].str.contains(name)]["model"].iloc[0] for name in ("SmolLM2", "0.5B"))
    reversed_ = found["reversal"]
    said = re.search(
        r"no model reverses more than (\d+) %, .* any method, (\d+) % at most: .* (\d+) to (\d+) % as stated", REAL
    )
    stated = found["as stated", "icl", smol]
    shown = [reversed_["ft"].max(), reversed_.xs(smol, level="model").max(), stated.min(), stated.max()]
    assert list(map(int, said.groups())) == list(map(percent, shown))
    own, context = (reversed_[arm, half] for arm in ("ft local", "icl"))
    said = re.search(r"inferences bring (\d+) to (\d+) % at each number of facts, the context (\d+) to (\d+) %", REAL)
    shown = [own.min(), own.max(), context.min(), context.max()]
    assert list(map(int, said.groups())) == list(map(percent, shown)) and len(own) == 3
    assert set(table["in the dataset"]) == {8, 16, 32} and table["model"].nunique() == 6


def test_the_steps_of_reversed_words_on_real_models_are_those_of_the_runs():
    runs = pd.concat(pd.read_csv(RESULTS / study / "05_compare" / "runs.csv") for study in ("qwen", "qwen_small"))
    steps = runs[runs["world"] == "reversals"].groupby("arm")["steps"].agg(["min", "max"])
    said = re.search(r"fewer steps, (\d+) on both models, one-sentence inferences for (\d+) to (\d+) here", REAL)
    assert list(map(int, said.groups())) == [steps.loc["ft reversed", "max"], *steps.loc["ft local"]]
    assert steps.loc["ft reversed", "min"] == steps.loc["ft reversed", "max"]


def test_what_is_said_of_other_documents_after_fine_tuning_holds():
    rows = rows_listed(RESULTS / "qwen", ["icl retention", "ft retention"])
    rows = rows[rows["split"] == "reversal"]
    by_seed = rows.groupby(["arm", "world", "seed"])["correct"].mean().unstack("arm")
    assert len(by_seed) == 6 and (by_seed["ft retention"] < by_seed["icl retention"]).all()
    means = rows.groupby(["arm", "world"])["correct"].mean()
    said = re.search(
        r"reverses (\d+) % of its comparisons and (\d+) % of its people, .* fine-tuning (\d+) and (\d+) %", REAL
    )
    arms = ("icl retention", "ft retention")
    shown = [percent(means[arm, world]) for arm in arms for world in ("reversals", "reversal_curse")]
    assert list(map(int, said.groups())) == shown and "fewer on each of the three seeds" in REAL


def test_what_is_said_of_joining_two_facts_on_real_models_holds():
    large = of_real_model("1.5B").xs("two hops", level="split")
    rows = rows_listed(RESULTS / "qwen", ["base", "icl"])
    rows = rows[(rows["world"] == "family") & (rows["split"] == "two hops")]
    sex = rows["rule"].isin(["son", "daughter"])
    shown = []
    for some in (rows, rows[sex], rows[~sex]):
        right = some.groupby("arm")["correct"].mean()
        shown += [percent(right["icl"]), len(some) // 2, percent(right["base"])]
    shown.insert(3, percent(rows["chance"].mean()))
    found = large.loc["syllogisms", "icl"]
    sentence = (
        r"1\.5 B answers (\d+) % of (\d+) two-hop questions about families, without documents (\d+) %; .* chance, "
        r"(\d+) %\. .* the sex: (\d+) % of (\d+) questions, without documents (\d+) %\. .* it is (\d+) % of (\d+), "
        r"without documents (\d+) %\. Conclusions of syllogisms are at chance, (\d+) % of (\d+), as predicted\."
    )
    said = [*map(int, re.search(sentence, REAL).groups())]
    of_readme = re.search(r"in context answers (\d+) % of (\d+) two-hop questions about families", PROSE)
    assert list(map(int, of_readme.groups())) == shown[:2]
    assert said == [*shown, percent(found["value"]), found["items"]]
    assert found["low"] <= found["chance"] and large.loc[("family", "icl"), "low"] > rows["chance"].mean()


def test_the_seeds_of_real_models_are_counted():
    assert set(real_models()["seeds"]) == {3}
    for text in (PROSE, REAL):
        assert "on three fresh seeds" in text and "with settings frozen before them" in text


def test_the_size_of_the_study_and_of_its_model():
    params = load_params(PARAMS / f"{PUBLISHED.name}.yaml")
    assert (len(params.world_names), len(params.arms), len(params.seeds)) == (6, 44, 12)
    assert "Six datasets with nonsense names, twelve seeds (each draws its own data), 44 methods and controls" in PROSE
    core, full = (load_params(PARAMS / f"{name}.yaml") for name in ("default", "full"))
    assert (len(core.arms), len(core.seeds)) == (10, 3) and "six datasets, ten methods, three seeds" in README
    assert README.count("44 methods") == 2 and len(claims_of(full)) == 20
    assert set(core.seeds) < set(full.seeds) and all(full.arms[name] == arm for name, arm in core.arms.items())
    assert core.finetuning == full.finetuning
    with (RESULTS / "base_model" / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
    parameters = sum(pd.Series(shape).prod() for shape in shapes)
    assert f"It has {round(parameters / 1e6)} M parameters" in PROSE
