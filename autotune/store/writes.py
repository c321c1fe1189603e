"""Changes of one study inside a locked transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from autotune.domain import (
    CurvePoint,
    Interrupted,
    Outcome,
    State,
    Strategy,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.clock import utc_now
from autotune.errors import UsageError
from autotune.store import codec, queries
from autotune.store.models import (
    CHILDREN,
    ArtifactRow,
    CorrectnessRow,
    CurvePointRow,
    EventRow,
    MeasurementRow,
    MemoryTimelineRow,
    ModelRow,
    StudyRow,
    TrialRow,
)

ACCEPTS_RESULT = (State.RUNNING, State.INTERRUPTED)
"""States in which a result is accepted. Interrupted is one of them: a driver that was considered
dead can come back with its results, and no result is discarded."""


MAX_CONCURRENT_TRIALS = 100
"""Only this many of the latest trials are looked at for the time at which the last one ended."""

MAX_CLOCK_ERROR_SECONDS = 1.0
"""A clock that differs more from the duration of a trial was set while the trial ran."""


def now(connection: Connection) -> datetime:
    """The clock that all drivers of this database share: that of the server or of this host."""
    if connection.dialect.name == "sqlite":
        return utc_now()
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)


@dataclass
class StudyTransaction:
    """A study whose row this transaction has locked, so that its changes are serialised: numbers
    have no gaps, and revisions become visible in order."""

    connection: Connection
    key: int
    driver: str
    clock: Callable[[Connection], datetime] = now

    @cached_property
    def now(self) -> datetime:
        return self.clock(self.connection)

    @cached_property
    def revision(self) -> int:
        """The revision of this change; increased on first use."""
        changed = {"revision": StudyRow.revision + 1, "changed_at": self.now}
        query = update(StudyRow).where(StudyRow.id == self.key).values(changed)
        return self.connection.execute(query.returning(StudyRow.revision)).scalar_one()

    @property
    def lease(self) -> dict[str, Any]:
        """Columns of a trial that this driver starts now. It starts after every trial that has
        ended, even if the clock was set back since: else its time would count as theirs."""
        start = max(filter(None, (self.now, self._latest_end())))
        return {
            "state": State.RUNNING,
            "started_at": start,
            "heartbeat_at": start,
            "driver": self.driver,
        }

    def _latest_end(self) -> datetime | None:
        """When the last of the latest trials ended."""
        ends = select(TrialRow.finished_at).where(TrialRow.study_id == self.key)
        latest = ends.order_by(TrialRow.number.desc()).limit(MAX_CONCURRENT_TRIALS).subquery()
        end: datetime | None = self.connection.scalar(select(func.max(latest.c.finished_at)))
        return end

    def next_number(self) -> int:
        last = select(func.max(TrialRow.number)).where(TrialRow.study_id == self.key)
        highest = self.connection.scalar(last)
        return 0 if highest is None else highest + 1

    def add(self, strategy: Strategy, *, origin: TrialOrigin, seed: int, running: bool) -> Trial:
        """A new trial with the next free number."""
        number = self.next_number()
        fields = {
            "study_id": self.key,
            "number": number,
            "seed": seed,
            "origin": origin,
            "revision": self.revision,
            "environment": {},
            **codec.strategy_fields(strategy),
            **(self.lease if running else {"state": State.QUEUED}),
        }
        self.connection.execute(insert(TrialRow).values(fields))
        return queries.trial_from(self.row(number), TrialResult())

    def start_queued(self, number: int) -> Trial:
        row = self.row(number)
        if row.state != State.QUEUED:
            raise UsageError(f"trial {number} is {row.state}, not queued")
        self.set(row.id, **self.lease)
        return queries.trial_from(self.row(number), TrialResult())

    def finish(self, number: int, outcome: Outcome, seconds: float | None = None) -> Trial:
        """End a trial, which ran for ``seconds`` if its driver knows. Repeating the call with the
        same state (after a lost reply) changes nothing.
        """
        row = self.row(number)
        trial = queries.trial_from(row, TrialResult())
        ended = trial.finish(outcome, _end_time(trial.started_at, self.now, seconds))
        if trial.state == ended.state:
            return queries.full_trial(self.connection, self.key, number)
        if trial.state not in ACCEPTS_RESULT:
            raise UsageError(f"trial {number} is {trial.state}, not running")
        self.end(row.id, ended)
        _write_result(self.connection, row.id, outcome.result)
        if trial.state is State.INTERRUPTED:
            self._cancel_retry(trial)
        return ended

    def interrupt(self, number: int, start: datetime | None, last_sign: datetime | None) -> Trial:
        """End a trial whose driver went away after ``last_sign``."""
        outcome = Interrupted("its driver went away")
        if start is None or last_sign is None:
            return self.finish(number, outcome)
        return self.finish(number, outcome, max((last_sign - start).total_seconds(), 0.0))

    def _cancel_retry(self, trial: Trial) -> None:
        """Cancel the queued retry of a trial whose result has arrived after all."""
        where = (TrialRow.study_id == self.key, TrialRow.state == State.QUEUED)
        same = (TrialRow.strategy_key == trial.strategy.key, TrialRow.seed == trial.seed)
        for key in self.connection.scalars(select(TrialRow.id).where(*where, *same)).all():
            reason = f"trial {trial.number} came back with its result"
            self.set(key, state=State.INTERRUPTED, reason=reason, finished_at=self.now)

    def end(self, key: int, trial: Trial) -> None:
        self.set(
            key,
            state=trial.state,
            failure=trial.failure,
            reason=None if trial.reason is None else codec.text(trial.reason),
            finished_at=trial.finished_at,
            **codec.result_fields(trial.result),
        )

    def forget_model(self, number: int) -> None:
        row = self.row(number)
        deleted = self.connection.execute(delete(ModelRow).where(ModelRow.trial_id == row.id))
        if deleted.rowcount:
            self.set(row.id)

    def row(self, number: int) -> Any:
        return queries.trial_row(self.connection, self.key, number)

    def set(self, key: int, **columns: Any) -> None:
        query = update(TrialRow).where(TrialRow.id == key)
        self.connection.execute(query.values(revision=self.revision, **columns))


def _end_time(start: datetime | None, now: datetime, seconds: float | None) -> datetime:
    """``now``, unless the clock was set since ``start``, ``seconds`` ago, or the result waited."""
    if start is None or seconds is None:
        return now
    error = (now - start).total_seconds() - seconds
    return now if abs(error) <= MAX_CLOCK_ERROR_SECONDS else start + timedelta(seconds=seconds)


def add_point(connection: Connection, trial: int, point: CurvePoint) -> None:
    """Append to the learning curve of the trial with this key."""
    last = select(func.max(CurvePointRow.position)).where(CurvePointRow.trial_id == trial)
    highest = connection.scalar(last)
    position = 0 if highest is None else highest + 1
    fields = {"trial_id": trial, "position": position, **codec.point_fields(point)}
    connection.execute(insert(CurvePointRow).values(fields))


def _write_result(connection: Connection, trial: int, result: TrialResult) -> None:
    """Replace the stored result of a trial. Points reported while it ran are kept if the result has
    no curve, as after the death of a worker."""
    for table in CHILDREN:
        if table is not CurvePointRow or result.curve:
            connection.execute(delete(table).where(table.trial_id == trial))
    rows: dict[Any, Sequence[codec.Fields]] = {
        MeasurementRow: [codec.measurement_fields(m) for m in result.measurements.values()],
        CurvePointRow: _with_positions([codec.point_fields(point) for point in result.curve]),
        MemoryTimelineRow: [{"points": codec.to_json(result.memory)}] if result.memory else [],
        EventRow: _with_positions([codec.event_fields(event) for event in result.events]),
        ArtifactRow: [{"name": name, "path": path} for name, path in result.artifacts.items()],
    }
    if result.correctness is not None:
        rows[CorrectnessRow] = [codec.correctness_fields(result.correctness)]
    if result.model is not None:
        rows[ModelRow] = [codec.model_fields(result.model)]
    for table, fields in rows.items():
        if fields:
            connection.execute(insert(table), [{"trial_id": trial, **row} for row in fields])


def _with_positions(rows: Sequence[codec.Fields]) -> list[codec.Fields]:
    return [{"position": position, **row} for position, row in enumerate(rows)]
