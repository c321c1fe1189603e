"""Which cores and GPUs a trial gets: from a pool in one process, by file locks between processes.

:class:`ResourcePool` serves the jobs of one driver, and takes locks that all searches of a user on
this host respect. :func:`lock_cores` takes the locks in a worker, for drivers on Ray.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import weakref
from collections.abc import Collection, Sequence
from pathlib import Path

from autotune.domain import Job, Resources
from autotune.locks import lock_file

log = logging.getLogger(__name__)

MAX_RELEASE_SECONDS = 0.3
"""How long a killed trial can take to release its cores."""

RETRY_SECONDS = 0.02

QUEUE = "queue"
"""The lock of the search that gets the next resources, so that none waits forever."""


def lock_directory() -> Path:
    """The folder of the locks on cores and GPUs: ``AUTOTUNE_LOCKS``, or one for each user.

    :raises OSError: it cannot be created.
    """
    default = Path(tempfile.gettempdir()) / f"autotune-cores-{os.getuid()}"
    directory = Path(os.environ.get("AUTOTUNE_LOCKS") or default)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def lock_cores(usable: Sequence[int], count: int) -> tuple[int, ...]:
    """Lock ``count`` of the ``usable`` cores until this process and all its forks have ended.

    Returns no cores if fewer are free: the system then schedules the trial.
    """
    count = min(count, len(usable))
    deadline = time.monotonic() + MAX_RELEASE_SECONDS
    while (locks := _lock_some(lock_directory(), usable, count)) is None:
        if time.monotonic() > deadline:
            return ()
        time.sleep(RETRY_SECONDS)
    return tuple(locks)


def _lock_some(directory: Path, cores: Sequence[int], count: int) -> dict[int, int] | None:
    """The descriptors of the locks on ``count`` of ``cores``; ``None`` if fewer are free."""
    locks: dict[int, int] = {}
    for core in cores:
        if len(locks) == count:
            break
        lock = lock_file(directory / str(core))
        if lock is not None:
            locks[core] = lock
    if len(locks) == count:
        return locks
    _release(locks.values())
    return None


def _release(descriptors: Collection[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _release_all(cores: dict[int, int], devices: dict[str, int]) -> None:
    _release([*cores.values(), *devices.values()])


class HostLocks:
    """The locks that this driver holds on cores and accelerators of the host.

    Without a folder for locks, or on a file system without them, everything is free.
    """

    def __init__(self) -> None:
        self._cores: dict[int, int] = {}
        self._devices: dict[str, int] = {}
        self._queue: int | None = None
        weakref.finalize(self, _release_all, self._cores, self._devices)
        self._directory: Path | None = None
        try:
            self._directory = lock_directory()
        except OSError as error:
            log.warning("cores are not locked against other searches: %s", error)

    def take(
        self, cores: Sequence[int], count: int, devices: Collection[str]
    ) -> tuple[int, ...] | None:
        """Lock ``count`` of ``cores``, and ``devices``; ``None`` if other searches hold them. The
        next attempt is then ahead of those of other searches, until :meth:`leave_queue`."""
        if self._directory is None:
            return tuple(cores[:count])
        try:
            return self._take(self._directory, cores, count, devices)
        except OSError as error:
            log.warning("cores are not locked against other searches: %s", error)
            self._directory = None
            return tuple(cores[:count])

    def _take(
        self, directory: Path, cores: Sequence[int], count: int, devices: Collection[str]
    ) -> tuple[int, ...] | None:
        if not self._enter_queue(directory):
            return None
        locks: dict[str, int] = {}
        for device in devices:
            lock = lock_file(directory / _physical_name(device))
            if lock is None:
                _release(locks.values())
                return None
            locks[device] = lock
        chosen = _lock_some(directory, cores, count)
        if chosen is None:
            _release(locks.values())
            return None
        self._cores |= chosen
        self._devices |= locks
        self.leave_queue()
        return tuple(chosen)

    def release(self, cores: Collection[int], devices: Collection[str]) -> None:
        """Release the locks on ``cores`` and ``devices``."""
        _release([self._cores.pop(core) for core in cores if core in self._cores])
        _release([self._devices.pop(name) for name in devices if name in self._devices])

    def has_free_core(self, cores: Sequence[int]) -> bool:
        """Whether a core is free of other searches, and this search is the next to take it."""
        if self._directory is None:
            return True
        return self._enter_queue(self._directory) and len(self._in_use(cores)) < len(cores)

    def are_others_running(self, cores: Sequence[int]) -> bool:
        """Whether another search runs a trial on one of ``cores``."""
        return self._directory is not None and bool(self._in_use(cores))

    def leave_queue(self) -> None:
        """Let other searches take resources first. Idempotent."""
        if self._queue is not None:
            os.close(self._queue)
            self._queue = None

    def _enter_queue(self, directory: Path) -> bool:
        self._queue = self._queue or lock_file(directory / QUEUE)
        return self._queue is not None

    def _in_use(self, cores: Sequence[int]) -> list[int]:
        """The cores that other searches have locked."""
        assert self._directory is not None
        foreign = []
        for core in cores:
            if core not in self._cores:
                lock = lock_file(self._directory / str(core))
                if lock is None:
                    foreign.append(core)
                else:
                    os.close(lock)
        return foreign


def is_locked(device: str) -> bool:
    """Whether a search on this host uses the accelerator now."""
    try:
        lock = lock_file(lock_directory() / _physical_name(device))
    except OSError:
        return False
    if lock is not None:
        os.close(lock)
    return lock is None


def _physical_name(device: str) -> str:
    """A name of the accelerator that does not depend on ``CUDA_VISIBLE_DEVICES``."""
    kind, _, index = device.partition(":")
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if kind == "cuda" and any(visible) and int(index or 0) < len(visible):
        index = visible[int(index or 0)].replace("/", "_")
    return f"{kind}-{index}"


class ResourcePool:
    """The free cores of this host by id, and the accelerators in use by name."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = tuple(cores)
        self._free = set(cores)
        self._devices_in_use: set[str] = set()
        self._locks = HostLocks()
        self.is_waiting = False
        """Whether the last attempt failed because other searches use the host."""

    def acquire(self, resources: Resources) -> tuple[int, ...] | None:
        """Reserve ``resources`` and return the cores; ``None`` if they are not free now.

        A job that requests more cores than the host has gets all of them. The first cores are
        taken first: :func:`~autotune.hardware.cores.usable_cores` orders them.
        """
        self.is_waiting = False
        count = max(1, min(resources.cores, len(self._cores)))
        devices = _exclusive(resources.devices)
        if count > len(self._free) or devices & self._devices_in_use:
            return None
        candidates = [core for core in self._cores if core in self._free]
        cores = self._locks.take(candidates, count, devices)
        if cores is None:
            self.is_waiting = True
            return None
        self._free.difference_update(cores)
        self._devices_in_use |= devices
        return tuple(sorted(cores))

    def release(self, job: Job) -> None:
        """Free what :meth:`acquire` reserved for ``job``."""
        devices = _exclusive(job.resources.devices)
        self._free.update(job.cores)
        self._devices_in_use -= devices
        self._locks.release(job.cores, devices)

    def has_free_core(self) -> bool:
        """Whether other searches leave a core of this host."""
        self.is_waiting = not self._locks.has_free_core(self._cores)
        return not self.is_waiting

    def are_others_running(self) -> bool:
        """Whether another search runs a trial on this host now."""
        return self._locks.are_others_running(self._cores)

    def stop_waiting(self) -> None:
        """Wait no longer: other searches are then served first. Idempotent."""
        self.is_waiting = False
        self._locks.leave_queue()


def _exclusive(devices: Sequence[str]) -> set[str]:
    """The devices that serve one job at a time: all but the CPU."""
    return {device for device in devices if device != "cpu"}
