"""The tables of the service: queue, tokens, audit log and webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from autotune.store.models import Base
from autotune.store.types import CheckedBigInteger


class SubmissionRow(Base):
    """A study in the queue. ``driver`` runs it until ``lease_until`` unless it renews the lease.
    ``minutes`` is the budget of the study, ``used_minutes`` what its drivers took so far.
    ``attempts`` counts drivers that ended without a finished trial. ``revision`` increases with
    every change of the state."""

    __tablename__ = "submissions"

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[str] = mapped_column(String(255), unique=True)
    owner: Mapped[str] = mapped_column(String(64), index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    priority: Mapped[int]
    minutes: Mapped[float | None]
    used_minutes: Mapped[float]
    submitted_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    driver: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None]
    stop_requested: Mapped[bool]
    attempts: Mapped[int]
    revision: Mapped[int] = mapped_column(CheckedBigInteger)
    reason: Mapped[str | None]
    settings: Mapped[list[Any]]
    text: Mapped[str]


class AccessTokenRow(Base):
    """A token of the service. ``digest`` is its SHA-256; the token itself is not stored.
    ``minutes`` limits the sum of the budgets of the owner's studies."""

    __tablename__ = "access_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    minutes: Mapped[float | None]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class AuditRow(Base):
    """A request that changed something, or was refused."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(255))
    status: Mapped[int]


class WebhookRow(Base):
    """An address that is told of ``events``. ``secret`` signs the messages."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(64), index=True)
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[Any]]
    created_at: Mapped[datetime]


class DeliveryRow(Base):
    """A message to a webhook, sent again at ``next_at`` until it is delivered or given up. An event
    is recorded once for each webhook, whichever instance notices it: ``event_key`` names it."""

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("webhook_id", "event_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(64))
    event_key: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    delivered_at: Mapped[datetime | None]
    attempts: Mapped[int]
    error: Mapped[str | None]
    payload: Mapped[dict[str, Any]]


SCHEMA = Base.metadata
"""All tables of the database, those of studies included."""
