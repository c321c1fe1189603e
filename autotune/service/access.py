"""Who may do what: tokens, roles, rates, and the audit log, in front of every route."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotune.errors import AutotuneError, StoreError
from autotune.service.config import ServiceConfig
from autotune.service.documents import ErrorDocument
from autotune.service.logs import EXTRA
from autotune.store.access import AccessToken, AccessTokens, Role

log = logging.getLogger(__name__)

FAILURES_PER_SECOND, FAILURE_BURST = 1.0, 20
MAX_BUCKETS = 10_000

LOCAL_USER = AccessToken("local", Role.ADMIN, None, datetime.fromtimestamp(0, UTC), None)
"""Who sends requests to a service without tokens."""

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]", "testserver")

Observe = Callable[[str, str, int, float], None]
"""Called with method, route, status and seconds of every request."""


class Forbidden(AutotuneError):
    """The token does not allow the request."""


@dataclass
class Bucket:
    """A token bucket: ``level`` requests may be sent at once at the moment ``at``."""

    level: float
    at: float


class RateLimit:
    """At most ``burst`` requests of a key at once and ``rate`` a second on average."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, key: str) -> bool:
        """Count a request; false if it exceeds the rate."""
        now = time.monotonic()
        bucket = self._buckets.pop(key, None) or Bucket(self._burst, now)
        bucket.level = min(self._burst, bucket.level + (now - bucket.at) * self._rate)
        bucket.at = now
        self._buckets[key] = bucket
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if bucket.level < 1:
            return False
        bucket.level -= 1
        return True


class AccessMiddleware:
    """Answers 401 without a valid token and 429 above the rate, before any route is looked up.
    Requests that change something, and those that are refused, are recorded."""

    def __init__(
        self, app: ASGIApp, config: ServiceConfig, tokens: AccessTokens, observe: Observe
    ) -> None:
        self._app, self._config, self._tokens, self._observe = app, config, tokens, observe
        self._requests = RateLimit(config.requests_per_second, config.burst)
        self._failures = RateLimit(FAILURES_PER_SECOND, FAILURE_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token, refusal = await self._authenticate(scope)
        try:
            if refusal is not None:
                await refusal(scope, receive, note_status)
                return
            scope.setdefault("state", {})["token"] = token
            await self._app(scope, receive, note_status)
        finally:
            await self._note(scope, token, status, time.perf_counter() - start)

    async def _authenticate(self, scope: Scope) -> tuple[AccessToken | None, Response | None]:
        """The token of a request, or the answer that refuses it."""
        headers = Headers(scope=scope)
        if self._config.is_open:
            return LOCAL_USER, None if _is_local(headers) else _answer(
                403, "the service answers to programs of this machine only", "remove --no-auth"
            )
        address = client_address(scope)
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        try:
            token = (
                await run_in_threadpool(self._tokens.verify, secret.strip())
                if scheme.lower() == "bearer"
                else None
            )
        except StoreError:
            return None, _answer(503, "the database cannot be used", "try again later")
        if token is None:
            if not self._failures.take(address):
                return None, _answer(429, "too many requests without a valid token", "wait")
            hint = "autotune token create NAME, then the header Authorization: Bearer TOKEN"
            return None, _answer(401, "a valid token is needed", hint)
        if not self._requests.take(token.name):
            return token, _answer(429, "too many requests", "wait a second")
        return token, None

    async def _note(
        self, scope: Scope, token: AccessToken | None, status: int, seconds: float
    ) -> None:
        method, path = scope["method"], scope["path"]
        route = getattr(scope.get("route"), "path", "unknown")
        self._observe(method, route, status, seconds)
        actor, address = ("" if token is None else token.name), client_address(scope)
        fields = {"actor": actor, "address": address, "method": method, "path": path,
                  "status": status, "seconds": round(seconds, 4)}  # fmt: skip
        log.info("request", extra={EXTRA: fields})
        if token is None or (method in ("GET", "HEAD") and status != 403):
            return
        try:
            action = f"{method} {path}".encode(errors="replace").decode().replace("\0", "")
            await run_in_threadpool(self._tokens.record, actor, address, action, status)
        except StoreError as error:
            log.error("the audit log cannot be written: %s", error)


def client_address(scope: Scope) -> str:
    """The address that a request comes from."""
    client = scope.get("client")
    return str(client[0])[:64] if client else "unknown"


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address of this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_local(headers: Headers) -> bool:
    """Whether a request is of a program of this machine and not of a page of another site, which a
    browser would send too."""
    host = headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in LOCAL_NAMES and "origin" not in headers


def _answer(status: int, message: str, hint: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status == 429:
        headers["Retry-After"] = "1"
    document = ErrorDocument(error=message, hint=hint)
    return JSONResponse(document.model_dump(mode="json"), status, headers)


def current_token(request: Request) -> AccessToken:
    """The token of a request."""
    token: AccessToken = request.state.token
    return token


def require_submit(request: Request) -> AccessToken:
    """The token of a request that needs the role submit."""
    return _require(request, Role.SUBMIT)


def require_admin(request: Request) -> AccessToken:
    """The token of a request that needs the role admin."""
    return _require(request, Role.ADMIN)


def _require(request: Request, role: Role) -> AccessToken:
    token = current_token(request)
    if not token.role.includes(role):
        raise Forbidden(
            f"the token {token.name} may {token.role}, and this needs {role}",
            hint=f"autotune token create NAME --role {role}",
        )
    return token


def require_owner(token: AccessToken, owner: str | None, study: str) -> None:
    """Check that a study is the user's own, or that the user is an administrator.

    :raises Forbidden: neither holds.
    """
    if token.role is not Role.ADMIN and token.name != owner:
        raise Forbidden(
            f"study {study} belongs to {owner or 'nobody'}", hint="ask its owner or an admin"
        )
