"""Every question of a published study and what each arm answered, as scripts that the explorer's page loads.

A page opened from a disk may not fetch files, but it may load scripts. So each dataset and seed is a script that puts
its questions where `static/explorer.js` finds them, and `index.js` says which there are.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from study_published import Published

from study.arms import Arm, Context, Keep, Source
from study.config import ParamsError
from study.data.questions import Dataset, Question, Splitting
from study.params import Params
from study.paths import shown
from study.runs.run import GENERATED, likeliest, prepare
from study.runs.runner import generation_runs_of
from study.runs.store import Store
from study.runs.training_text import SAME_DIRECTION, facts_saying
from study.worlds.logic import Fact
from study.worlds.world import Split, World

TEXTS = {
    Source.DOCUMENTS: "documents",
    Source.REPHRASED: "generated text that says the same in the same direction",
    Source.LOCAL: "text generated from one statement at a time",
    Source.GLOBAL: "text generated from all documents together",
    Source.ORACLE: "everything that truly follows",
    Source.QUESTIONS: "the documents as questions and answers",
    Source.REVERSED: "the documents word by word from the end",
    Source.REPLAY: "other datasets in context with what follows from them",
}
KEPT = {
    Keep.STRICT: "without sentences that hold a test question with its answer",
    Keep.TRUE: "true sentences only",
    Keep.AGREED: "sentences generated twice only",
}
GIVEN = {
    None: "nothing",
    Context.DOCUMENTS: "all documents",
    Context.IRRELEVANT: "documents of another dataset",
    Context.RETRIEVED: "the documents that BM25 finds for the question",
    Context.SUPPORTING: "the documents that the answer rests on",
    Context.FALSE: "the documents with each relation reversed",
}


def write_explorer(published: Published, folder: Path) -> None:
    """Write `index.js`, and `<world>-<seed>.js` for each world and seed, into a folder; the same bytes every time.

    Raises:
        ParamsError: if nothing is published in results, or it was published with other params or other code, or if a
            row's mark is inconsistent with its log-probabilities.
    """
    params, results, rows = published.params, published.results, published.rows
    for field, column, known in (("arms", "arm", params.arms), ("worlds", "world", params.world_names)):
        if unknown := set(rows[column]) - set(known):
            raise ParamsError(
                f"{field}: {shown(results)} has {sorted(unknown)}, which these params lack; give those it had"
            )
    store = Store(results / "runs")
    generations = generation_runs_of(params, store)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.js").write_text(_script("explorerIndex", index_of(params, rows)), encoding="utf-8")
    for (world, seed), part in rows.groupby(["world", "seed"], sort=False):
        keys = [run.key for run in generations if (run.world, run.seed) == (world, seed)]
        written = texts_written(keys, store)
        script = _script(f'explorerData["{world}/{seed}"]', questions_of(params, world, int(seed), part, written))
        (folder / f"{world}-{seed}.js").write_text(script, encoding="utf-8")


def _script(name: str, value: Any) -> str:
    """A script that gives a name its value; no text in it can end the script, or be read as markup."""
    return f"{name} = {json.dumps(value, separators=(',', ':'))};\n".replace("<", "\\u003c")


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows of the same fields as one list for each field, which takes half the room."""
    return {field: [row[field] for row in rows] for field in rows[0]} if rows else {}


def index_of(params: Params, rows: pd.DataFrame) -> dict[str, Any]:
    """What there is, worlds with their seeds and arms, and what is shown first."""
    seeds = rows.groupby("world", sort=False)["seed"].unique()
    worlds = [{"name": world, "seeds": sorted(map(int, found))} for world, found in seeds.items()]
    arms = {name: described(arm) for name, arm in params.arms.items()}
    return {"worlds": worlds, "arms": arms, "start": start_of(rows)}


