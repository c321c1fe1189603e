"""Lever ``allocator``: how the C library allocates host memory for this process.

Every training step allocates and frees the same large tensors. By default glibc returns their
memory to the kernel, which must clear the pages again for the next step. ``tuned`` makes glibc keep
it: no allocation by ``mmap``, no trimming, and a heap that grows in large steps. Calling
``mallopt`` in a running process has the same effect as setting ``MALLOC_*`` before its start
(figures in docs/execution.md), so one forkserver serves both settings.
"""

from __future__ import annotations

import ctypes
import platform

from autotune.errors import Unsupported

# Parameters of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4

TOP_PAD_BYTES = 256 * 2**20
NEVER = -1

SETTINGS = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER), (M_TOP_PAD, TOP_PAD_BYTES))


def apply(setting: str) -> None:
    """Apply the lever's ``setting`` to this process, irrevocably.

    Raises :class:`Unsupported` for ``tuned`` if the C library is not glibc.
    """
    if setting == "system":
        return
    if setting != "tuned":
        raise Unsupported(f"unknown allocator {setting!r}", hint="use system or tuned")
    if platform.libc_ver()[0] != "glibc":
        raise Unsupported("the tuned allocator requires glibc", hint="set allocator: system")
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in SETTINGS:
        if mallopt(parameter, value) != 1:
            raise Unsupported(f"glibc rejected mallopt({parameter}, {value})")


def trim() -> None:
    """Return freed memory to the kernel. Does nothing where the C library is not glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
