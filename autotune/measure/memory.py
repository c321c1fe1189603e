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

_earlier_device_peaks: list[tuple[int, int]] = []
"""The same for each GPU: bytes allocated and reserved."""


def reset_peak() -> None:
    """Reset the peaks of the kernel for this process (Linux, where permitted) and of CUDA."""
    _earlier_peaks.clear()
    _earlier_device_peaks.clear()
    _reset_host_peak()
    _reset_device_peaks()


@contextmanager
def excluded_from_peak() -> Iterator[None]:
    """Leave the memory of a block, such as the computation of scores, out of the peak of this
    process and of its GPUs. Where the kernel does not permit it, that of the host counts."""
    before, on_devices = _peak_bytes(psutil.Process().pid) or 0, _device_peaks()
    try:
        yield
    finally:
        if _reset_host_peak():
            _earlier_peaks.append(before)
        _earlier_device_peaks[:] = on_devices
        _reset_device_peaks()


def _reset_device_peaks() -> None:
    for gpu in _gpus():
        torch.cuda.reset_peak_memory_stats(gpu)


def _device_peaks() -> list[tuple[int, int]]:
    """Bytes allocated and reserved of each GPU, with those before blocks that do not count."""
    peaks = [
        (torch.cuda.max_memory_allocated(g), torch.cuda.max_memory_reserved(g)) for g in _gpus()
    ]
    if not _earlier_device_peaks:
        return peaks
    pairs = zip(peaks, _earlier_device_peaks, strict=True)
    return [(max(a[0], b[0]), max(a[1], b[1])) for a, b in pairs]


def _gpus() -> range:
    is_used = torch.cuda.is_available() and torch.cuda.is_initialized()
    return range(torch.cuda.device_count() if is_used else 0)


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
    peaks = _device_peaks()
    return sum(peak[0] for peak in peaks) / GIB, sum(peak[1] for peak in peaks) / GIB


def model_mib(model: nn.Module) -> float:
    """Size of the saved weights in MiB. A tensor that two modules share counts once."""
    tensors = {t.data_ptr(): t.nbytes for t in model.state_dict().values()}
    return sum(tensors.values()) / MIB
