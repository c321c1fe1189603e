"""Requests workers over the network: two sockets to the agent of a node.

One socket becomes the connection of the worker, the other its status, on which the forkserver
writes the process id and the exit code. Closing the status kills the worker, so that no worker
outlives its requester. Requests are authenticated with a per-session key, because a worker
unpickles what it receives.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import socket
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from autotune.errors import ExecutionError
from autotune.execution.spawner import Worker, read_pid

Address = tuple[str, int]

NONCE_BYTES = TICKET_BYTES = 16
PROOF_BYTES = 32
HANDSHAKE_SECONDS = 10.0

LOST_AFTER_SECONDS = 30
"""A node that does not acknowledge for this long is lost."""


class RemoteWorker(Worker):
    """A worker that may be on another node. Its forkserver kills it when the status closes."""

    def kill(self) -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.status)) as status:
            status.shutdown(socket.SHUT_WR)  # the exit code still arrives in the other direction


def request_remote_worker(address: Address, key: bytes) -> Worker | None:
    """A fresh worker from the agent at ``address``; ``None`` if it cannot start one.

    :raises OSError: if the agent does not answer, or the worker was killed before it could start.
    """
    ticket = secrets.token_bytes(TICKET_BYTES)
    with contextlib.ExitStack() as stack:
        connection, status = (stack.enter_context(_connect(address, key, ticket)) for _ in range(2))
        pid = read_pid(status.fileno())
        if pid is None:
            return None
        return RemoteWorker(pid, Connection(connection.detach()), status.detach())


def _connect(address: Address, key: bytes, ticket: bytes) -> socket.socket:
    """An authenticated socket. Two sockets with the same ticket make one request."""
    link = socket.create_connection(address, HANDSHAKE_SECONDS)
    try:
        nonce = _receive_exactly(link, NONCE_BYTES)
        link.sendall(ticket + _proof(key, nonce, ticket))
        _set_keepalive(link)
    except BaseException:
        link.close()
        raise
    return link


class WorkerServer:
    """Accepts requests for workers and passes their sockets to the forkserver."""

    def __init__(self, host: str, key: bytes, send_fd: Callable[[list[int]], None]) -> None:
        self._key, self._send_fd = key, send_fd
        self._listener = socket.create_server((host, 0))
        self._unpaired: dict[bytes, socket.socket] = {}
        self.address: Address = self._listener.getsockname()[:2]

    def serve(self) -> None:
        """Serve forever. Connections without proof of the key are closed."""
        while True:
            link, _ = self._listener.accept()
            try:
                ticket = _authenticate(link, self._key)
                _set_keepalive(link)
            except (OSError, ExecutionError):
                link.close()
                continue
            if ticket not in self._unpaired:
                self._unpaired[ticket] = link
                continue
            with self._unpaired.pop(ticket) as connection, link, contextlib.suppress(OSError):
                self._send_fd([connection.fileno(), link.fileno()])


def _authenticate(link: socket.socket, key: bytes) -> bytes:
    """Verify that the peer has the key, and return its ticket."""
    link.settimeout(HANDSHAKE_SECONDS)
    nonce = secrets.token_bytes(NONCE_BYTES)
    link.sendall(nonce)
    ticket = _receive_exactly(link, TICKET_BYTES)
    if not hmac.compare_digest(_receive_exactly(link, PROOF_BYTES), _proof(key, nonce, ticket)):
        raise ExecutionError("a request for a worker has the wrong session key")
    return ticket


def _proof(key: bytes, nonce: bytes, ticket: bytes) -> bytes:
    return hmac.digest(key, nonce + ticket, "sha256")


def _receive_exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise ConnectionResetError("the peer closed the connection")
        data += part
    return data


def _set_keepalive(link: socket.socket) -> None:
    """Remove the timeout of the handshake; detect a lost node by keepalive probes."""
    link.settimeout(None)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        interval = LOST_AFTER_SECONDS // 3
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * LOST_AFTER_SECONDS)
