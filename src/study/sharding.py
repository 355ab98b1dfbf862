"""A model too large for one GPU, sharded over several: FSDP, as a config file of accelerate says.

    model: {name: owner/name, dtype: bfloat16, sharding: params/accelerate/fsdp.yaml}

A job is done by a group of processes (`study.group`) that accelerate starts, each with a share of weights, gradients
and optimizer state; a layer is gathered while it is passed through. The first process reads the weights and stores
results.
"""

import copy
import pickle
import signal
import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.commands.launch import launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin, InitProcessGroupKwargs, fsdp2_prepare_model
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from study import group
from study.params import Model
from study.paths import ROOT
from study.store import Store
from study.strict import ParamsError, read_yaml

if TYPE_CHECKING:
    from study.trials import Unit

JOB, FAILED = "job.pickle", "failed.pickle"  # in a group's folder, beside what each process raised
PATIENCE = timedelta(hours=1)  # of the others, while the first process reads the weights
# What a config file must say, by its dotted name, and what it says if it is silent. A step reads few tokens, so that
# checkpoints of activations would save nothing.
REQUIRED: dict[str, tuple[tuple[Any, ...], Any]] = {
    "distributed_type": (("FSDP",), "NO"),
    "num_machines": ((1,), 1),
    "fsdp_config.fsdp_version": ((2,), 1),
    "fsdp_config.fsdp_auto_wrap_policy": (("TRANSFORMER_BASED_WRAP", "SIZE_BASED_WRAP"), "NO_WRAP"),
    "fsdp_config.fsdp_reshard_after_forward": ((True,), True),
    "fsdp_config.fsdp_offload_params": ((False,), False),
    "fsdp_config.fsdp_activation_checkpointing": ((False,), False),
}
PRECISION = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}  # as accelerate calls them


def config_of(params: Model) -> dict[str, Any]:
    """What the config file of a sharded model says.

    Raises:
        ParamsError: naming what in it cannot be done.
    """
    file, named = _file(params), f"model.sharding = {params.sharding!r}"
    if not file.is_file():
        raise ParamsError(f"{named}: no such file; take one of params/accelerate, or `accelerate config` writes one")
    config: dict[str, Any] = read_yaml(file)
    for name, (allowed, silent) in REQUIRED.items():
        section, _, key = name.rpartition(".")
        value = (config.get(section) or {} if section else config).get(key, silent)
        if value not in allowed:
            raise ParamsError(f"{named}: its {name} is {value!r}; use {' or '.join(map(str, allowed))}")
    count, precision = config.get("num_processes"), config.get("mixed_precision", "no")
    if not isinstance(count, int) or count < 2:
        raise ParamsError(f"{named}: its num_processes is {count!r}; use the number of GPUs, two at least")
    if precision not in ("no", PRECISION[getattr(torch, params.dtype)]):
        raise ParamsError(
            f"{named}: its mixed_precision is {precision!r}, but model.dtype = {params.dtype!r} decides; use 'no'"
        )
    return config


def refuse_other_machines(params: Model) -> None:
    """Raise if a group of processes cannot run here.

    Raises:
        ParamsError: if the config file cannot be used, or not here.
    """
    count, gpus = config_of(params)["num_processes"], torch.cuda.device_count()
    named = f"model.sharding = {params.sharding!r}"
    if params.device == "cpu" and gpus:
        raise ParamsError(f"{named} on model.device = 'cpu': there are GPUs here; hide them (CUDA_VISIBLE_DEVICES=)")
    if gpus and count > gpus:
        raise ParamsError(f"{named}: its num_processes is {count}, but {gpus} GPUs are here; use so many at most")


def _file(params: Model) -> Path:
    return ROOT / str(params.sharding)


