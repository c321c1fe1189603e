"""Cores of a node for one trial each: claimed by locks, so that trials of all drivers, and of
several Ray nodes on one machine, keep off each other's."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


class Cores:
    """Up to ``wanted`` of the cores ``usable`` that nobody holds. Fewer than wanted are none: the
    trial then runs where the system puts it. The kernel lets go of them with this process."""

    def __init__(self, usable: Sequence[int], wanted: int) -> None:
        self._locks: dict[int, int] = {}
        wanted = min(wanted, len(usable))
        for core in usable:
            if len(self._locks) == wanted:
                return
            lock = _lock(core)
            if lock is not None:
                self._locks[core] = lock
        if len(self._locks) < wanted:
            self.give_back()

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self._locks)

    def give_back(self) -> None:
        """Idempotent."""
        while self._locks:
            os.close(self._locks.popitem()[1])


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
