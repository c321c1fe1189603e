"""The ``allocator`` lever: how the C library hands out host memory to this process.

A training step allocates and frees the same large tensors over and over. By default glibc gives
each of them back to the kernel, which then clears the pages again for the next step. ``tuned``
makes glibc keep them: no allocation by ``mmap``, no trimming, and the heap grown in large strides.
Calling ``mallopt`` in a process that is already running has the same effect as setting
``MALLOC_*`` before it starts (docs/execution.md has the figures), so one forkserver serves both.
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
    """Put the lever's ``setting`` in force for the rest of this process.

    :raises Unsupported: where ``tuned`` is asked for and the C library is not glibc.
    """
    if setting == "system":
        return
    if setting != "tuned":
        raise Unsupported(f"allocator {setting!r} is not known", hint="use system or tuned")
    if platform.libc_ver()[0] != "glibc":
        raise Unsupported("the tuned allocator needs glibc", hint="set allocator to system")
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in SETTINGS:
        if mallopt(parameter, value) != 1:
            raise Unsupported(f"glibc refused mallopt({parameter}, {value})")


def trim() -> None:
    """Have glibc hand what has been freed back to the kernel; elsewhere nothing is done."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
