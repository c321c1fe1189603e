"""The number of threads of a runtime. Needs only the standard library, because exported folders
contain a copy."""

from __future__ import annotations

from autotune.hardware.cores import physical_cores, usable_cores


def count_threads(threads: int | None) -> int:
    """``threads``, or one for each physical core that this process may use, as in a trial: at most
    the quota of its container."""
    if threads is not None:
        return threads
    cores = usable_cores()
    return physical_cores(cores) or len(cores)
