"""Cores of a machine for one trial each: claimed by locks, so that trials of all drivers, and of
several Ray nodes on one machine, keep off each other's."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PATIENCE_SECONDS = 0.3
"""A trial that was just killed may take a moment to let go of its cores."""

RETRY_SECONDS = 0.02


def claimed(usable: Sequence[int], wanted: int) -> tuple[int, ...]:
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
