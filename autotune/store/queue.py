"""The queue of the service: studies that wait, run in drivers, and have ended.

A driver holds a lease on the study that it runs and renews it. A lease that ends without renewal
means that the driver is dead, and the study waits again. Every change is one statement with the
state that it expects, so that of several instances one succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from autotune.errors import UsageError
from autotune.store import writes
from autotune.store.database import Database
from autotune.store.models import StudyRow, TrialRow
from autotune.store.service_models import SubmissionRow
from autotune.store.submissions import (
    COLUMNS,
    ENDED,
    NEXT_STEPS,
    Submission,
    SubmissionState,
    committed_minutes,
    find_submission,
    lease_of,
    name_is_taken,
    next_study,
    require_minutes,
    submission_from,
)

LEASE_SECONDS = 30.0
"""A driver that has not renewed its lease for this long counts as dead."""

MAX_ATTEMPTS = 5
"""A study fails after this many drivers in a row died without a finished trial."""

DRIVER_DIED = f"{MAX_ATTEMPTS} drivers in a row died before a trial finished"


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
        settings: Sequence[str] = (),
        priority: int = 0,
        minutes: float | None = None,
        limit_minutes: float | None = None,
    ) -> Submission:
        """Add a study. ``limit_minutes`` is the most that the studies of ``owner`` may take.

        :raises UsageError: the name is taken, or the limit would be exceeded.
        """
        with self._database.transaction(write=True) as connection:
            require_minutes(connection, owner, study, minutes, limit_minutes)
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
                "settings": list(settings),
                "text": text,
            }
            try:
                connection.execute(insert(SubmissionRow).values(row))
            except IntegrityError:
                raise name_is_taken(study) from None
            return find_submission(connection, study)

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
            owner = find_submission(connection, study).owner
            require_minutes(connection, owner, study, minutes, limit_minutes)
            return self._change(
                connection, study, ENDED, state=SubmissionState.QUEUED, settings=list(settings),
                minutes=minutes, stop_requested=False, attempts=0, reason=None, ended_at=None,
            )  # fmt: skip

    def stop(self, study: str) -> Submission:
        """End a waiting study now, or ask the driver of a running one to end it. A study that has
        ended stays as it is."""
        with self._database.transaction(write=True) as connection:
            state = find_submission(connection, study).state
            if state is SubmissionState.QUEUED:
                return self._end_waiting(connection, study)
            if state is SubmissionState.RUNNING:
                return self._change(connection, study, [state], stop_requested=True)
            return find_submission(connection, study)

    def withdraw(self, study: str) -> None:
        """End a waiting study, so that no driver starts it.

        :raises UsageError: it runs.
        """
        with self._database.transaction(write=True) as connection:
            state = find_submission(connection, study).state
            if state is SubmissionState.RUNNING:
                raise UsageError(f"study {study} is {state}", hint=NEXT_STEPS[state])
            if state is SubmissionState.QUEUED:
                self._end_waiting(connection, study)

    def delete(self, study: str) -> None:
        """Remove a study that does not run.

        :raises UsageError: it runs.
        """
        with self._database.transaction(write=True) as connection:
            is_idle = SubmissionRow.state != SubmissionState.RUNNING
            query = delete(SubmissionRow).where(SubmissionRow.study == study, is_idle)
            if connection.execute(query).rowcount == 0:
                state = find_submission(connection, study).state
                raise UsageError(f"study {study} is {state}", hint="stop it first")

    # ----------------------------------------------------------------------------- drivers

    def claim(self, driver: str) -> Submission | None:
        """Start the study whose turn it is; ``None`` if none waits.

        The owner with the fewest running studies is next, then the one whose last start is the
        longest ago. The priority orders the studies of an owner.
        """
        with self._database.transaction() as connection:
            study = next_study(connection)
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
            return find_submission(connection, study)

    def renew(self, study: str, driver: str, *, progressed: bool = False) -> bool:
        """Renew the lease of ``driver``; false if it no longer has it. ``progressed``: a trial has
        finished."""
        with self._database.transaction(write=True) as connection:
            values: dict[str, Any] = {"lease_until": writes.now(connection) + self._lease}
            if progressed:
                values["attempts"] = 0
            query = update(SubmissionRow).where(*lease_of(study, driver)).values(values)
            return connection.execute(query).rowcount == 1

    def is_stop_requested(self, study: str, driver: str) -> bool:
        """Whether the owner has asked ``driver`` to stop."""
        with self._database.transaction() as connection:
            query = select(SubmissionRow.stop_requested).where(*lease_of(study, driver))
            return bool(connection.scalar(query))

    def end(
        self, study: str, driver: str, state: SubmissionState, reason: str | None = None
    ) -> bool:
        """End a study that ``driver`` runs; false if the driver has no lease on it."""
        with self._database.transaction(write=True) as connection:
            return self._leave(connection, study, driver, state=state, reason=reason)

    def release(
        self, study: str, driver: str, *, died: bool = False, expired: bool = False
    ) -> bool:
        """Let a study of ``driver`` wait for another driver; false if ``driver`` has no lease on
        it, or with ``expired`` one that lasts. ``died``: count it as an attempt."""
        with self._database.transaction(write=True) as connection:
            if expired:  # locked until the end, so that the driver cannot renew it meanwhile
                ended = SubmissionRow.lease_until < writes.now(connection)
                lease = select(SubmissionRow.id).where(*lease_of(study, driver), ended)
                if connection.scalar(lease.with_for_update()) is None:
                    return False
            count = select(SubmissionRow.attempts).where(*lease_of(study, driver))
            if died and (connection.scalar(count) or 0) >= MAX_ATTEMPTS:
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
        names = [(str(row[0]), str(row[1])) for row in dead]
        return [
            name for name, driver in names if self.release(name, driver, died=True, expired=True)
        ]

    # --------------------------------------------------------------------------- readers

    def find(self, study: str) -> Submission:
        """The submission of this study.

        :raises NotFoundError: it was not submitted to the service.
        """
        with self._database.transaction() as connection:
            return find_submission(connection, study)

    def submissions(self) -> Sequence[Submission]:
        """All submissions without their texts, the latest first."""
        columns = [column for column in COLUMNS if column.key != "text"]
        with self._database.transaction() as connection:
            rows = connection.execute(select(*columns).order_by(SubmissionRow.id.desc())).all()
        return [submission_from({**row._asdict(), "text": ""}) for row in rows]

    def revisions(self, study: str | None = None) -> Mapping[str, tuple[int, int]]:
        """By the name of a study, the revisions of its submission and of its trials; 0 where there
        is none. One of them increases with every change. Of all studies, or of one."""
        submissions = select(SubmissionRow.study, SubmissionRow.revision)
        studies = select(StudyRow.name, StudyRow.revision)
        if study is not None:
            submissions = submissions.where(SubmissionRow.study == study)
            studies = studies.where(StudyRow.name == study)
        with self._database.transaction() as connection:
            own = {row[0]: row[1] for row in connection.execute(submissions).all()}
            trials = {row[0]: row[1] for row in connection.execute(studies).all()}
        return {name: (own.get(name, 0), trials.get(name, 0)) for name in own.keys() | trials}

    def trials_version(self, study: str) -> tuple[datetime, int] | None:
        """When a study was created and the revision of its trials: other values than those of a
        deleted study of this name. ``None`` if no study is stored."""
        query = select(StudyRow.created_at, StudyRow.revision).where(StudyRow.name == study)
        with self._database.transaction() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row[0], row[1])

    def count_trials(self, studies: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """The number of trials in each state that occurs, by the name of the study."""
        query = (
            select(StudyRow.name, TrialRow.state, func.count())
            .join(TrialRow, TrialRow.study_id == StudyRow.id)
            .where(StudyRow.name.in_(studies))
            .group_by(StudyRow.name, TrialRow.state)
        )
        counts: dict[str, dict[str, int]] = {name: {} for name in studies}
        with self._database.transaction() as connection:
            for name, state, count in connection.execute(query).all():
                counts[name][state] = count
        return counts

    def count_by_state(self) -> Mapping[SubmissionState, int]:
        """The number of submissions in each state; every state is a key."""
        query = select(SubmissionRow.state, func.count()).group_by(SubmissionRow.state)
        with self._database.transaction() as connection:
            counts = {row[0]: row[1] for row in connection.execute(query).all()}
        return {state: counts.get(state, 0) for state in SubmissionState}

    def count_all_trials(self) -> Mapping[str, int]:
        """The number of trials of all studies in each state that occurs."""
        query = select(TrialRow.state, func.count()).group_by(TrialRow.state)
        with self._database.transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query).all()}

    def committed_minutes(self, owner: str) -> float:
        """The minutes that the studies of ``owner`` have used or may still use."""
        with self._database.transaction() as connection:
            return committed_minutes(connection, owner)

    # --------------------------------------------------------------------------- details

    def _end_waiting(self, connection: Connection, study: str) -> Submission:
        return self._change(
            connection, study, [SubmissionState.QUEUED], state=SubmissionState.STOPPED,
            ended_at=writes.now(connection), reason="stopped before it started",
        )  # fmt: skip

    def _change(
        self, connection: Connection, study: str, states: Sequence[SubmissionState], **values: Any
    ) -> Submission:
        """Set columns of a submission that is in one of ``states``."""
        query = update(SubmissionRow).where(
            SubmissionRow.study == study, SubmissionRow.state.in_(states)
        )
        values["revision"] = SubmissionRow.revision + 1
        if connection.execute(query.values(values)).rowcount == 0:
            state = find_submission(connection, study).state
            raise UsageError(f"study {study} is {state}", hint=NEXT_STEPS[state])
        return find_submission(connection, study)

    def _leave(
        self, connection: Connection, study: str, driver: str, *, state: SubmissionState,
        **values: Any,
    ) -> bool:  # fmt: skip
        """End the lease of ``driver``, and add its time to what the study used."""
        where = lease_of(study, driver)
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
