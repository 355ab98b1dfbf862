import json
import multiprocessing
import os
import signal
import time

import pandas as pd
import pytest

from study import runner
from study.models import identity, load, model_folder, pick_device
from study.params import Model, Params
from study.runner import run, trials_of
from study.store import Store, code_hash, content_hash
from study.strict import ParamsError
from study.trials import DIVERGED, FINISHED, Trial, prepare


def changed(params: Params, **values) -> Params:
    return Params.parse({**params.plain(), **values}, "test")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "trials")


def trial(params, arm, seed=0, world="reversals") -> Trial:
    return Trial(world, seed, params, identity(params.model), arm)


def test_every_arm_answers_the_same_questions_and_records_how(params, store):
    rows = run(params, store, say=lambda line: None)
    assert set(rows["arm"]) == set(params.arms)
    for _, group in rows.groupby(["world", "seed"]):
        assert len({tuple(sorted(items)) for _, items in group.groupby("arm")["item_id"]}) == 1
    assert rows["option_log_probs"].map(lambda values: all(v < 0 for v in values)).all()
    for unit in trials_of(params):
        record = store.record(unit.key)
        assert record["status"] == FINISHED and record["seconds"] > 0 and record["peak_memory_bytes"] > 1e7
        assert record["recipe"]["model_sha256"] == identity(params.model)
        trained = bool(params.arms[unit.arm].train)
        assert ("training" in record) == trained
        assert (record["context_tokens"] > 0) == (unit.arm == "icl")
    # Nothing is left to do, and a second run returns the same rows.
    before = {p: p.stat().st_mtime_ns for p in store.folder.rglob("*")}
    pd.testing.assert_frame_equal(rows, run(params, store, say=lambda line: None))
    assert before == {p: p.stat().st_mtime_ns for p in store.folder.rglob("*")}


def test_a_trial_is_the_same_in_every_process(params, tmp_path):
    stores = [Store(tmp_path / name) for name in "ab"]
    for each in stores:
        trial(params, "ft").run(each)
    first, second = (each.rows(trial(params, "ft").key) for each in stores)
    pd.testing.assert_frame_equal(first, second)


def test_a_trial_depends_on_what_it_uses_and_on_nothing_else(params):
    slower = changed(params, finetuning={**params.finetuning.plain(), "learning_rate": 1e-5})
    hotter = changed(params, augmentation={**params.augmentation.plain(), "temperature": 1.5})
    fewer = changed(params, statistics={"resamples": 200})
    assert trial(params, "icl").key == trial(slower, "icl").key
    assert trial(params, "ft").key != trial(slower, "ft").key
    assert trial(params, "ft").key == trial(hotter, "ft").key
    assert trial(params, "ft local").key != trial(hotter, "ft local").key
    assert trial(params, "ft").key == trial(fewer, "ft").key
    assert trial(params, "ft").key != trial(params, "ft", seed=1).key
    other_model = Trial("reversals", 0, params, "0" * 64, "ft")
    assert other_model.key != trial(params, "ft").key


def test_code_that_cannot_alter_a_trial_is_not_in_its_hash():
    assert code_hash("trials") != code_hash("figures")
    assert code_hash("trials") == code_hash("trials", "score")


def test_a_renamed_arm_finds_its_old_trial(params, store):
    trial(params, "icl").run(store)
    renamed = changed(
        params, arms={"in context": params.arms["icl"].plain()}, worlds={"reversals": params.worlds.reversals.plain()}
    )
    rows = runner.rows_of(trials_of(renamed), store)
    assert set(rows["arm"]) == {"in context"}


def test_a_diverged_trial_is_a_record_without_rows(params, store):
    wild = changed(
        params, finetuning={**params.finetuning.plain(), "learning_rate": 0.999, "epochs": 40, "max_grad_norm": 1e30}
    )
    unit = trial(wild, "ft")
    from study import trials as module

    def explode(*_args, **_kwargs):
        raise module.Diverged("step 1 of 1: loss nan")

    original, module.finetune = module.finetune, explode
    try:
        unit.run(store)
    finally:
        module.finetune = original
    assert store.record(unit.key)["status"] == DIVERGED
    assert runner.rows_of([unit], store).empty


def test_a_failing_unit_does_not_take_the_others_with_it(params, store):
    # Documents of 400 facts do not fit the tiny model's context: icl fails, base does not.
    large = changed(
        params,
        worlds={"reversals": {"size": 200, "features": 2}},
        arms={name: params.arms[name].plain() for name in ("base", "icl")},
    )
    with pytest.raises(
        RuntimeError, match=r"(?s)1 of 2 units failed.*reversals / seed 0 / icl: ValueError.*1024 positions"
    ):
        run(large, store, say=lambda line: None)
    assert store.has(trial(large, "base").key) and not store.has(trial(large, "icl").key)


def _run_forever(params, folder):
    run(params, Store(folder), say=lambda line: None)


def test_a_killed_study_goes_on_from_what_is_finished(params, tmp_path):
    longer = changed(params, finetuning={**params.finetuning.plain(), "epochs": 300})
    process = multiprocessing.get_context("spawn").Process(target=_run_forever, args=(longer, tmp_path / "trials"))
    process.start()
    store = Store(tmp_path / "trials")
    deadline = time.monotonic() + 60
    while not list(store.folder.glob("*/record.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    finished = {path.parent.name for path in store.folder.glob("*/record.json")}
    assert finished
    for name in finished:
        assert json.loads((store.folder / name / "record.json").read_text())["status"] == FINISHED
        assert store.rows(name) is not None
    base = changed(longer, arms={"base": {}})
    assert len(run(base, store, say=lambda line: None)) > 0


def test_units_of_another_store_are_read_and_never_written(params, tmp_path):
    published = Store(tmp_path / "published")
    unit = trial(params, "base")
    unit.run(published)
    mine = Store(tmp_path / "mine", (published.folder,))
    unit.run(mine)
    assert mine.has(unit.key) and not mine.folder.exists()


def test_content_hash_does_not_see_the_order_of_keys():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1}) != content_hash({"a": 1, "b": 3})


def test_identity_is_of_contents(params, tmp_path, model_folder):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in model_folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert identity(Model(name=str(copy))) == identity(params.model)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert identity(Model(name=str(copy))) != identity(params.model)


def test_a_model_that_is_not_there_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParamsError, match="no config.json and safetensors weights there.*save_pretrained"):
        load(Model(name=str(tmp_path / "empty")))
    with pytest.raises(ParamsError, match=r"model.name = 'owner/name'.*the hub did not give it"):
        model_folder_of_hub()


def model_folder_of_hub():
    return model_folder(Model(name="owner/name", revision="a" * 40))


def test_a_device_that_is_not_there_is_refused():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ParamsError, match="model.device = 'cuda': not on this machine; here are: cpu"):
        pick_device(Model(device="cuda"))


def test_material_is_the_same_for_every_arm(params):
    assert prepare(params, "reversals", 0) == prepare(params, "reversals", 0)
