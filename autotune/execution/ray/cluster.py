"""The cluster as seen by a driver: connects to it, and keeps an agent on every node."""

from __future__ import annotations

import importlib
import os
import secrets
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autotune.domain import Host, Job
from autotune.domain.text import first_line
from autotune.errors import ExecutionError
from autotune.execution.ray.agent import Agent, Session
from autotune.execution.ray.resources import NODE_CLASS_LABEL, fits

CONNECT_SECONDS = 5.0

SYNC_INTERVAL_SECONDS = 2.0
"""How often the cluster is checked for nodes that have joined or left."""

INVENTORY_SECONDS = 120.0
"""How long new agents have to report the hardware of their nodes."""

_HINT = (
    "start a cluster with `ray start --head`, set another address with --address, "
    "or run on this host with --executor local"
)


def connect(address: str | None) -> None:
    """Connect to the cluster at ``address``; without one, start Ray on this host.

    :raises ExecutionError: within seconds, if no cluster answers.
    """
    if address is not None:
        _require_answer(address)
    try:
        ray.init(
            address=address or "local",  # None would search for a cluster that may have ended
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="ERROR",
            ignore_reinit_error=True,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ExecutionError(
            f"the Ray cluster at {address or 'this host'} cannot be used: {first_line(error)}",
            hint=_HINT,
        ) from error


def _require_answer(address: str) -> None:
    """Raise unless a cluster answers at ``address``. Ray itself would retry for minutes."""
    if address == "auto":
        address = _recorded_address() or "local"
    if address == "local":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ExecutionError(
            f"{address} is no address of a Ray cluster", hint="use auto or HOST:6379"
        )
    if address.startswith("ray://"):
        raise ExecutionError(
            f"{address} is a Ray Client address. autotune must run on a node of the cluster",
            hint=f"make this host a node: ray start --address={host}:6379 --num-cpus=0, "
            "then use --address auto; or run autotune on a node",
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ExecutionError(f"no Ray cluster answers at {address}: {reason}", hint=_HINT) from None


def _recorded_address() -> str | None:
    """The address of the cluster of which this host last became a node, as Ray has recorded it.
    ``None`` if there is no record; Ray then reports that there is no cluster."""
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    folder = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"  # nosec B108  # the folder of Ray
    try:
        return (folder / "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


class Cluster:
    """The nodes of a cluster, each with an agent of this driver."""

    def __init__(self, address: str | None, modules: Sequence[str]) -> None:
        self._owns_ray = not ray.is_initialized()
        connect(address)
        self.session = Session(secrets.token_hex(4), secrets.token_bytes(32))
        self._modules = tuple(modules)
        self._agents: dict[str, Any] = {}
        self._prestarts: list[Any] = []
        self._sync_lock = threading.Lock()
        self._end = threading.Event()
        self._kill_workers = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="nodes", daemon=True)
        self.sync_agents()
        self.driver_node = self._driver_node()
        self._thread.start()

    def prestart_workers(self, count: int) -> None:
        """Import the modules of the trials' actors in ``count`` Ray processes, which Ray then
        reuses for these actors."""
        load = ray.remote(importlib.import_module).options(
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(self.driver_node, soft=False),
        )
        module = "autotune.execution.ray.trainable"
        self._prestarts = [load.remote(module) for _ in range(count)]

    def sync_agents(self) -> None:
        """Start agents on nodes that have joined, and forget nodes that have left."""
        with self._sync_lock:
            alive = {node["NodeID"] for node in self.nodes()}
            for node in self._agents.keys() - alive:
                del self._agents[node]
            for node in alive - self._agents.keys():
                self._agents[node] = self._start_agent(node)

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive, as Ray describes them."""
        return [node for node in ray.nodes() if node["Alive"]]

    def agent(self, node: str) -> Any:
        """The agent of a node, by the node's id."""
        return self._agents[node]

    def can_hold(self, job: Job) -> bool:
        return fits(job, self.nodes())

    def hosts(self) -> list[tuple[str | None, Host]]:
        """The hardware of every node, with its class (``None`` if it has none)."""
        self.sync_agents()
        classes = {node["NodeID"]: node["Labels"].get(NODE_CLASS_LABEL) for node in self.nodes()}
        pending = {node: agent.hardware.remote() for node, agent in dict(self._agents).items()}
        hosts = ray.get(list(pending.values()), timeout=INVENTORY_SECONDS)
        return [(classes.get(node), host) for node, host in zip(pending, hosts, strict=True)]

    def close(self) -> None:
        """Kill the agents, and shut down Ray if it was started for this driver."""
        self._end.set()
        self._thread.join()
        self._kill_agents()
        if self._owns_ray:
            ray.shutdown()

    def _start_agent(self, node: str) -> Any:
        return (
            ray.remote(Agent)
            .options(
                name=self.session.agent_name(node),
                num_cpus=0,
                max_restarts=-1,
                max_concurrency=4,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(self.session, self._modules)
        )

    def _driver_node(self) -> str:
        """The node of the driver, or the head node if the driver is on none."""
        node: str = ray.get_runtime_context().get_node_id()
        if node in self._agents:
            return node
        heads = [n["NodeID"] for n in self.nodes() if "node:__internal_head__" in n["Resources"]]
        return str(next(iter([*heads, *self._agents])))

    def kill_workers(self) -> None:
        """Kill all workers by killing their agents. Safe from a signal handler: another thread
        calls Ray."""
        self._kill_workers.set()
        self._end.set()

    def _watch(self) -> None:
        while not self._end.wait(SYNC_INTERVAL_SECONDS):
            self.sync_agents()
        if self._kill_workers.is_set():
            self._kill_agents()

    def _kill_agents(self) -> None:
        while self._agents:
            ray.kill(self._agents.popitem()[1])
