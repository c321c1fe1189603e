"""The agent: one actor on each node, with a forkserver that has torch and transformers loaded.

Actors of trials, on any node, request workers from it
(:mod:`autotune.execution.ray.worker_server`). A worker depends on the process that requested it, as
it depends on the driver in a local search: when that process dies, the worker is killed.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError

from autotune.domain import Host
from autotune.errors import AutotuneError, ExecutionError
from autotune.execution.messages import Call
from autotune.execution.ray.worker_server import Address, WorkerServer, request_remote_worker
from autotune.execution.spawner import Spawner, Worker, call_in_worker
from autotune.hardware import inventory
from autotune.hardware.cores import usable_cores
from autotune.hardware.host import memory_gib

AGENT_START_SECONDS = 60.0
"""A new node has an agent within seconds. A node without one after this time is broken."""

RETRY_SECONDS = 0.1

LOG_TAIL_BYTES = 4 * 2**20
"""The last part of a trial's log, which is sent to the driver."""


def _driver_path() -> tuple[str, ...]:
    return tuple(sys.path)


@dataclass(frozen=True)
class Session:
    """One driver on a cluster: its name there, the key of its agents, and its import path.

    Ray gives its processes only the driver's script directory and working directory. Functions
    travel by name, so the other directories must be added where they are unpickled.
    """

    name: str
    key: bytes
    path: tuple[str, ...] = field(default_factory=_driver_path)

    def agent_name(self, node: str) -> str:
        """The name of the agent on a node."""
        return f"autotune-{self.name}-{node}"

    def extend_path(self) -> None:
        """Append the driver's import path to that of this process."""
        sys.path.extend(folder for folder in self.path if folder not in sys.path)


@dataclass(frozen=True)
class NodeEndpoint:
    """The address of a node's agent, and the resources that trials share on the node."""

    address: Address
    hostname: str
    cores: int
    memory_gib: float


class Agent:
    """Serves one node for one driver, and ends with the driver.

    ``modules`` names the modules that its forkserver imports for all workers.
    """

    def __init__(self, session: Session, modules: Sequence[str]) -> None:
        session.extend_path()
        self._spawner = Spawner(modules)
        host = ray.util.get_node_ip_address()
        self._server = WorkerServer(host, session.key, self._spawner.send_fd)
        threading.Thread(target=self._server.serve, name="worker-server", daemon=True).start()

    def endpoint(self) -> NodeEndpoint:
        cores = len(usable_cores())
        return NodeEndpoint(self._server.address, socket.gethostname(), cores, memory_gib())

    def hardware(self) -> Host:
        """The inventory of this node."""
        host: Host = call_in_worker(self._spawner.spawn(), Call(inventory, (), {}))
        return host

    def call(self, pickled: bytes) -> tuple[Any, AutotuneError | None]:
        """Run a pickled :class:`Call` in a worker here: its result, or the error that it raises.
        The error is returned because Ray would wrap an exception."""
        try:
            return call_in_worker(self._spawner.spawn(), cloudpickle.loads(pickled)), None
        except AutotuneError as error:
            return None, error

    def log_tail(self, path: str) -> bytes:
        """The last part of a log on this node."""
        return log_tail(path)


def log_tail(path: str) -> bytes:
    """At most the last :data:`LOG_TAIL_BYTES` of a log; empty if there is no such file."""
    try:
        with Path(path).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_TAIL_BYTES))
            return log.read()
    except FileNotFoundError:
        return b""


def start_worker(node: str, session: Session) -> tuple[NodeEndpoint, Worker]:
    """A fresh worker on a node. Waits for the node's agent if it has not started yet.

    :raises ExecutionError: there is no agent, or its forkserver cannot start workers.
    """
    deadline = time.monotonic() + AGENT_START_SECONDS
    while True:
        try:
            agent = ray.get_actor(session.agent_name(node))
            endpoint: NodeEndpoint = ray.get(agent.endpoint.remote(), timeout=AGENT_START_SECONDS)
            worker = request_remote_worker(endpoint.address, session.key)
        except (ValueError, RayError, OSError) as error:
            if time.monotonic() > deadline:
                raise ExecutionError(f"node {node} has no agent of the driver") from error
            time.sleep(RETRY_SECONDS)
            continue
        if worker is None:
            raise ExecutionError(f"the agent of node {node} cannot start workers")
        return endpoint, worker
