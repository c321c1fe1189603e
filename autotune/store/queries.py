"""What is read from the store: statements and how their rows become domain objects.

Every function takes a connection inside a transaction of :class:`autotune.store.database.Database`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from autotune.domain import (
    Correctness,
    CurvePoint,
    FailureReason,
    Measurement,
    SavedModel,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.metrics import select_metrics
from autotune.domain.text import one_line, shorten
from autotune.errors import DamagedStudyError, NotFoundError
from autotune.ports import StudyOverview
from autotune.store import codec
from autotune.store.models import (
    ArtifactRow,
    CorrectnessRow,
    CurvePointRow,
    EnvironmentRow,
    EventRow,
    MeasurementRow,
    MemoryTimelineRow,
    ModelRow,
    StudyRow,
    TrialRow,
)

_RESTORE = (
    "upgrade autotune if a newer version wrote it, or restore a backup of the database; "
    "other studies are not affected"
)

DECODING_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a damaged row, or one of another version, raises when it is read."""

MAX_COMPARED_TRIALS = 24
"""The first trials of a study whose correctness is listed: how much the scores of two strategies
have in common is estimated from them."""

log = logging.getLogger(__name__)

_TRIAL = (
    TrialRow.id,
    TrialRow.number,
    TrialRow.state,
    TrialRow.strategy,
    TrialRow.seed,
    TrialRow.origin,
    TrialRow.failure,
    TrialRow.reason,
    TrialRow.started_at,
    TrialRow.finished_at,
    TrialRow.revision,
)
_MEASUREMENT = (
    MeasurementRow.name,
    MeasurementRow.value,
    MeasurementRow.unit,
    MeasurementRow.n,
    MeasurementRow.ci_low,
    MeasurementRow.ci_high,
    MeasurementRow.source,
)
_POINT = (
    CurvePointRow.step,
    CurvePointRow.total_steps,
    CurvePointRow.samples,
    CurvePointRow.seconds,
    CurvePointRow.loss,
    CurvePointRow.metrics,
)
_CORRECTNESS = (
    CorrectnessRow.split,
    CorrectnessRow.num_labels,
    CorrectnessRow.hits,
    CorrectnessRow.starts,
)
_MODEL = (ModelRow.digest, ModelRow.size_bytes)
_EVENT = (EventRow.at, EventRow.kind, EventRow.message)


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Raise :class:`DamagedStudyError` for rows of the study ``name`` that cannot be read."""
    try:
        yield
    except DECODING_ERRORS as error:
        raise DamagedStudyError(
            f"the stored study {name} cannot be read: {shorten(one_line(error), 200)}",
            hint=_RESTORE,
        ) from error


def study_id(connection: Connection, name: str, *, lock: bool = False) -> int:
    """The key of a study. ``lock`` locks its row until the end of the transaction."""
    query = select(StudyRow.id).where(StudyRow.name == name)
    key = connection.scalar(query.with_for_update() if lock else query)
    if key is not None:
        return key
    names = study_names(connection)
    near = get_close_matches(name, names) or names[-5:]
    others = f"the nearest are {', '.join(near)}" if near else "the storage holds none yet"
    raise NotFoundError(f"no study {name}: {others}", hint="autotune studies")


def study_names(connection: Connection) -> list[str]:
    return list(connection.scalars(select(StudyRow.name).order_by(StudyRow.id)))


def study(connection: Connection, name: str) -> Study:
    key = study_id(connection, name)
    row = connection.execute(select(StudyRow.study, StudyRow.spec).where(StudyRow.id == key)).one()
    return codec.study_from(row.study, row.spec)


def count_trials(connection: Connection, study_key: int) -> int:
    query = select(func.count()).where(TrialRow.study_id == study_key)
    return connection.scalar(query) or 0


def environments(connection: Connection, name: str) -> list[dict[str, Any]]:
    key = study_id(connection, name)
    query = select(EnvironmentRow.document).where(EnvironmentRow.study_id == key)
    return list(connection.scalars(query.order_by(EnvironmentRow.id)))


def trial_row(connection: Connection, study_key: int, number: int) -> Row[Any]:
    """The columns of one trial that listings contain."""
    where = (TrialRow.study_id == study_key, TrialRow.number == number)
    row = connection.execute(select(*_TRIAL).where(*where)).one_or_none()
    if row is None:
        count = count_trials(connection, study_key)
        numbers = f"this study's are 0 to {count - 1}" if count else "this study has none yet"
        raise NotFoundError(f"no trial {number}: {numbers}", hint="autotune trials STUDY")
    return row


Name = TypeVar("Name", bound=StrEnum)


def _parse_name(kind: type[Name], value: str, trial: int) -> Name:
    """The member of ``kind`` with this value.

    :raises DamagedStudyError: there is none; names the trial.
    """
    try:
        return kind(value)
    except ValueError:
        raise DamagedStudyError(
            f"trial {trial} of this study is stored with the {kind.__name__} {value!r}, "
            "which this version of autotune does not know",
            hint=_RESTORE,
        ) from None


def trial_from(row: Any, result: TrialResult) -> Trial:
    """The trial in ``row``.

    :raises DamagedStudyError: this version does not know its state, origin or failure.
    """
    number = row.number
    failure = None if row.failure is None else _parse_name(FailureReason, row.failure, number)
    return Trial(
        number=number,
        state=_parse_name(State, row.state, number),
        strategy=Strategy(row.strategy),
        seed=row.seed,
        origin=_parse_name(TrialOrigin, row.origin, number),
        failure=failure,
        reason=row.reason,
        started_at=row.started_at,
        finished_at=row.finished_at,
        result=result,
    )


def list_trials(connection: Connection, *where: ColumnElement[bool]) -> tuple[list[Trial], int]:
    """Trials in order of number with measurements and saved models but without raw samples, and
    their highest revision (0 if there are none). Confirmations, which are few, have their
    correctness and the samples of their scores too, and so have the first
    :data:`MAX_COMPARED_TRIALS` trials their correctness.

    Three to five queries, independent of the number of trials."""
    rows = connection.execute(select(*_TRIAL).where(*where).order_by(TrialRow.number)).all()
    if not rows:
        return [], 0
    by_trial: dict[int, dict[str, Measurement]] = defaultdict(dict)
    joined = select(MeasurementRow.trial_id, *_MEASUREMENT).join(
        TrialRow, TrialRow.id == MeasurementRow.trial_id
    )
    rows_of_measurements: Iterable[Any] = connection.execute(joined.where(*where))
    for key, name, *numbers in rows_of_measurements:
        by_trial[key][name] = codec.measurement_from(name, *numbers)
    confirmations = any(row.origin == TrialOrigin.CONFIRMATION for row in rows)
    compared = confirmations or rows[0].number < MAX_COMPARED_TRIALS
    hits = _correctness(connection, *where) if compared else {}
    if confirmations:
        for key, name, samples in _score_samples_of_confirmations(connection, *where):
            scores = by_trial[key]
            scores[name] = replace(scores[name], samples=samples)
    models = _saved_models(connection, *where)

    def result(key: int) -> TrialResult:
        return TrialResult(by_trial.get(key, {}), correctness=hits.get(key), model=models.get(key))

    trials = [trial_from(row, result(row.id)) for row in rows]
    return trials, max(row.revision for row in rows)


def _saved_models(connection: Connection, *where: ColumnElement[bool]) -> dict[int, SavedModel]:
    """The saved models of the trials ``where``, by key of the trial."""
    joined = select(ModelRow.trial_id, *_MODEL).join(TrialRow, TrialRow.id == ModelRow.trial_id)
    rows: Iterable[Any] = connection.execute(joined.where(*where))
    return {key: codec.model_from(*columns) for key, *columns in rows}


def _correctness(connection: Connection, *where: ColumnElement[bool]) -> dict[int, Correctness]:
    """The correctness of the confirmations and of the first trials among the trials ``where``, by
    key of the trial."""
    joined = select(CorrectnessRow.trial_id, *_CORRECTNESS).join(
        TrialRow, TrialRow.id == CorrectnessRow.trial_id
    )
    is_compared = or_(
        TrialRow.origin == TrialOrigin.CONFIRMATION, TrialRow.number < MAX_COMPARED_TRIALS
    )
    rows: Iterable[Any] = connection.execute(joined.where(*where, is_compared))
    return {key: codec.correctness_from(*columns) for key, *columns in rows}


def _score_samples_of_confirmations(
    connection: Connection, *where: ColumnElement[bool]
) -> Iterator[tuple[int, str, tuple[float, ...]]]:
    """Key of the trial, name and samples of each score of the confirmations among the trials
    ``where``."""
    columns = (MeasurementRow.trial_id, MeasurementRow.name, MeasurementRow.samples)
    joined = select(*columns).join(TrialRow, TrialRow.id == MeasurementRow.trial_id)
    is_score = MeasurementRow.name.in_(select_metrics(lambda metric: metric.is_score))
    joined = joined.where(*where, TrialRow.origin == TrialOrigin.CONFIRMATION, is_score)
    for key, name, samples in connection.execute(joined):
        yield key, name, codec.numbers(samples)


def full_trial(connection: Connection, study_key: int, number: int) -> Trial:
    row = trial_row(connection, study_key, number)
    return trial_from(row, _result(connection, row.id))


def _result(connection: Connection, key: int) -> TrialResult:
    def rows(table: type[Any], columns: Iterable[Any], order: Any) -> Sequence[Any]:
        query = select(*columns).where(table.trial_id == key).order_by(order)
        return connection.execute(query).all()

    (trial,) = connection.execute(
        select(TrialRow.environment, TrialRow.log).where(TrialRow.id == key)
    )
    with_samples = (*_MEASUREMENT, MeasurementRow.samples, MeasurementRow.warmup)
    timeline = connection.scalar(
        select(MemoryTimelineRow.points).where(MemoryTimelineRow.trial_id == key)
    )
    artifacts = (ArtifactRow.name, ArtifactRow.path)
    correctness = rows(CorrectnessRow, _CORRECTNESS, CorrectnessRow.trial_id)
    model = rows(ModelRow, _MODEL, ModelRow.trial_id)
    return TrialResult(
        measurements={
            row.name: codec.measurement_from(*row)
            for row in rows(MeasurementRow, with_samples, MeasurementRow.name)
        },
        curve=tuple(map(codec.point_from, rows(CurvePointRow, _POINT, CurvePointRow.position))),
        memory=codec.timeline_from(timeline or ()),
        events=tuple(map(codec.event_from, rows(EventRow, _EVENT, EventRow.position))),
        environment=trial.environment,
        artifacts={row.name: row.path for row in rows(ArtifactRow, artifacts, ArtifactRow.name)},
        log=trial.log,
        correctness=codec.correctness_from(*correctness[0]) if correctness else None,
        model=codec.model_from(*model[0]) if model else None,
    )


def curves(connection: Connection, *where: ColumnElement[bool]) -> dict[int, list[CurvePoint]]:
    """Learning curves by trial number, of the trials that have one."""
    joined = select(TrialRow.number, *_POINT).join(CurvePointRow).where(*where)
    by_trial: dict[int, list[CurvePoint]] = defaultdict(list)
    for row in connection.execute(joined.order_by(TrialRow.number, CurvePointRow.position)):
        by_trial[row.number].append(codec.point_from(row))
    return dict(by_trial)


def overviews(connection: Connection) -> list[StudyOverview]:
    """All studies, oldest first, in two queries. A damaged study is left out, with a warning."""
    try:
        return _overviews(connection)
    except DECODING_ERRORS:
        return [
            overview
            for key, name in connection.execute(select(StudyRow.id, StudyRow.name)).all()
            for overview in _readable_overviews(connection, key, name)
        ]


def overview(connection: Connection, name: str) -> StudyOverview:
    """One study."""
    (row,) = _overviews(connection, study_id(connection, name))
    return row


def _readable_overviews(connection: Connection, key: int, name: str) -> list[StudyOverview]:
    """The study, or none if its rows cannot be read."""
    try:
        return _overviews(connection, key)
    except DECODING_ERRORS as error:
        log.warning("study %s cannot be read and is left out: %s", name, error)
        return []


def _overviews(connection: Connection, key: int | None = None) -> list[StudyOverview]:
    grouped = select(
        TrialRow.study_id,
        TrialRow.state,
        func.count().label("trials"),
        func.min(TrialRow.started_at).label("started_at"),
        func.max(TrialRow.heartbeat_at).label("heartbeat_at"),
    ).group_by(TrialRow.study_id, TrialRow.state)
    rows = select(*StudyRow.__table__.columns).order_by(StudyRow.id)
    if key is not None:
        grouped, rows = grouped.where(TrialRow.study_id == key), rows.where(StudyRow.id == key)
    groups: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(grouped):
        groups[row.study_id].append(row)
    overviews = (_overview(row, groups[row.id]) for row in connection.execute(rows))
    return [overview for overview in overviews if overview is not None]


def _overview(row: Any, groups: Sequence[Any]) -> StudyOverview | None:
    try:
        study = codec.study_from(row.study, row.spec)
    except DECODING_ERRORS as error:
        log.warning("study %s cannot be read and is left out: %s", row.name, error)
        return None
    states = {state.value: state for state in State}
    for group in groups:
        if group.state not in states:
            log.warning(
                "study %s has %d trials in the unknown state %s, which are left out",
                row.name, group.trials, group.state,
            )  # fmt: skip
    starts = [group.started_at for group in groups if group.started_at is not None]
    heartbeats = [group.heartbeat_at for group in groups if group.state == State.RUNNING]
    return StudyOverview(
        study=study,
        created_at=row.created_at,
        changed_at=row.changed_at,
        revision=row.revision,
        counts={states[g.state]: g.trials for g in groups if g.state in states},
        started_at=min(starts, default=None),
        heartbeat_at=max(filter(None, heartbeats), default=None),
        search=codec.search_status_from(row.search_state, row.search_reason),
    )
