"""The actor of a trial: reserves its resources, has workers run it, and forwards their messages.

Ray Tune asks the actor for one result after the other. All actors are alike, whatever the resources
of their trials, and run on the driver's node. So Tune reuses the actor of a trial that has ended,
and a trial with other resources needs no new actor.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.util.placement_group import (
    NODE_ID_LABEL_KEY,
    PlacementGroup,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from autotune.domain import CurvePoint, Interrupted, Job, Outcome
from autotune.execution.ray.agent import AGENT_START_SECONDS, Session, log_tail
from autotune.execution.ray.resources import gpus_per_node, num_nodes, reserve
from autotune.execution.ray.worker_group import NodeAllocation, TrialSpec, WorkerGroup
from autotune.execution.worker import log_path

BATCH_SECONDS = 1.0
"""Points that need no answer are forwarded together, about this often."""

PLACEMENT_POLL_SECONDS = 1
"""How long to wait for resources before the driver is told that there are none yet."""

ACTOR_RESOURCES = {"memory": 100 * 2**20}
"""Resources of the actor itself. No cores: it only waits."""

CONFIG_KEY = "trial"
"""Key of the :class:`TrialConfig` in Tune's configuration of a trial."""


@dataclass(frozen=True)
class TrialConfig:
    """Configuration of a Tune trial: run ``evaluate`` (pickled) on ``job`` for the driver of
    ``session``, from the node ``driver_node``. ``memory_gib`` is that of
    :class:`~autotune.execution.ray.worker_group.TrialSpec`."""

    job: Job
    evaluate: bytes
    session: Session
    driver_node: str
    memory_gib: float | None = None


@dataclass(frozen=True)
class JobResult:
    """The outcome of a job, and the last part of its log from the worker's node."""

    outcome: Outcome
    log: bytes


class RayTrial(tune.Trainable):  # type: ignore[misc]
    """One actor. It runs many jobs, one after the other."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        labels = {NODE_ID_LABEL_KEY: config[CONFIG_KEY].driver_node}
        return tune.PlacementGroupFactory([ACTOR_RESOURCES], bundle_label_selector=[labels])

    def setup(self, config: dict[str, Any]) -> None:
        self._config: TrialConfig = config[CONFIG_KEY]
        self._placement: PlacementGroup | None = None
        self._workers: WorkerGroup | None = None
        self._allocations: list[NodeAllocation] = []
        self._points: list[CurvePoint] = []
        self._advice: str | None = None
        self._at_rung = False

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def take_advice(self, reason: str) -> None:
        """Receive the driver's reason to stop at the last rung."""
        self._advice = reason

    def step(self) -> dict[str, Any]:
        """Wait for resources, then for messages of the trial. A rung is answered at the start of
        the next step."""
        if self._workers is None:
            if self._is_placed():
                self._start()
            return self._result()
        if self._at_rung:
            self._workers.answer(self._advice)
            self._at_rung, self._advice = False, None
        self._serve(self._workers)
        return self._result()

    def cleanup(self) -> None:
        """End the workers if they still run, and release the resources."""
        if self._workers is not None:
            self._workers.end(Interrupted("its actor was stopped"))
        self._release()

    def _result(self) -> dict[str, Any]:
        """What Tune passes to the searcher; ``placed`` says whether the job has its resources."""
        points, self._points = tuple(self._points), []
        ended = self._workers is not None and self._workers.has_ended
        return {
            "placed": self._workers is not None,
            "points": points,
            "done": ended,
            "actor": ray.get_runtime_context().current_actor,
            **({"job_result": self._finish()} if ended else {}),
        }

    def _is_placed(self) -> bool:
        config = self._config
        self._placement = self._placement or reserve(config.job, config.session.name)
        return bool(self._placement.wait(PLACEMENT_POLL_SECONDS))

    def _start(self) -> None:
        config, placement = self._config, self._placement
        assert placement is not None
        node_ids = placement_group_table(placement)["bundles_to_node_id"]
        self._allocations = [
            NodeAllocation(node_ids[index], self._assigned_gpus(placement, index))
            for index in range(num_nodes(config.job))
        ]
        config.session.extend_path()
        spec = TrialSpec(config.job, cloudpickle.loads(config.evaluate), config.memory_gib)
        self._workers = WorkerGroup(spec, config.session, self._allocations)

    def _assigned_gpus(self, placement: PlacementGroup, index: int) -> str | None:
        """``CUDA_VISIBLE_DEVICES`` of a bundle. Only a task in the bundle can see it."""
        if not (count := gpus_per_node(self._config.job)):
            return None
        bundle = PlacementGroupSchedulingStrategy(placement, placement_group_bundle_index=index)
        task = ray.remote(os.getenv).options(num_cpus=0, num_gpus=count, scheduling_strategy=bundle)
        gpus: str = ray.get(task.remote("CUDA_VISIBLE_DEVICES"), timeout=AGENT_START_SECONDS)
        return gpus

    def _serve(self, workers: WorkerGroup) -> None:
        """Serve the workers until there is something to forward."""
        deadline = math.inf
        while not workers.has_ended and not self._at_rung and time.monotonic() < deadline:
            workers.serve(
                self._collect, None if deadline == math.inf else deadline - time.monotonic()
            )
            if self._points and deadline == math.inf:
                deadline = time.monotonic() + BATCH_SECONDS

    def _collect(self, job: Job, point: CurvePoint) -> None:
        self._points.append(point)
        self._at_rung = self._at_rung or bool(point.metrics)

    def _finish(self) -> JobResult:
        """The result of the job, after its resources are released."""
        workers, self._workers = self._workers, None
        assert workers is not None
        try:
            return JobResult(workers.finish(), self._log())
        finally:
            self._release()

    def _log(self) -> bytes:
        """The log, from the node of rank 0 unless its disk is shared."""
        path = log_path(self._config.job)
        if Path(path).exists():
            return log_tail(path)
        agent = ray.get_actor(self._config.session.agent_name(self._allocations[0].node))
        log: bytes = ray.get(agent.log_tail.remote(path), timeout=AGENT_START_SECONDS)
        return log

    def _release(self) -> None:
        if self._placement is not None:
            remove_placement_group(self._placement)
            self._placement = None
