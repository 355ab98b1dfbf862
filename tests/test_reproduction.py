"""The report that a study ends with: its rows beside the published ones, and which verdicts stand."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from study.evidence.claims import CONTRADICTED, INCONCLUSIVE, NOT_TESTED, SUPPORTED, Claim
from study.pages import reproduction
from study.pages.reproduction import Word, compare, in_place, report, row_table, verdict_table
from study.params import Params
from study.runs.run import DIVERGED
from study.runs.runner import evaluation_runs_of, run
from study.runs.store import store_of


def rows(arm="ft", seed=0, right=8, shift=0.0, count=10):
    """Answers of one run, the first ones right."""
    correct, names = np.arange(count) < right, [str(k) for k in range(count)]
    scores = [np.array([-1.0 + shift, -2.0] if ok else [-2.0 + shift, -1.0]) for ok in correct]
    return pd.DataFrame(
        {
            "world": "reversals", "split": "reversal", "arm": arm, "seed": seed, "item_id": names,
            "cluster": [f"{seed}/{k}" for k in range(count)], "correct": correct, "chance": 0.25,
            "option_log_probs": scores,
        }
    )  # fmt: skip


def test_rows_are_equal_close_different_or_new():
    assert compare(rows(), rows()) == (Word.EQUAL, 0)
    assert compare(rows(shift=1e-6), rows()) == (Word.WITHIN, 0)
    assert compare(rows(shift=1e-2), rows()) == (Word.DIFFERENT, 0)
    assert compare(rows(right=5), rows()) == (Word.DIFFERENT, 3)
    assert compare(rows(count=9), rows()) == (Word.DIFFERENT, 9)
    assert compare(rows(), pd.DataFrame()) == (Word.NEW, 0)
    table = row_table(pd.concat([rows(), rows(seed=1)]), rows())
    assert list(table["rows"]) == [Word.EQUAL, Word.NEW]


@pytest.fixture
def claims(monkeypatch):
    effect = {"of": {"arm": "ft"}, "to": {"arm": "base"}, "above": 0.2, "splits": ["reversal"]}
    values = {"number": 1, "claim": "c", "origin": "ours", "contradicted_if": "r", "effects": [effect]}
    monkeypatch.setattr(reproduction, "claims_of", lambda params: (Claim.parse(values, "test"),))


def several(ft, base=(2, 3, 2), seeds=(0, 1, 2)):
    return pd.concat(
        [rows(arm, s, n) for arm, ns in (("ft", ft), ("base", base)) for s, n in zip(seeds, ns, strict=True)]
    )


def test_a_verdict_stands_with_these_rows_in_place_of_the_published_ones_or_not(claims):
    public = several((8, 9, 8))
    for here, verdict, shown in (
        (several((8,), (2,), (0,)), SUPPORTED, "1 and 0 of 1"),  # of one seed the facts are the replicates
        (several((0, 0, 0), (9, 10, 9)), CONTRADICTED, "0 and 1 of 1"),
        (several((8, 3, 5)), INCONCLUSIVE, "0 and 0 of 1"),
        (several((9, 8, 9), seeds=(7, 8, 9)), SUPPORTED, "1 and 0 of 1"),
    ):
        (line,) = verdict_table(Params(), here, public).to_dict("records")
        assert (line["published"], line["with these rows"]) == (SUPPORTED, verdict)
        assert line["here"] == shown
    assert len(in_place(several((8, 9, 8)), public)) == len(public)
    assert verdict_table(Params(), rows("ft"), public).empty  # an arm is missing


def test_published_rows_that_lack_an_arm_of_a_claim_are_left_out(claims):
    public, here = several((8, 9, 8)), several((9, 8, 9), seeds=(7, 8, 9))
    table = verdict_table(Params(), here, public[public["arm"] == "ft"])
    assert (table["published"].item(), table["with these rows"].item()) == (NOT_TESTED, SUPPORTED)


def test_a_study_ends_with_its_report(published, tmp_path, capsys):
    small, results = published
    run(small, store_of(tmp_path), say=lambda line: None)
    report(small, tmp_path, results, small)
    said = capsys.readouterr().out
    assert "equal to the bit" in said and "not published" not in said
    stand, tested = re.search(r"(\d+) of (\d+) verdicts stand", said).groups()
    assert stand == tested != "0"
    report(small, results, results, small)
    assert capsys.readouterr().out == ""
    store = store_of(tmp_path)
    lost = next(trial for trial in evaluation_runs_of(small, store) if trial.arm == "ft")
    shutil.rmtree(store.path(lost.key))
    store.write(lost.key, pd.DataFrame(), {"status": DIVERGED, "error": "loss nan"})
    report(small, tmp_path, results, small)
    assert "equal to the bit" in capsys.readouterr().out
    fewer = small.model_copy(update={"questions": small.questions.model_copy(update={"per_split": 2})})
    report(fewer, tmp_path, results, small)
    said = capsys.readouterr().out
    assert "not compared with" in said and "its questions are others" in said
