"""Which way to give a model the facts of your documents: the answer, how sure it is, and what it rests on."""

import base64
import math
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from markdown_it import MarkdownIt

from study.evidence.cost import COSTS, break_even, cheapest
from study.evidence.stats import Contrast, Estimate, accuracy, contrast
from study.pages.experiment import Experiment
from study.params import Arm
from study.runs.run import DIVERGED
from study.site.markdown import escaped
from study.worlds.world import Kind, Split

VOLUMES = (100, 10_000, 1_000_000)  # questions
LEARNED = 0.8  # of the documents' own sentences, below which a tuning has hardly taken
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # no script, and nothing fetched
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .9rem; }
th, td { padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #ddd; text-align: left; vertical-align: bottom; }
td { white-space: nowrap; }
img { max-width: 100%; height: auto; } code { font-size: .9em; }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #161616; } th, td { border-color: #444; } img { background: #fff; }
}
"""


def advice(arm: Arm) -> str:
    """What an arm asks of whoever would use it."""
    more = len(arm.train) > 1
    tune = f"fine-tune on the documents{' and on what the model infers from them' if more else ''}"
    if arm.train and arm.context:
        return f"{tune[0].upper()}{tune[1:]}, and put the documents in the context as well"
    if arm.train:
        return f"{tune[0].upper()}{tune[1:]}"
    return "Put the documents in the context" if arm.context else "Ask the model as it is"


@dataclass(frozen=True)
class Findings:
    """What the finished trials of a study of documents say.

    Attributes:
        experiment: the study.
        rows: the answers to the person's questions.
        ends: the answers about the documents' own sentences.
        costs: of each trial.
    """

    experiment: Experiment
    rows: pd.DataFrame
    ends: pd.DataFrame
    costs: pd.DataFrame

    @property
    def arms(self) -> list[str]:
        """The arms that have answered, in the study's order."""
        return [arm for arm in self.experiment.params.arms if arm in set(self.rows["arm"])]

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Accuracy on the person's questions, by arm."""
        statistics = self.experiment.params.statistics
        return {arm: accuracy(self.rows[self.rows["arm"] == arm], statistics) for arm in self.arms}

    @property
    def best(self) -> str:
        """The arm that is right most often; of equal ones the first, which asks for the least."""
        return max(self.arms, key=lambda arm: self.estimates[arm].value)

    @property
    def untouched(self) -> str | None:
        """The arm without documents."""
        arms = self.experiment.params.arms
        return next((name for name in self.arms if not (arms[name].train or arms[name].context)), None)

    def difference(self, arm: str, other: str) -> Contrast:
        """One arm's accuracy minus another's."""
        values = _valued(self.rows)
        one, two = (values[values["arm"] == name] for name in (arm, other))
        return contrast(one, two, self.experiment.params.statistics)

    def interval(self, arm: str, other: str) -> tuple[float, float, float]:
        """The difference of two arms with its interval."""
        found = self.difference(arm, other)
        return found.value, *found.interval(self.experiment.params.statistics.confidence)

    @cached_property
    def shares(self) -> dict[str, float]:
        """How often each arm is the best one when questions and trainings are drawn again; a tie is shared."""
        means = np.stack([self.difference(arm, self.arms[0]).means for arm in self.arms])
        top = means >= means.max(axis=0) - 1e-12
        return dict(zip(self.arms, (top / top.sum(axis=0)).mean(axis=1), strict=True))

    @cached_property
    def as_good(self) -> list[str]:
        """Arms that are not measurably worse than the best one."""
        return [arm for arm in self.arms if arm != self.best and self.interval(arm, self.best)[2] >= 0]


def findings(experiment: Experiment) -> Findings:
    """What the finished trials say.

    Raises:
        ValueError: if none is finished, or no question of a person was asked.
    """
    rows = experiment.rows()
    asked = rows[rows["split"] == Split.ASKED] if len(rows) else rows
    if asked.empty:
        raise ValueError("no question was answered yet; run the trials, and give a file of questions")
    return Findings(experiment, asked, rows[rows["split"] == Split.STATED], experiment.costs())


def _valued(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(value=rows["correct"].astype(float))


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} [{estimate.low:.0%}, {estimate.high:.0%}]"


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.0f} [{100 * low:+.0f}, {100 * high:+.0f}]"


def headline(found: Findings) -> str:
    """The recommendation in a few sentences."""
    params, best = found.experiment.params, found.best
    estimate = found.estimates[best]
    lines = [
        f"**{advice(params.arms[best])}** (*{best}*). So the model answers {_shown(estimate)} of your questions; a "
        f"guess would be right in {estimate.chance:.0%}."
    ]
    floor = found.untouched
    if floor and not any(found.interval(arm, floor)[1] > 0 for arm in found.arms if arm != floor):
        lines = [
            f"**No way to give the documents is measurably better than none.** The best, *{best}*, answers "
            f"{_shown(estimate)} of your questions, the untouched model {_shown(found.estimates[floor])}."
        ]
    others = [arm for arm in found.as_good if arm != floor]
    worse = [arm for arm in found.arms if arm not in (best, *found.as_good)]
    if others:
        lines.append(
            "Not measurably worse: "
            + "; ".join(f"*{arm}* ({advice(params.arms[arm]).lower()})" for arm in others)
            + "."
        )
    if worse:
        lines.append(
            "Measurably worse, in points of a hundred: "
            + "; ".join(f"*{arm}* {_points(*found.interval(arm, best))}" for arm in worse)
            + "."
        )
    return " ".join(lines)


