"""Results that the database could not take, on local disk until it can.

One file a driver, one JSON document a line, flushed to the disk before the driver goes on. The
kernel holds the file for its driver, so that whoever comes after a killed driver can tell that the
results in it are nobody's, and hand them in.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autotune.domain import (
    Completed,
    CurvePoint,
    Failed,
    Infeasible,
    Interrupted,
    Outcome,
    Pruned,
    State,
    Trial,
    digest,
)
from autotune.errors import StoreUnavailableError, UsageError
from autotune.ports import Proposal
from autotune.store.codec import to_json
from autotune.store.sql import SqlStore, open_store

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
            fields = record["fields"]
            if "kind" in fields:  # written by autotune 0.1
                fields["failure"] = fields.pop("kind")
            outcome = _adapter(record["outcome"]).validate_python(fields)
            yield record["study"], record["number"], outcome


def _document(outcome: Outcome) -> dict[str, Any]:
    kind = type(outcome).__name__
    return {"outcome": kind, "fields": to_json(_adapter(kind).dump_python(outcome, mode="json"))}


@cache
def _adapter(kind: str) -> TypeAdapter[Outcome]:
    return TypeAdapter(_OUTCOMES[kind])


log = logging.getLogger(__name__)


def open_driver_store(
    url: str, directory: Path, *, clock: Callable[[], datetime] | None = None
) -> SqlStore:
    """The store at ``url`` as :func:`open_store` opens it, for one who runs trials.

    A server may come back, so its results wait in a journal in ``directory``; what a driver left
    there that was killed is handed in now. A file of SQLite is here or it is broken.
    """
    store = open_store(url, clock=clock)
    if store.single_driver:
        return store
    store.close()
    journaled = JournaledStore(url, directory, clock=clock)
    adopted = journaled.recover_orphans()
    if adopted:
        log.warning("%d results that waited in %s are stored now", adopted, directory)
    return journaled


class JournaledStore(SqlStore):
    """A :class:`~autotune.store.sql.SqlStore` for a driver: while the database is away,
    :meth:`finish` keeps results in a journal on local disk. They are written before anything is
    read again, so that a search sees its own results. All other calls fail as they do there.
    """

    def __init__(
        self, url: str, directory: Path, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(url, clock=clock)
        self._journal = Journal(directory, str(self), self.driver)
        self._replaying = threading.RLock()
        self._running: dict[tuple[str, int], Trial] = {}

    def recover_orphans(self) -> int:
        """Hand in what drivers left in the journal that are gone, and return how many results."""
        return sum(sum(map(self._flush, results)) for results in self._journal.orphans())

    def claim(
        self, study: str, proposal: Proposal, *, number: int, queue: bool = False
    ) -> Trial | None:
        trial = super().claim(study, proposal, number=number, queue=queue)
        return self._remembered(study, trial)

    def claim_next_queued(self, study: str) -> Trial | None:
        return self._remembered(study, super().claim_next_queued(study))

    def trials_since(self, study: str, cursor: int = 0) -> tuple[Sequence[Trial], int]:
        self.replay()
        return super().trials_since(study, cursor)

    def report(self, study: str, number: int, point: CurvePoint) -> None:
        """Add a point, or let it go: the outcome brings the whole curve."""
        try:
            super().report(study, number, point)
        except StoreUnavailableError as error:
            log.info("a point of trial %d is not stored now: %s", number, error)

    def finish(self, study: str, number: int, outcome: Outcome) -> Trial:
        try:
            self.replay()
            trial = super().finish(study, number, outcome)
            self._running.pop((study, number), None)
        except StoreUnavailableError as error:
            running = self._running.get((study, number))
            if running is None:
                raise
            log.warning("trial %d is kept in the journal: %s", number, error)
            self._keep(study, number, outcome)
            trial = running.finished(outcome, datetime.now(UTC))
        return trial

    def replay(self) -> None:
        """Write what waits in this driver's journal.

        :raises StoreUnavailableError: the database is still away; nothing is lost.
        """
        with self._replaying:
            waiting = self._journal.waiting()
            for result in waiting:
                self._flush(result)
            self._journal.clear()

    def close(self) -> None:
        """Release connections; what still waits stays in the journal. Idempotent."""
        self._journal.abandon()
        super().close()

    def _keep(self, study: str, number: int, outcome: Outcome) -> None:
        with self._replaying:
            self._journal.keep(study, number, outcome)

    def _flush(self, result: Result) -> bool:
        study, number, outcome = result
        try:
            super().finish(study, number, outcome)
        except UsageError as error:  # the study was deleted, or the trial has ended otherwise
            log.warning("a result of study %s is not taken: %s", study, error)
            return False
        self._running.pop((study, number), None)
        return True

    def _remembered(self, study: str, trial: Trial | None) -> Trial | None:
        if trial is not None and trial.state is State.RUNNING:
            self._running[study, trial.number] = trial
        return trial
