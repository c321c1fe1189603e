"""The tables. ``docs/storage.md`` describes them; ``alembic/versions`` creates and changes them.

Values that are queried or listed have a column. Values that are only read as a unit (a study, raw
samples, a memory timeline) are JSON documents. Wide columns come last, so that listings do not read
their pages.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from autotune.store.types import CheckedBigInteger, CheckedInteger, Real, UtcDateTime

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base class. Constraints have names, so that a migration can change them."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime(),
        float: Real(),
        int: CheckedInteger(),
        str: Text(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


def _trial_key() -> Mapped[int]:
    return mapped_column(ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True)


class StudyRow(Base):
    """One study. ``revision`` increases with every change of state of its trials. ``search_state``
    and ``search_reason`` say whether it is searched, and how its last session ended."""

    __tablename__ = "studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    fingerprint: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    revision: Mapped[int] = mapped_column(CheckedBigInteger)
    study: Mapped[dict[str, Any]]
    spec: Mapped[dict[str, Any]]
    search_state: Mapped[str | None] = mapped_column(String(16))
    search_reason: Mapped[str | None]


class EnvironmentRow(Base):
    """The hardware and software of one session of a study."""

    __tablename__ = "environments"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), index=True)
    recorded_at: Mapped[datetime]
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    git_commit: Mapped[str | None] = mapped_column(String(64))
    document: Mapped[dict[str, Any]]


class TrialRow(Base):
    """One trial. ``driver`` runs it and last reported at ``heartbeat_at``."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        Index(None, "study_id", "state"),
        Index(None, "study_id", "strategy_key"),
        Index(None, "study_id", "revision"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    strategy_key: Mapped[str] = mapped_column(String(16))
    seed: Mapped[int] = mapped_column(CheckedBigInteger)
    origin: Mapped[str] = mapped_column(String(32))
    failure: Mapped[str | None] = mapped_column(String(32))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    driver: Mapped[str | None] = mapped_column(String(255))
    revision: Mapped[int] = mapped_column(CheckedBigInteger)
    reason: Mapped[str | None]
    strategy: Mapped[dict[str, Any]]
    environment: Mapped[dict[str, Any]]
    log: Mapped[str | None]


class MeasurementRow(Base):
    """One measurement of one trial. ``source`` is the trial that it was reused from."""

    __tablename__ = "measurements"

    trial_id: Mapped[int] = _trial_key()
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    value: Mapped[float]
    unit: Mapped[str] = mapped_column(String(32))
    n: Mapped[int] = mapped_column(CheckedBigInteger)
    ci_low: Mapped[float | None]
    ci_high: Mapped[float | None]
    source: Mapped[int | None]
    samples: Mapped[list[Any]]
    warmup: Mapped[list[Any]]


class CurvePointRow(Base):
    """One point of a learning curve, ordered by ``position``."""

    __tablename__ = "curve_points"

    trial_id: Mapped[int] = _trial_key()
    position: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[int]
    total_steps: Mapped[int]
    samples: Mapped[int] = mapped_column(CheckedBigInteger)
    seconds: Mapped[float]
    loss: Mapped[float | None]
    metrics: Mapped[dict[str, Any]]


class MemoryTimelineRow(Base):
    """Resident memory of a trial over time, as [[seconds, GiB], ...]."""

    __tablename__ = "memory_timelines"

    trial_id: Mapped[int] = _trial_key()
    points: Mapped[list[Any]]


class EventRow(Base):
    """One event of a trial, ordered by ``position``."""

    __tablename__ = "events"

    trial_id: Mapped[int] = _trial_key()
    position: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    message: Mapped[str]


class ArtifactRow(Base):
    """A file that a trial has written: its name and its path."""

    __tablename__ = "artifacts"

    trial_id: Mapped[int] = _trial_key()
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    path: Mapped[str]


class CorrectnessRow(Base):
    """Which labels of the split with this digest a trial predicted correctly: ``num_labels`` bits,
    packed and in base64. ``starts`` are as many, which mark the first label of each example."""

    __tablename__ = "correctness"

    trial_id: Mapped[int] = _trial_key()
    split: Mapped[str] = mapped_column(String(16))
    num_labels: Mapped[int]
    hits: Mapped[str]
    starts: Mapped[str | None]


class ModelRow(Base):
    """The trained model in the folder of a trial: a digest of its files, and their size."""

    __tablename__ = "models"

    trial_id: Mapped[int] = _trial_key()
    digest: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(CheckedBigInteger)


CHILDREN = (
    MeasurementRow,
    CurvePointRow,
    MemoryTimelineRow,
    EventRow,
    ArtifactRow,
    CorrectnessRow,
    ModelRow,
)
"""Tables with the result of a trial."""
