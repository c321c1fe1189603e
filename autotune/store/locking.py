"""One driver at a time for a study in SQLite, held by the operating system."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from autotune.errors import StoreUnavailableError, UsageError


def lock_path(database: Path, study: str) -> Path:
    """The file beside ``database`` whose lock means that somebody drives ``study``."""
    return database.with_name(f"{database.name}.{quote(study, safe='')}.lock")


@contextmanager
def exclusive_driver(database: Path, study: str, driver: str) -> Iterator[None]:
    """Hold the lock of ``study``; :class:`~autotune.errors.UsageError` where another driver does.

    The kernel lets go of it when this process ends, however it ends. The file stays: only the lock
    on it counts, and taking a file away that another process is about to lock would let two in.
    """
    path = lock_path(database, study)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreUnavailableError(
            f"{path} cannot be opened: {error.strerror}",
            hint="the directory of the database must be writable for the one who drives a study",
        ) from error
    try:
        _lock(descriptor, study)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, driver.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, study: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 255, 0).decode(errors="replace") or "unknown"
        raise UsageError(
            f"study {study} is already driven by another process ({holder}), "
            "and a SQLite storage takes one driver at a time",
            hint="wait for it or stop it; several drivers can share a PostgreSQL storage: "
            "--storage postgresql://user@host/autotune",
        ) from None
