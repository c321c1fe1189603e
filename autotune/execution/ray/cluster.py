"""The cluster as a driver sees it: reach it, keep an agent on every node, know what nodes hold."""

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
from autotune.errors import ExecutionError
from autotune.execution.ray.agent import Agent, Session
from autotune.execution.ray.parcel import Parcel
from autotune.execution.ray.resources import NODE_CLASS_LABEL, fits

REACH_SECONDS = 5.0
LOOK_SECONDS = 2.0
"""How often the cluster is looked at for nodes that joined."""

READY_SECONDS = 120.0

_HINT = (
    "start a cluster with `ray start --head`, name another with --address, "
    "or run on this machine with --executor local"
)


def connect(address: str | None) -> None:
    """Join the cluster at ``address``; without one, start Ray on this machine.

    :raises ExecutionError: within seconds, where no cluster answers.
    """
    if address is not None:
        _require_answer(address)
    try:
        ray.init(
            address=address or "local",  # None would look for a cluster that may be long gone
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="ERROR",
            ignore_reinit_error=True,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExecutionError(
            f"the Ray cluster at {address or 'this machine'} cannot be used: {reason}", hint=_HINT
        ) from error


def _require_answer(address: str) -> None:
    """Ray itself would go on trying for minutes."""
    if address == "auto":
        address = _noted() or "local"
    if address == "local":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ExecutionError(f"{address} is no address of a Ray cluster", hint="auto or HOST:6379")
    if address.startswith("ray://"):
        raise ExecutionError(
            f"{address} is Ray's door for clients outside the cluster; Ray Tune, whose loop runs "
            "here, has to be on a node",
            hint=f"make this machine one: ray start --address={host}:6379 --num-cpus=0, "
            "then --address auto; or run autotune on a node",
        )
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ExecutionError(f"no Ray cluster answers at {address}: {reason}", hint=_HINT) from None


def _noted() -> str | None:
    """The address of the cluster that this machine was last made a node of, where Ray notes it;
    Ray says well enough that there is none."""
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    folder = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"
    try:
        return (folder / "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


class Cluster:
    """The nodes of a cluster, each with an agent of this driver."""

    def __init__(self, address: str | None, modules: Sequence[str]) -> None:
        self._ours = not ray.is_initialized()
        connect(address)
        self.session = Session(secrets.token_hex(4), secrets.token_bytes(32))
        self._modules = tuple(modules)
        self._agents: dict[str, Any] = {}
        self._warming: list[Any] = []
        self._looking = threading.Lock()
        self._end = threading.Event()
        self._end_work = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="nodes", daemon=True)
        self.sync_agents()
        self.home = self._driver_node()
        self._thread.start()

    def prestart_workers(self, count: int) -> None:
        """Have processes load what the actors of trials need, which Ray then makes them of."""
        load = ray.remote(importlib.import_module).options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(self.home, soft=False)
        )
        self._warming = [load.remote("autotune.execution.ray.trainable") for _ in range(count)]

    def sync_agents(self) -> None:
        """Put agents on nodes that have joined, and forget nodes that have left."""
        with self._looking:
            alive = {node["NodeID"] for node in self.nodes()}
            for gone in self._agents.keys() - alive:
                del self._agents[gone]
            for joined in alive - self._agents.keys():
                self._agents[joined] = self._start(joined)

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that live, as Ray describes them."""
        return [node for node in ray.nodes() if node["Alive"]]

    def agent(self, node: str) -> Any:
        """The agent of a node, by the node's id."""
        return self._agents[node]

    def can_hold(self, job: Job) -> bool:
        return fits(job, self.nodes())

    def hosts(self) -> list[tuple[str | None, Host]]:
        """The hardware of every node, with its class where it has one."""
        self.sync_agents()
        classes = {node["NodeID"]: node["Labels"].get(NODE_CLASS_LABEL) for node in self.nodes()}
        asked = {node: agent.hardware.remote() for node, agent in dict(self._agents).items()}
        found = ray.get(list(asked.values()), timeout=READY_SECONDS)
        return [(classes.get(node), host) for node, host in zip(asked, found, strict=True)]

    def close(self) -> None:
        """Take the agents away, and Ray with them where it was started for this driver."""
        self._end.set()
        self._thread.join()
        self._take_agents_away()
        if self._ours:
            ray.shutdown()

    def _start(self, node: str) -> Any:
        return (
            ray.remote(Agent)
            .options(
                name=self.session.agent(node),
                num_cpus=0,
                max_restarts=-1,
                max_concurrency=4,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(self.session, Parcel.of(self._modules))
        )

    def _driver_node(self) -> str:
        """The node on which the driver runs, or the head where it runs on none."""
        here: str = ray.get_runtime_context().get_node_id()
        if here in self._agents:
            return here
        heads = [n["NodeID"] for n in self.nodes() if "node:__internal_head__" in n["Resources"]]
        return str(next(iter([*heads, *self._agents])))

    def end_work(self) -> None:
        """End all workers at once, by taking the agents away that they came from. Safe from a
        signal handler: Ray itself is asked by another thread."""
        self._end_work.set()
        self._end.set()

    def _watch(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self.sync_agents()
        if self._end_work.is_set():
            self._take_agents_away()

    def _take_agents_away(self) -> None:
        while self._agents:
            ray.kill(self._agents.popitem()[1])