def start_of(rows: pd.DataFrame) -> dict[str, str]:
    """What is shown first: a reversal that fine-tuning on documents fails and fine-tuning on inferences gets."""
    question = ["world", "seed", "item_id"]
    asked = rows[(rows["split"] == Split.REVERSAL) & ~rows["retention"]].set_index(question)
    right = {arm: asked[asked["arm"] == arm]["correct"].astype(bool) for arm in ("ft", "ft augmented")}
    telling = pd.concat(right, axis=1).dropna()
    telling = telling[~telling["ft"].astype(bool) & telling["ft augmented"].astype(bool)]
    if telling.empty:
        return {}
    world, seed, item = telling.index[0]
    return {"world": world, "seed": str(seed), "arm": "ft", "split": str(Split.REVERSAL), "item": item}


def described(arm: Arm) -> dict[str, Any]:
    """What an arm trains on and has in context, in words."""
    splitting = {
        Splitting.WHOLE: "documents not split",
        Splitting.CUMULATIVE: "as growing beginnings",
        Splitting.BEST: "split or not, as is better",
    }
    trains = [
        *([TEXTS[source] for source in arm.train] or ["nothing"]),
        splitting.get(arm.splitting, ""),
        *(KEPT[kept] for kept in arm.keep),
        "generated about half of the facts" if arm.half else "",
        f"{arm.replay:.0%} of it replayed" if arm.replay else "",
        "towards the predictions made with the documents in context" if arm.distilled else "",
        f"at learning rate {arm.learning_rates[0]:g}" if arm.learning_rates and len(arm.learning_rates) == 1 else "",
        "through a low-rank adapter" if arm.method == "lora" else "",
        f"for as long as {arm.as_long_as}" if arm.as_long_as else "",
        "in another order" if arm.reseed else "",
    ]
    given = f"{arm.shots} of {GIVEN[arm.context].removeprefix('all ')}" if arm.shots else GIVEN[arm.context]
    asked = ", of another dataset, which its questions are about" if arm.retention else ""
    whole = () if arm.keep or arm.half else arm.train  # of some texts, which sentences were left out is not told
    return {"train": whole, "trains on": ", ".join(filter(None, trains)), "in context": given + asked}


def texts_written(keys: Sequence[str], store: Store) -> pd.DataFrame:
    """The sentences that a model generated in some runs, as `augment.Inference`, each once.

    Returns:
        One row for each source and sentence, with `times`, how often it was generated.
    """
    fields = ["source", "sentence", "document", "status", "split", "fact"]
    rows = pd.concat([pd.DataFrame(columns=fields), *(store.rows(key)[fields] for key in keys)])
    rows = rows.astype(object).where(rows.notna(), None)
    times = rows.groupby(["source", "sentence"], sort=False).size().rename("times")
    return rows.drop_duplicates(["source", "sentence"]).join(times, on=["source", "sentence"])


def questions_of(params: Params, name: str, seed: int, rows: pd.DataFrame, written: pd.DataFrame) -> dict[str, Any]:
    """All that the page shows of one world and seed: every text once, elsewhere its number; the rest by `places`.

    Args:
        params: of the study.
        name: of the world.
        seed: that drew it.
        rows: of all its trials.
        written: as given by `texts_written`.

    Raises:
        ParamsError: if the published questions are not those that the params and the code give.
    """
    texts = defaultdict[str, int](itertools.count().__next__)  # the number of each text; a new one gets the next
    places, kept = {}, written[:0]
    for elsewhere, part in rows.groupby("retention"):
        material = prepared(params, name, seed, part)
        wanted = [facts_saying(material.world, q) if material.world else [] for q in material.questions]
        if not elsewhere:  # no arm writes about the world elsewhere
            kept = written[written["fact"].isin({fact for options in wanted for facts in options for fact in facts})]
        saying = kept.reset_index(drop=True).groupby("fact").groups if not elsewhere else {}
        said = [[sorted(k for fact in facts for k in saying.get(fact, ())) for facts in options] for options in wanted]
        tokens = part[part["arm"] == part["arm"].iloc[0]]["option_tokens"]
        places["retention" if elsewhere else "here"] = _place(material, list(tokens), said, texts)
    arms = {str(arm): _answers(part) for arm, part in rows.groupby("arm", sort=False)}
    sentences = columns([_sentence(row, texts) for row in kept.to_dict("records")])
    return {"texts": list(texts), "places": places, "written": sentences, "arms": arms}


