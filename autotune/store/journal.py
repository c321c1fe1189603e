"""Results that the database could not take, on local disk until it can.

One file a driver, one JSON document a line, flushed to the disk before the driver goes on. The
kernel holds the file for its driver, so that whoever comes after a killed driver can tell that the
results in it are nobody's, and hand them in.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autotune.domain import Completed, Failed, Infeasible, Interrupted, Outcome, Pruned, digest
from autotune.errors import StoreUnavailableError
from autotune.store.codec import plain

_OUTCOMES: dict[str, type[Outcome]] = {
    kind.__name__: kind for kind in (Completed, Pruned, Infeasible, Failed, Interrupted)
}

Result = tuple[str, int, Outcome]
"""A study's name, a trial's number, and what became of it."""


class Journal:
    """The results of one driver for one database that wait in ``directory``."""

    def __init__(self, directory: Path, database: str, driver: str) -> None:
        self._directory, self._prefix = directory, f"{digest(database)}-"
        self._path = directory / f"{self._prefix}{digest(driver)}.jsonl"
        self._file: int | None = None

    def keep(self, study: str, number: int, outcome: Outcome) -> None:
        """Add a result; it is on the disk when this returns."""
        line = json.dumps({"study": study, "number": number, **_document(outcome)}) + "\n"
        try:
            if self._file is None:
                self._file = self._open()
            _append(self._file, line.encode())
        except OSError as error:
            raise StoreUnavailableError(
                f"the database is away and {self._path} cannot be written: {error.strerror}",
                hint="free some space; trials that still run are lost when the search ends",
            ) from error

    def waiting(self) -> list[Result]:
        """The driver's own results that wait, oldest first."""
        return [] if self._file is None else list(_results(self._path))

    def clear(self) -> None:
        """Forget the driver's own results: the database has them."""
        if self._file is not None:
            self._path.unlink()
            self.abandon()

    def abandon(self) -> None:
        """Leave what waits to whoever comes next. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def orphans(self) -> Iterator[list[Result]]:
        """The results that drivers left behind which are gone, a file at a time; a file is removed
        once the caller comes back for the next."""
        for path in sorted(self._directory.glob(f"{self._prefix}*.jsonl")):
            descriptor = _take(path)
            if descriptor is not None:
                yield list(_results(path))
                path.unlink(missing_ok=True)
                os.close(descriptor)

    def _open(self) -> int:
        self._directory.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        return file


def _append(file: int, line: bytes) -> None:
    """Add a line whole or not at all."""
    end = os.fstat(file).st_size
    if os.write(file, line) < len(line):
        os.ftruncate(file, end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file)


def _take(path: Path) -> int | None:
    """The file, held; ``None`` where its driver lives or another has just handed it in."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _results(path: Path) -> Iterator[Result]:
    """All whole lines; the last one may have been cut off by a crash before it counted."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            record = json.loads(line)
            outcome = _adapter(record["outcome"]).validate_python(record["fields"])
            yield record["study"], record["number"], outcome


def _document(outcome: Outcome) -> dict[str, Any]:
    kind = type(outcome).__name__
    return {"outcome": kind, "fields": plain(_adapter(kind).dump_python(outcome, mode="json"))}


@cache
def _adapter(kind: str) -> TypeAdapter[Outcome]:
    return TypeAdapter(_OUTCOMES[kind])
