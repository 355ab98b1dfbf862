import yaml

from study import bench
from study.pretrain import Batches
from study.recipe import Stage, load_recipe
from study.tokenizer import build_tokenizer

RECIPE = {
    "architecture": {"width": 32, "head_width": 8, "positions": 256},
    "stages": [{"facts": 3, "row_tokens": 96, "batch_tokens": 192, "layers": 2, "most_tokens": 1000}],
}


def test_the_texts_of_a_batch_are_all_that_it_holds():
    tokenizer = build_tokenizer()
    stage = Stage(facts=3, row_tokens=96, batch_tokens=192, most_tokens=1000)
    batch = Batches(tokenizer, stage, "bench")[0]
    texts = bench._texts(batch, tokenizer.bos_token_id, tokenizer.pad_token_id)
    begins = int((batch.ids == tokenizer.bos_token_id).sum())
    assert len(texts) == begins > len(batch.ids)
    assert all(text["input_ids"][0] == tokenizer.bos_token_id for text in texts)
    kept = batch.ids != tokenizer.pad_token_id
    assert [i for text in texts for i in text["input_ids"]] == batch.ids[kept].tolist()
    assert [i for text in texts for i in text["labels"]] == batch.labels[kept].tolist()


def test_the_bench_of_pretraining_runs_both_and_gives_their_ratio(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    monkeypatch.setattr(bench, "recipe_file", lambda size: tmp_path / f"{size}.yaml")
    assert load_recipe(tmp_path / "tiny.yaml").stages[0].layers == 2
    lines = []
    ratio = bench.pretraining("tiny", rounds=1, steps=2, say=lines.append)
    assert ratio > 0 and len(lines) == 2 and lines[1] == f"stage 0, rows of 96: {ratio:.2f} times"