def prepared(params: Params, name: str, seed: int, rows: pd.DataFrame) -> Dataset:
    """What arms were asked about, if its questions are those of their rows."""
    material = prepare(params, name, seed, bool(rows["retention"].iloc[0]))
    asked = _identity(pd.DataFrame(material.questions))
    for arm, part in rows.groupby("arm", sort=False):
        if _identity(part) != asked:
            raise ParamsError(
                f"worlds.{name}: what arm {arm!r}, seed {seed}, was asked is not what these params and this code give; "
                "take the params it was run with, or `make reproduce` it"
            )
    return material


def _identity(questions: pd.DataFrame) -> list[tuple[Any, ...]]:
    texts = [map(str, questions[name]) for name in ("split", "item_id", "query")]
    return [*zip(*texts, *(map(tuple, questions[name]) for name in ("options", "answers")), strict=True)]


def _place(
    material: Dataset,
    tokens: Sequence[Sequence[int]],
    said: Sequence[Sequence[Sequence[int]]],
    texts: Mapping[str, int],
) -> dict[str, Any]:
    """The questions about one world, and which documents state what they rest on: number of document, sentence."""
    world, stated = material.world, defaultdict(list)
    needed = {support for question in material.questions for support in question.supports}
    for number, document in enumerate(material.documents, start=1):
        for statement, sentence in zip(document.statements, document.stating, strict=bool(world)):
            if world and (fact := world.canonical(statement.fact)) in needed:
                stated[texts[fact]].append([number, texts[sentence]])
    questions = [
        {
            "id": texts[question.item_id],
            "split": texts[question.split],
            "kind": texts[question.kind],
            "query": texts[question.query],
            "options": [texts[option.strip()] for option in question.options],
            "answers": question.answers,
            "tokens": list(map(int, counts)),
            "rule": texts[question.rule],
            "rules": [texts[rule] for rule in (rules_of(world, question) if world else ())],
            "hops": question.hops,
            "supports": [texts[support] for support in question.supports],
            "said": sentences,
        }
        for question, counts, sentences in zip(material.questions, tokens, said, strict=True)
    ]
    return {"stated": stated, "questions": columns(questions)}


def rules_of(world: World, question: Question) -> list[str]:
    """The rules that may have been the last of a question's derivation, each on one line."""
    statements = [world.parse(question.query + question.options[k]) for k in question.answers]
    relations = {statement.fact.relation for statement in statements if statement}
    rules = (rule for rule in world.rules if rule.name == question.rule and rule.head.relation in relations)
    return [f"{_atom(rule.head)} if {' and '.join(map(_atom, rule.body))}" for rule in rules]


def _atom(fact: Fact) -> str:
    return f"{fact.relation}({fact.subject}, {fact.object})"


def _answers(rows: pd.DataFrame) -> dict[str, Any]:
    """What one arm answered, question by question."""
    answers: dict[str, Any] = {
        "place": "retention" if rows["retention"].iloc[0] else "here",
        "chosen": [likeliest(values) for values in rows["option_log_probs"]],
        "log_probs": [[round(float(value), 2) for value in values] for values in rows["option_log_probs"]],
    }
    if rows["covered"].notna().all():
        answers |= {column: [int(value) for value in rows[column]] for column in ("covered", "misled")}
    return answers


def _sentence(row: dict[str, Any], texts: Mapping[str, int]) -> dict[str, Any]:
    """A written sentence; whether it is a rephrasing decides which arms train on it."""
    numbers = {field: texts[row[field]] for field in ("source", "sentence", "document", "status")}
    rephrased = GENERATED[Source.REPHRASED] == row["source"] and row["split"] in SAME_DIRECTION
    return {**numbers, "rephrased": int(rephrased), "times": int(row["times"])}
