"""What a study will take, told before it is begun."""

import gc
import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from conftest import FAMILIES, build_family, english_tokenizer
from study import cli
from study.config import ParamsError
from study.lm.attention import reads_in_two_parts
from study.lm.finetuning import finetune, with_adapter
from study.lm.flops import training_flops
from study.lm.generation import generate
from study.lm.loading import load, skeleton
from study.lm.memory import kept_bytes, reads_whole_prompts, training_bytes, weight_bytes, writing_bytes
from study.params import ModelSizes, Params, load_params
from study.paths import PARAMS
from study.runs import forecast
from study.runs.forecast import Forecast, Memory, Workload, measured_rate, sizes_of
from study.runs.runner import evaluation_runs_of
from study.runs.store import Store

EXPERTS = ("mixtral", "qwen3_moe")  # their routing depends on numbers, which fake tensors do not have


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in EXPERTS])
def test_what_is_kept_for_the_way_back_is_counted_without_numbers(name):
    real = kept_bytes(build_family(name, 512).train(), 48, 40)
    with FakeTensorMode(allow_non_fake_inputs=True):
        faked = kept_bytes(build_family(name, 512).train(), 48, 40)
    # A fake text may be several packed into one, whose mask makes some models repeat keys; a real single one is not.
    assert 0.99 * real < faked < 1.15 * real


def test_weights_take_what_the_file_takes(model_folder, params):
    file = (model_folder / "model.safetensors").stat().st_size
    assert weight_bytes(skeleton(params.model), params) == pytest.approx(file, rel=0.05)
    half = params.model_copy(update={"model": params.model.model_copy(update={"dtype": "bfloat16"})})
    assert weight_bytes(skeleton(half.model), half) == pytest.approx(file / 2, rel=0.05)


def test_an_adapter_takes_less_than_all_weights(params):
    adapter, full = (training_bytes(params, method) for method in ("lora", "full"))
    model = skeleton(params.model)
    trained = sum(
        p.numel() for p in with_adapter(skeleton(params.model), params.finetuning).parameters() if p.requires_grad
    )
    assert full - adapter == pytest.approx(8 * (model.num_parameters() - trained), rel=0.01)


def test_more_tokens_in_a_step_take_more(params):
    more = params.model_copy(update={"finetuning": params.finetuning.model_copy(update={"step_tokens": 256})})
    assert training_bytes(more, "full") > 1.5 * training_bytes(params, "full")


def allocated(work) -> int:
    """Most bytes that work in this process holds at once, as torch's profiler records every allocation."""
    gc.collect()  # else what earlier tests left is freed meanwhile, and lowers the sum
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    return int(max(itertools.accumulate(event.nbytes() for event in events)))


@pytest.mark.parametrize("name", ["llama", "bloom", "gemma2", "mistral"])
def test_prompts_that_are_read_whole_take_what_they_take(name):
    """Against the most that a real writing holds at once."""
    room = {} if name == "bloom" else {"max_position_embeddings": 1024}
    model, tokenizer = build_family(name, 600, **room), english_tokenizer()
    prompts = [f"{'zq' * 200} {k}" for k in range(8)]
    shared, own = 400, 3 + 4
    generate(model, tokenizer, prompts, 4, 0.7, 0, 8)  # which way it is read is tried once
    most = allocated(lambda: generate(model, tokenizer, prompts, 4, 0.7, 0, 8))
    assert reads_whole_prompts(model, shared + own) == (not reads_in_two_parts(model, shared + own))
    assert 0.8 * most < writing_bytes(model, 8, shared, own) < 4 * most


def test_a_batch_too_large_for_whole_prompts_is_refused_before_anything_is_written(params, tmp_path, monkeypatch):
    eager = params.model_copy(update={"augmentation": params.augmentation.model_copy(update={"batch_size": 4})})
    shape = build_family("bloom", 900)
    monkeypatch.setattr(forecast, "skeleton", lambda model: shape)
    monkeypatch.setattr(forecast, "training_bytes", lambda params, method: 0)
    found = forecast.forecast(eager, Store(tmp_path))
    assert found.memory.generation - found.memory.weights > 10 * (found.memory.scoring - found.memory.weights)
    with pytest.raises(ParamsError, match=r"generation takes .* use a smaller augmentation\.batch_size"):
        found._replace(free=found.memory.generation - 1).refuse_what_cannot_fit()


