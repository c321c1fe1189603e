"""Peak memory of this process and its ranks.

On Linux it is ``VmHWM``, never ``ru_maxrss``: the latter is inherited over fork and exec, so that a
small child of a large parent reports the parent's peak. macOS has only ``ru_maxrss``, which is not
inherited there; for ranks the current memory is used.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from torch import nn

from autotune.domain.host import GIB, MIB

_RESET_PEAK = "5"

_earlier_peaks: list[int] = []
"""Bytes: the peaks of this process before :func:`excluded_from_peak` reset that of the kernel."""


def reset_peak() -> None:
    """Reset the peaks of the kernel for this process (Linux, where permitted) and of CUDA."""
    _earlier_peaks.clear()
    _reset_host_peak()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)


@contextmanager
def excluded_from_peak() -> Iterator[None]:
    """Leave the host memory of a block, such as the computation of scores, out of the peak of this
    process. Where the kernel does not permit it, it counts."""
    before = _peak_bytes(psutil.Process().pid) or 0
    try:
        yield
    finally:
        if _reset_host_peak():
            _earlier_peaks.append(before)


def _reset_host_peak() -> bool:
    """Whether the kernel's peak for this process was set to its memory now."""
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def peak_gib() -> float | None:
    """Sum of the peak resident memory of this process and its running children; ``None`` where the
    kernel does not report it."""
    children = psutil.Process().children(recursive=True)
    peak = _peak_bytes(psutil.Process().pid)
    if peak is not None:
        peak = max([peak, *_earlier_peaks])
        return (peak + sum(_peak_bytes(child.pid) or 0 for child in children)) / GIB
    if sys.platform == "darwin":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
        return (peak + sum(_resident_bytes(child) for child in children)) / GIB
    return None


def _peak_bytes(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    kib = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kib[0]) * 1024 if kib else None


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def device_peaks_gib(device: torch.device) -> tuple[float, float] | None:
    """Peak GPU memory of a process that trains on ``device``, summed over its GPUs: allocated to
    tensors, and reserved by the caching allocator. ``None`` without CUDA."""
    if device.type != "cuda":
        return None
    gpus = range(torch.cuda.device_count())
    allocated = sum(torch.cuda.max_memory_allocated(gpu) for gpu in gpus)
    return allocated / GIB, sum(torch.cuda.max_memory_reserved(gpu) for gpu in gpus) / GIB


def model_mib(model: nn.Module) -> float:
    """Size of the saved weights in MiB. A tensor that two modules share counts once."""
    tensors = {t.data_ptr(): t.nbytes for t in model.state_dict().values()}
    return sum(tensors.values()) / MIB
