"""Which method gives a model the facts of your documents: the recommendation, its certainty and its evidence."""

import base64
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from study.advice.data_quality import quality
from study.advice.findings import Findings, of_arm
from study.arms import Arm, Context
from study.documents.dataset import Params
from study.documents.read import FileRead, read_folder
from study.evidence.cost import CACHING, COSTS, UNCACHED, break_even, cheapest, for_so_many
from study.evidence.stats import Estimate, accuracy, contrast
from study.pages.costs import search_costs
from study.pages.experiment import Experiment
from study.paths import ROOT
from study.runs.run import DIVERGED
from study.worlds.world import Kind

VOLUMES = (1, 100, 10_000, 1_000_000)  # questions asked before the documents change
FEWEST = 6  # questions that can tell anything: of five, all different by luck has p = 2 / 2 ** 5 = 0.06
CENT = 0.01
LEARNED = 0.8  # accuracy on the documents' own sentences, below which fine-tuning has hardly worked
ALL_LEARNED = 0.95  # from here on it has, however well the untouched model guesses them
SECONDS = ["seconds writing", "seconds tuning", "seconds context", "seconds a query"]
TITLE = "In context, or by fine-tuning?"


def advice(arm: Arm) -> str:
    """What a user of an arm has to do."""
    tune = f"Fine-tune on the documents{' and on what the model infers from them' if len(arm.train) > 1 else ''}"
    what = "the documents"
    if arm.context is Context.RETRIEVED:
        what = f"for each question the {arm.shots} passages that a search finds (BM25)"
    if arm.train:
        return f"{tune}, and put {what} in the context as well" if arm.context else tune
    return f"Put {what} in the context" if arm.context else "Ask the model as it is"


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} [{estimate.low:.0%}, {estimate.high:.0%}]"


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]"


def headline(found: Findings) -> str:
    """The recommendation in a few sentences."""
    best, floor = found.best, found.untouched
    estimate = found.estimates[best]
    if found.nothing_helps:
        floored = found.estimates[floor] if floor else None
        than = "none" if found.no_gain else "a guess"
        beside = f", the untouched model {_shown(floored)}" if floored else ""
        known = floored is not None and floored.low > floored.chance
        remedy = "none is recommended: take a model that reads such documents better, or ask more questions."
        if known:
            remedy = "ask the model as it is: it knows this already, or the options give it away."
        return (
            f"**No method of giving the documents is measurably better than {than}.** The best, *{best}*, answers "
            f"{_shown(estimate)} of your questions, a guess {estimate.chance:.0%}{beside}. So {remedy}"
        )
    first = (
        f"**{advice(found.specs[best])}** (*{best}*). So the model answers {_shown(estimate)} of your questions; a "
        f"guess would be right in {estimate.chance:.0%}."
    )
    if found.top != best:
        first += (
            f" *{found.top}* answers {_shown(found.estimates[found.top])}, which these questions cannot tell from "
            f"that; *{best}* is the simpler method."
        )
    others = [f"*{arm}* ({advice(found.specs[arm]).lower()})" for arm in found.as_good if arm != floor]
    margin = f"{100 * found.statistics.margin:.0f} points"
    rest = {
        arm: f"*{arm}* {_points(*found.interval(arm, best))}"
        for arm in found.arms
        if arm not in {*found.good, found.top}
    }
    worse = [said for arm, said in rest.items() if arm not in found.not_worse]
    unsure = [said for arm, said in rest.items() if arm in found.not_worse]
    parts = [first]
    if others:
        parts.append(f"As good, to within {margin}: {'; '.join(others)}.")
    if unsure:
        parts.append(f"Perhaps as good, in percentage points: {'; '.join(unsure)}.")
    if worse:
        parts.append(f"Measurably worse, in percentage points: {'; '.join(worse)}.")
    return " ".join(parts)


def certainty(found: Findings) -> str:
    """How certain the recommendation is."""
    estimate, confidence = found.estimates[found.best], found.statistics.confidence
    seeds = "one training each" if estimate.seeds == 1 else f"{estimate.seeds} trainings each"
    rests = f"It rests on {estimate.facts} questions and {seeds}"
    rivals = [arm for arm in found.arms if arm != found.best]
    if not rivals:
        return f"{rests}; there is no other method to compare it with."
    rival = max(rivals, key=lambda arm: found.estimates[arm].value)
    least = found.difference(found.best, rival).smallest_detectable(confidence)
    apart = _points(*found.interval(rival, found.best))
    power = f"a difference of {100 * least:.0f} points would have been found in four of five such studies"
    if estimate.facts < FEWEST or not least < 1:
        power = "**so few questions cannot tell the methods apart, whatever the difference**"
    return (
        f"{rests}. The most accurate other method, *{rival}*, differs from it by {apart} points; {power}. Intervals "
        f"hold the true value in {confidence:.0%}. The best of several is a little flattered by being chosen on the "
        "same questions."
    )


