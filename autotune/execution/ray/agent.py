"""The agent: one actor on every node, which keeps a forkserver with torch and transformers loaded.

Actors of trials on its node order workers through a Unix socket. A worker hangs on the process that
ordered it, as on the driver of a local search: when that process dies, the worker ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.domain import Host
from autotune.errors import AutotuneError, ExecutionError
from autotune.execution.calling import call_in_worker
from autotune.execution.messages import Call
from autotune.execution.ray.parcel import Parcel
from autotune.execution.spawner import ORDER, Spawner, Worker, order_worker
from autotune.hardware import inventory

PATIENCE_SECONDS = 60.0
"""A node that joined just now has an agent within seconds; one that has none by then is broken."""

RETRY_SECONDS = 0.1


class Agent:
    """Serves one node for one driver, known by ``session``; it goes when the driver does.

    ``modules`` are the names of those that workers find imported.
    """

    def __init__(self, session: str, node: str, modules: Parcel) -> None:
        self._spawner = Spawner(modules.open())
        path = socket_path(session, node)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)  # of a forerunner that was killed
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, name="agent", daemon=True).start()

    def hardware(self) -> Host:
        """The inventory of this node."""
        host: Host = call_in_worker(self._spawner.spawn(), Call(inventory, (), {}))
        return host

    def call(self, call: Parcel) -> tuple[Any, AutotuneError | None]:
        """What a function returns in a worker here, or the error that it raises: as a value, since
        Ray would wrap an exception."""
        try:
            return call_in_worker(self._spawner.spawn(), call.open()), None
        except AutotuneError as error:
            return None, error

    def _serve(self) -> None:
        while True:
            customer, _ = self._socket.accept()
            with customer:
                order, descriptors, _, _ = socket.recv_fds(customer, len(ORDER), 2)
                if order:
                    with contextlib.suppress(OSError):  # its customer sees that no worker came
                        self._spawner.pass_on(descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)


def socket_path(session: str, node: str) -> Path:
    """Where the agent of a node listens: short, for the system allows some 100 characters."""
    return Path(tempfile.gettempdir()) / f"autotune-{session}" / node[:16]


def worker_here(session: str, node: str) -> Worker:
    """A fresh worker on this node, from its agent.

    :raises ExecutionError: there is no agent, or its forkserver cannot start workers.
    """
    worker = order_worker(lambda descriptors: _order(socket_path(session, node), descriptors))
    if worker is None:
        raise ExecutionError(f"the agent of node {node} cannot start workers")
    return worker


def _order(path: Path, descriptors: Sequence[int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as agent:
            try:
                agent.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if time.monotonic() > deadline:
                    raise ExecutionError("this node has no agent of the driver") from error
            else:
                socket.send_fds(agent, [ORDER], descriptors)
                return
        time.sleep(RETRY_SECONDS)
