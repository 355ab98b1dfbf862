"""The words for what a run answers otherwise than the published study."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from study import cli
from study.evidence.verify import rows_listed
from study.pages import difference, execute
from study.pages.difference import Word, difference_table, in_short, show
from study.params import Statistics
from study.runs.runner import evaluation_runs_of, run
from study.runs.store import Store

STATISTICS = Statistics()


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Tables as in a file; a worker of pytest is told how wide pytest's own terminal is."""
    monkeypatch.delenv("COLUMNS", raising=False)


def answers(right, arm="ft", split="reversal", seeds=(0, 1), facts=40, word="w", options=8, drawn=0):
    """Rows of an arm that is right in a share of its questions, two on each fact, the same facts for a `word`."""
    rng = np.random.default_rng(drawn)
    return pd.DataFrame(
        [
            {
                "world": "reversals",
                "split": split,
                "arm": arm,
                "seed": seed,
                "item_id": f"{word}{seed}/{fact}/{k}",
                "query": f"{word}{seed}/{fact}/{k} is",
                "options": np.array([f"{option}" for option in range(options)], dtype=object),
                "cluster": f"{word}{seed}/{fact}",
                "correct": bool(rng.random() < right),
                "chance": 1 / options,
                "option_log_probs": np.zeros(options),
                "answers": np.array([0]),
            }
            for seed in seeds
            for fact in range(facts)
            for k in range(2)
        ]
    )


def many(right, **other):
    return pd.concat(
        [answers(right, arm, split, **other) for arm in ("icl", "ft") for split in ("reversal", "two hops")]
    )


def test_the_same_answers_differ_by_nothing():
    table = difference_table(many(0.6), many(0.6), STATISTICS)
    assert len(table) == 4 and table["paired"].all()
    assert (table["difference"] == 0).all() and (table["word"] == Word.WITHIN).all()
    assert ((table["low"] < 0) & (table["high"] > 0)).all()
    assert in_short(table, 0.95).startswith("None of 4 differences is significant.\nWords: at 95% over all 4 tests")


def test_an_arm_that_is_clearly_worse_is_lower_and_the_others_are_not():
    here = pd.concat([answers(0.1, drawn=1), answers(0.6, "icl")])
    table = difference_table(here, many(0.6), STATISTICS).set_index("arm")
    assert table["word"].to_dict() == {"ft": Word.LOWER, "icl": Word.WITHIN}
    assert table.loc["ft", "high"] < -0.3
    assert table.loc["ft", "difference"] == pytest.approx(table.loc["ft", "here"] - table.loc["ft", "published"])
    assert in_short(table, 0.95).startswith("1 of 2 differences are significant: 0 higher, 1 lower.")


def test_of_many_tests_a_clear_difference_is_still_found():
    many_seeds = tuple(range(8))
    others = [answers(0.6, f"arm {k}", facts=12) for k in range(40)]
    table = difference_table(
        pd.concat([answers(0.95, drawn=1, seeds=many_seeds), *others]),
        pd.concat([answers(0.3, drawn=2, seeds=many_seeds), *others]),
        Statistics(),
    )
    assert table.set_index("arm")["word"].eq(Word.HIGHER).sum() == 1
    assert table.loc[0, "word"] == Word.HIGHER


def test_pairs_tell_a_difference_that_means_drawn_apart_do_not():
    published = answers(0.5, drawn=3)
    here = published.assign(correct=published["correct"] | (np.arange(len(published)) % 4 == 0))
    paired = difference_table(here, published, STATISTICS).iloc[0]
    apart = difference_table(here.assign(item_id="other " + here["item_id"]), published, STATISTICS).iloc[0]
    assert paired["paired"] and not apart["paired"]
    assert paired["difference"] == apart["difference"] > 0
    assert (paired["word"], apart["word"]) == (Word.HIGHER, Word.WITHIN)
    assert paired["high"] - paired["low"] < apart["high"] - apart["low"]


def test_other_questions_are_not_paired_and_that_is_said():
    table = difference_table(answers(0.1, word="v", seeds=(5,)), answers(0.9, drawn=1), STATISTICS)
    assert not table["paired"].any() and table["word"].tolist() == [Word.LOWER]
    assert "1 are of other questions: two independent means" in in_short(table, 0.95)


