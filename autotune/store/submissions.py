"""Studies in the queue: their states, rows, and whose turn it is.

Every function takes a connection inside a transaction of :class:`autotune.store.database.Database`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, select

from autotune.errors import NotFoundError, UsageError
from autotune.store.service_models import SubmissionRow


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


COLUMNS = [getattr(SubmissionRow, name) for name in Submission.__dataclass_fields__]


NEXT_STEPS: Mapping[SubmissionState, str] = {
    SubmissionState.QUEUED: "wait until it runs, or stop it",
    SubmissionState.RUNNING: "stop it first",
    SubmissionState.DONE: "resume it with a larger budget",
    SubmissionState.FAILED: "resume it after its cause is mended",
    SubmissionState.STOPPED: "resume it",
}


def lease_of(study: str, driver: str) -> tuple[Any, ...]:
    is_running = SubmissionRow.state == SubmissionState.RUNNING
    return SubmissionRow.study == study, SubmissionRow.driver == driver, is_running


def find_submission(connection: Connection, study: str) -> Submission:
    row = connection.execute(select(*COLUMNS).where(SubmissionRow.study == study)).one_or_none()
    if row is None:
        raise NotFoundError(f"no study {study} was submitted to the service")
    return submission_from(row._asdict())


def submission_from(columns: Mapping[str, Any]) -> Submission:
    return Submission(**{**columns, "state": SubmissionState(columns["state"])})


def name_is_taken(study: str) -> UsageError:
    return UsageError(
        f"a study {study} exists already", hint="use another name, or resume that study"
    )


def next_study(connection: Connection) -> str | None:
    columns = (SubmissionRow.study, SubmissionRow.owner, SubmissionRow.priority, SubmissionRow.id)
    is_queued = SubmissionRow.state == SubmissionState.QUEUED
    waiting = connection.execute(select(*columns).where(is_queued)).all()
    if not waiting:
        return None
    is_running = SubmissionRow.state == SubmissionState.RUNNING
    running = Counter(connection.scalars(select(SubmissionRow.owner).where(is_running)))
    last_start = select(SubmissionRow.owner, func.max(SubmissionRow.started_at))
    starts: dict[str, datetime | None] = {
        row[0]: row[1] for row in connection.execute(last_start.group_by(SubmissionRow.owner)).all()
    }

    def turn(row: Any) -> tuple[int, datetime, int, int]:
        start = starts.get(row.owner) or datetime.min.replace(tzinfo=UTC)
        return running[row.owner], start, -row.priority, row.id

    name: str = min(waiting, key=turn).study
    return name


def committed_minutes(connection: Connection, owner: str, *, omit: str = "") -> float:
    columns = (SubmissionRow.state, SubmissionRow.minutes, SubmissionRow.used_minutes)
    where = (SubmissionRow.owner == owner, SubmissionRow.study != omit)
    return sum(
        max(used, minutes or 0.0) if SubmissionState(state).is_active else used
        for state, minutes, used in connection.execute(select(*columns).where(*where)).all()
    )


def require_minutes(
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
    if connection.dialect.name == "postgresql":  # one request of an owner after the other
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(owner))))
    left = limit - committed_minutes(connection, owner, omit=study)
    if minutes > left:
        raise UsageError(
            f"study {study} may take {minutes:g} minutes, and {max(left, 0.0):.1f} of "
            f"{limit:g} minutes are left to {owner}",
            hint="lower budget.minutes, delete or stop other studies, or ask for a higher limit",
        )
