import os
import pickle
import re
import signal
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.launch import launch_command, launch_command_parser

from conftest import build_family
from in_step import CASES, DONE, PEAKS, Case, Done, done
from study import group
from study.forecast import training_bytes, weight_bytes
from study.hub import identity
from study.models import pick_device, skeleton
from study.params import Model, Params
from study.paths import PARAMS, ROOT
from study.sharding import config_of
from study.store import Store
from study.strict import ParamsError
from study.trials import FINISHED, Trial
from study.work import work

CONFIG = "params/accelerate/fsdp_cpu.yaml"
# Of the processes of a group: they know the tests, and are on the CPU wherever these run.
SURROUNDINGS = {
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(Path(__file__).parent)]),
    "CUDA_VISIBLE_DEVICES": "",
}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    for name, value in SURROUNDINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture(scope="module")
def cases(tokenizer, model_folder, family_folder, tmp_path_factory) -> list[Case]:
    steady = tmp_path_factory.mktemp("gpt2")  # without dropout, which draws other numbers for other texts
    rates = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
    build_family("gpt2", len(tokenizer), **rates).save_pretrained(steady)
    tokenizer.save_pretrained(steady)
    folders = [str(model_folder), str(family_folder("llama")), str(steady)]
    exact = [Case(folder, "float32", method) for folder in folders for method in ("full", "lora")]
    exact.append(Case(str(family_folder("mixtral")), "float32", "full"))
    return [*exact, *(Case(folders[1], "bfloat16", method) for method in ("full", "lora"))]


