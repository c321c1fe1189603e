"""The agent: one actor on every node, which keeps a forkserver with torch and transformers loaded.

Actors of trials, on whatever node, order workers from it (:mod:`autotune.execution.ray.worker_server`). A
worker hangs on the process that ordered it, as on the driver of a local search: when that process
dies, the worker ends.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from autotune.domain import Host
from autotune.errors import AutotuneError, ExecutionError
from autotune.execution.messages import Call
from autotune.execution.ray.parcel import Parcel
from autotune.execution.ray.worker_server import Address, WorkerServer, order_worker
from autotune.hardware.host import usable_cores
from autotune.execution.spawner import Spawner, Worker, call_in_worker
from autotune.hardware import inventory
from autotune.hardware.host import memory_gib

PATIENCE_SECONDS = 60.0
"""A node that joined just now has an agent within seconds; one that has none by then is broken."""

RETRY_SECONDS = 0.1
LOG_BYTES = 4 * 2**20
"""The end of a trial's log that travels back to the driver."""


@dataclass(frozen=True)
class Session:
    """One driver on a cluster: its name there, and the key to its agents."""

    name: str
    key: bytes

    def agent(self, node: str) -> str:
        """The name of the agent on a node."""
        return f"autotune-{self.name}-{node}"


@dataclass(frozen=True)
class NodeEndpoint:
    """Where the agent of a node takes orders, and what the node has to share among trials."""

    address: Address
    hostname: str
    cores: int
    memory_gib: float


class Agent:
    """Serves one node for one driver; it goes when the driver does.

    ``modules`` are the names of those that workers find imported.
    """

    def __init__(self, session: Session, modules: Parcel) -> None:
        self._spawner = Spawner(modules.open())
        host = ray.util.get_node_ip_address()
        self._counter = WorkerServer(host, session.key, self._spawner.send_fd)
        threading.Thread(target=self._counter.serve, name="counter", daemon=True).start()

    def station(self) -> NodeEndpoint:
        return NodeEndpoint(
            self._counter.address, socket.gethostname(), len(usable_cores()), memory_gib()
        )

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

    def end_of(self, path: str) -> bytes:
        """The end of a log on this node."""
        return end_of(path)


def end_of(path: str) -> bytes:
    """The end of a log, as far as it travels; nothing where there is no such file."""
    try:
        with Path(path).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_BYTES))
            return log.read()
    except FileNotFoundError:
        return b""


def worker_on(node: str, session: Session) -> tuple[NodeEndpoint, Worker]:
    """A fresh worker on a node, from its agent, which may be about to start.

    :raises ExecutionError: there is no agent, or its forkserver cannot start workers.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            agent = ray.get_actor(session.agent(node))
            station: NodeEndpoint = ray.get(agent.station.remote(), timeout=PATIENCE_SECONDS)
            worker = order_worker(station.address, session.key)
        except (ValueError, RayError, OSError) as error:
            if time.monotonic() > deadline:
                raise ExecutionError(f"node {node} has no agent of the driver") from error
            time.sleep(RETRY_SECONDS)
            continue
        if worker is None:
            raise ExecutionError(f"the agent of node {node} cannot start workers")
        return station, worker
