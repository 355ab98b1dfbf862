import yaml

from study import bench
from study.recipe import load_recipe

RECIPE = {
    "architecture": {"width": 32, "head_width": 8, "positions": 256},
    "stages": [{"facts": 3, "row_tokens": 96, "batch_tokens": 192, "layers": 2, "most_tokens": 1000}],
}


def test_packing_keeps_every_text_whole():
    examples = [{"input_ids": [1, k, k], "labels": [-100, k, k]} for k in range(4, 11)]
    batches = list(bench._packed(examples, row_tokens=8, rows=2))
    rows = [
        (i.tolist(), labels.tolist()) for batch in batches for i, labels in zip(batch.ids, batch.labels, strict=True)
    ]
    assert [len(batch[0]) for batch in batches] == [2, 2]
    assert [i for ids, _ in rows for i in ids if i] == [i for e in examples for i in e["input_ids"]]
    assert all(label in (i, -100) for ids, labels in rows for i, label in zip(ids, labels, strict=True))
    assert sum(label != -100 for _, labels in rows for label in labels) == 2 * len(examples)


def test_the_bench_of_pretraining_runs_both_and_gives_their_ratio(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    monkeypatch.setattr(bench, "recipe_file", lambda size: tmp_path / f"{size}.yaml")
    assert load_recipe(tmp_path / "tiny.yaml").stages[0].layers == 2
    lines = []
    ratio = bench.pretraining("tiny", rounds=1, steps=2, say=lines.append)
    assert ratio > 0 and len(lines) == 2 and lines[1] == f"stage 0: {ratio:.2f} times"
