"""Host memory: what this process holds, what it may hold, and whether it ran out."""

from __future__ import annotations

import ctypes
import errno
import resource
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil

from autotune.errors import OutOfMemory

GIB = 2**30
SHARE_OF_AVAILABLE = 0.9
ADDRESS_SLACK_GIB = 1.0

_PROC = Path("/proc")
_STATM = _PROC / "self" / "statm"
_CGROUP = Path("/sys/fs/cgroup")


def resident_gib(pid: int | None = None) -> float:
    """Memory this process holds now (its resident set), or that of ``pid``; 0 where it is gone."""
    if not _STATM.exists():
        return _resident_elsewhere(pid)
    try:
        pages = (_PROC / str(pid or "self") / "statm").read_text().split()[1]
    except OSError:
        return 0.0
    return int(pages) * resource.getpagesize() / GIB


def _resident_elsewhere(pid: int | None) -> float:
    try:
        return float(psutil.Process(pid).memory_info().rss / GIB)
    except psutil.Error:
        return 0.0


def default_limit_gib(workers: int) -> float:
    """What each of ``workers`` trials may hold so that together they leave the host standing."""
    return SHARE_OF_AVAILABLE * available_gib() / workers


def available_gib() -> float:
    """Memory that can still be had on this host, or in this container where that is less."""
    host = float(psutil.virtual_memory().available)
    limit, used = _cgroup_bytes("memory.max"), _cgroup_bytes("memory.current")
    return (host if limit is None or used is None else min(host, limit - used)) / GIB


def _cgroup_bytes(name: str) -> float | None:
    try:
        text = (_CGROUP / name).read_text().strip()
    except OSError:
        return None
    return float(text) if text.isdigit() else None


def bound(limit_gib: float) -> None:
    """Let the kernel refuse memory well beyond ``limit_gib`` (Linux; elsewhere nothing is done).

    The guard samples, so one huge allocation can outrun it; this cannot be outrun. It counts
    address space, of which a process always has more than it holds: what is unused now, and slack.
    """
    if not _STATM.exists():
        return
    pages = [int(field) for field in _STATM.read_text().split()]
    unused = max(0, pages[5] - pages[1]) * resource.getpagesize()
    allowed = int((limit_gib + ADDRESS_SLACK_GIB) * GIB) + unused
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    allowed = allowed if hard == resource.RLIM_INFINITY else min(allowed, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


def ran_out(error: BaseException) -> bool:
    """Whether ``error`` came of host or device memory running out; ask before doing other work.

    For CPU memory torch raises a bare ``RuntimeError``. What tells it apart is ``errno``: the C
    library leaves ``ENOMEM`` there when it refuses memory. :func:`forget` clears it beforehand.
    """
    refused = _errno().value == errno.ENOMEM
    if isinstance(error, RuntimeError) and refused:
        return True
    return any(isinstance(link, _out_of_memory_types()) for link in _causes(error))


def forget() -> None:
    """Clear ``errno`` of this thread, so that :func:`ran_out` sees only what comes after."""
    _errno().value = 0


def _out_of_memory_types() -> tuple[type[BaseException], ...]:
    torch = sys.modules.get("torch")
    of_torch = () if torch is None else (torch.OutOfMemoryError,)
    return (OutOfMemory, MemoryError, *of_torch)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _errno() -> ctypes.c_int:
    """The C library's ``errno`` of this thread, itself (``ctypes.get_errno`` is a copy)."""
    location: ctypes.c_int = _errno_location()().contents
    return location


@cache
def _errno_location() -> ctypes._NamedFuncPointer:
    libc = ctypes.CDLL(None)
    location = libc.__error if sys.platform == "darwin" else libc.__errno_location
    location.restype = ctypes.POINTER(ctypes.c_int)
    return location
