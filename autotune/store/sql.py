"""The store in SQL. Every method is one transaction and takes or returns domain objects."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from autotune.domain import (
    CurvePoint,
    Outcome,
    SearchStatus,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.errors import (
    IncompatibleStudyError,
    SchemaOutdatedError,
    StoreUnavailableError,
    UsageError,
)
from autotune.ports import Proposal, StudyOverview
from autotune.store import codec, migrations, queries, writes
from autotune.store.database import Database
from autotune.store.durations import Durations
from autotune.store.locking import exclusive_driver
from autotune.store.models import EnvironmentRow, StudyRow, TrialRow
from autotune.store.types import UtcDateTime

DRIVER_ALIVE_SECONDS = 300.0
"""A study with a heartbeat this recent is not deleted from a server."""


def open_store(
    url: str,
    *,
    read_only: bool = False,
    create: bool = True,
    clock: Callable[[], datetime] | None = None,
) -> SqlStore:
    """Open the store at a SQLAlchemy URL, with ``create`` an empty one, and check its schema.

    ``clock`` gives the times of trials where time is simulated; by default the database does.

    :raises UsageError: the URL is no SQLite or PostgreSQL URL.
    :raises StoreUnavailableError: it cannot be reached or used, or there is none to read.
    :raises SchemaOutdatedError: an older version of autotune created it.
    :raises SchemaTooNewError: a newer version of autotune created it.
    """
    status = migrations.check(url)
    store = SqlStore(url, read_only=read_only, clock=clock)
    if status.state == "empty" and create and not read_only:
        migrations.upgrade(url)
    elif status.state == "empty":
        raise StoreUnavailableError(
            f"there is no autotune storage at {store}",
            hint="autotune search creates one; set another with --storage",
        )
    elif status.state == "too new":
        raise migrations.too_new(str(store))
    elif status.state == "outdated":
        raise SchemaOutdatedError(
            f"{store} has schema {status.current}, this autotune needs {status.head}",
            hint=f"autotune db upgrade --storage {store}",
        )
    return store


class SqlStore:
    """A :class:`~autotune.ports.Store` in SQLite or PostgreSQL. Safe to share between threads.

    ``driver`` names this process in the trials that it runs.
    """

    def __init__(
        self, url: str, *, read_only: bool = False, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._database = Database(url, read_only=read_only)
        self._now: Callable[[Connection], datetime] = writes.now
        self._durations = Durations()
        if clock is not None:
            self._now = lambda connection: clock()
            self._durations = Durations(lambda: clock().timestamp())
        self.driver = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def __str__(self) -> str:
        """The URL without any password."""
        return str(self._database)

    # ---------------------------------------------------------------------------- studies

    def create_study(self, study: Study, environment: Mapping[str, Any]) -> None:
        """Record a new study and its environment. Names are unique."""
        with self._database.transaction(write=True) as connection:
            now = self._now(connection)
            fields = codec.study_fields(study)
            row = {**fields, "created_at": now, "changed_at": now, "revision": 0}
            try:
                connection.execute(insert(StudyRow).values(row))
            except IntegrityError:
                raise UsageError(
                    f"a study {study.name} exists already",
                    hint=f"autotune resume {study.name}, or another name with --study",
                ) from None
            key = queries.study_id(connection, study.name)
            change = writes.StudyTransaction(connection, key, self.driver, self._now)
            _add_environment(change, environment)

    def study(self, name: str) -> Study:
        """The study of this name; :class:`~autotune.errors.NotFoundError` names the nearest."""
        with self._read(name) as connection:
            return queries.study(connection, name)

    def studies(self) -> Sequence[str]:
        """The names of all studies, oldest first."""
        with self._database.transaction() as connection:
            return queries.study_names(connection)

    def studies_overview(self) -> Sequence[StudyOverview]:
        """All studies, oldest first, with the number of trials in each state."""
        with self._database.transaction() as connection:
            return queries.overviews(connection)

    def update_study(self, study: Study) -> None:
        """Replace what may change between sessions (budget, limits, prices, executor...).

        :raises IncompatibleStudyError: the task differs: results could not be compared.
        """
        fields = codec.study_fields(study)
        with self._change(study.name) as change:
            where = StudyRow.id == change.key
            stored = change.connection.scalar(select(StudyRow.fingerprint).where(where))
            # A study of before there was a digest of code is stored without.
            no_code = codec.task_fingerprint({**fields["study"]["task"], "code": None})
            if stored not in (fields["fingerprint"], no_code):
                raise IncompatibleStudyError(
                    f"study {study.name} is stored with a different task",
                    hint="use another name with --study",
                )
            _ = change.revision
            change.connection.execute(update(StudyRow).where(where).values(fields))

    def record_search(self, study: str, status: SearchStatus) -> None:
        """Record that the study is searched now, or why the search ended."""
        with self._change(study) as change:
            _ = change.revision  # readers of the list of studies look at it
            query = update(StudyRow).where(StudyRow.id == change.key)
            change.connection.execute(query.values(codec.search_status_fields(status)))

    def search_status(self, study: str) -> SearchStatus | None:
        """Whether the study is searched, or how its last session ended, if that was recorded."""
        with self._read(study) as connection:
            return queries.overview(connection, study).status(self._now(connection))

    def count_trials(self, name: str) -> int:
        """The number of trials of a study, readable or not."""
        with self._read(name) as connection:
            return queries.count_trials(connection, queries.study_id(connection, name))

    def delete_study(self, name: str) -> int:
        """Delete a study with all its trials; returns how many trials it had.

        :raises UsageError: a driver runs it now.
        """
        with self.acquire_driver(name), self._change(name) as change:
            trials = queries.count_trials(change.connection, change.key)
            alive = change.now - timedelta(seconds=DRIVER_ALIVE_SECONDS)
            where = (TrialRow.study_id == change.key, TrialRow.state == State.RUNNING)
            recent = select(func.count()).where(*where, TrialRow.heartbeat_at > alive)
            if not self.single_driver and change.connection.scalar(recent):
                raise UsageError(
                    f"study {name} is being searched by another process",
                    hint="stop that search first; a dead one counts as running for five minutes",
                )
            change.connection.execute(delete(StudyRow).where(StudyRow.id == change.key))
            return trials

    def environment(self, study: str) -> Mapping[str, Any]:
        """The latest environment recorded for the study."""
        return self.environments(study)[-1]

    def environments(self, study: str) -> Sequence[Mapping[str, Any]]:
        """The environments of all sessions of the study, oldest first."""
        with self._read(study) as connection:
            return queries.environments(connection, study)

    def record_environment(self, study: str, environment: Mapping[str, Any]) -> None:
        """Add the environment of a further session."""
        with self._change(study) as change:
            _add_environment(change, environment)

    # ----------------------------------------------------------------------------- trials

    def enqueue(self, study: str, strategy: Strategy, *, origin: TrialOrigin, seed: int) -> Trial:
        """Add a trial in state ``queued`` with the next free number."""
        with self._change(study) as change:
            return change.add(strategy, origin=origin, seed=seed, running=False)

    def start(
        self,
        study: str,
        strategy: Strategy,
        *,
        origin: TrialOrigin,
        seed: int,
        number: int | None = None,
    ) -> Trial:
        """Add a trial in state ``running`` with the next free number, or start the queued trial
        ``number``, which keeps the strategy, origin and seed it was queued with."""
        with self._change(study) as change:
            if number is not None:
                return self._note_start(study, change.start_queued(number))
            trial = change.add(strategy, origin=origin, seed=seed, running=True)
            return self._note_start(study, trial)

    def claim(
        self, study: str, proposal: Proposal, *, number: int, queue: bool = False
    ) -> Trial | None:
        """Add trial ``number``, running or (``queue``) queued; ``None`` if that is not the next
        free number. A proposal from the trials before ``number`` is thus never added after
        trials of another driver."""
        with self._change(study) as change:
            if number != change.next_number():
                return None
            trial = change.add(
                proposal.strategy, origin=proposal.origin, seed=proposal.seed, running=not queue
            )
            return trial if queue else self._note_start(study, trial)

    def claim_next_queued(self, study: str) -> Trial | None:
        """Start the queued trial with the lowest number; ``None`` if none is queued. Each trial is
        given to one driver only."""
        with self._change(study) as change:
            first = select(func.min(TrialRow.number)).where(
                TrialRow.study_id == change.key, TrialRow.state == State.QUEUED
            )
            number = change.connection.scalar(first)
            if number is None:
                return None
            return self._note_start(study, change.start_queued(number))

    def finish(self, study: str, number: int, outcome: Outcome) -> Trial:
        """Record the outcome of a running trial with its complete result.

        Repeating the call with the same state changes nothing. A trial that was marked interrupted
        meanwhile accepts the outcome.
        """
        seconds = self._durations.seconds(study, number)
        with self._change(study) as change:
            return change.finish(number, outcome, seconds)

    def forget_model(self, study: str, number: int) -> None:
        """Record that the trained model of a finished trial is not kept any more. Idempotent."""
        with self._change(study) as change:
            change.forget_model(number)

    def report(self, study: str, number: int, point: CurvePoint) -> None:
        """Add a point to the learning curve of a running trial; counts as a heartbeat."""
        with self._database.transaction(write=True) as connection:
            row = queries.trial_row(connection, queries.study_id(connection, study), number)
            query = update(TrialRow).where(
                TrialRow.id == row.id, TrialRow.state.in_(writes.ACCEPTS_RESULT)
            )
            heartbeat = query.values(heartbeat_at=self._now(connection))
            if connection.execute(heartbeat).rowcount == 0:
                raise UsageError(f"trial {number} is {row.state}, not running")
            writes.add_point(connection, row.id, point)

    def trials(self, study: str, *, states: Sequence[State] | None = None) -> Sequence[Trial]:
        """All trials in order of number, with measurements but without raw samples and curves.
        Confirmations have their correctness and the samples of their scores too, the first trials
        their correctness."""
        with self._read(study) as connection:
            where = [TrialRow.study_id == queries.study_id(connection, study)]
            if states is not None:
                where.append(TrialRow.state.in_(states))
            return queries.list_trials(connection, *where)[0]

    def trials_since(self, study: str, cursor: int = 0) -> tuple[Sequence[Trial], int]:
        """Trials added or changed since ``cursor``, like :meth:`trials`, and the next cursor. Start
        with 0. A new point of a curve is no change; see :meth:`progress`."""
        with self._read(study) as connection:
            key = queries.study_id(connection, study)
            where = (TrialRow.study_id == key, TrialRow.revision > cursor)
            trials, revision = queries.list_trials(connection, *where)
            return trials, max(cursor, revision)

    def created_at(self, study: str) -> datetime:
        """When the study was stored: at another time than a deleted one of this name."""
        with self._read(study) as connection:
            return queries.overview(connection, study).created_at

    def trial(self, study: str, number: int) -> Trial:
        """One trial with its complete result."""
        with self._read(study) as connection:
            return queries.full_trial(connection, queries.study_id(connection, study), number)

    def curves(self, study: str) -> Mapping[int, Sequence[CurvePoint]]:
        """Learning curves by trial number, of all trials that reported a point."""
        with self._read(study) as connection:
            key = queries.study_id(connection, study)
            return queries.curves(connection, TrialRow.study_id == key)

    def progress(self, study: str) -> Mapping[int, CurvePoint]:
        """The last point of each running trial that reported one, by trial number."""
        with self._read(study) as connection:
            key = queries.study_id(connection, study)
            where = (TrialRow.study_id == key, TrialRow.state == State.RUNNING)
            return {n: points[-1] for n, points in queries.curves(connection, *where).items()}

    # ---------------------------------------------------------------------------- drivers

    @property
    def single_driver(self) -> bool:
        """Whether a study can have one driver at a time only."""
        return self._database.path is not None

    @contextmanager
    def acquire_driver(self, study: str) -> Iterator[str]:
        """Be a driver of the study while the context lasts; yields the driver's name.

        SQLite allows one at a time: :class:`~autotune.errors.UsageError` if another process is the
        driver now. PostgreSQL allows any number.
        """
        path = self._database.path
        if path is None:
            yield self.driver
            return
        with exclusive_driver(path, study, self.driver):
            yield self.driver

    def heartbeat(self, study: str, numbers: Collection[int] | None = None) -> None:
        """Record that the running trials of this driver are alive: all of them, or ``numbers``."""
        with self._change(study) as change:
            where = [TrialRow.study_id == change.key, TrialRow.driver == self.driver]
            if numbers is not None:
                where.append(TrialRow.number.in_(numbers))
            query = update(TrialRow).where(*where, TrialRow.state == State.RUNNING)
            change.connection.execute(query.values(heartbeat_at=change.now))

    def interrupt_running(
        self, study: str, *, driver: str | None = None, stale_seconds: float | None = None
    ) -> Sequence[Trial]:
        """Mark running trials as interrupted and return them, so that they can be run again.

        ``driver`` and ``stale_seconds`` select trials of this driver, and trials without a
        heartbeat for this long. Without them all running trials are marked, which is right only if
        no other driver can be alive. A trial ends at its last heartbeat: the time until somebody
        notices is no time of the search.
        """
        heartbeat = func.coalesce(TrialRow.heartbeat_at, TrialRow.started_at, type_=UtcDateTime())
        columns = (TrialRow.number, TrialRow.started_at, heartbeat.label("heartbeat"))
        with self._change(study) as change:
            where = [TrialRow.study_id == change.key, TrialRow.state == State.RUNNING]
            if driver is not None:
                where.append(TrialRow.driver == driver)
            if stale_seconds is not None:
                oldest = change.now - timedelta(seconds=stale_seconds)
                where.append(or_(heartbeat.is_(None), heartbeat < oldest))
            query = select(*columns).where(*where).order_by(TrialRow.number)
            return [change.interrupt(*row) for row in change.connection.execute(query).all()]

    def close(self) -> None:
        """Release connections. Idempotent."""
        self._database.close()

    def _note_start(self, study: str, trial: Trial) -> Trial:
        self._durations.start(study, trial.number)
        return trial

    @contextmanager
    def _read(self, study: str) -> Iterator[Connection]:
        """A transaction that reads.

        :raises DamagedStudyError: rows of the study cannot be read.
        """
        with self._database.transaction() as connection, queries.decoding(study):
            yield connection

    @contextmanager
    def _change(self, study: str) -> Iterator[writes.StudyTransaction]:
        with self._database.transaction(write=True) as connection:
            key = queries.study_id(connection, study, lock=True)
            yield writes.StudyTransaction(connection, key, self.driver, self._now)


def _add_environment(change: writes.StudyTransaction, environment: Mapping[str, Any]) -> None:
    fields = codec.environment_fields(environment)
    row = {**fields, "study_id": change.key, "recorded_at": change.now}
    change.connection.execute(insert(EnvironmentRow).values(row))
