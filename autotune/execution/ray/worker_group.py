"""The workers of one trial: one, or one on each of the nodes that its ranks are spread over."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from autotune.domain import (
    Completed,
    CurvePoint,
    Failed,
    FailureReason,
    Interrupted,
    Job,
    Outcome,
    Pruned,
    TrialResult,
)
from autotune.errors import ExecutionError
from autotune.execution.job import RunningJob
from autotune.execution.memory import MAX_FRACTION_OF_AVAILABLE
from autotune.execution.messages import RankRange, RendezvousPort, RunTrial
from autotune.execution.ray.agent import NodeEndpoint, Session, worker_on
from autotune.execution.spawner import Worker
from autotune.ports import Evaluate, ShouldStop

GRACE_SECONDS = 2.0
"""How long the other workers may take to show which of them is at the root of a failure."""


@dataclass(frozen=True)
class NodeAllocation:
    """A node that a job has got, and which of its GPUs, as ``CUDA_VISIBLE_DEVICES`` names them."""

    node: str
    gpus: str | None = None


@dataclass(frozen=True)
class TrialSpec:
    """What a team does. ``memory_gib`` bounds what a job without a limit of its own may hold on
    each node; without either it is the job's share of the node, by its share of the cores."""

    job: Job
    evaluate: Evaluate
    memory_gib: float | None


class GroupWorker(RunningJob):
    """A running share of a job. Its rungs are answered later, by the driver."""

    def __init__(self, job: Job, worker: Worker) -> None:
        super().__init__(job, worker)
        self.port: int | None = None
        self.outcome: Outcome | None = None
        """What became of it, once it has ended."""

    @property
    def failed(self) -> bool:
        return self.outcome is not None and not isinstance(self.outcome, Completed | Pruned)

    def _handle(self, message: Any, advise: ShouldStop) -> None:
        if isinstance(message, RendezvousPort):
            self.port = message.port
        else:
            super()._handle(message, advise)

    def _forward_progress(self, point: CurvePoint, advise: ShouldStop) -> None:
        advise(self.job, point)


class WorkerGroup:
    """The first member has rank 0, which alone reports."""

    def __init__(self, work: TrialSpec, session: Session, places: Sequence[NodeAllocation]) -> None:
        self._work, self._session, self._places = work, session, places
        self._members: list[GroupWorker] = []
        self._stations: list[NodeEndpoint] = []
        try:
            leader = self._start(None)
            while len(self._members) < len(places) and leader.outcome is None:
                if leader.port is None:
                    self.listen(lambda job, point: None, None)
                else:
                    self._start(leader.port)
        except BaseException:
            self.end(Interrupted("its team did not come together"))
            raise

    @property
    def over(self) -> bool:
        """Whether the leader has ended, or another for whose want all will fail."""
        return self._members[0].outcome is not None or any(m.failed for m in self._members)

    def listen(self, advise: ShouldStop, seconds: float | None) -> None:
        """Serve the workers once there is something to serve, for up to ``seconds``."""
        living = [member for member in self._members if member.outcome is None]
        patience = min(m.seconds_to_deadline() for m in living)
        if seconds is not None:
            patience = min(patience, max(seconds, 0.0))
        sources: list[Connection | int] = [source for m in living for source in m.sources()]
        wait(sources, timeout=None if patience == float("inf") else patience)
        for member in living:
            if member.serve(advise):
                member.outcome = member.finish()

    def answer(self, reason: str | None) -> None:
        self._members[0].answer(reason)

    def finish(self) -> Outcome:
        """End all workers and say what became of the job.

        :raises ExecutionError: a node was lost; the job may be run again.
        """
        until = time.monotonic() + GRACE_SECONDS
        while any(m.outcome is None for m in self._members) and time.monotonic() < until:
            self.listen(lambda job, point: None, until - time.monotonic())
        self.end(Interrupted("another rank failed"))
        outcome = _root([m.outcome for m in self._members if m.outcome is not None])
        if isinstance(outcome, Failed) and outcome.failure == FailureReason.INFRASTRUCTURE:
            raise ExecutionError(outcome.reason)
        leader = self._members[0].outcome
        return outcome if leader is None else replace(outcome, result=self._placed(leader))

    def end(self, outcome: Outcome) -> None:
        """End the workers that still run, with ``outcome``."""
        for member in self._members:
            if member.outcome is None:
                member.end(outcome)
                member.outcome = member.finish()

    def _placed(self, leader: Outcome) -> TrialResult:
        """What the leader saw, with where it came about."""
        nodes = [place.node for place in self._places]
        where = {"node": nodes[0], "hostname": self._stations[0].hostname}
        spread = {"nodes": nodes} if len(nodes) > 1 else {}
        evidence = leader.result
        return replace(evidence, environment={**evidence.environment, **where, **spread})

    def _start(self, port: int | None) -> GroupWorker:
        """Start the next member; ``port`` is where the first one has opened the door."""
        number, count = len(self._members), len(self._places)
        station, worker = worker_on(self._places[number].node, self._session)
        self._stations.append(station)
        job = self._work.job
        ranks = job.resources.processes // count
        meeting = None if port is None else (self._stations[0].address[0], port)
        share = RankRange(number * ranks, ranks, station.address[0], meeting) if count > 1 else None
        cores = job.resources.cores // count
        order = RunTrial(
            _as_seen_there(job, count),
            self._work.evaluate,
            job.limits.memory_gib or self._work.memory_gib or _memory_share(station, cores),
            _environment(self._places[number]),
            cores,
            share,
        )
        worker.connection.send(order)
        self._members.append(GroupWorker(job, worker))
        return self._members[-1]


def _root(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome that explains the others: a lost node, then a worker that ended by itself, before
    an exception, which may be for want of another rank; the leader's where all is well."""

    def depth(outcome: Outcome) -> int:
        match outcome:
            case Failed(FailureReason.INFRASTRUCTURE):
                return 0
            case Failed(FailureReason.ERROR):
                return 2
            case Completed() | Pruned():
                return 3
            case Interrupted():
                return 4
        return 1

    return min(outcomes, key=depth)


def _as_seen_there(job: Job, nodes: int) -> Job:
    """The job with its devices by the numbers that they have where only its own are visible."""
    held = job.resources.devices
    if not any(device.startswith("cuda") for device in held):
        return job
    local = tuple(f"cuda:{place}" for place in range(len(held) // nodes))
    strategy = job.strategy
    if "device" in strategy.values:
        strategy = strategy.with_values(device=local[0])
    return replace(job, strategy=strategy, resources=replace(job.resources, devices=local))


def _memory_share(station: NodeEndpoint, cores: int) -> float:
    return MAX_FRACTION_OF_AVAILABLE * station.memory_gib * min(1.0, cores / station.cores)


def _environment(place: NodeAllocation) -> dict[str, str]:
    """What the worker must know that its forkserver does not: which GPUs Ray gave to this trial."""
    return {} if place.gpus is None else {"CUDA_VISIBLE_DEVICES": place.gpus}