def test_a_whole_study_is_foreseen_without_running_it(params, tmp_path):
    found = forecast.forecast(params, Store(tmp_path))
    assert found.device == "cpu" and found.memory.weights < min(found.memory[1:])
    assert found.flops > 0 and 0 < found.seconds < 3600 and found.disk < found.free_disk
    found.refuse_what_cannot_fit()
    assert [line.split(":")[0] for line in found.lines()] == ["memory on cpu", "disk", "time"]
    assert not list(tmp_path.iterdir())


def test_the_speed_of_another_processor_is_not_taken_for_this_one(params, tmp_path):
    store = Store(tmp_path)
    first, second = [trial for trial in evaluation_runs_of(params, store) if trial.spec.train][:2]
    training = {"flops": 6e9, "seconds": 2.0}
    store.write(first.key, pd.DataFrame(), {"training": training | {"seconds": 1.0}})  # by an earlier version
    store.write(second.key, pd.DataFrame(), {"training": training, "processor": "another"})
    assert measured_rate(params, store, "this") == 0 and measured_rate(params, store, "another") == 3e9


def test_the_models_and_sizes_that_are_compared_are_foreseen_too_each_run_once(params, tmp_path):
    own = params.model_copy(update={"worlds": params.worlds.model_copy(update={"family": None})})
    size = own.worlds.reversals.size

    def operations(*sizes):
        compared = ModelSizes(arms=tuple(own.arms), sizes=sizes)
        return forecast.forecast(own.model_copy(update={"model_sizes": compared}), Store(tmp_path)).flops

    assert operations(size) == pytest.approx(operations()) and operations(2 * size) > 2 * operations()


@pytest.mark.parametrize(("single", "said"), [(90e9, True), (10e9, False)])
def test_a_processor_without_bfloat16_instructions_is_told(single, said, params, tmp_path, monkeypatch):
    half = params.model_copy(update={"model": params.model.model_copy(update={"dtype": "bfloat16"})})
    monkeypatch.setattr(
        forecast, "product_rate", lambda *_, dtype=torch.bfloat16: {torch.float32: single}.get(dtype, 1e10)
    )
    found = forecast.forecast(half, Store(tmp_path))
    assert any(line.startswith("model.dtype float32 is 9 times as fast") for line in found.lines()) is said
    assert forecast.forecast(params, Store(tmp_path)).faster == 1  # it computes in float32


