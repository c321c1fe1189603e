"""Which cores and accelerators are free: running jobs never share one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from autotune.domain import Job, Resources


class Seats:
    """The cores of this host by id, and the accelerators in use by name."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = tuple(cores)
        self._free = set(cores)
        self._devices_in_use: set[str] = set()

    def take(self, resources: Resources) -> tuple[int, ...] | None:
        """Set aside what a job asks for and return its cores, or ``None`` when it does not fit now.

        A job that asks for more cores than there are gets them all.
        """
        wanted = max(1, min(resources.cores, len(self._cores)))
        devices = _exclusive(resources.devices)
        if wanted > len(self._free) or devices & self._devices_in_use:
            return None
        cores = tuple(sorted(self._free)[:wanted])
        self._free.difference_update(cores)
        self._devices_in_use |= devices
        return cores

    def give_back(self, job: Job) -> None:
        """Free what :meth:`take` set aside for ``job``."""
        self._free.update(job.cores)
        self._devices_in_use -= _exclusive(job.resources.devices)


def usable_cores() -> tuple[int, ...]:
    """Ids of the logical CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _exclusive(devices: Sequence[str]) -> set[str]:
    return {device for device in devices if device != "cpu"}
