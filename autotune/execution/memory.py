"""Host memory of a worker: measurement, limits, watchdog, and detection of out-of-memory errors.

Two limits work together. The kernel refuses allocations far above the limit (:func:`set_limit`),
and :class:`MemoryWatchdog` samples the resident memory and ends the worker at the limit itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import psutil

from autotune.domain import FailureReason, Infeasible
from autotune.domain.host import GIB
from autotune.errors import OutOfMemory
from autotune.execution.messages import Channel, DriverDisconnected, Ended, MemorySamples
from autotune.hardware.container import available_memory_bytes

MAX_FRACTION_OF_AVAILABLE = 0.9
"""Trials together get at most this fraction of the available memory."""

ADDRESS_SPACE_MARGIN_GIB = 1.0

WATCH_INTERVAL_SECONDS = 0.2
SAMPLES_PER_MESSAGE = 5
GRACE_SECONDS = 1.0
"""How long the watchdog waits to send the outcome before it kills the worker."""

CUDA_OUT_OF_MEMORY = 2
"""``cudaErrorMemoryAllocation``, as ``error_code`` of a ``torch.AcceleratorError``."""
CUBLAS_OUT_OF_MEMORY = "CUBLAS_STATUS_ALLOC_FAILED"

_PROC = Path("/proc")
_STATM = _PROC / "self" / "statm"


def resident_gib(pid: int | None = None) -> float:
    """Resident memory in GiB of this process, or of ``pid``; 0 if that process has ended."""
    if not _STATM.exists():
        return _resident_gib_of_psutil(pid)
    try:
        pages = (_PROC / str(pid or "self") / "statm").read_text().split()[1]
    except OSError:
        return 0.0
    return int(pages) * resource.getpagesize() / GIB


def _resident_gib_of_psutil(pid: int | None) -> float:
    try:
        return float(psutil.Process(pid).memory_info().rss / GIB)
    except psutil.Error:
        return 0.0


def default_limit_gib(workers: int) -> float:
    """The memory limit in GiB of each of ``workers`` concurrent trials."""
    return MAX_FRACTION_OF_AVAILABLE * available_gib() / workers


def available_gib() -> float:
    """Available memory in GiB on this host, or in this container if that is less."""
    return available_memory_bytes() / GIB


def set_limit(limit_gib: float) -> None:
    """Let the kernel refuse allocations far above ``limit_gib`` (Linux; a no-op elsewhere).

    The watchdog samples, so one huge allocation can outrun it. This limit cannot be outrun. It
    counts address space, of which a process always has more than it uses: the unused part now, and
    a margin, are added.
    """
    if not _STATM.exists():
        return
    pages = [int(field) for field in _STATM.read_text().split()]
    unused = max(0, pages[5] - pages[1]) * resource.getpagesize()
    allowed = int((limit_gib + ADDRESS_SPACE_MARGIN_GIB) * GIB) + unused
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    allowed = allowed if hard == resource.RLIM_INFINITY else min(allowed, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether host or GPU memory ran out. Call it before any other work: it reads ``errno``.

    torch raises a plain ``RuntimeError`` when CPU memory runs out. The C library then leaves
    ``ENOMEM`` in ``errno``; :func:`clear_errno` resets it before the trial.
    """
    refused = _errno().value == errno.ENOMEM
    if isinstance(error, RuntimeError) and refused:
        return True
    return any(
        isinstance(cause, _out_of_memory_types()) or _is_refused_by_cuda(cause)
        for cause in _causes(error)
    )


def clear_errno() -> None:
    """Reset ``errno`` of this thread, so that :func:`is_out_of_memory` sees only later failures."""
    _errno().value = 0


def _out_of_memory_types() -> tuple[type[BaseException], ...]:
    torch = sys.modules.get("torch")
    torch_types = () if torch is None else (torch.OutOfMemoryError,)
    return (OutOfMemory, MemoryError, *torch_types)


def _is_refused_by_cuda(error: BaseException) -> bool:
    """Whether CUDA had no memory for its own context or for cuBLAS, which the caching allocator of
    torch does not ask for. An error of cuBLAS has no code, only the name of one."""
    if isinstance(error, RuntimeError) and CUBLAS_OUT_OF_MEMORY in str(error):
        return True
    torch = sys.modules.get("torch")
    error_type = getattr(torch, "AcceleratorError", None)
    if error_type is None or not isinstance(error, error_type):
        return False
    return getattr(error, "error_code", None) == CUDA_OUT_OF_MEMORY


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _errno() -> ctypes.c_int:
    """The C library's ``errno`` of this thread itself (``ctypes.get_errno`` is a copy)."""
    location: ctypes.c_int = _errno_location()().contents
    return location


@cache
def _errno_location() -> ctypes._NamedFuncPointer:
    libc = ctypes.CDLL(None)
    location = libc.__error if sys.platform == "darwin" else libc.__errno_location
    location.restype = ctypes.POINTER(ctypes.c_int)
    return location


class MemoryWatchdog:
    """A thread that ends a trial that exceeds its memory limit or has lost its driver.

    It samples the resident memory of its process, or of the ranks of a parallel trial, every
    :data:`WATCH_INTERVAL_SECONDS` from :meth:`start` until the process ends.
    """

    def __init__(self, channel: Channel, limit_gib: float) -> None:
        self._channel = channel
        self._limit_gib = limit_gib
        self._started_at = time.monotonic()
        self._unsent: list[tuple[float, float]] = []
        self._ranks: tuple[int, ...] = ()

    def start(self, ranks: Sequence[int] = ()) -> None:
        """Start the thread. ``ranks`` are the process ids to watch instead of this process."""
        self._ranks = tuple(ranks)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def flush(self, timeout: float = -1) -> None:
        """Send the memory samples that were taken since the last flush."""
        samples, self._unsent = self._unsent, []
        if samples:
            self._channel.send(MemorySamples(tuple(samples)), timeout)

    def _watch(self) -> None:
        # Polls for a hang-up only: answers on this socket are read by the main thread.
        hang_up = select.poll()
        hang_up.register(self._channel.fileno(), 0)
        with contextlib.suppress(DriverDisconnected):
            while not hang_up.poll(WATCH_INTERVAL_SECONDS * 1000):
                self._sample()
        end_group()

    def _sample(self) -> None:
        rank_gib = [resident_gib(pid) for pid in self._ranks]
        total_gib = sum(rank_gib) if rank_gib else resident_gib()
        self._unsent.append((time.monotonic() - self._started_at, total_gib))
        if total_gib > self._limit_gib:
            self._end_for_memory(total_gib, rank_gib)
        if len(self._unsent) >= SAMPLES_PER_MESSAGE:
            self.flush()

    def _end_for_memory(self, total_gib: float, rank_gib: Sequence[float]) -> NoReturn:
        reason = f"used {total_gib:.2f} GiB of host memory, the limit is {self._limit_gib:.2f} GiB"
        if rank_gib:
            rank = max(range(len(rank_gib)), key=rank_gib.__getitem__)
            reason += f"; rank {rank} used the most, {rank_gib[rank]:.2f} GiB"
        self.flush(GRACE_SECONDS)
        self._channel.send(Ended(Infeasible(FailureReason.OUT_OF_MEMORY, reason)), GRACE_SECONDS)
        end_group()


def end_group() -> NoReturn:
    """Kill this process and all processes it has started."""
    os.killpg(0, signal.SIGKILL)
    os._exit(1)
