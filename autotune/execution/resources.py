"""Cores of a machine for one trial each: claimed by locks, so that trials of all drivers, and of
several Ray nodes on one machine, keep off each other's."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from autotune.domain import Job, Resources

PATIENCE_SECONDS = 0.3
"""A trial that was just killed may take a moment to let go of its cores."""

RETRY_SECONDS = 0.02


def lock_cores(usable: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Up to ``wanted`` of the cores ``usable`` that nobody holds, held until this process and all
    that it has forked have ended. Fewer than wanted are none: the trial then runs where the system
    puts it."""
    wanted = min(wanted, len(usable))
    until = time.monotonic() + PATIENCE_SECONDS
    while (cores := _claim(usable, wanted)) is None:
        if time.monotonic() > until:
            return ()
        time.sleep(RETRY_SECONDS)
    return cores


def _claim(usable: Sequence[int], wanted: int) -> tuple[int, ...] | None:
    held: dict[int, int] = {}
    for core in usable:
        if len(held) == wanted:
            break
        lock = _lock(core)
        if lock is not None:
            held[core] = lock
    if len(held) == wanted:
        return tuple(held)
    for lock in held.values():
        os.close(lock)
    return None


def _lock(core: int) -> int | None:
    folder = Path(tempfile.gettempdir()) / f"autotune-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / str(core), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


class ResourcePool:
    """The cores of this host by id, and the accelerators in use by name."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = tuple(cores)
        self._free = set(cores)
        self._devices_in_use: set[str] = set()

    def acquire(self, resources: Resources) -> tuple[int, ...] | None:
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

    def release(self, job: Job) -> None:
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
