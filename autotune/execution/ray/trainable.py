"""The actor of a trial: it reserves what the trial holds, has workers there do the work, and passes
on what they say. Ray Tune asks it for one result after the other.

All these actors are alike, whatever their trials hold, and sit where the driver is; so Tune has the
next trial use the one whose trial has just ended, and a trial of another shape costs no new actor.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.util.placement_group import (
    NODE_ID_LABEL_KEY,
    PlacementGroup,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from autotune.domain import CurvePoint, Interrupted, Job, Outcome
from autotune.execution.ray.agent import PATIENCE_SECONDS, Session, end_of
from autotune.execution.ray.parcel import Parcel
from autotune.execution.ray.resources import gpus, nodes, reserve
from autotune.execution.ray.worker_group import NodeAllocation, TrialSpec, WorkerGroup
from autotune.execution.worker import log_path

BATCH_SECONDS = 1.0
"""Points that need no answer are passed on together, about this often."""

PLACE_SECONDS = 1
"""How long to wait for room before the driver is told that there is none yet."""

ACTOR_RESOURCES = {"memory": 100 * 2**20}
"""What the actor itself takes; no cores, for it only waits."""


@dataclass(frozen=True)
class TrialConfig:
    """What an actor is to do: run ``evaluate`` (packed) on ``job`` for the driver of ``session``,
    from the node ``home``. ``memory_gib`` is that of :class:`~autotune.execution.ray.worker_group.Work`."""

    job: Job
    evaluate: Parcel
    session: Session
    home: str
    memory_gib: float | None = None


@dataclass(frozen=True)
class JobResult:
    """What became of a job, and the end of its log as the worker's node has it."""

    outcome: Outcome
    log: bytes


class RayTrial(tune.Trainable):  # type: ignore[misc]
    """One actor runs many jobs, one after the other."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        home = {NODE_ID_LABEL_KEY: config["order"].home}
        return tune.PlacementGroupFactory([ACTOR_RESOURCES], bundle_label_selector=[home])

    def setup(self, config: dict[str, Any]) -> None:
        self._order: TrialConfig = config["order"]
        self._room: PlacementGroup | None = None
        self._team: WorkerGroup | None = None
        self._places: list[NodeAllocation] = []
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
        """Wait for room, then for news of the trial. A rung is answered when the next step is asked
        for."""
        if self._team is None:
            if self._has_room():
                self._begin()
            return self._news()
        if self._at_rung:
            self._team.answer(self._advice)
            self._at_rung, self._advice = False, None
        self._listen(self._team)
        return self._news()

    def cleanup(self) -> None:
        """End the workers, should they still run, and give back what they held."""
        if self._team is not None:
            self._team.end(Interrupted("its actor was stopped"))
        self._give_back()

    def _news(self) -> dict[str, Any]:
        """``placed`` says whether the job has got what it holds."""
        points, self._points = tuple(self._points), []
        ended = self._team is not None and self._team.over
        news = {"placed": self._team is not None, "points": points, "done": ended}
        actor = ray.get_runtime_context().current_actor
        return {**news, "actor": actor, **({"ending": self._end()} if ended else {})}

    def _has_room(self) -> bool:
        self._room = self._room or reserve(self._order.job, self._order.session.name)
        return bool(self._room.wait(PLACE_SECONDS))

    def _begin(self) -> None:
        order, room = self._order, self._room
        assert room is not None
        found = placement_group_table(room)["bundles_to_node_id"]
        self._places = [
            NodeAllocation(found[index], self._gpus(room, index))
            for index in range(nodes(order.job))
        ]
        work = TrialSpec(order.job, order.evaluate.open(), order.memory_gib)
        self._team = WorkerGroup(work, order.session, self._places)

    def _gpus(self, room: PlacementGroup, index: int) -> str | None:
        """Which GPUs Ray has set aside in a bundle: a task there is told."""
        if not (count := gpus(self._order.job)):
            return None
        there = PlacementGroupSchedulingStrategy(room, placement_group_bundle_index=index)
        ask = ray.remote(os.getenv).options(num_cpus=0, num_gpus=count, scheduling_strategy=there)
        visible: str = ray.get(ask.remote("CUDA_VISIBLE_DEVICES"), timeout=PATIENCE_SECONDS)
        return visible

    def _listen(self, team: WorkerGroup) -> None:
        """Serve the workers until there is something to pass on."""
        until = math.inf
        while not team.over and not self._at_rung and time.monotonic() < until:
            team.listen(self._note, None if until == math.inf else until - time.monotonic())
            if self._points and until == math.inf:
                until = time.monotonic() + BATCH_SECONDS

    def _note(self, job: Job, point: CurvePoint) -> None:
        self._points.append(point)
        self._at_rung = self._at_rung or bool(point.metrics)

    def _end(self) -> JobResult:
        """What became of the job, which holds nothing any more."""
        team, self._team = self._team, None
        assert team is not None
        try:
            return JobResult(team.finish(), self._log())
        finally:
            self._give_back()

    def _log(self) -> bytes:
        """The log, from the node of rank 0 unless its disk is shared."""
        path = log_path(self._order.job)
        if Path(path).exists():
            return end_of(path)
        agent = ray.get_actor(self._order.session.agent(self._places[0].node))
        log: bytes = ray.get(agent.end_of.remote(path), timeout=PATIENCE_SECONDS)
        return log

    def _give_back(self) -> None:
        if self._room is not None:
            remove_placement_group(self._room)
            self._room = None
