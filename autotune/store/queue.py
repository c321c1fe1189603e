"""The queue of the service: studies that wait, run in drivers, and have ended.

A driver holds a lease on the study that it runs and renews it. A lease that ends without renewal
means that the driver is dead, and the study waits again. Every change is one statement with the
state that it expects, so that of several instances one succeeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from autotune.errors import NotFoundError, UsageError
from autotune.store import writes
from autotune.store.database import Database
from autotune.store.service_models import SubmissionRow

LEASE_SECONDS = 30.0
"""A driver that has not renewed its lease for this long counts as dead."""

MAX_ATTEMPTS = 5
"""A study fails after this many drivers in a row died without a finished trial."""

DRIVER_DIED = f"{MAX_ATTEMPTS} drivers in a row died before a trial finished"


class SubmissionState(StrEnum):
    """The state of a study in the queue."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_active(self) -> bool:
        return self in (SubmissionState.QUEUED, SubmissionState.RUNNING)


ACTIVE = [state for state in SubmissionState if state.is_active]
ENDED = [state for state in SubmissionState if not state.is_active]


@dataclass(frozen=True)
class Submission:
    """A study in the queue. ``text`` is the study file, ``settings`` are overrides of it in the
    form of ``--set``. ``minutes`` is its budget, ``used_minutes`` what its drivers took."""

    id: int
    study: str
    owner: str
    state: SubmissionState
    priority: int
    minutes: float | None
    used_minutes: float
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    driver: str | None
    lease_until: datetime | None
    stop_requested: bool
    attempts: int
    revision: int
    reason: str | None
    settings: Sequence[str]
    text: str


_COLUMNS = [getattr(SubmissionRow, name) for name in Submission.__dataclass_fields__]


