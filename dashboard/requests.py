"""Refuses requests that no page of ours makes: foreign names of the server, uploads."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "HEAD", "OPTIONS")
"""Pages only read. The other methods belong to the file uploader of Streamlit, which keeps what it
is sent in memory, before any password."""
POLICY_VIOLATION = 1008
"""The code with which a WebSocket is closed."""


class RequestFilter:
    """ASGI middleware. ``hosts`` are the names that requests may call this server by; ``None`` for
    all names.

    A page of another site can make a browser call this server by a name of that site (DNS
    rebinding), and then reads the answers. Names that are an address of this machine cannot be
    taken over in this way.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self.app = app
        self.hosts = None if hosts is None else {host.lower().strip("[]") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not self._is_allowed(scope["headers"]):
            await _refuse(scope, receive, send, 403, "this server has another name")
        elif scope["type"] == "http" and scope["method"] not in METHODS:
            await _refuse(scope, receive, send, 405, "pages only read")
        else:
            await self.app(scope, receive, send)

    def _is_allowed(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether ``Host`` and, if there is one, ``Origin`` name this server."""
        if self.hosts is None:
            return True
        values = [(name, value.decode("latin-1")) for name, value in headers]
        hosts = [_host_name(f"//{value}") for name, value in values if name == b"host"]
        origins = [_host_name(value) for name, value in values if name == b"origin"]
        return len(hosts) == 1 and all(name in self.hosts for name in (*hosts, *origins))


def _host_name(url: str) -> str:
    """The name of the host in ``url``, without port and brackets; empty if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason})
    else:
        await PlainTextResponse(f"{reason}\n", status)(scope, receive, send)


def is_local(host: str) -> bool:
    """Whether only this machine can connect to a server bound to ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str, others: Iterable[str] = ()) -> frozenset[str] | None:
    """The names of a server bound to ``host``. A server for other machines has any name: it is
    reached by names that it does not know, and asks for a password."""
    if not is_local(host):
        return None
    return frozenset({"localhost", "127.0.0.1", "::1", host, *others})
