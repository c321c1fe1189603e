"""Levers ``device``, ``threads``, ``pinning``, ``allocator``: set before the first tensor."""

from __future__ import annotations

import os
from itertools import takewhile

import torch

from autotune.domain import Strategy
from autotune.errors import Unsupported
from autotune.hardware.cores import usable_cores
from autotune.trial.effects import allocator


def apply_device_settings(strategy: Strategy, local_rank: int = 0) -> torch.device:
    """Set cores, allocator and threads of this process; return its device."""
    apply_host_settings(strategy, local_rank)
    count = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return select_device(str(strategy["device"]), local_rank, count)


def apply_host_settings(strategy: Strategy, local_rank: int) -> None:
    """Set cores, allocator and threads of this process."""
    pin_cores(strategy, local_rank)
    allocator.apply(str(strategy["allocator"]))
    torch.set_num_threads(int(strategy["threads"]))


def pin_cores(strategy: Strategy, local_rank: int) -> None:
    """Pin this process to as many cores as it has threads, after those of lower local ranks.

    As in a trial, one hardware thread of each physical core comes first. Does nothing with
    ``pinning: none``, without enough cores, or where the system does not support it.
    """
    if strategy.get("pinning", "cores") != "cores" or not hasattr(os, "sched_setaffinity"):
        return
    threads, cores = int(strategy["threads"]), usable_cores()
    local_cores = cores[local_rank * threads : (local_rank + 1) * threads]
    if len(local_cores) == threads:
        os.sched_setaffinity(0, local_cores)


def select_device(name: str, local_rank: int, count: int = 1) -> torch.device:
    """The device ``name``, or for a GPU the one ``local_rank`` after it.

    All GPUs but those of the ``count`` processes here are hidden, because trainers use every GPU
    that they find; several processes find theirs by their rank. GPUs count from the first in
    ``CUDA_VISIBLE_DEVICES``, or from the first of the machine if that is not set. Raises
    :class:`~autotune.errors.Unsupported` for a GPU that is not visible.
    """
    if not name.startswith("cuda"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return torch.device(name)
    first = int(name.partition(":")[2] or 0)
    indices = range(first, first + count) if count > 1 else (first + local_rank,)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(_visible_gpu, indices))
    device = torch.device("cuda", local_rank if count > 1 else 0)
    torch.cuda.set_device(device)
    return device


def rank_device(name: str, local_rank: int) -> torch.device:
    """The device of a process whose launcher has chosen the GPUs of all ranks, which see each
    other's: for a GPU, the one of its rank."""
    if not name.startswith("cuda"):
        return select_device(name, local_rank)
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _visible_gpu(index: int) -> str:
    """The name of GPU ``index`` for ``CUDA_VISIBLE_DEVICES``. Unset, it shows all GPUs; empty,
    none. A name that is none, such as -1, ends the list, as for CUDA."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return str(index)
    names = (name.strip() for name in value.split(","))
    visible = list(takewhile(lambda name: name and not name.startswith("-"), names))
    if index < len(visible):
        return visible[index]
    raise Unsupported(
        f"CUDA_VISIBLE_DEVICES={value!r} shows no GPU cuda:{index}",
        hint=f"run `unset CUDA_VISIBLE_DEVICES`, or name at least {index + 1} GPUs in it",
    )