def certainty(found: Findings) -> str:
    """How sure the recommendation is."""
    estimate, statistics = found.estimates[found.best], found.experiment.params.statistics
    seeds = "one training each" if estimate.seeds == 1 else f"{estimate.seeds} trainings each"
    ranked = sorted(found.shares.items(), key=lambda pair: -pair[1])
    rivals = [arm for arm in sorted(found.arms, key=lambda a: -found.estimates[a].value) if arm != found.best]
    if not rivals:
        return f"It rests on {estimate.facts} questions and {seeds}; there is no other way to compare it with."
    rival = rivals[0]
    least = found.difference(found.best, rival).smallest_detectable(statistics.confidence)
    return (
        f"It rests on {estimate.facts} questions and {seeds}. Were questions and trainings drawn again, the best would "
        "be "
        + ", ".join(f"*{arm}* in {share:.0%}" for arm, share in ranked if share >= 0.005)
        + f" of the draws. Between the two best, a difference of {100 * least:.0f} points would have been found in "
        f"four of five such studies; intervals hold the true value in {statistics.confidence:.0%}. The best of several "
        "is a little flattered by being chosen on the same questions."
    )


def checks(found: Findings) -> list[str]:
    """What must hold for the recommendation to mean what it says, and whether it does."""
    params, statistics, lines = found.experiment.params, found.experiment.params.statistics, []
    if found.untouched:
        floor = found.estimates[found.untouched]
        above = floor.low > floor.chance
        lines.append(
            f"Floor: without the documents the model answers {_shown(floor)}, a guess {floor.chance:.0%}. "
            + (
                "**It knows some of this already, or the options give it away**: what it gets right so is no gain."
                if above
                else "So it does not show that it knew any of this before."
            )
        )
    before = found.ends[found.ends["arm"] == found.untouched]
    for arm in (arm for arm in found.arms if params.arms[arm].train and not params.arms[arm].context):
        after = found.ends[found.ends["arm"] == arm]
        told = accuracy(after, statistics)
        gain = (
            contrast(_valued(after), _valued(before), statistics).interval(statistics.confidence)[0]
            if len(before)
            else 1
        )
        lines.append(
            f"Learned: after *{arm}* it ends the documents' own sentences right in {_shown(told)} of {told.items} "
            f"cases, chance {told.chance:.0%}"
            + (f", untouched {accuracy(before, statistics).value:.0%}." if len(before) else ".")
            + (
                ""
                if told.value >= LEARNED and gain > 0
                else " **The tuning has hardly taken**: more epochs or a higher learning rate."
            )
        )
    records = found.experiment.records()
    shares = records[records["context tokens"] > 0]["documents in context"]
    if len(shares):
        share = shares.min()
        lines.append(
            f"Fitted: {math.floor(100 * share)}% of the documents were in context."
            + (
                ""
                if share == 1
                else " **The rest could not be read**: a model that reads more may do better in context."
            )
        )
    text = found.experiment.inferences()
    if len(text):
        lines.append(
            f"Written: {len(text)} sentences about the documents, {text['sentence'].nunique()} of them different; "
            "nobody has checked whether they are true."
        )
    others = found.rows[found.rows["kind"] == Kind.OTHER_ANSWERS]["item_id"].nunique()
    if others:
        lines.append(f"Options: {others} questions had none of their own and took those of other questions' answers.")
    by_token = found.rows.groupby("arm")["correct_by_token_mean"].mean().reindex(found.arms)
    if by_token[found.best] < by_token.max():
        lines.append(
            f"**Lengths**: by the mean likelihood of a token, instead of the whole option's, *{by_token.idxmax()}* "
            f"would be best ({by_token.max():.0%}, *{found.best}* {by_token[found.best]:.0%}); options of like length "
            "decide that."
        )
    diverged = records[records["status"] == DIVERGED]
    if len(diverged):
        lines.append(
            f"**Diverged**: {len(diverged)} trainings, of {', '.join(diverged['arm'].unique())}; they are left out."
        )
    return lines


def accuracy_and_cost(found: Findings) -> pd.DataFrame:
    """A row for each arm: accuracy, difference to the best, and what it costs."""
    costs = found.costs.groupby("arm")[[*COSTS, "seconds once", "seconds a query"]].mean()
    lines = []
    for arm in found.arms:
        gap = "" if arm == found.best else _points(*found.interval(arm, found.best))
        line = costs.loc[arm]
        lines.append(
            {
                "arm": arm,
                "right": _shown(found.estimates[arm]),
                "points to the best": gap,
                "seconds once": f"{line['seconds once']:.0f}",
                "GFLOP once": f"{line['once']:,.0f}",
                "GFLOP a question": f"{line['query']:.3g}",
                "context read anew": f"{line['query, context read anew']:.3g}",
            }
        )
    return pd.DataFrame(lines)