def test_only_shared_questions_are_compared_where_most_are_shared():
    published = answers(0.5, seeds=(0, 1))
    line = difference_table(answers(0.5, seeds=(0,)), published, STATISTICS).iloc[0]
    assert line["paired"] and line["items"] == 80
    assert line["published"] == published[published["seed"] == 0]["correct"].mean()


def test_questions_with_other_options_are_other_questions_and_other_chances_are_not_compared():
    table = difference_table(answers(0.5, options=4), answers(0.5), STATISTICS)
    assert table["word"].tolist() == [Word.NOT_COMPARABLE] and table["difference"].isna().all()
    assert in_short(table, 0.95) == "Nothing here can be compared with the published study."


def test_what_is_not_published_is_named_so(capsys):
    table = difference_table(pd.concat([answers(0.5), answers(0.5, "mine")]), answers(0.5), STATISTICS)
    assert table["word"].tolist() == [Word.WITHIN, Word.NOT_PUBLISHED]
    assert in_short(table, 0.95).endswith("\n1: not published.")
    show(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1].strip() for line in lines[-2:]] == ["within noise", "not published"]
    assert difference_table(answers(0.5), pd.DataFrame(), STATISTICS)["word"].tolist() == [Word.NOT_PUBLISHED]


def test_published_rows_are_those_that_the_last_page_lists(tmp_path):
    store = Store(tmp_path / "runs")
    for key in ("a", "b", "c"):
        store.write(key, answers(0.5, "another label")[:3], {"status": "finished"})
    (tmp_path / "05_compare").mkdir()
    listed = [
        {"run": "a", "arm": "ft", "status": "finished"},
        {"run": "c", "arm": "icl", "status": "finished"},
        {"run": "dead", "arm": "ft", "status": "diverged"},
    ]
    pd.DataFrame(listed).assign(world="reversals", seed=0).to_csv(tmp_path / "05_compare" / "runs.csv", index=False)
    rows = rows_listed(tmp_path, ["ft"])
    assert len(rows) == 3 and set(rows["arm"]) == {"ft"}


def test_a_notebook_run_with_other_params_ends_with_what_differs(
    params, tmp_path, monkeypatch, capsys, in_this_process
):
    """The notebook's own work is done without its page; the published study is the same trials."""
    values = {**params.plain(), "worlds": {"reversals": params.worlds.reversals.plain()}}
    (tmp_path / "mine.yaml").write_text(json.dumps(values))
    published = tmp_path / "default"
    monkeypatch.setattr(cli, "RESULTS", tmp_path)
    monkeypatch.setattr(difference, "PUBLISHED", published)

    def work(book):
        store = Store(published / "runs")
        run(book.params, store, ["base", "icl"], say=lambda line: None)
        trials = evaluation_runs_of(book.params, store, ["base"])
        listed = [{"run": t.key, "arm": t.arm, "world": t.world, "seed": 0, "status": "finished"} for t in trials]
        (published / "05_compare").mkdir()
        pd.DataFrame(listed).to_csv(published / "05_compare" / "runs.csv", index=False)
        book.results.mkdir(parents=True)
        (book.results / "runs").symlink_to(store.folder)

    monkeypatch.setattr(execute, "execute", work)
    assert cli.main(["nb", "02", str(tmp_path / "mine.yaml")]) == 0
    printed = capsys.readouterr().out
    assert "  finetuning.epochs: 5 -> 1\n" in printed
    assert "None of 4 differences is significant." in printed and "not published" in printed
    assert re.search(r"reversals +as stated +base +0\.\d\d +0\.\d\d +\+0\.00 \[", printed)


def test_a_side_that_is_all_right_still_hides_something():
    """Eight questions that are all right say less than many, though no draw of them differs."""
    wrong = answers(0.9).assign(seed=7)
    few, many = (answers(1.0).assign(item_id=lambda r: "x" + r["item_id"]).head(n) for n in (8, 40))
    widths = []
    for rows in (few, many):
        (line,) = difference_table(rows, wrong, STATISTICS).itertuples()
        assert not line.paired and line.low < line.difference
        widths.append(line.high - line.low)
    assert widths[0] > 1.5 * widths[1]
