"""Runs jobs against a recorded landscape, in simulated time: a search of hours takes seconds.

A job is answered with what its strategy did when it was really run. Nothing runs and nobody waits:
:class:`Clock` says how long it would have taken, and is the clock of the store and of the search
meanwhile. Several workers are simulated by a queue of events in order of time.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar

from autotune.domain import CurvePoint, FailureReason, Infeasible, Interrupted, Job, WorkloadProfile
from autotune.execution.replay.benchmark import TabularBenchmark
from autotune.execution.replay.events import Course, Event, replay_events
from autotune.ports import Ask, Evaluate, ShouldStop, Tell

P = ParamSpec("P")
T = TypeVar("T")

STOPPED = "stopped on request"


class Clock:
    """A clock that stands still until its ``seconds`` since ``start`` are set. Call it for the
    time."""

    def __init__(self, start: datetime | None = None) -> None:
        self.start = start or datetime.now(UTC)
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)


class ReplayExecutor:
    """``workers`` simulated workers, who find all work done in ``landscape``.

    Give :attr:`clock` to the store and to the tuner, so that trials take the time they took, and
    :attr:`workload` to what predicts.
    """

    def __init__(self, landscape: TabularBenchmark, workers: int = 1) -> None:
        self.clock = Clock()
        self.workload: WorkloadProfile | None = landscape.anatomy
        self._landscape, self._workers = landscape, workers
        self._stopped = False

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, advise: ShouldStop) -> None:
        """Ask for jobs while a worker is free, let the next thing happen, tell each outcome;
        return when ``ask`` has nothing and nothing is running. ``evaluate`` is not called."""
        order = itertools.count()
        running: list[tuple[float, int, _Running]] = []
        while True:
            while not self._stopped and len(running) < self._workers and (job := ask()) is not None:
                run = _Running(job, self._course(job), self.clock.seconds)
                heapq.heappush(running, (run.next_at, next(order), run))
            if self._stopped or not running:
                for _, _, run in sorted(running):
                    tell(run.job, Interrupted(STOPPED))
                return
            self.clock.seconds, _, run = heapq.heappop(running)
            if isinstance(run.what, CurvePoint):
                run.advance(advise(run.job, run.what))
                heapq.heappush(running, (run.next_at, next(order), run))
            else:
                tell(run.job, run.what)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` here: there are no workers."""
        return function(*args, **kwargs)

    def stop(self) -> None:
        """End running jobs now (told as ``Interrupted``) and start no more."""
        self._stopped = True

    def close(self) -> None:
        """There is nothing to close."""

    def _course(self, job: Job) -> Course:
        record = self._landscape.find(job.strategy, job.seed)
        if record is not None:
            return replay_events(record, job)
        reason = f"the landscape {self._landscape.name} holds no such strategy of seed {job.seed}"
        return _at_once(Infeasible(FailureReason.UNSUPPORTED, reason))


class _Running:
    """A job while it is replayed: what happens next, and when."""

    def __init__(self, job: Job, course: Course, started: float) -> None:
        self.job, self._course, self._started = job, course, started
        self._take(next(course))

    def advance(self, answer: str | None) -> None:
        """Answer the point that was reported."""
        self._take(self._course.send(answer))

    def _take(self, moment: Event) -> None:
        after, self.what = moment
        self.next_at = self._started + after


def _at_once(outcome: Infeasible) -> Course:
    yield 0.0, outcome
