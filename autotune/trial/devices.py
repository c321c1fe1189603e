"""Levers ``device``, ``threads`` and ``allocator``, and the start of the process group."""

from __future__ import annotations

import os

import torch

from autotune.domain import Strategy
from autotune.errors import Unsupported
from autotune.levers.layout import Layout, layout
from autotune.levers.resources import required_resources
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess
from autotune.trial.effects import allocator


def init_device(strategy: Strategy) -> torch.device:
    """Set allocator and threads of this process and return the device to train on.

    A worker has set allocator and threads before torch allocated memory. Setting them again has no
    effect, and is needed where a trial runs without a worker. Raises
    :class:`~autotune.errors.Unsupported` if torch does not find the device.
    """
    allocator.apply(str(strategy["allocator"]))
    torch.set_num_threads(int(strategy["threads"]))
    device = _rank_device(strategy)
    _require_device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # A device mesh would move a process without CUDA context to the GPU of its rank number.
        torch.cuda.init()
    return device


def init_process_group(strategy: Strategy, device: torch.device) -> ProcessGroup:
    """This process alone, or the group of all ranks of the trial, after they have connected."""
    group_layout = layout(strategy.get("parallelism", "none"))
    offloads_parameters = strategy.get("offload", "none") == "parameters"
    if group_layout.world == 1 and not offloads_parameters:
        return SingleProcess(device)
    from autotune.trial.distributed.collectives import join_process_group

    # FSDP loads weights from host memory layer by layer, so offloading uses it with one rank too.
    if group_layout.world == 1:
        group_layout = Layout("fsdp")
    mixed = strategy.get("placement", "single") == "mixed"
    return join_process_group(group_layout, device, mixed=mixed)


def model_devices(strategy: Strategy) -> list[torch.device]:
    """The devices over which one process can distribute a model: those of the strategy, starting
    with its own, and the CPU. Raises :class:`~autotune.errors.Unsupported` if one is missing."""
    devices = [torch.device(device) for device in required_resources(strategy).devices]
    for device in devices:
        _require_device(device)
    return [*devices, torch.device("cpu")]


def local_devices(strategy: Strategy, device: torch.device) -> list[torch.device]:
    """The accelerators that this process, whose device is ``device``, trains on."""
    if layout(strategy.get("parallelism", "none")).world > 1:
        return [device]
    return [torch.device(name) for name in required_resources(strategy).devices]


def is_local_main_process() -> bool:
    """Whether this is the first or only process of the trial on this machine."""
    return _local_rank() == 0


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")))


def _rank_device(strategy: Strategy) -> torch.device:
    """The device of this process's local rank. With ``placement: mixed`` the ranks beyond the GPUs
    use the CPU."""
    devices, rank = required_resources(strategy).devices, _local_rank()
    if rank < len(devices):
        return torch.device(devices[rank])
    mixed = strategy.get("placement", "single") == "mixed"
    return torch.device("cpu" if mixed else str(strategy["device"]))


def _require_device(device: torch.device) -> None:
    if not _is_available(device):
        raise Unsupported(
            f"torch {torch.__version__} finds no device {device}",
            hint="`autotune hardware` lists the devices of this host",
        )


def _is_available(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or torch.backends.mps.is_available()
