"""`BufferedStore`: keeps results on local disk while a PostgreSQL server cannot be reached.

Results wait in a :class:`Journal`: one file for each driver, one JSON document on each line,
flushed to disk before the driver continues. The driver holds an exclusive lock on its file. A file
without a lock holder belongs to a dead driver; the next driver writes its results to the database.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
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
from autotune.domain.clock import utc_now
from autotune.errors import StoreUnavailableError, UsageError
from autotune.locks import lock_file
from autotune.ports import Proposal
from autotune.store.codec import to_json
from autotune.store.sql import SqlStore, open_store

log = logging.getLogger(__name__)

Result = tuple[str, int, Outcome, float | None]
"""Study, trial number and outcome, and the seconds from the start to the outcome, if known."""

_OUTCOMES: dict[str, type[Outcome]] = {
    outcome.__name__: outcome for outcome in (Completed, Pruned, Infeasible, Failed, Interrupted)
}


def open_driver_store(
    url: str, directory: Path, *, clock: Callable[[], datetime] | None = None
) -> SqlStore:
    """Open the store at ``url`` for a driver, as :func:`open_store` does.

    A server can come back after an outage, so its results are buffered in ``directory``; results
    that dead drivers left there are written to the database now. A SQLite file needs no buffer: it
    is either usable or broken.
    """
    store = open_store(url, clock=clock)
    if store.single_driver:
        return store
    store.close()
    buffered = BufferedStore(url, directory, clock=clock)
    recovered = buffered.recover_orphans()
    if recovered:
        log.warning("%d buffered results in %s are stored now", recovered, directory)
    return buffered


class BufferedStore(SqlStore):
    """A :class:`~autotune.store.sql.SqlStore` whose :meth:`finish` survives a database outage.

    Outcomes are then kept in a journal and written before anything is read again, so that a search
    sees its own results. All other methods fail during an outage, as those of ``SqlStore`` do.
    """

    def __init__(
        self, url: str, directory: Path, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(url, clock=clock)
        self._journal = Journal(directory, str(self), self.driver)
        self._journal_lock = threading.RLock()
        self._running: dict[tuple[str, int], Trial] = {}

    def recover_orphans(self) -> int:
        """Write the results of dead drivers to the database; returns how many were written."""
        return sum(sum(map(self._write, results)) for results in self._journal.orphans())

    def claim(
        self, study: str, proposal: Proposal, *, number: int, queue: bool = False
    ) -> Trial | None:
        trial = super().claim(study, proposal, number=number, queue=queue)
        return self._track(study, trial)

    def claim_next_queued(self, study: str) -> Trial | None:
        return self._track(study, super().claim_next_queued(study))

    def trials_since(self, study: str, cursor: int = 0) -> tuple[Sequence[Trial], int]:
        self.flush()
        return super().trials_since(study, cursor)

    def report(self, study: str, number: int, point: CurvePoint) -> None:
        """Add a point. During an outage it is dropped: the outcome has the complete curve."""
        try:
            super().report(study, number, point)
        except StoreUnavailableError as error:
            log.info("a point of trial %d is not stored now: %s", number, error)

    def finish(self, study: str, number: int, outcome: Outcome) -> Trial:
        seconds = self._durations.seconds(study, number)  # without the time of an outage
        try:
            self.flush()
            trial = super().finish(study, number, outcome)
            self._running.pop((study, number), None)
        except StoreUnavailableError as error:
            running = self._running.get((study, number))
            if running is None:
                raise
            log.warning("trial %d is kept in the journal: %s", number, error)
            with self._journal_lock:
                self._journal.append((study, number, outcome, seconds))
            trial = running.finish(outcome, utc_now())
        return trial

    def flush(self) -> None:
        """Write the pending results of this driver's journal to the database.

        :raises StoreUnavailableError: the outage lasts; the journal keeps the results.
        """
        with self._journal_lock:
            for result in self._journal.pending():
                self._write(result)
            self._journal.clear()

    def close(self) -> None:
        """Release connections. Pending results stay in the journal. Idempotent."""
        self._journal.release()
        super().close()

    def _write(self, result: Result) -> bool:
        """Write one result; ``False`` if the database no longer accepts it."""
        study, number, outcome, seconds = result
        try:
            if seconds is not None:
                self._durations.record(study, number, seconds)
            super().finish(study, number, outcome)
        except UsageError as error:  # the study was deleted, or the trial has another outcome
            log.warning("a result of study %s is dropped: %s", study, error)
            return False
        self._running.pop((study, number), None)
        return True

    def _track(self, study: str, trial: Trial | None) -> Trial | None:
        """Remember a running trial, so that :meth:`finish` can return it during an outage."""
        if trial is not None and trial.state is State.RUNNING:
            self._running[study, trial.number] = trial
        return trial


class Journal:
    """The pending results of one driver for one database, in a file in ``directory``."""

    def __init__(self, directory: Path, database: str, driver: str) -> None:
        self._directory, self._prefix = directory, f"{digest(database)}-"
        self._path = directory / f"{self._prefix}{digest(driver)}.jsonl"
        self._file: int | None = None

    def append(self, result: Result) -> None:
        """Add a result; it is on disk when this returns."""
        study, number, outcome, seconds = result
        document = {"study": study, "number": number, "seconds": seconds, **_to_document(outcome)}
        line = json.dumps(document) + "\n"
        try:
            if self._file is None:
                self._file = self._open()
            _append_line(self._file, line.encode())
        except OSError as error:
            raise StoreUnavailableError(
                "the database cannot be reached, "
                f"and {self._path} cannot be written: {error.strerror}",
                hint="free some disk space; running trials are lost when the search ends",
            ) from error

    def pending(self) -> list[Result]:
        """This driver's pending results, oldest first."""
        return [] if self._file is None else list(map(_parse_result, _complete_lines(self._path)))

    def clear(self) -> None:
        """Delete this driver's pending results: the database has them."""
        if self._file is not None:
            self._path.unlink()
            self.release()

    def release(self) -> None:
        """Leave the pending results to the next driver. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def orphans(self) -> Iterator[list[Result]]:
        """The results of dead drivers, one file at a time. A file is deleted when the caller asks
        for the next one."""
        for path in sorted(self._directory.glob(f"{self._prefix}*.jsonl")):
            descriptor = _lock_orphan(path)
            if descriptor is not None:
                yield self._read_orphan(path)
                path.unlink(missing_ok=True)
                os.close(descriptor)

    def _read_orphan(self, path: Path) -> list[Result]:
        """The results of a dead driver. What cannot be read is kept in a file next to it: a damaged
        journal must not block every later search."""
        results, damage = [], []
        for line in _complete_lines(path):
            try:
                results.append(_parse_result(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                damage.append(line)
        if damage:
            aside = path.with_suffix(".damaged")
            with aside.open("ab") as file:
                file.writelines(damage)
            log.warning(
                "%d damaged results of a dead driver are set aside in %s; the study runs these "
                "trials again", len(damage), aside,
            )  # fmt: skip
        return results

    def _open(self) -> int:
        self._directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = lock_file(self._path, flags=flags, wait=True)
        assert file is not None
        return file


def _append_line(file: int, line: bytes) -> None:
    """Append the complete line or nothing."""
    size = os.fstat(file).st_size
    if os.write(file, line) < len(line):
        os.ftruncate(file, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file)


def _lock_orphan(path: Path) -> int | None:
    """Lock a journal; ``None`` if its driver is alive, or another driver has just recovered it."""
    try:
        return lock_file(path, flags=os.O_RDONLY)
    except FileNotFoundError:
        return None


def _complete_lines(path: Path) -> list[bytes]:
    """The lines of a journal. A crash can leave an incomplete last line, whose result was never
    acknowledged."""
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _parse_result(line: bytes) -> Result:
    document = json.loads(line)
    fields = _with_current_names(document["fields"])
    outcome = _adapter(document["outcome"]).validate_python(fields)
    return str(document["study"]), int(document["number"]), outcome, document.get("seconds")


def _with_current_names(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an outcome, also of one from a version with database schema 0002: its journal
    can outlive the upgrade of the database."""
    if "evidence" not in fields:
        return fields
    names = {"kind": "failure", "evidence": "result"}
    return {names.get(name, name): value for name, value in fields.items()}


def _to_document(outcome: Outcome) -> dict[str, Any]:
    name = type(outcome).__name__
    return {"outcome": name, "fields": to_json(_adapter(name).dump_python(outcome, mode="json"))}


@cache
def _adapter(outcome: str) -> TypeAdapter[Outcome]:
    return TypeAdapter(_OUTCOMES[outcome])