class SubmissionQueue:
    """The queue in the database at ``url``, whose schema is current. Safe to share between
    threads."""

    def __init__(self, url: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._database = Database(url)
        self._lease = timedelta(seconds=lease_seconds)

    def close(self) -> None:
        """Release connections. Idempotent."""
        self._database.close()

    # ------------------------------------------------------------------------------ owners

    def submit(
        self,
        study: str,
        *,
        owner: str,
        text: str,
        priority: int = 0,
        minutes: float | None = None,
        limit_minutes: float | None = None,
    ) -> Submission:
        """Add a study. ``limit_minutes`` is the most that the studies of ``owner`` may take.

        :raises UsageError: the name is taken, or the limit would be exceeded.
        """
        with self._database.transaction(write=True) as connection:
            _require_minutes(connection, owner, study, minutes, limit_minutes)
            row = {
                "study": study,
                "owner": owner,
                "state": SubmissionState.QUEUED,
                "priority": priority,
                "minutes": minutes,
                "used_minutes": 0.0,
                "submitted_at": writes.now(connection),
                "stop_requested": False,
                "attempts": 0,
                "revision": 1,
                "settings": [],
                "text": text,
            }
            try:
                connection.execute(insert(SubmissionRow).values(row))
            except IntegrityError:
                raise _name_is_taken(study) from None
            return _find(connection, study)

    def requeue(
        self,
        study: str,
        *,
        settings: Sequence[str],
        minutes: float | None,
        limit_minutes: float | None = None,
    ) -> Submission:
        """Let a study that has ended wait again. ``settings`` replace the former ones.

        :raises UsageError: it has not ended, or the limit would be exceeded.
        """
        with self._database.transaction(write=True) as connection:
            owner = _find(connection, study).owner
            _require_minutes(connection, owner, study, minutes, limit_minutes)
            return self._change(
                connection, study, ENDED, state=SubmissionState.QUEUED, settings=list(settings),
                minutes=minutes, stop_requested=False, attempts=0, reason=None, ended_at=None,
            )  # fmt: skip

    def stop(self, study: str) -> Submission:
        """End a waiting study now, or ask the driver of a running one to end it.

        :raises UsageError: it has ended already.
        """
        with self._database.transaction(write=True) as connection:
            if _find(connection, study).state is SubmissionState.RUNNING:
                running = [SubmissionState.RUNNING]
                return self._change(connection, study, running, stop_requested=True)
            return self._change(
                connection, study, [SubmissionState.QUEUED], state=SubmissionState.STOPPED,
                ended_at=writes.now(connection), reason="stopped before it started",
            )  # fmt: skip

    def delete(self, study: str) -> None:
        """Remove a study that does not run.

        :raises UsageError: it runs.
        """
        with self._database.transaction(write=True) as connection:
            is_idle = SubmissionRow.state != SubmissionState.RUNNING
            query = delete(SubmissionRow).where(SubmissionRow.study == study, is_idle)
            if connection.execute(query).rowcount == 0:
                state = _find(connection, study).state
                raise UsageError(f"study {study} is {state}", hint="stop it first")

    # ----------------------------------------------------------------------------- drivers

    def claim(self, driver: str) -> Submission | None:
        """Start the study whose turn it is; ``None`` if none waits.

        The owner with the fewest running studies is next, then the one whose last start is the
        longest ago. The priority orders the studies of an owner.
        """
        with self._database.transaction() as connection:
            study = _next_study(connection)
        if study is None:
            return None
        with self._database.transaction(write=True) as connection:
            now = writes.now(connection)
            query = (
                update(SubmissionRow)
                .where(SubmissionRow.study == study, SubmissionRow.state == SubmissionState.QUEUED)
                .values(
                    state=SubmissionState.RUNNING, driver=driver, started_at=now,
                    lease_until=now + self._lease, attempts=SubmissionRow.attempts + 1,
                    revision=SubmissionRow.revision + 1, reason=None,
                )
            )  # fmt: skip
            if connection.execute(query).rowcount == 0:
                return None  # another instance was faster
            return _find(connection, study)

    def renew(self, study: str, driver: str, *, progressed: bool = False) -> bool:
        """Renew the lease of ``driver``; false if it no longer has it. ``progressed``: a trial has
        finished."""
        with self._database.transaction(write=True) as connection:
            values: dict[str, Any] = {"lease_until": writes.now(connection) + self._lease}
            if progressed:
                values["attempts"] = 0
            query = update(SubmissionRow).where(*_lease_of(study, driver)).values(values)
            return connection.execute(query).rowcount == 1

    def is_stop_requested(self, study: str, driver: str) -> bool:
        """Whether the owner has asked ``driver`` to stop."""
        with self._database.transaction() as connection:
            query = select(SubmissionRow.stop_requested).where(*_lease_of(study, driver))
            return bool(connection.scalar(query))

    def end(
        self, study: str, driver: str, state: SubmissionState, reason: str | None = None
    ) -> bool:
        """End a study that ``driver`` runs; false if the driver has no lease on it."""
        with self._database.transaction(write=True) as connection:
            return self._leave(connection, study, driver, state=state, reason=reason)

    def release(self, study: str, driver: str, *, died: bool = False) -> bool:
        """Let a study of ``driver`` wait for another driver. ``died``: count it as an attempt."""
        with self._database.transaction(write=True) as connection:
            if died and _find(connection, study).attempts >= MAX_ATTEMPTS:
                state, reason = SubmissionState.FAILED, DRIVER_DIED
                return self._leave(connection, study, driver, state=state, reason=reason)
            attempts = {} if died else {"attempts": 0}
            return self._leave(connection, study, driver, state=SubmissionState.QUEUED, **attempts)

    def expire_leases(self) -> Sequence[str]:
        """Let studies of dead drivers wait again; returns their names."""
        with self._database.transaction() as connection:
            query = select(SubmissionRow.study, SubmissionRow.driver).where(
                SubmissionRow.state == SubmissionState.RUNNING,
                SubmissionRow.lease_until < writes.now(connection),
            )
            dead = connection.execute(query).all()
        return [study for study, driver in dead if self.release(study, driver, died=True)]

    # --------------------------------------------------------------------------- readers

    def find(self, study: str) -> Submission:
        """The submission of this study.

        :raises NotFoundError: it was not submitted to the service.
        """
        with self._database.transaction() as connection:
            return _find(connection, study)

    def submissions(self) -> Sequence[Submission]:
        """All submissions without their texts, the latest first."""
        columns = [column for column in _COLUMNS if column.key != "text"]
        with self._database.transaction() as connection:
            rows = connection.execute(select(*columns).order_by(SubmissionRow.id.desc())).all()
        return [_submission({**row._mapping, "text": ""}) for row in rows]

    def revisions(self) -> Mapping[str, tuple[SubmissionState, int]]:
        """State and revision of each submission by the name of its study."""
        query = select(SubmissionRow.study, SubmissionRow.state, SubmissionRow.revision)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        return {row.study: (SubmissionState(row.state), row.revision) for row in rows}

    def count_by_state(self) -> Mapping[SubmissionState, int]:
        """The number of submissions in each state; every state is a key."""
        query = select(SubmissionRow.state, func.count()).group_by(SubmissionRow.state)
        with self._database.transaction() as connection:
            counts = {state: count for state, count in connection.execute(query).all()}
        return {state: counts.get(state, 0) for state in SubmissionState}

    def committed_minutes(self, owner: str) -> float:
        """The minutes that the studies of ``owner`` have used or may still use."""
        with self._database.transaction() as connection:
            return _committed_minutes(connection, owner)

    # --------------------------------------------------------------------------- details

    def _change(
        self, connection: Connection, study: str, states: Sequence[SubmissionState], **values: Any
    ) -> Submission:
        """Set columns of a submission that is in one of ``states``."""
        query = update(SubmissionRow).where(
            SubmissionRow.study == study, SubmissionRow.state.in_(states)
        )
        values["revision"] = SubmissionRow.revision + 1
        if connection.execute(query.values(values)).rowcount == 0:
            state = _find(connection, study).state
            raise UsageError(f"study {study} is {state}", hint=_NEXT_STEPS[state])
        return _find(connection, study)

    def _leave(
        self, connection: Connection, study: str, driver: str, *, state: SubmissionState,
        **values: Any,
    ) -> bool:  # fmt: skip
        """End the lease of ``driver``, and add its time to what the study used."""
        where = _lease_of(study, driver)
        started_at = connection.scalar(select(SubmissionRow.started_at).where(*where))
        if started_at is None:
            return False
        now = writes.now(connection)
        minutes = max(0.0, (now - started_at).total_seconds() / 60)
        values |= {
            "state": state,
            "driver": None,
            "lease_until": None,
            "ended_at": None if state.is_active else now,
            "used_minutes": SubmissionRow.used_minutes + minutes,
            "revision": SubmissionRow.revision + 1,
        }
        return connection.execute(update(SubmissionRow).where(*where).values(values)).rowcount == 1


_NEXT_STEPS: Mapping[SubmissionState, str] = {
    SubmissionState.QUEUED: "wait until it runs, or stop it",
    SubmissionState.RUNNING: "stop it first",
    SubmissionState.DONE: "resume it with a larger budget",
    SubmissionState.FAILED: "resume it after its cause is mended",
    SubmissionState.STOPPED: "resume it",
}


def _lease_of(study: str, driver: str) -> tuple[Any, ...]:
    is_running = SubmissionRow.state == SubmissionState.RUNNING
    return SubmissionRow.study == study, SubmissionRow.driver == driver, is_running


def _find(connection: Connection, study: str) -> Submission:
    row = connection.execute(select(*_COLUMNS).where(SubmissionRow.study == study)).one_or_none()
    if row is None:
        raise NotFoundError(f"no study {study} was submitted to the service")
    return _submission(row._mapping)


def _submission(columns: Mapping[str, Any]) -> Submission:
    return Submission(**{**columns, "state": SubmissionState(columns["state"])})


def _name_is_taken(study: str) -> UsageError:
    return UsageError(
        f"a study {study} exists already", hint="use another name, or resume that study"
    )


def _next_study(connection: Connection) -> str | None:
    columns = (SubmissionRow.study, SubmissionRow.owner, SubmissionRow.priority, SubmissionRow.id)
    is_queued = SubmissionRow.state == SubmissionState.QUEUED
    waiting = connection.execute(select(*columns).where(is_queued)).all()
    if not waiting:
        return None
    is_running = SubmissionRow.state == SubmissionState.RUNNING
    running = Counter(connection.scalars(select(SubmissionRow.owner).where(is_running)))
    last_start = select(SubmissionRow.owner, func.max(SubmissionRow.started_at))
    starts: dict[str, datetime | None] = {
        owner: start
        for owner, start in connection.execute(last_start.group_by(SubmissionRow.owner)).all()
    }

    def turn(row: Any) -> tuple[int, datetime, int, int]:
        start = starts.get(row.owner) or datetime.min.replace(tzinfo=UTC)
        return running[row.owner], start, -row.priority, row.id

    name: str = min(waiting, key=turn).study
    return name


def _committed_minutes(connection: Connection, owner: str, *, omit: str = "") -> float:
    columns = (SubmissionRow.state, SubmissionRow.minutes, SubmissionRow.used_minutes)
    where = (SubmissionRow.owner == owner, SubmissionRow.study != omit)
    return sum(
        max(used, minutes or 0.0) if SubmissionState(state).is_active else used
        for state, minutes, used in connection.execute(select(*columns).where(*where)).all()
    )


def _require_minutes(
    connection: Connection, owner: str, study: str, minutes: float | None, limit: float | None
) -> None:
    if limit is None:
        return
    if minutes is None:
        raise UsageError(
            f"the studies of {owner} are limited to {limit:g} minutes, and study {study} has no "
            "limit of time",
            hint="budget: {minutes: 30}",
        )
    left = limit - _committed_minutes(connection, owner, omit=study)
    if minutes > left:
        raise UsageError(
            f"study {study} may take {minutes:g} minutes, and {max(left, 0.0):.1f} of "
            f"{limit:g} minutes are left to {owner}",
            hint="lower budget.minutes, delete or stop other studies, or ask for a higher limit",
        )
