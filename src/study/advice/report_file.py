"""The report of a study of documents as a file: the recommendation, and behind it every answer."""

from html import escape

import numpy as np
import pandas as pd
from markdown_it import MarkdownIt

from study.advice.findings import Findings
from study.advice.recommend import TITLE
from study.data.retrieval import Retriever
from study.params import Score
from study.runs.run import prompts_of
from study.worlds.world import Split

PASSAGES = 2  # beside an answer
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # no script, and nothing fetched
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .9rem; }
th, td { padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #ddd; text-align: left; vertical-align: bottom; }
td { white-space: nowrap; }
.answers { font-size: .8rem; }
.answers td { white-space: normal; min-width: 5rem; vertical-align: top; }
.answers td:last-child { min-width: 18rem; }
img { max-width: 100%; height: auto; background: #fff; }
@media (prefers-color-scheme: dark) { body { color: #e8e8e8; background: #161616; } }
"""


def as_html(markdown: str, title: str) -> str:
    """A self-contained page that needs no network; markup in documents is shown as text."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body>\n{body}</body></html>\n"
    )


def write_report(found: Findings, markdown: str) -> str:
    """Write the page, with every answer behind it, as report.html beside the notebook's figures; returns its path."""
    file = found.experiment.output / "report.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    about = (
        f"What *{found.best}* prefers, the methods that are right in every training, and passages that a search finds."
    )
    html = as_html(f"{markdown}\n\n## Every answer\n\n{about} What it gets wrong comes first.", TITLE)
    file.write_text(html.replace("</body>", f"{answer_table(found)}\n</body>"), encoding="utf-8")
    return str(file)


def answer_table(found: Findings) -> str:
    """`answers` as HTML, in which what users wrote is text."""
    with pd.option_context("display.max_colwidth", None):
        return str(answers(found).to_html(index=False, border=0, classes="answers"))


def answers(found: Findings) -> pd.DataFrame:
    """Every question with what the best arm prefers, the arms that are right, and passages that a search finds.

    Questions that the best arm gets wrong in any training come first, with what it prefers there; arms that are right
    in some trainings only are not named.
    """
    ((_, _, material),) = found.experiment.materials(seeds=1)
    search = Retriever(material.documents)
    asked = {question.item_id: question for question in material.questions if question.split is Split.ASKED}
    params = found.experiment.params
    before, after = prompts_of(params).asking("\0").split("\0")  # what the prompt adds to a question
    by_mean, lines = params.prompts.score is Score.MEAN, []
    for item, rows in found.rows.groupby("item_id", sort=False):
        question = asked[item]
        always = rows.groupby("arm")["correct"].all()
        chosen = rows[rows["arm"] == found.best].sort_values("correct", kind="stable").iloc[0]
        scores = np.divide(chosen["option_log_probs"], chosen["option_tokens"] if by_mean else 1)
        lines.append(
            {
                "question": question.query.removeprefix(before).removesuffix(after.rstrip()),
                "answer": " / ".join(question.true_options),
                f"{found.best} prefers": question.options[int(np.argmax(scores))].strip(),
                "right": ", ".join(arm for arm in found.arms if always.get(arm)),
                "passages": " | ".join(f"{d.file}: {d.text}" for d in search.best(question, PASSAGES)[::-1]),
                "_wrong": not always[found.best],
            }
        )
    return pd.DataFrame(lines).sort_values("_wrong", ascending=False, kind="stable").drop(columns="_wrong")
