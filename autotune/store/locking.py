"""One driver at a time for each study in SQLite, by a lock of the operating system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from autotune.errors import StoreUnavailableError, UsageError
from autotune.locks import lock_file

MAX_NAME_BYTES = 255


def lock_path(database: Path, study: str) -> Path:
    """The lock file of ``study``, in the folder of ``database``."""
    return database.with_name(f"{database.name}.{quote(study, safe='')}.lock")


@contextmanager
def exclusive_driver(database: Path, study: str, driver: str) -> Iterator[None]:
    """Hold the lock of ``study`` and write ``driver`` into its file.

    The file is never deleted: a process could delete it just before another one locks it, and a
    third would then create and lock a new file.

    :raises UsageError: if another driver holds the lock.
    :raises StoreUnavailableError: if the file cannot be opened.
    """
    path = lock_path(database.resolve(), study)  # one lock, whatever links lead to the file
    try:
        descriptor = lock_file(path, mode=0o666)
    except OSError as error:
        raise StoreUnavailableError(
            f"{path} cannot be opened: {error.strerror}",
            hint="the driver of a study needs write permission in the folder of the database",
        ) from error
    if descriptor is None:
        raise _already_driven(path, study)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, driver.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _already_driven(path: Path, study: str) -> UsageError:
    with path.open("rb") as file:
        driver = file.read(MAX_NAME_BYTES).decode(errors="replace") or "unknown"
    return UsageError(
        f"study {study} is already driven by another process ({driver}), "
        "and a SQLite storage takes one driver at a time",
        hint="wait for it or stop it; several drivers can share a PostgreSQL storage: "
        "--storage postgresql://user@host/autotune",
    )
