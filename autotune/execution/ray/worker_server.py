"""How a worker on one node is ordered from another: two sockets to the node's agent.

One becomes the worker's connection, the other the status on which the forkserver says the worker's
process id and how it ended. Hanging up the status ends the worker, so that none outlives whoever
ordered it. Callers prove that they know the key of their driver's session, since a worker unpickles
what it is sent.
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
from autotune.execution.spawner import Worker, read_status

Address = tuple[str, int]

NONCE_BYTES = TICKET_BYTES = 16
PROOF_BYTES = 32
ANSWER_SECONDS = 10.0
SILENCE_SECONDS = 30
"""A machine that answers nothing for so long is gone."""


class RemoteWorker(Worker):
    """A worker on another node, perhaps. Its forkserver ends it when the status is hung up."""

    def kill(self) -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.status)) as status:
            status.shutdown(socket.SHUT_WR)  # how it ended is still said in the other direction


def order_worker(address: Address, key: bytes) -> Worker | None:
    """A fresh worker from the agent at ``address``; ``None`` where that cannot start it.

    :raises OSError: nobody answers there.
    """
    ticket = secrets.token_bytes(TICKET_BYTES)
    with contextlib.ExitStack() as opened:
        connection, status = (opened.enter_context(_call(address, key, ticket)) for _ in range(2))
        pid = read_status(status.fileno())
        if pid is None:
            return None
        return RemoteWorker(pid, Connection(connection.detach()), status.detach())


def _call(address: Address, key: bytes, ticket: bytes) -> socket.socket:
    called = socket.create_connection(address, ANSWER_SECONDS)
    try:
        nonce = _exactly(called, NONCE_BYTES)
        called.sendall(ticket + _proof(key, nonce, ticket))
        _settle(called)
    except BaseException:
        called.close()
        raise
    return called


class WorkerServer:
    """Where an agent takes orders for workers."""

    def __init__(self, host: str, key: bytes, pass_on: Callable[[list[int]], None]) -> None:
        self._key, self._pass_on = key, pass_on
        self._door = socket.create_server((host, 0))
        self._waiting: dict[bytes, socket.socket] = {}
        self.address: Address = self._door.getsockname()[:2]

    def serve(self) -> None:
        """Take orders, for ever. A caller who cannot prove the key is turned away."""
        while True:
            caller, _ = self._door.accept()
            try:
                ticket = _admitted(caller, self._key)
                _settle(caller)
            except (OSError, ExecutionError):
                caller.close()
                continue
            if ticket not in self._waiting:
                self._waiting[ticket] = caller
                continue
            with self._waiting.pop(ticket) as connection, caller, contextlib.suppress(OSError):
                self._pass_on([connection.fileno(), caller.fileno()])


def _admitted(caller: socket.socket, key: bytes) -> bytes:
    caller.settimeout(ANSWER_SECONDS)
    nonce = secrets.token_bytes(NONCE_BYTES)
    caller.sendall(nonce)
    ticket = _exactly(caller, TICKET_BYTES)
    if not hmac.compare_digest(_exactly(caller, PROOF_BYTES), _proof(key, nonce, ticket)):
        raise ExecutionError("a caller does not know the key of the session")
    return ticket


def _proof(key: bytes, nonce: bytes, ticket: bytes) -> bytes:
    return hmac.digest(key, nonce + ticket, "sha256")


def _exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise ConnectionResetError("hung up")
        data += part
    return data


def _settle(link: socket.socket) -> None:
    """Wait without limit from now on, but not for a machine that is gone."""
    link.settimeout(None)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        third = SILENCE_SECONDS // 3
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, third)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, third)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * SILENCE_SECONDS)
