"""One shared password: hashed by scrypt, compared in constant time, guessed only slowly."""

from __future__ import annotations

import hashlib
import hmac
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


class Lock:
    """A password and how often it may be tried: wrong guesses of all visitors count together, so
    that guessing from many addresses is no faster."""

    def __init__(self, password: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._hash, self._clock = Hash.of(password), clock
        self._guard = threading.Lock()
        self._wrong: deque[float] = deque()

    def wait_seconds(self) -> float:
        """How long until the next guess is taken; 0 for now."""
        with self._guard:
            return self._wait()

    def opens(self, password: str) -> bool:
        """Whether this is the password. Never while :meth:`wait_seconds` is above 0."""
        with self._guard:
            if self._wait() > 0:
                return False
            if self._hash.matches(password):
                return True
            self._wrong.append(self._clock())
            return False

    def _wait(self) -> float:
        now = self._clock()
        while self._wrong and self._wrong[0] <= now - WINDOW_SECONDS:
            self._wrong.popleft()
        if len(self._wrong) < ATTEMPTS:
            return 0.0
        return self._wrong[0] + WINDOW_SECONDS - now


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
