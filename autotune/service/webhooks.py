"""Sends the messages of the outbox to their addresses, signed, until they arrive."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Mapping

import httpx

from autotune.service.config import ServiceConfig
from autotune.service.worker_thread import WorkerThread
from autotune.store.outbox import Delivery, Outbox
from autotune.version import __version__

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0

SIGNATURE, TIMESTAMP = "X-Autotune-Signature", "X-Autotune-Timestamp"


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a message: HMAC-SHA256 of the timestamp, a dot and the body."""
    message = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def headers_of(delivery: Delivery, body: bytes) -> Mapping[str, str]:
    """The headers of a message. The time is signed too, so that an old message cannot be sent
    again by others."""
    timestamp = str(int(time.time()))
    return {
        "Content-Type": "application/json",
        "User-Agent": f"autotune/{__version__}",
        "X-Autotune-Event": delivery.event,
        "X-Autotune-Delivery": str(delivery.id),
        TIMESTAMP: timestamp,
        SIGNATURE: sign(delivery.secret, timestamp, body),
    }


class WebhookSender(WorkerThread):
    """A thread that delivers messages. Any status from 200 to 299 is a success."""

    def __init__(self, config: ServiceConfig, outbox: Outbox) -> None:
        super().__init__("webhooks", config.poll_seconds)
        self._config, self._outbox = config, outbox

    def step(self) -> int:
        """Try every message that is due; returns how many were tried."""
        count = 0
        while not self._is_stopped.is_set() and (delivery := self._outbox.claim()) is not None:
            self._send(delivery)
            count += 1
        return count

    def _send(self, delivery: Delivery) -> None:
        body = json.dumps(delivery.payload).encode()
        try:
            answer = httpx.post(
                delivery.url,
                content=body,
                headers=dict(headers_of(delivery, body)),
                timeout=TIMEOUT_SECONDS,
                follow_redirects=False,
            )
            error = None if answer.is_success else f"status {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OverflowError) as failure:
            # The last two are of names and ports that no address can have: http://a..b/
            error = f"{type(failure).__name__}: {failure}"
        if error is None:
            self._outbox.note_success(delivery)
            return
        log.warning("webhook %s: %s", delivery.url, error)
        self._outbox.note_failure(delivery, error[:500], self._config.retry_seconds)
