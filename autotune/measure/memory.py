"""Peak memory of this process and of the ranks below it.

On Linux ``VmHWM`` is read, never ``ru_maxrss``: the latter is inherited over fork and exec, so that
a small child of a large parent reports the parent's peak. On macOS it is each process's own, and
the only one there is; of ranks, what they hold now.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from torch import nn

MIB = 1024**2
GIB = 1024**3
_RESET_PEAK = "5"


def reset_peak() -> None:
    """Start both peaks over: the kernel's for this process (Linux, where it may) and CUDA's."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)


def peak_gib() -> float | None:
    """Highest resident memory of this process and its living children, summed; ``None`` where the
    kernel does not tell."""
    children = psutil.Process().children(recursive=True)
    own = _peak_bytes(psutil.Process().pid)
    if own is not None:
        return (own + sum(_peak_bytes(child.pid) or 0 for child in children)) / GIB
    if sys.platform == "darwin":
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes there
        return (own + sum(_resident_bytes(child) for child in children)) / GIB
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
    """Highest CUDA memory of a process that trains on ``device``, summed over all GPUs that it
    uses (allocated to tensors, reserved by the caching allocator)."""
    if device.type != "cuda":
        return None
    gpus = range(torch.cuda.device_count())
    allocated = sum(torch.cuda.max_memory_allocated(gpu) for gpu in gpus)
    return allocated / GIB, sum(torch.cuda.max_memory_reserved(gpu) for gpu in gpus) / GIB


def model_mib(model: nn.Module) -> float:
    """Bytes of the weights as they are saved: a tensor that two modules share counts once."""
    tensors = {t.data_ptr(): t.nbytes for t in model.state_dict().values()}
    return sum(tensors.values()) / MIB