@pytest.fixture(scope="module")
def tuned(tokenizer, tmp_path_factory) -> list[Params]:
    """Studies of a model that is large beside what a step keeps."""
    folder = tmp_path_factory.mktemp("larger")
    sizes = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 8, "max_position_embeddings": 512}
    build_family("llama", 4000, **sizes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return [
        Params.parse(
            {
                "model": {"name": str(folder), "device": "cpu", "dtype": dtype, "sharding": CONFIG},
                "finetuning": {"method": method, "step_tokens": 48, "learning_rates": [1e-4]},
                "arms": {"ft": {"train": ["documents"]}},
            },
            "test",
        )
        for method in ("full", "lora")
        for dtype in ("float32", "bfloat16")
    ]


@pytest.fixture(scope="module")
def folder_of_two(cases, tuned, tmp_path_factory) -> Path:
    """What each of two processes has, case by case, and what it took."""
    folder = tmp_path_factory.mktemp("group")
    (folder / CASES).write_bytes(pickle.dumps(cases))
    (folder / PEAKS).write_bytes(pickle.dumps(tuned))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SURROUNDINGS.items():
            patch.setenv(name, value)
        what = ["--config_file", str(ROOT / CONFIG), "--main_process_port", "0", "--module", "in_step", str(folder)]
        launch_command(launch_command_parser().parse_args(what))
    return folder


def log_probs(scores):
    return torch.tensor([value for score in scores for value in score.log_probs])


def test_a_group_does_what_one_process_does_with_a_share_of_the_weights_in_each(cases, folder_of_two):
    in_two: list[list[Done]] = [
        pickle.loads((folder_of_two / f"{rank}.{DONE}").read_bytes())  # noqa: S301
        for rank in (0, 1)
    ]
    for number, case in enumerate(cases):
        alone, first, second = done(case), in_two[0][number], in_two[1][number]
        assert alone.held == alone.tuned_held == 1
        for one, other in ((first.held, second.held), (first.tuned_held, second.tuned_held)):
            assert one + other == pytest.approx(1) and 0.4 < one < 0.6, case
        assert first.before == second.before and first.after == second.after and first.losses == second.losses
        assert first.written == second.written == alone.written and first.dtype is alone.dtype
        rounding = 1e-4 if case.dtype == "float32" else 0.1
        assert torch.allclose(log_probs(first.before), log_probs(alone.before), atol=rounding), case
        assert first.losses == pytest.approx(alone.losses, abs=rounding)
        assert first.weights.keys() == second.weights.keys() == alone.weights.keys()
        far = {}
        for name, weight in alone.weights.items():
            assert torch.equal(first.weights[name], second.weights[name]) and first.weights[name].dtype is weight.dtype
            far[name] = (first.weights[name] - weight).abs().float()
            if name.endswith(
                "c_attn.bias"
            ):  # one of keys changes nothing: its gradient is rounding, and Adam enlarges it
                far[name] = far[name].unflatten(0, (3, -1))[[0, 2]]
        if case.dtype == "float32":
            assert all(values.max() < 1e-4 for values in far.values()), case
        else:  # a weight that lies between two numbers of the type may go to either
            assert torch.cat([values.flatten() for values in far.values()]).mean() < 1e-4, case
        for ours, theirs in zip([*first.on_the_way, first.after], [*alone.on_the_way, alone.after], strict=True):
            assert torch.allclose(log_probs(ours), log_probs(theirs), atol=10 * rounding), case
        assert not torch.equal(log_probs(first.before), log_probs(first.after))


def test_a_tuning_takes_of_each_process_what_was_foreseen(tuned, folder_of_two):
    """Beside what it begins with: the first process has the whole weights, until they are brought to the others."""
    first, second = (pickle.loads((folder_of_two / f"{rank}.{PEAKS}").read_bytes()) for rank in (0, 1))  # noqa: S301
    assert first == pytest.approx(second, rel=0.01)
    for params, peak in zip(tuned, second, strict=True):
        foreseen = weight_bytes(skeleton(params.model), params) / 2 + training_bytes(params, params.finetuning.method)
        assert 0.95 * peak < foreseen < 1.3 * peak, params.finetuning.method


def trials(params: Params, *arms: str) -> list[Trial]:
    model = identity(params.model)
    return [
        Trial("reversals", 0, params, model, arm, params.arms[arm], 1e-3 if params.arms[arm].train else None)
        for arm in arms
    ]


def sharded(params: Params) -> Params:
    return Params.parse({**params.plain(), "model": {**params.model.plain(), "sharding": CONFIG}}, "test")


class Full(Store):
    """Has no room for the rows of one arm, which only the first process of a group knows."""

    def write(self, key, rows, record) -> None:
        if record.get("arm") == "ft augmented elsewhere":
            raise OSError(28, "No space left on device")
        super().write(key, rows, record)


def test_a_job_of_a_group_ends_with_the_rows_of_one_process_as_far_as_it_came(params, tmp_path):
    """Arms that are trained on what the model has written; one is asked on the way, and one cannot be stored."""
    arms, failing = ("ft augmented", "hybrid"), "ft augmented elsewhere"
    one, two = Store(tmp_path / "one"), Full(tmp_path / "two")
    assert work(trials(params, *arms), one, threads=1) == {}
    failed = work(trials(sharded(params), *arms, failing), two, threads=1)
    assert list(failed) == [f"reversals / seed 0 / {failing}"]
    (why,) = failed.values()
    assert re.fullmatch("of 2 processes number 0 failed: OSError: .*No space left on device; it ended the others", why)
    for trial in trials(params, *arms):  # whose keys are those of the sharded ones
        for unit in (trial, *trial.writings):
            rows, shared_rows = one.rows(unit.key), two.rows(unit.key)
            record, shared = one.record(unit.key), two.record(unit.key)
            assert record["status"] == shared["status"] == FINISHED
            assert shared.keys() - record.keys() == {"sharding"} and shared["sharding"]["num_processes"] == 2
            if unit is not trial:
                assert rows.equals(shared_rows)
                continue
            assert (rows["option_log_probs"] - shared_rows["option_log_probs"]).map(abs).map(max).max() < 1e-3
            beside = ["option_log_probs", "params_sha256"]
            assert rows.drop(columns=beside).equals(shared_rows.drop(columns=beside))
            if trial.spec.curve:
                assert record["curve"] == shared["curve"] and len(record["curve"]) > 0


class Deadly(Store):
    """Ends the second process of a group where all of them are about to write."""

    def has(self, key: str) -> bool:
        if group.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().has(key)


def test_a_process_that_is_killed_ends_its_group(params, tmp_path):
    (trial,) = trials(sharded(params), "ft local")
    failed = work([trial], Deadly(tmp_path), threads=1)
    why = r"of 2 processes number 1 was killed \(SIGKILL\), most often because memory had run out; it ended the others"
    assert list(failed) == [trial.label] and re.fullmatch(why, failed[trial.label])
    assert not list(tmp_path.glob("*/record.json"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"distributed_type": "MULTI_GPU"}, "its distributed_type is 'MULTI_GPU'; use FSDP"),
        ({"num_machines": 2}, "its num_machines is 2; use 1"),
        ({"num_processes": 1}, "its num_processes is 1; use the number of GPUs, two at least"),
        ({"mixed_precision": "fp16"}, "its mixed_precision is 'fp16', but model.dtype = 'float32' decides; use 'no'"),
        ({"fsdp_config": {}}, "its fsdp_config.fsdp_version is 1; use 2"),
        (
            {"fsdp_config": {"fsdp_version": 2, "fsdp_auto_wrap_policy": "NO_WRAP"}},
            "its fsdp_config.fsdp_auto_wrap_policy is 'NO_WRAP'; use TRANSFORMER_BASED_WRAP or SIZE_BASED_WRAP",
        ),
    ],
)
def test_a_config_file_that_cannot_be_used_is_refused_by_name(changes, why, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load((ROOT / CONFIG).read_text()), **changes}))
    with pytest.raises(ParamsError, match=f"model.sharding = .*mine.yaml'.*: {why}"):
        config_of(Model(sharding=str(file)))


def test_what_is_shipped_can_be_used_and_what_cannot_be_sharded_is_refused(params, monkeypatch):
    assert config_of(Model(sharding="params/accelerate/fsdp.yaml"))["num_processes"] == 8
    assert {file.name for file in (PARAMS / "accelerate").iterdir()} == {"fsdp.yaml", "fsdp_cpu.yaml"}
    with pytest.raises(ParamsError, match="model.sharding = 'none.yaml': no such file; take one of params/accelerate"):
        config_of(Model(sharding="none.yaml"))
    for count, device, why in (
        (4, "auto", "num_processes is 8, but 4 GPUs are here"),
        (8, "cpu", "there are GPUs here"),
    ):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        with pytest.raises(ParamsError, match=why):
            pick_device(Model(sharding="params/accelerate/fsdp.yaml", device=device))
    with pytest.raises(ParamsError, match="weights with quantization '4bit' are not sharded; leave one of the two out"):
        Model.parse({"sharding": CONFIG, "quantization": "4bit"}, "test")
    with pytest.raises(ParamsError, match="vllm does not write with a sharded model; use augmentation.engine own"):
        Params.parse({**sharded(params).plain(), "augmentation": {"engine": "vllm"}}, "test")
