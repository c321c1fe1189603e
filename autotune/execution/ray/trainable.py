"""The actor of a trial: it sits in the trial's placement group, has a worker do the work, and
passes on what the worker says. Ray Tune asks it for one result after the other."""

from __future__ import annotations

import math
import os
import socket
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import ray
from ray import tune

from autotune.domain import CurvePoint, Failed, Job, Outcome
from autotune.errors import ExecutionError
from autotune.execution.memory import SHARE_OF_AVAILABLE
from autotune.execution.messages import RunTrial
from autotune.execution.ray.agent import worker_here
from autotune.execution.ray.cores import Cores
from autotune.execution.ray.parcel import Parcel
from autotune.execution.ray.shape import placement
from autotune.execution.running import Running
from autotune.execution.seats import usable_cores
from autotune.execution.worker import log_path
from autotune.hardware.host import memory_gib
from autotune.ports import Advise

BATCH_SECONDS = 1.0
"""Points that need no answer are passed on together, about this often."""

LOG_BYTES = 4 * 2**20
"""The end of a trial's log that travels back to the driver."""


@dataclass(frozen=True)
class Order:
    """What an actor is to do: run ``evaluate`` (packed) on ``job`` for the driver of ``session``.

    ``memory_gib`` bounds a job without a limit of its own; without either it is the job's share of
    the node, by its share of the cores.
    """

    job: Job
    evaluate: Parcel
    session: str
    memory_gib: float | None = None


@dataclass(frozen=True)
class Ending:
    """What became of a job, and the end of its log as the worker's node has it."""

    outcome: Outcome
    log: bytes


class Relayed(Running):
    """A running job whose rungs are answered later, by the driver."""

    def _consult(self, point: CurvePoint, advise: Advise) -> None:
        advise(self.job, point)


class RayTrial(tune.Trainable):  # type: ignore[misc]
    """One actor may run many jobs of one shape, one after the other."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return placement(config["order"].job)

    def setup(self, config: dict[str, Any]) -> None:
        self._order: Order = config["order"]
        self._running: Relayed | None = None
        self._cores: Cores | None = None
        self._points: list[CurvePoint] = []
        self._advice: str | None = None
        self._at_rung = False

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def take_advice(self, reason: str) -> None:
        """The driver's reason to stop at the rung that was passed on last."""
        self._advice = reason

    def step(self) -> dict[str, Any]:
        """Wait for news of the trial. A rung is answered when the next step is asked for."""
        running = self._running = self._running or self._begin()
        if self._at_rung:
            running.answer(self._advice)
            self._at_rung, self._advice = False, None
        ended = self._listen(running)
        points, self._points = tuple(self._points), []
        news = {"points": points, "actor": ray.get_runtime_context().current_actor, "done": ended}
        return {**news, "ending": self._end(running)} if ended else news

    def cleanup(self) -> None:
        """End the worker, should it still run."""
        if self._running is not None:
            self._end(self._running, Failed("infrastructure", "its actor was stopped"))

    def _begin(self) -> Relayed:
        order = self._order
        cores = usable_cores()
        self._cores = Cores(cores, order.job.resources.cores)
        job = replace(order.job, cores=self._cores.ids)
        share = min(1.0, job.resources.cores / len(cores))
        fair = SHARE_OF_AVAILABLE * memory_gib() * share
        memory = job.limits.memory_gib or order.memory_gib or fair
        worker = worker_here(order.session, ray.get_runtime_context().get_node_id())
        worker.connection.send(RunTrial(job, order.evaluate.open(), memory, _environment()))
        return Relayed(job, worker)

    def _listen(self, running: Relayed) -> bool:
        """Serve the worker until there is something to pass on; whether it has ended."""
        until = math.inf
        while True:
            patience = min(running.patience(), until - time.monotonic())
            wait(running.sources(), timeout=None if patience == math.inf else max(patience, 0.0))
            if running.serve(self._note):
                return True
            if self._points and until == math.inf:
                until = time.monotonic() + BATCH_SECONDS
            if self._at_rung or time.monotonic() >= until:
                return False

    def _note(self, job: Job, point: CurvePoint) -> None:
        self._points.append(point)
        self._at_rung = self._at_rung or bool(point.metrics)

    def _end(self, running: Relayed, otherwise: Outcome | None = None) -> Ending:
        """End the worker and free its cores; what became of the job."""
        self._running = None
        if otherwise is not None:
            running.end(otherwise)
        outcome = running.finish()
        if self._cores is not None:
            self._cores.give_back()
        if otherwise is None and isinstance(outcome, Failed) and outcome.kind == "infrastructure":
            raise ExecutionError(outcome.reason)  # Tune shall know it as an error, to run it again
        return Ending(_placed(outcome), _end_of(log_path(running.job)))


def _placed(outcome: Outcome) -> Outcome:
    """``outcome`` with the node that it came about on."""
    evidence = outcome.evidence
    node = ray.get_runtime_context().get_node_id()
    environment = {**evidence.environment, "node": node, "hostname": socket.gethostname()}
    return replace(outcome, evidence=replace(evidence, environment=environment))


def _environment() -> dict[str, str]:
    """What the worker must know that its forkserver does not: which GPUs Ray gave to this trial."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}


def _end_of(path: str) -> bytes:
    try:
        with Path(path).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_BYTES))
            return log.read()
    except FileNotFoundError:
        return b""
