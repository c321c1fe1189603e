"""One shared password: hashed with scrypt, compared in constant time, with a rate limit."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from autotune.errors import UsageError

MIN_LENGTH = 8
MAX_ATTEMPTS = 5
MAX_TOTAL_ATTEMPTS = 50
WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class PasswordHash:
    """A salted scrypt digest (N=2^14, r=8, p=1: about 16 MiB and 50 ms an attempt)."""

    salt: bytes
    digest: bytes

    @classmethod
    def from_password(cls, password: str) -> PasswordHash:
        """Raises :class:`~autotune.errors.UsageError` for a password that is too short."""
        if len(password) < MIN_LENGTH:
            raise UsageError(
                f"the password of the dashboard needs at least {MIN_LENGTH} characters"
            )
        salt = secrets.token_bytes(16)
        return cls(salt, _scrypt(password, salt))

    def matches(self, password: str) -> bool:
        return hmac.compare_digest(self.digest, _scrypt(password, self.salt))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


class PasswordGate:
    """Checks a password, with a rate limit.

    Each visitor, identified by network address, has :data:`MAX_ATTEMPTS` wrong attempts a minute,
    so that an attacker does not lock out others. All visitors have :data:`MAX_TOTAL_ATTEMPTS` a
    minute in total, so that an attack from many addresses is slow too.
    """

    def __init__(self, password: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hash, self._clock = PasswordHash.from_password(password), clock
        self._mutex = threading.Lock()
        self._wrong: deque[tuple[float, str]] = deque()

    def wait_seconds(self, address: str | None = None) -> float:
        """Seconds until the next attempt from ``address`` is accepted; 0 if it is now."""
        with self._mutex:
            return self._wait(visitor_id(address))

    def accepts(self, password: str, address: str | None = None) -> bool:
        """Whether the password is right. Always false while :meth:`wait_seconds` is above 0."""
        source = visitor_id(address)
        with self._mutex:
            if self._wait(source) > 0:
                return False
            if self._hash.matches(password):
                return True
            self._wrong.append((self._clock(), source))
            return False

    def _wait(self, source: str) -> float:
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - WINDOW_SECONDS:
            self._wrong.popleft()
        own = [time for time, visitor in self._wrong if visitor == source]
        blocked_since = [own[0]] if len(own) >= MAX_ATTEMPTS else []
        if len(self._wrong) >= MAX_TOTAL_ATTEMPTS:
            blocked_since.append(self._wrong[0][0])
        return max(blocked_since) + WINDOW_SECONDS - now if blocked_since else 0.0


def visitor_id(address: str | None) -> str:
    """The visitor at ``address``: an IPv4 address, or the /64 network that an IPv6 host owns.
    Connections from this machine have no address."""
    if address is None:
        return "local"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    if parsed.version == 4 or mapped is not None:
        return str(mapped or parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def read_password(prompt: Callable[[str], str] | None = None) -> str:
    """The password in ``AUTOTUNE_DASHBOARD_PASSWORD``, else the answer to ``prompt``."""
    password = os.environ.get("AUTOTUNE_DASHBOARD_PASSWORD") or (
        prompt("Password for the dashboard: ") if prompt is not None else ""
    )
    if not password:
        raise UsageError(
            "a dashboard that other machines can reach needs a password",
            hint="set AUTOTUNE_DASHBOARD_PASSWORD, or use --host localhost",
        )
    return password
