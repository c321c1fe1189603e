"""One shared password: hashed by scrypt, compared in constant time, guessed only slowly."""

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

SHORTEST = 8
ATTEMPTS = 5
ATTEMPTS_OF_ALL = 50
WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Hash:
    """A salted scrypt digest (N=2^14, r=8, p=1: about 16 MiB and 50 ms a guess)."""

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> Hash:
        """:class:`~autotune.errors.UsageError` where the password is too short to protect."""
        if len(password) < SHORTEST:
            raise UsageError(f"the dashboard's password needs at least {SHORTEST} characters")
        salt = secrets.token_bytes(16)
        return cls(salt, _scrypt(password, salt))

    def matches(self, password: str) -> bool:
        return hmac.compare_digest(self.digest, _scrypt(password, self.salt))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


class PasswordGate:
    """A password and how often it may be tried.

    Each visitor, told apart by network address, has :data:`ATTEMPTS` wrong guesses a minute, so
    that one who guesses does not keep others out. All of them together have
    :data:`ATTEMPTS_OF_ALL`, so that guessing from many addresses stays slow.
    """

    def __init__(self, password: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hash, self._clock = Hash.of(password), clock
        self._guard = threading.Lock()
        self._wrong: deque[tuple[float, str]] = deque()

    def wait_seconds(self, address: str | None = None) -> float:
        """How long until the next guess from ``address`` is taken; 0 where it is at once."""
        with self._guard:
            return self._wait(visitor(address))

    def opens(self, password: str, address: str | None = None) -> bool:
        """Whether this is the password. Never while :meth:`wait_seconds` is above 0."""
        who = visitor(address)
        with self._guard:
            if self._wait(who) > 0:
                return False
            if self._hash.matches(password):
                return True
            self._wrong.append((self._clock(), who))
            return False

    def _wait(self, who: str) -> float:
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - WINDOW_SECONDS:
            self._wrong.popleft()
        own = [at for at, guesser in self._wrong if guesser == who]
        full = [own[0]] if len(own) >= ATTEMPTS else []
        if len(self._wrong) >= ATTEMPTS_OF_ALL:
            full.append(self._wrong[0][0])
        return max(full) + WINDOW_SECONDS - now if full else 0.0


def visitor(address: str | None) -> str:
    """Who guesses from ``address``: an IPv4 address, or the /64 network that an IPv6 host owns.
    Connections from this machine come without an address."""
    if address is None:
        return "here"
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = known.ipv4_mapped if known.version == 6 else None
    if known.version == 4 or mapped is not None:
        return str(mapped or known)
    return str(ipaddress.ip_network((known, 64), strict=False))


def from_environment(prompt: Callable[[str], str] | None = None) -> str:
    """The password in ``AUTOTUNE_DASHBOARD_PASSWORD``, else what ``prompt`` is answered."""
    password = os.environ.get("AUTOTUNE_DASHBOARD_PASSWORD") or (
        prompt("Password for the dashboard: ") if prompt is not None else ""
    )
    if not password:
        raise UsageError(
            "a dashboard that other machines can reach needs a password",
            hint="set AUTOTUNE_DASHBOARD_PASSWORD, or leave --host at localhost",
        )
    return password