def checks(found: Findings) -> list[str]:
    """Conditions of the recommendation, and whether they hold."""
    return [line for check in (_floor, _learned, _fitted, _generated, _options, _read, _data) for line in check(found)]


def _read(found: Findings) -> Iterator[str]:
    files = _files_read(found.experiment)
    characters = sum(file.characters for file in files)
    yield f"Read: {len(files)} documents, {sum(file.passages for file in files)} passages, {characters:,} characters."
    for file in (file for file in files if file.left_out):
        yield f"**Not read**, {file.file}: {file.left_out}."


def _data(found: Findings) -> Iterator[str]:
    for *_, material in found.experiment.materials(seeds=1):
        yield from quality(material)


def _floor(found: Findings) -> Iterator[str]:
    if found.untouched:
        floor = found.estimates[found.untouched]
        meaning = (
            "**It knows some of this already, or the options give it away**: what it gets right so is no gain."
            if floor.low > floor.chance
            else "So it does not show that it knew any of this before."
        )
        yield f"Floor: without the documents the model answers {_shown(floor)}, a guess {floor.chance:.0%}. {meaning}"


def _learned(found: Findings) -> Iterator[str]:
    before = of_arm(found.ends, found.untouched)
    for arm in found.tuned:
        after, untouched, gain = of_arm(found.ends, arm), "", 1.0
        told = accuracy(after, found.statistics)
        if len(before):
            gain = contrast(after, before).interval(found.statistics.confidence)[0]
            untouched = f", untouched {accuracy(before, found.statistics).value:.0%}"
        taken = told.value >= LEARNED and (gain > 0 or told.value >= ALL_LEARNED)
        yield (
            f"Learned: after *{arm}* it ends the documents' own sentences right in {_shown(told)} of {told.items} "
            f"cases, chance {told.chance:.0%}{untouched}."
            + ("" if taken else " **The tuning has hardly taken**: more epochs or a higher learning rate.")
        )


def _fitted(found: Findings) -> Iterator[str]:
    records = found.experiment.records()
    whole = [arm for arm in found.arms if found.specs[arm].context is Context.DOCUMENTS]
    share = records[records["arm"].isin(whole)]["documents in context"].min()
    rest = " **The rest could not be read**: a model that reads more may do better in context." if share < 1 else ""
    if not pd.isna(share):
        yield f"Fitted: {math.floor(100 * share)}% of the documents were in context.{rest}"
    diverged = records[records["status"] == DIVERGED]["arm"]
    if len(diverged):
        yield f"**Diverged**: {len(diverged)} trainings, of {', '.join(diverged.unique())}; they are left out."


def _generated(found: Findings) -> Iterator[str]:
    text = found.experiment.inferences()
    if len(text):
        different = text["sentence"].nunique()
        yield f"Generated: {len(text)} sentences about the documents, {different} distinct; not checked for truth."


def _options(found: Findings) -> Iterator[str]:
    others = found.rows[found.rows["kind"] == Kind.OTHER_ANSWERS]["item_id"].nunique()
    if others:
        yield f"Options: {others} questions had none of their own and took those of other questions' answers."
    by_token = found.rows.groupby("arm")["correct_by_token_mean"].mean().reindex(found.arms)
    if by_token[found.best] < by_token.max() - found.statistics.margin:
        yield (
            f"**Lengths**: by the mean likelihood of a token, instead of the whole option's, *{by_token.idxmax()}* "
            f"would be best ({by_token.max():.0%}, *{found.best}* {by_token[found.best]:.0%}); options of like length "
            "decide that."
        )


def accuracy_and_cost(found: Findings) -> pd.DataFrame:
    """A row for each arm: accuracy, difference to the best, and what it costs."""
    costs = found.costs.groupby("arm")[[*COSTS, *SECONDS]].mean()
    return pd.DataFrame(
        {
            "arm": arm,
            "right": _shown(found.estimates[arm]),
            f"points to {found.best}": "" if arm == found.best else _points(*found.interval(arm, found.best)),
            "seconds once": f"{costs.loc[arm, SECONDS[:-1]].sum():,.0f}",
            "GFLOP once": f"{costs.loc[arm, 'once']:,.0f}",
            "GFLOP a question": f"{costs.loc[arm, 'query']:.3g}",
            CACHING[False]: f"{costs.loc[arm, UNCACHED]:.3g}",
        }
        for arm in found.arms
    )


def with_search(found: Findings) -> pd.DataFrame:
    """The costs of the first time: of every tuned arm with its search for a learning rate, on the selection seeds."""
    search = search_costs(found.experiment).set_index("arm").reindex(found.costs["arm"]).astype(float).fillna(0.0)
    more = {"once": "GFLOP", "tuning": "GFLOP", "seconds tuning": "seconds"}
    return found.costs.assign(**{name: found.costs[name] + search[of].to_numpy() for name, of in more.items()})


