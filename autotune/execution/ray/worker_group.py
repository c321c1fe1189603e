"""The workers of one trial: one worker, or one on each of the nodes that its ranks run on."""

from __future__ import annotations

import math
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
from autotune.execution.ray.agent import NodeEndpoint, Session, start_worker
from autotune.execution.spawner import Worker
from autotune.ports import Evaluate, ShouldStop

GRACE_SECONDS = 2.0
"""How long the other workers have to report the root cause of a failure before they are killed."""


@dataclass(frozen=True)
class NodeAllocation:
    """A node on which a job has resources, and its GPUs there as ``CUDA_VISIBLE_DEVICES``."""

    node: str
    gpus: str | None = None


@dataclass(frozen=True)
class TrialSpec:
    """What a worker group runs.

    ``memory_gib`` is the memory limit on each node of a job without its own; if both are ``None``,
    the job gets the node's memory in proportion to its cores.
    """

    job: Job
    evaluate: Evaluate
    memory_gib: float | None


class GroupWorker(RunningJob):
    """One worker of a group. The driver answers its rungs later."""

    def __init__(self, job: Job, worker: Worker) -> None:
        super().__init__(job, worker)
        self.port: int | None = None
        self.outcome: Outcome | None = None
        """Set once the worker has ended."""

    @property
    def failed(self) -> bool:
        return self.outcome is not None and not isinstance(self.outcome, Completed | Pruned)

    def _handle(self, message: Any, should_stop: ShouldStop) -> None:
        if isinstance(message, RendezvousPort):
            self.port = message.port
        else:
            super()._handle(message, should_stop)

    def _forward_progress(self, point: CurvePoint, should_stop: ShouldStop) -> None:
        should_stop(self.job, point)


class WorkerGroup:
    """The workers of one trial. The first has rank 0, which alone reports progress."""

    def __init__(
        self, spec: TrialSpec, session: Session, allocations: Sequence[NodeAllocation]
    ) -> None:
        self._spec, self._session, self._allocations = spec, session, allocations
        self._workers: list[GroupWorker] = []
        self._endpoints: list[NodeEndpoint] = []
        try:
            first = self._start(None)
            while len(self._workers) < len(allocations) and first.outcome is None:
                if first.port is None:
                    self.serve(lambda job, point: None, None)
                else:
                    self._start(first.port)
        except BaseException:
            self.end(Interrupted("its worker group could not be started"))
            raise

    @property
    def has_ended(self) -> bool:
        """Whether the first worker has ended, or another has failed, so that all will fail."""
        return self._workers[0].outcome is not None or any(w.failed for w in self._workers)

    def serve(self, should_stop: ShouldStop, seconds: float | None) -> None:
        """Wait for messages of the workers, at most ``seconds``, and handle them."""
        running = [worker for worker in self._workers if worker.outcome is None]
        timeout = min(worker.seconds_to_deadline() for worker in running)
        if seconds is not None:
            timeout = min(timeout, max(seconds, 0.0))
        sources: list[Connection | int] = [s for worker in running for s in worker.sources()]
        wait(sources, timeout=None if timeout == math.inf else timeout)
        for worker in running:
            if worker.serve(should_stop):
                worker.outcome = worker.finish()

    def answer(self, reason: str | None) -> None:
        self._workers[0].answer(reason)

    def finish(self) -> Outcome:
        """End all workers and return the outcome of the job.

        :raises ExecutionError: a node was lost; the job can be run again.
        """
        deadline = time.monotonic() + GRACE_SECONDS
        while any(w.outcome is None for w in self._workers) and time.monotonic() < deadline:
            self.serve(lambda job, point: None, deadline - time.monotonic())
        self.end(Interrupted("another rank failed"))
        outcome = _root_cause([w.outcome for w in self._workers if w.outcome is not None])
        if isinstance(outcome, Failed) and outcome.failure == FailureReason.INFRASTRUCTURE:
            raise ExecutionError(outcome.reason)
        first = self._workers[0].outcome
        if first is None:
            return outcome
        environment = {**outcome.result.environment, **first.result.environment}
        result = replace(first.result, environment=environment)
        return replace(outcome, result=self._with_nodes(result))

    def end(self, outcome: Outcome) -> None:
        """End the workers that still run, with ``outcome``."""
        for worker in self._workers:
            if worker.outcome is None:
                worker.end(outcome)
                worker.outcome = worker.finish()

    def _with_nodes(self, result: TrialResult) -> TrialResult:
        """``result`` with the nodes of the trial in its environment."""
        nodes = [allocation.node for allocation in self._allocations]
        environment = {"node": nodes[0], "hostname": self._endpoints[0].hostname}
        all_nodes = {"nodes": nodes} if len(nodes) > 1 else {}
        return replace(result, environment={**result.environment, **environment, **all_nodes})

    def _start(self, port: int | None) -> GroupWorker:
        """Start the next worker. ``port`` is the rendezvous port of the first one."""
        index, count = len(self._workers), len(self._allocations)
        endpoint, worker = start_worker(self._allocations[index].node, self._session)
        self._endpoints.append(endpoint)
        job = self._spec.job
        size = job.resources.processes // count
        rendezvous = None if port is None else (self._endpoints[0].address[0], port)
        ranks = RankRange(index * size, size, endpoint.address[0], rendezvous)
        cores = job.resources.cores // count
        order = RunTrial(
            _with_local_devices(job, count),
            self._spec.evaluate,
            job.limits.memory_gib or self._spec.memory_gib or _memory_share(endpoint, cores),
            _environment(self._allocations[index]),
            cores,
            ranks if count > 1 else None,
        )
        worker.connection.send(order)
        self._workers.append(GroupWorker(job, worker))
        return self._workers[-1]


def _root_cause(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome that explains the others: a lost node, then a crash or a limit, then an
    exception, which can be the consequence of another rank's failure. If all is well, the first."""

    def priority(outcome: Outcome) -> int:
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

    return min(outcomes, key=priority)


def _with_local_devices(job: Job, nodes: int) -> Job:
    """The job with its devices numbered from 0, as in a process that sees only these devices."""
    devices = job.resources.devices
    if not any(device.startswith("cuda") for device in devices):
        return job
    local = tuple(f"cuda:{index}" for index in range(len(devices) // nodes))
    strategy = job.strategy
    if "device" in strategy.values:
        strategy = strategy.with_values(device=local[0])
    return replace(job, strategy=strategy, resources=replace(job.resources, devices=local))


def _memory_share(endpoint: NodeEndpoint, cores: int) -> float:
    return MAX_FRACTION_OF_AVAILABLE * endpoint.memory_gib * min(1.0, cores / endpoint.cores)


def _environment(allocation: NodeAllocation) -> dict[str, str]:
    """Environment variables that differ from the forkserver's: the GPUs that Ray assigned."""
    return {} if allocation.gpus is None else {"CUDA_VISIBLE_DEVICES": allocation.gpus}
