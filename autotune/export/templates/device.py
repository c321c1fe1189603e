"""Levers ``device``, ``threads`` and ``allocator``: put in force before the first tensor."""

from __future__ import annotations

import os

import torch

from autotune.domain import Strategy
from autotune.trial.effects import allocator


def apply_device_settings(strategy: Strategy, local_rank: int = 0) -> torch.device:
    """Give this process its threads, cores of its own for them, the allocator and its device.

    Of several processes on a machine, each takes the cores after those of the ranks before it.
    """
    take_cores(strategy, local_rank)
    allocator.apply(str(strategy["allocator"]))
    torch.set_num_threads(int(strategy["threads"]))
    return take_device(str(strategy["device"]), local_rank)


def take_cores(strategy: Strategy, local_rank: int) -> None:
    """Stay on as many cores as there are threads, where the system lets a process choose and has
    enough, unless the strategy lets processes roam."""
    if strategy.get("pinning", "cores") != "cores" or not hasattr(os, "sched_setaffinity"):
        return
    threads, cores = int(strategy["threads"]), sorted(os.sched_getaffinity(0))
    own = cores[local_rank * threads : (local_rank + 1) * threads]
    if len(own) == threads:
        os.sched_setaffinity(0, own)


def take_device(name: str, local_rank: int) -> torch.device:
    """The device ``name``, or the one ``local_rank`` places after it. No other GPU is seen, so that
    a trainer that takes all it finds takes this one."""
    if not name.startswith("cuda"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return torch.device(name)
    first = int(name.partition(":")[2] or 0)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    wanted = first + local_rank
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[wanted] if wanted < len(visible) else str(wanted)
    device = torch.device("cuda:0")
    torch.cuda.set_device(device)
    return device
