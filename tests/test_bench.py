import copy
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from bench import __main__ as bench
from bench import publish
from bench.table import Line, Same, Took, compare, largest, median
from study.base_model.pretrain import Batches
from study.base_model.recipe import Stage, load_recipe
from study.base_model.tokenizer import build_tokenizer
from study.config import ParamsError

RECIPE = {
    "architecture": {"width": 32, "head_width": 8, "positions": 256},
    "stages": [{"facts": 3, "row_tokens": 96, "batch_tokens": 192, "layers": 2, "most_tokens": 1000}],
}


def line(**values) -> Line:
    usual = {"work": "w", "against": "a", "ours": 1.0, "theirs": 2.0, "target": 2.0, "same": "", "right": True}
    return Line(**{**usual, **values})


def test_a_target_is_met_by_equal_results_only():
    assert line().met and not line(target=2.1).met and not line(right=False).met
    assert line(at_most=True, target=0.5).met and not line(at_most=True, target=0.4).met
    assert not line(ours=float("nan")).met and not line(ours=float("nan"), at_most=True).met


def test_two_ways_are_done_in_turn_and_compared():
    done = []

    def ours():
        done.append("ours")
        time.sleep(0.01)
        return 1.0

    def theirs():
        done.append("theirs")
        time.sleep(0.04)
        return 1.5

    def difference(one, other):
        return abs(one - other)

    found = compare("w", "a", 2, ours, theirs, Same("x", 1), difference, 3, counts=(2, 1), say=lambda line: None)
    assert done == ["ours", "theirs"] * 3
    assert found.met and 4 < found.ratio < 16 and found.ours < found.theirs
    assert not compare("w", "a", 2, ours, theirs, Same("x", 0.1), difference, 1, say=lambda line: None).right


def test_what_is_not_a_number_is_not_the_same():
    assert Same("x", 1.0, 1.0).right and not Same("x", 1.0, largest([0.0, float("nan"), 0.0])).right


def test_medians_are_of_wall_and_processor_time_apart():
    assert median([Took(1, 9), Took(2, 8), Took(3, 7)]) == Took(2, 8)


def test_the_texts_of_a_batch_are_all_that_it_holds():
    pytest.importorskip("lm_eval")
    from bench import pretraining

    tokenizer = build_tokenizer()
    stage = Stage(facts=3, row_tokens=96, batch_tokens=192, most_tokens=1000)
    batch = Batches(tokenizer, stage, "bench")[0]
    texts = pretraining._texts(batch, tokenizer.bos_token_id, tokenizer.pad_token_id)
    begins = int((batch.ids == tokenizer.bos_token_id).sum())
    assert len(texts) == begins > len(batch.ids)
    assert all(text["input_ids"][0] == tokenizer.bos_token_id for text in texts)
    kept = batch.ids != tokenizer.pad_token_id
    assert [i for text in texts for i in text["input_ids"]] == batch.ids[kept].tolist()
    assert [i for text in texts for i in text["labels"]] == batch.labels[kept].tolist()


def test_the_bench_of_pretraining_runs_both_and_gives_their_ratio(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval")
    from bench import pretraining

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    monkeypatch.setattr(pretraining, "recipe_file", lambda size: tmp_path / f"{size}.yaml")
    assert load_recipe(tmp_path / "tiny.yaml").stages[0].layers == 2
    said = []
    found = pretraining.lines(1, False, said.append, "tiny", steps=2)[0]
    assert found.ratio > 0 and len(said) == 2 and said[1] == f"stage 0, rows of 96: {found.ratio:.2f} times"


def test_new_rows_replace_earlier_ones_of_the_same_work_and_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "machine", lambda: {"cores": 2})
    lines = [line(work="one"), line(work="two", theirs=3.0), line(work="limit", at_most=True, target=0.5)]
    curves = pd.DataFrame({"curve": ["c", "c"], "at": [1, 10], "seconds": [1.0, 2.0], "floor": [0.5, 1.0]})
    publish.publish(publish.as_table(lines), curves.assign(curve=["c", "d"]), tmp_path)
    publish.publish(publish.as_table([line(work="two", theirs=1.0), line(work="three")]), None, tmp_path)
    table = pd.read_csv(tmp_path / "table.csv").set_index("work")
    assert list(table.index) == ["one", "two", "limit", "three"]
    assert table["ratio"].tolist() == [2.0, 1.0, 0.5, 2.0] and table["met"].tolist() == [True, False, True, True]
    assert all((tmp_path / name).stat().st_size > 5_000 for name in ("ratios.png", "scaling.png"))
    monkeypatch.setattr(publish, "machine", lambda: {"cores": 3})
    with pytest.raises(ParamsError, match="of another machine or other versions; run `make bench` without ONLY"):
        publish.publish(publish.as_table(lines), None, tmp_path)