def by_volume(found: Findings) -> pd.DataFrame:
    """For some numbers of questions the cheapest arm that is not measurably worse than the best one."""
    good = [arm for arm in found.arms if arm in (found.best, *found.as_good)]
    lines = [
        {"a context is": name, **cheapest(found.costs, good, VOLUMES, kept=kept)}
        for kept, name in ((False, "read anew for each question"), (True, "kept between questions"))
    ]
    return pd.DataFrame(lines)


def break_even_lines(found: Findings) -> list[str]:
    """After how many questions each tuned arm has cost less than the context."""
    arms, statistics = found.experiment.params.arms, found.experiment.params.statistics
    contexts = [arm for arm in found.arms if arms[arm].context and not arms[arm].train]
    lines = []
    for arm in (arm for arm in found.arms if contexts and arms[arm].train and not arms[arm].context):
        ways = []
        for kept, name in ((False, "read anew for each question"), (True, "kept")):
            even = break_even(found.costs, arm, contexts[0], statistics, kept=kept)
            count = "never" if np.isinf(even.questions) else "after {:,.0f} [{:,.0f}, {:,.0f}] questions".format(*even)
            ways.append(f"{count} if the context is {name}")
        lines.append(f"*{arm}* has cost less than *{contexts[0]}* {', '.join(ways)}.")
    return lines


def page(found: Findings, figure: Path | None = None) -> str:
    """The whole recommendation as Markdown, on about one page.

    Args:
        found: what it rests on.
        figure: a PNG to be shown in it.
    """
    model = found.experiment.params.model
    picture = f"![Accuracy by arm]({_embedded(figure)})" if figure else ""
    return "\n\n".join(
        part
        for part in (
            "# In context, or by fine-tuning?",
            headline(found),
            f"**How sure.** {certainty(found)}",
            picture,
            "## What each way brings and costs",
            _table(accuracy_and_cost(found)),
            "Of those not measurably worse than the best, the cheapest (the search for a learning rate not counted):",
            _table(by_volume(found)),
            " ".join(break_even_lines(found)),
            "## Before you rely on it",
            "\n".join(f"- {line}" for line in checks(found)),
            f"Asked of {escaped(model.name)}, by the likelihood of each option. Another model, other questions or "
            "longer documents may turn the order round: run it again with yours.",
        )
        if part
    )


def _table(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def _embedded(figure: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(figure.read_bytes()).decode()}"


def as_html(markdown: str, title: str) -> str:
    """A page of its own that needs no other file and no network; what documents hold is text in it, never markup."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body>\n{body}</body></html>\n"
    )


def write_report(experiment: Experiment, markdown: str) -> str:
    """Write the page as report.html beside the notebook's figures; where it is."""
    file = experiment.output / "report.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(as_html(markdown, "In context, or by fine-tuning?"), encoding="utf-8")
    return str(file)


def document_table(experiment: Experiment) -> pd.DataFrame:
    """How much each document holds."""
    material = experiment.material("documents", experiment.params.seeds[0])
    lines = [
        (document.statements[0].fact.subject.rpartition(", ")[0], len(document.stating), len(document.text.split()))
        for document in material.documents
        if document.statements
    ]
    table = pd.DataFrame(lines, columns=["document", "sentences", "words"])
    return table.groupby("document", sort=False).agg(
        passages=("sentences", "size"), sentences=("sentences", "sum"), words=("words", "sum")
    )


def question_table(experiment: Experiment, count: int = 5) -> pd.DataFrame:
    """Some of the questions with the true option and the others."""
    questions = experiment.material("documents", experiment.params.seeds[0]).questions
    asked = [question for question in questions if question.split is Split.ASKED][:count]
    return pd.DataFrame(
        {
            "question": q.query,
            "true": q.true_options[0],
            "others": " / ".join(o.strip() for k, o in enumerate(q.options) if k not in q.answers),
            "document": q.rule,
        }
        for q in asked
    )


def written_examples(experiment: Experiment, count: int = 8) -> pd.DataFrame:
    """Some of the sentences that the model wrote, with what it had in view."""
    text = experiment.inferences()
    if text.empty:
        return text
    shown = text.groupby("source", sort=False).head(count)
    return shown[["source", "document", "sentence"]].set_index("source")


def by_document(found: Findings) -> pd.DataFrame:
    """Share of right answers by the document that questions name, arms as columns; nothing if none names any."""
    named = found.rows[found.rows["rule"] != ""].rename(columns={"rule": "document"})
    table = named.pivot_table("correct", "document", "arm", sort=True).reindex(columns=found.arms)
    table.insert(0, "questions", named.groupby("document")["item_id"].nunique())
    return table.round(2)