def launch(job: Sequence["Unit"], store: Store) -> dict[str, str]:
    """Have a group of processes do a job; why units failed, by label.

    As soon as one of the processes ends in an error all of them are ended: the others would wait for it.
    """
    params = job[0].params.model
    count = config_of(params)["num_processes"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / JOB).write_bytes(pickle.dumps((list(job), store)))
        what = ["--main_process_port", "0", "--module", "study.member", folder]
        try:
            launch_command(launch_command_parser().parse_args(["--config_file", str(_file(params)), *what]))
        except ChildFailedError as error:
            exits = {rank: failure.exitcode for rank, failure in error.failures.items()}
            why = f"of {count} processes {_first_failure(exits, Path(folder))}; it ended the others"
            return {unit.label: why for unit in job if not store.has(unit.key)}
        failed: dict[str, str] = pickle.loads((Path(folder) / FAILED).read_bytes())  # noqa: S301
        return failed


def _first_failure(exits: Mapping[int, int], folder: Path) -> str:
    """Which process ended first, and why."""
    for rank, code in exits.items():
        if code < 0 and code != -signal.SIGTERM:  # by which the others are ended
            return f"number {rank} was killed ({signal.Signals(-code).name}), most often because memory had run out"
    raised = sorted(folder.glob("*.txt"), key=lambda file: file.stat().st_mtime_ns)
    for file in raised:
        return f"number {file.stem} failed: {file.read_text(encoding='utf-8')}"
    return ", ".join(f"number {rank} ended with code {code}" for rank, code in exits.items())


@cache
def enter(cpu: bool) -> Accelerator:
    """Make this process, which accelerate has started, one of its group."""
    patience = InitProcessGroupKwargs(timeout=PATIENCE)
    return Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[patience])


def sharded(model: PreTrainedModel) -> PreTrainedModel:
    """The model, as `study.models.load` gives it, with a share of its weights in each process of the group."""
    if group.size() == 1:
        return model
    weights = emptied(model)
    return filled(spread(model), weights)


def emptied(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Take the weights out of a model, which has shapes and types alone afterwards, those of the first process."""
    weights = {name: tensor.detach() for name, tensor in _tensors(model).items()}
    model.to("meta")
    model.tie_weights()
    types = group.told({name: tensor.dtype for name, tensor in weights.items()})
    for name, tensor in _tensors(model).items():
        tensor.data = tensor.data.to(types[name])
    return weights


def spread(model: PreTrainedModel) -> PreTrainedModel:
    """Split an empty model over the group, as the config file says; what its weights are is not defined yet."""
    accelerator = enter(group.device().type == "cpu")
    # One for each model, whose layers it names; on a CPU accelerate has none by itself. It is not to bring the weights.
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(cpu_ram_efficient_loading=False)
    return fsdp2_prepare_model(accelerator, model).to_empty(device=group.device())


@torch.no_grad()
def filled(model: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> PreTrainedModel:
    """Give a model that is spread whole weights, which the first process has."""
    for name, tensor in _tensors(model).items():
        whole = torch.empty(tensor.shape, dtype=tensor.dtype, device=group.device())
        if group.rank() == 0:
            whole.copy_(weights[name])
        group.as_first(whole)
        if isinstance(tensor, DTensor):  # of which each process takes its own part
            whole = distribute_tensor(whole, tensor.device_mesh, tensor.placements, src_data_rank=None)
        _share(tensor).copy_(_share(whole))
    return model


@torch.no_grad()
def lowered(model: PreTrainedModel, shape: PreTrainedModel) -> PreTrainedModel:
    """The weights of a spread model in the types of an empty one, of which a copy is made.

    FSDP keeps room for gathered weights in the type it began with, so that they cannot be given another one in place.
    """
    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
    other, weights = spread(copy.deepcopy(shape)), _tensors(model)
    for name, tensor in _tensors(other).items():
        _share(tensor).copy_(_share(weights[name]))
    return other


def _tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return dict([*model.named_parameters(), *model.named_buffers()])


def _share(tensor: torch.Tensor) -> torch.Tensor:
    """What this process has of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