def test_a_group_that_does_not_exist_is_refused(capsys):
    pytest.importorskip("lm_eval")
    pytest.importorskip("trl")
    assert bench.main(["--only", "scoring speed"]) == 1
    assert "error: ONLY = 'scoring speed': no group ['speed']; there are: scoring, memory" in capsys.readouterr().err


def test_a_baseline_that_is_not_installed_is_named_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bench.run", None)
    monkeypatch.delitem(sys.modules, "lm_eval", raising=False)
    assert bench.main([]) == 1
    assert "is not installed; `make bench` installs it, from requirements/bench.lock" in capsys.readouterr().err


def test_the_baselines_do_the_same_work(model, tokenizer, tmp_path):
    pytest.importorskip("lm_eval")
    pytest.importorskip("trl")
    pytest.importorskip("ctranslate2")
    from bench import baselines, engines, real, scoring, tuning
    from study.lm.scoring import score_options

    context = "vazed sees ditav. so:"
    questions = [("vazed sees", (" ditav.", " bafed.")), ("the teacher of vazed is", (" ditav.", " bafed."))]
    ours = score_options(model, tokenizer, context, questions)
    theirs = baselines.by_lm_eval(baselines.lm_eval(model, tokenizer), context, questions)
    assert scoring.difference(ours, theirs) <= 1e-4
    assert scoring.difference(ours, [values[::-1] for values in theirs]) == float("inf")
    cropped = real.by_rewinding(model, tokenizer, context, questions)
    assert scoring.difference(ours, cropped) <= 1e-4 and real.other_choices(ours, cropped) == 0
    encoded = tuning.batches_of(tokenizer, 2)
    steps = [encoded[: tuning.BATCH], encoded[tuning.BATCH :]]
    assert [sum(len(ids) - 1 for ids in texts) for texts in steps] == [tuning.STEP_TOKENS] * 2
    losses = tuning.by_study(copy.deepcopy(model), tokenizer, encoded)
    assert len(losses) == 2 and losses[1] != losses[0]
    assert tuning.by_trl(copy.deepcopy(model), tokenizer, encoded) == pytest.approx(losses, abs=1e-4)
    prompts = [f"{context} {query}" for query, _ in questions]
    texts = baselines.by_generate(model, tokenizer, prompts, 3)
    assert all(texts) and engines.CTranslate2(model, tokenizer, tmp_path).generate(prompts, 3) == texts


def test_a_quick_run_fails_where_results_differ_and_not_where_smaller_work_misses_a_target(monkeypatch, tmp_path):
    pytest.importorskip("lm_eval")
    from bench import run as runs

    monkeypatch.setattr(runs.torch, "set_num_threads", lambda _: None)
    slow = Line("work", "baseline", 2.0, 1.0, 1.5, "texts", True)
    for line, status in ((slow, 0), (slow._replace(right=False), 1)):
        monkeypatch.setattr(runs, "GROUPS", {"scoring": lambda *_, line=line: [line]})
        said: list[str] = []
        assert runs.run(True, "", tmp_path, said.append) == status and "0 met, 1 short" in said
    assert not list(tmp_path.iterdir())


def test_a_study_that_is_not_up_to_date_is_not_measured(monkeypatch):
    pytest.importorskip("lm_eval")
    from bench import daily

    monkeypatch.setattr(daily, "study_runs", lambda _: [SimpleNamespace(stale=lambda: "not executed yet")])
    said: list[str] = []
    assert daily.with_nothing_to_do(1, True, said.append) == []
    assert "run `make reproduce` first (not executed yet)" in said[-1]