def by_volume(found: Findings) -> pd.DataFrame:
    """The cheapest arm that is as good as the best one, for some numbers of questions before the documents change.

    The first time the search for a learning rate counts; for documents that have changed the rate is known.
    """
    times = {"first": with_search(found), "after a change": found.costs}
    return pd.DataFrame(
        {"documents": time, "context": way, **cheapest(costs, found.good, VOLUMES, cached=cached)}
        for time, costs in times.items()
        for cached, way in CACHING.items()
    )


def time_and_money(found: Findings) -> pd.DataFrame:
    """What each arm that is not measurably worse than the best one takes on this machine, the first time."""
    seconds = with_search(found).groupby("arm")[SECONDS].mean()
    price = found.experiment.params.price_an_hour

    def taken(arm: str, questions: int) -> str:
        *once, query = seconds.loc[arm]
        hours = (sum(once) + questions * query) / 3600
        return _lasting(hours) + ("" if price is None else f", {_money(hours * price)}")

    return pd.DataFrame({"arm": arm, **{for_so_many(n): taken(arm, n) for n in VOLUMES}} for arm in found.not_worse)


def _money(price: float) -> str:
    return f"{price:,.2f}" if price >= CENT else "below 0.01"


def _lasting(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.2g} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:,.0f} h"


def break_even_lines(found: Findings) -> list[str]:
    """After how many questions each tuned arm that is not measurably worse has cost less than the context."""
    context = next((arm for arm in found.arms if found.specs[arm].context and not found.specs[arm].train), None)
    lines = []
    for arm in (arm for arm in found.tuned if context and arm in found.not_worse):
        ways = []
        for cached, way in CACHING.items():
            even = break_even(found.costs, arm, context or "", found.statistics, cached=cached)
            ways.append(f"{even.said('after {} questions')} with {way}")
        lines.append(f"After a change *{arm}* has cost less than *{context}* {', '.join(ways)}.")
    return lines


def page(found: Findings, figure: Path | None = None) -> str:
    """The recommendation as Markdown, on about one page, with a PNG figure."""
    model = found.experiment.params.model.name.replace("`", "'")
    encoded = base64.b64encode(figure.read_bytes()).decode() if figure else ""
    picture = f"![Accuracy by arm](data:image/png;base64,{encoded})" if encoded else ""
    parts = (
        f"# {TITLE}",
        headline(found),
        f"**How sure.** {certainty(found)}",
        picture,
        "## What each method brings and costs",
        _table(accuracy_and_cost(found)),
        *([] if found.nothing_helps else _by_volume_lines(found)),
        "## Before you rely on it",
        "\n".join(f"- {line}" for line in checks(found)),
        f"Asked of `{model}`, by the likelihood of each option. Another model, other questions or longer documents may "
        "change the order: run it again with yours.",
    )
    return "\n\n".join(part for part in parts if part)


def _by_volume_lines(found: Findings) -> list[str]:
    price = found.experiment.params.price_an_hour
    money = "" if price is None else f", and in money at {price:,.2f} an hour (price_an_hour in the settings)"
    return [
        *_cheapest_lines(found),
        " ".join(break_even_lines(found)),
        f"What those not measurably worse take on this machine, the first time and with a cached prefix{money}:",
        _table(time_and_money(found)),
    ]


def _cheapest_lines(found: Findings) -> list[str]:
    margin = f"{100 * found.statistics.margin:.0f} points"
    if len(found.good) == 1:
        return [
            f"No other method is certainly as good as *{found.best}*, to within {margin}, so none is called cheaper."
        ]
    return [
        f"Of those certainly as good as *{found.best}*, to within {margin}, the cheapest in GFLOP by the number of "
        "questions before the documents change. The first time a learning rate is searched; after a change all else is "
        "done again:",
        _table(by_volume(found)),
    ]


def _table(table: pd.DataFrame) -> str:
    plain = table.rename(columns=lambda name: name.replace("|", "/")).replace(r"\|", "/", regex=True)
    return str(plain.to_markdown(index=False, disable_numparse=True))


def document_table(experiment: Experiment) -> pd.DataFrame:
    """What was read of each document, and what was not."""
    return pd.DataFrame(_files_read(experiment)).set_index("file").rename(columns=lambda name: name.replace("_", " "))


def _files_read(experiment: Experiment) -> tuple[FileRead, ...]:
    shape = experiment.params.shape("documents")
    return read_folder(ROOT / shape.folder).files if isinstance(shape, Params) else ()


def written_examples(experiment: Experiment, count: int = 8) -> pd.DataFrame:
    """Some of the generated sentences, with the target in view."""
    text = experiment.inferences()
    if text.empty:
        return text
    return text.groupby("source", sort=False).head(count).set_index("source")[["document", "sentence"]]


def by_document(found: Findings) -> pd.DataFrame:
    """Accuracy by the document that questions name, arms as columns; empty if none names any."""
    named = found.rows[found.rows["rule"] != ""].rename(columns={"rule": "document"})
    table = named.pivot_table("correct", "document", "arm", sort=True).reindex(columns=found.arms)
    table.insert(0, "questions", named.groupby("document")["item_id"].nunique())
    return table.round(2)
