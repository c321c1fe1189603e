"""Which cores and GPUs a trial gets: from a pool in one process, by file locks between processes.

:class:`ResourcePool` serves the jobs of one driver. :func:`lock_cores` serves workers of several
Ray nodes and drivers on one machine, which are unaware of each other.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from autotune.domain import Job, Resources
from autotune.locks import lock_file

MAX_RELEASE_SECONDS = 0.3
"""How long a killed trial can take to release its cores."""

RETRY_SECONDS = 0.02


def lock_cores(usable: Sequence[int], count: int) -> tuple[int, ...]:
    """Lock ``count`` of the ``usable`` cores until this process and all its forks have ended.

    Returns no cores if fewer are free: the system then schedules the trial.
    """
    count = min(count, len(usable))
    deadline = time.monotonic() + MAX_RELEASE_SECONDS
    while (cores := _try_lock(usable, count)) is None:
        if time.monotonic() > deadline:
            return ()
        time.sleep(RETRY_SECONDS)
    return cores


def _try_lock(usable: Sequence[int], count: int) -> tuple[int, ...] | None:
    directory = Path(tempfile.gettempdir()) / f"autotune-cores-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    locks: dict[int, int] = {}
    for core in usable:
        if len(locks) == count:
            break
        lock = lock_file(directory / str(core))
        if lock is not None:
            locks[core] = lock
    if len(locks) == count:
        return tuple(locks)
    for lock in locks.values():
        os.close(lock)
    return None


class ResourcePool:
    """The free cores of this host by id, and the accelerators in use by name."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = tuple(cores)
        self._free = set(cores)
        self._devices_in_use: set[str] = set()

    def acquire(self, resources: Resources) -> tuple[int, ...] | None:
        """Reserve ``resources`` and return the cores; ``None`` if they are not free now.

        A job that requests more cores than the host has gets all of them.
        """
        count = max(1, min(resources.cores, len(self._cores)))
        devices = _exclusive(resources.devices)
        if count > len(self._free) or devices & self._devices_in_use:
            return None
        cores = tuple(sorted(self._free)[:count])
        self._free.difference_update(cores)
        self._devices_in_use |= devices
        return cores

    def release(self, job: Job) -> None:
        """Free what :meth:`acquire` reserved for ``job``."""
        self._free.update(job.cores)
        self._devices_in_use -= _exclusive(job.resources.devices)


def _exclusive(devices: Sequence[str]) -> set[str]:
    """The devices that serve one job at a time: all but the CPU."""
    return {device for device in devices if device != "cpu"}
