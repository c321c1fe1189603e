"""The number of threads of a runtime. Needs only the standard library, because exported folders
contain a copy."""

from __future__ import annotations

import os


def count_threads(threads: int | None) -> int:
    """``threads``, or one for each core that this process may use."""
    if threads is not None:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
