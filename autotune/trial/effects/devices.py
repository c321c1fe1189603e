"""Levers ``device``, ``threads`` and ``allocator``: where the trial runs, and on what ground."""

from __future__ import annotations

import os

import torch

from autotune.domain import Strategy
from autotune.errors import Unsupported
from autotune.levers import resources
from autotune.levers.parallelism import Layout, layout
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess
from autotune.trial.effects import allocator


def init_device(strategy: Strategy) -> torch.device:
    """Put allocator and threads in force for this process and return the device to train on.

    A worker has done the first two before torch allocated anything; to do them again changes
    nothing, and lets a trial run without a worker. Raises
    :class:`~autotune.errors.Unsupported` where torch does not find the device.
    """
    allocator.apply(str(strategy["allocator"]))
    torch.set_num_threads(int(strategy["threads"]))
    device = _own_device(strategy)
    _require(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # A device mesh would put a process that has not begun to use CUDA on the GPU of its rank.
        torch.cuda.init()
    return device


def init_process_group(strategy: Strategy, device: torch.device) -> ProcessGroup:
    """The processes that train together: this one alone, or met with the other ranks."""
    wanted = layout(strategy.get("parallelism", "none"))
    offloaded = strategy.get("offload", "none") == "parameters"
    if wanted.world == 1 and not offloaded:
        return SingleProcess(device)
    from autotune.trial.distributed.collectives import join

    # FSDP, over one rank if need be, is what brings weights in from host memory by the layer.
    mixed = strategy.get("placement", "single") == "mixed"
    return join(Layout("fsdp") if wanted.world == 1 else wanted, device, mixed=mixed)


def places(strategy: Strategy) -> list[torch.device]:
    """The devices that one process may spread a model over: those that the strategy holds, its own
    first, and the CPU. Raises :class:`~autotune.errors.Unsupported` where one is missing."""
    held = [torch.device(device) for device in resources(strategy).devices]
    for device in held:
        _require(device)
    return [*held, torch.device("cpu")]


def local_devices(strategy: Strategy, device: torch.device) -> list[torch.device]:
    """The accelerators that this process trains on; ``device`` is its own."""
    alone = layout(strategy.get("parallelism", "none")).world == 1
    return [torch.device(held) for held in resources(strategy).devices] if alone else [device]


def is_local_main_process() -> bool:
    """Whether this is the first or only process of the trial on this machine."""
    return os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0"


def _own_device(strategy: Strategy) -> torch.device:
    """The strategy's device, or the one of its devices that is this rank's, as counted on each
    machine; of a GPU and a CPU side by side the second rank has the CPU."""
    devices = resources(strategy).devices
    rank = int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")))
    if rank < len(devices):
        return torch.device(devices[rank])
    mixed = strategy.get("placement", "single") == "mixed"
    return torch.device("cpu" if mixed else str(strategy["device"]))


def _require(device: torch.device) -> None:
    if not _is_there(device):
        raise Unsupported(
            f"torch {torch.__version__} finds no device {device}",
            hint="`autotune hardware` lists the devices of this host",
        )


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or torch.backends.mps.is_available()