@pytest.mark.parametrize(
    ("memory", "remedy"),
    [
        (Memory(70, 91, 71, 71), r"finetuning takes .* use finetuning\.method lora"),
        (Memory(1, 1, 99, 1), r"generation takes .* use a smaller augmentation\.batch_size"),
        (
            Memory(90, 91, 95, 92),
            r"weights takes .* use a smaller model, model\.dtype bfloat16, or model\.quantization",
        ),
        (Memory(1, 1, 1, 99), r"scoring takes .* use fewer questions\.context_tokens"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_would_help(memory, remedy):
    giga = Memory(*(int(part * 1e9) for part in memory))
    with pytest.raises(ParamsError, match=remedy):
        Forecast(giga, int(80e9), "cuda", 0, 1, 1.0, 1.0).refuse_what_cannot_fit()


def test_a_full_disk_is_foreseen():
    with pytest.raises(ParamsError, match=r"takes 2\.0 GB of disk, 1\.0 GB are free; make room"):
        Forecast(Memory(1, 1, 1, 1), 2, "cpu", int(2e9), int(1e9), 1.0, 1.0).refuse_what_cannot_fit()


def test_the_plan_of_a_study_too_large_ends_with_the_remedy(params, tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.yaml").write_text(json.dumps(params.plain()))
    monkeypatch.setattr(cli, "PARAMS", tmp_path)
    monkeypatch.setattr(cli, "RESULTS", tmp_path / "results")
    assert cli.main(["plan", "--study", "tiny"]) == 0
    assert "memory on cpu" in capsys.readouterr().out
    monkeypatch.setattr(forecast, "free_memory", lambda device: 1000)
    assert cli.main(["plan", "--study", "tiny"]) == 1
    assert "takes" in capsys.readouterr().err


def test_the_studies_for_gpus_are_for_adapters_of_pinned_models():
    for name in ("gpu", "gpu_8b", "berglund", "documents_gpu"):
        params = load_params(PARAMS / f"{name}.yaml")
        assert params.finetuning.method == "lora" and params.model.dtype == "bfloat16"
        assert params.model.name.count("/") == 1


def test_quantized_weights_are_not_tuned_whole():
    quantized = {"name": "owner/name", "quantization": "4bit"}
    with pytest.raises(
        ParamsError, match=r"model\.quantization = '4bit': quantized weights cannot be tuned; use finetun"
    ):
        Params.parse({"model": quantized}, "test")
    assert Params.parse({"model": quantized, "finetuning": {"method": "lora"}}, "test").model.quantization == "4bit"


def to_tune(params):
    """What tunes a model for two steps."""
    model, tokenizer = load(params.model)
    encoded = [tokenizer("vazed sees ditav. " * k).input_ids for k in range(2, 12)]
    return lambda: finetune(model, tokenizer, encoded, params.finetuning, 1e-4, 2, 0)


@pytest.mark.parametrize(("method", "dtype"), [("full", "float32"), ("lora", "float32"), ("lora", "bfloat16")])
def test_a_step_takes_what_was_foreseen(method, dtype, tmp_path, tokenizer):
    """Against every allocation of a real training."""
    sizes = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "max_position_embeddings": 512}
    build_family("llama", 4000, **sizes).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    tuning = {"method": method, "step_tokens": 192, "learning_rates": [1e-4]}
    model = {"name": str(tmp_path), "device": "cpu", "dtype": dtype}
    study = Params.parse({"model": model, "finetuning": tuning, "arms": {"ft": {"train": ["documents"]}}}, "test")
    loaded, tokenizer = load(study.model)
    texts = [tokenizer("vazed sees ditav. " * k).input_ids for k in range(2, 12)]
    most = allocated(lambda: finetune(loaded, tokenizer, texts, study.finetuning, 1e-4, 2, 0))
    assert training_bytes(study, method) == pytest.approx(most, rel=0.15)
    # Two steps of nearly full length, by the same count as the record of the training.
    _, done = finetune(load(study.model)[0], tokenizer, texts, study.finetuning, 1e-4, 2, 0)
    assert 2 * training_flops(sizes_of(study)[method], study.finetuning.step_tokens) == pytest.approx(
        done.flops, rel=0.3
    )


def test_a_model_spread_over_gpus_may_take_the_memory_of_all(monkeypatch):
    monkeypatch.setattr(forecast, "free_memory", lambda device: 10 if device.type == "cpu" else 30 + device.index)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert forecast.free_on("cuda", spread=True) == 61
    assert forecast.free_on("cpu", spread=True) == forecast.free_on("cpu", spread=False) == 10


def test_any_arm_may_come_first_and_what_each_reads_and_learns_is_counted(params):
    """Whole or split, retrieved for each question, as long as another, with replayed text."""
    arms = ("ft", "icl", "retrieved", "ft repeated", "ft augmented", "ft augmented replay 30")
    study = params.model_copy(update={"arms": {name: params.arms[name] for name in arms}})
    load = Workload(study, "reversals", 0, sizes_of(study))
    spent = {name: load.training(study.arms[name]) for name in arms}
    assert spent["icl"] == 0 < spent["ft"] < spent["ft augmented"] == spent["ft repeated"]
    assert spent["ft augmented replay 30"] == pytest.approx(spent["ft augmented"] / 0.7)
    runs = {run.arm: run for run in evaluation_runs_of(study, Store(Path("nowhere"))) if run.world == "reversals"}
    assert load.flops(runs["retrieved"]) > load.flops(runs["icl"])
