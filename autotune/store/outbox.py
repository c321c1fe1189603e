"""Webhooks and the messages to them, which are stored until they are delivered or given up."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from autotune.errors import NotFoundError
from autotune.store import writes
from autotune.store.database import Database
from autotune.store.service_models import DeliveryRow, WebhookRow

MAX_ATTEMPTS = 8
"""A message is given up after this many attempts."""

CLAIM_SECONDS = 60.0
"""How long an instance has to deliver a message before another one tries."""


@dataclass(frozen=True)
class Webhook:
    """An address that is called. It gets the events whose names are in ``events``, or all."""

    id: int
    owner: str
    url: str
    secret: str
    events: Sequence[str]


@dataclass(frozen=True)
class Delivery:
    """A message and where it goes. ``attempts`` counts the earlier ones."""

    id: int
    event: str
    payload: Mapping[str, Any]
    attempts: int
    url: str
    secret: str


_WEBHOOK = [getattr(WebhookRow, name) for name in Webhook.__dataclass_fields__]


class Outbox:
    """Webhooks and messages in the database at ``url``, whose schema is current."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def close(self) -> None:
        """Release connections. Idempotent."""
        self._database.close()

    def add_webhook(self, owner: str, url: str, events: Sequence[str]) -> Webhook:
        """Add an address with a new secret."""
        secret = secrets.token_urlsafe(32)
        row = {"owner": owner, "url": url, "secret": secret, "events": list(events)}
        with self._database.transaction(write=True) as connection:
            query = insert(WebhookRow).values(created_at=writes.now(connection), **row)
            key = connection.execute(query.returning(WebhookRow.id)).scalar_one()
        return Webhook(key, owner, url, secret, list(events))

    def webhooks(self) -> Sequence[Webhook]:
        """All addresses, oldest first."""
        with self._database.transaction() as connection:
            return _webhooks(connection)

    def remove_webhook(self, key: int) -> None:
        """Remove an address and the messages to it.

        :raises NotFoundError: there is none.
        """
        with self._database.transaction(write=True) as connection:
            query = delete(WebhookRow).where(WebhookRow.id == key)
            if connection.execute(query).rowcount == 0:
                raise NotFoundError(f"there is no webhook {key}", hint="GET /v1/webhooks")

    def post(self, event: str, event_key: str, payload: Mapping[str, Any]) -> int:
        """Add a message to every address that wants ``event``; returns how many are new.
        ``event_key`` names the event, so that several instances post it once."""
        count = 0
        with self._database.transaction(write=True) as connection:
            now = writes.now(connection)
            for webhook in _webhooks(connection):
                if webhook.events and event not in webhook.events:
                    continue
                row = {
                    "webhook_id": webhook.id,
                    "event": event,
                    "event_key": event_key[:255],
                    "payload": dict(payload),
                    "created_at": now,
                    "next_at": now,
                    "attempts": 0,
                }
                try:
                    with connection.begin_nested():
                        connection.execute(insert(DeliveryRow).values(row))
                    count += 1
                except IntegrityError:
                    pass  # this instance or another one has posted it
        return count

    def claim(self) -> Delivery | None:
        """The next message that is due; ``None`` if there is none. Other instances leave it alone
        for a minute."""
        with self._database.transaction() as connection:
            due = select(DeliveryRow.id).where(DeliveryRow.next_at <= writes.now(connection))
            key = connection.scalar(due.order_by(DeliveryRow.next_at).limit(1))
        if key is None:
            return None
        with self._database.transaction(write=True) as connection:
            now = writes.now(connection)
            claim = (
                update(DeliveryRow)
                .where(DeliveryRow.id == key, DeliveryRow.next_at <= now)
                .values(next_at=now + timedelta(seconds=CLAIM_SECONDS))
            )
            if connection.execute(claim).rowcount == 0:
                return None
            columns = (DeliveryRow.id, DeliveryRow.event, DeliveryRow.payload, DeliveryRow.attempts)
            query = select(*columns, WebhookRow.url, WebhookRow.secret).join(
                WebhookRow, WebhookRow.id == DeliveryRow.webhook_id
            )
            row = connection.execute(query.where(DeliveryRow.id == key)).one_or_none()
        return None if row is None else Delivery(**row._mapping)

    def note_success(self, delivery: Delivery) -> None:
        """Record that a message has arrived."""
        self._update(delivery, delivered=True, retry_seconds=None, error=None)

    def note_failure(self, delivery: Delivery, error: str, retry_seconds: float) -> None:
        """Record a failed attempt. The next one is after ``retry_seconds``, and twice as long after
        each further failure."""
        is_last = delivery.attempts + 1 >= MAX_ATTEMPTS
        wait = None if is_last else retry_seconds * 2**delivery.attempts
        self._update(delivery, delivered=False, retry_seconds=wait, error=error)

    def count_waiting(self) -> int:
        """The number of messages that are not delivered yet."""
        query = select(func.count()).where(DeliveryRow.next_at.is_not(None))
        with self._database.transaction() as connection:
            return connection.scalar(query) or 0

    def _update(
        self, delivery: Delivery, *, delivered: bool, retry_seconds: float | None, error: str | None
    ) -> None:
        with self._database.transaction(write=True) as connection:
            now = writes.now(connection)
            later = None if retry_seconds is None else now + timedelta(seconds=retry_seconds)
            values = {
                "attempts": delivery.attempts + 1,
                "delivered_at": now if delivered else None,
                "next_at": later,
                "error": error,
            }
            query = update(DeliveryRow).where(DeliveryRow.id == delivery.id)
            connection.execute(query.values(values))


def _webhooks(connection: Connection) -> list[Webhook]:
    rows = connection.execute(select(*_WEBHOOK).order_by(WebhookRow.id)).all()
    return [Webhook(**row._mapping) for row in rows]
