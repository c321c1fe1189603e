"""`RunningJob`: one job and its worker, from start to outcome."""

from __future__ import annotations

import contextlib
import math
import time
from multiprocessing.connection import Connection
from typing import Any

from autotune.domain import CurvePoint, Job, Outcome
from autotune.execution import outcomes
from autotune.execution.messages import Ended, MemorySamples, Raised
from autotune.execution.spawner import Worker
from autotune.execution.worker import log_path
from autotune.ports import ShouldStop

MAX_MEMORY_SAMPLES = 1000


class RunningJob:
    """A job and its worker. What the worker reported is kept, however the job ends."""

    def __init__(self, job: Job, worker: Worker) -> None:
        self.job = job
        self.concurrent_jobs = 0
        """The maximum number of other jobs that ran on this host at the same time."""
        self._worker = worker
        self._connected = True
        self._outcome: Outcome | None = None
        self._curve: list[CurvePoint] = []
        self._memory: list[tuple[float, float]] = []
        minutes = job.limits.minutes
        self._deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def sources(self) -> list[Connection | int]:
        """The descriptors that become readable when :meth:`serve` has something to do."""
        return [self._worker.status, *([self._worker.connection] if self._connected else [])]

    def seconds_to_deadline(self) -> float:
        """Seconds until the time limit; infinite without one."""
        if self._outcome is not None:
            return math.inf
        return max(0.0, self._deadline - time.monotonic())

    def serve(self, should_stop: ShouldStop) -> bool:
        """Receive the worker's messages and enforce its time limit. Returns whether it has
        ended."""
        ended = self._worker.ended()  # before reading: all messages sent earlier are then there
        while self._connected and self._worker.connection.poll():
            self._receive(should_stop)
        if not ended and time.monotonic() >= self._deadline:
            self.end(outcomes.of_timeout(self.job.limits.minutes or 0.0))
        return ended

    def end(self, outcome: Outcome) -> None:
        """Kill the worker. ``outcome`` applies unless the job already has an outcome."""
        self._outcome = self._outcome or outcome
        self._worker.kill()

    def finish(self) -> Outcome:
        """Wait for the end of the worker and return the outcome, with all that was reported."""
        code = self._worker.collect()
        log = log_path(self.job)
        outcome = self._outcome or outcomes.of_exit(code, log)
        outcome = outcomes.with_result(outcome, self._curve, self._memory, log)
        if self.concurrent_jobs:
            return outcomes.mark_concurrent(outcome, self.concurrent_jobs)
        return outcome

    def _receive(self, should_stop: ShouldStop) -> None:
        try:
            self._handle(self._worker.connection.recv(), should_stop)
        except (EOFError, ConnectionError, TimeoutError):
            self._connected = False

    def _handle(self, message: Any, should_stop: ShouldStop) -> None:
        match message:
            case CurvePoint():
                self._curve.append(message)
                self._forward_progress(message, should_stop)
            case MemorySamples(samples):
                self._memory = _decimate([*self._memory, *samples])
            case Ended(outcome):
                self.end(outcome)  # the worker, and what it started, have nothing left to do
            case Raised(error):
                self.end(outcomes.of_exception(error, None))

    def _forward_progress(self, point: CurvePoint, should_stop: ShouldStop) -> None:
        reason = should_stop(self.job, point)
        if point.metrics:
            self.answer(reason)

    def answer(self, reason: str | None) -> None:
        """Answer a rung: ``None`` to continue, or a reason to stop."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._worker.connection.send(reason)


def _decimate(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most :data:`MAX_MEMORY_SAMPLES`: above that, keep the larger of every two neighbours."""
    if len(samples) <= MAX_MEMORY_SAMPLES:
        return samples
    pairs = zip(samples[::2], [*samples[1::2], samples[-1]], strict=False)
    return [max(pair, key=lambda sample: sample[1]) for pair in pairs]
