"""Runs jobs against recorded results in simulated time: a search of hours takes seconds.

The outcome of a job is the recorded one of its strategy. Nothing is run and nothing waits:
:class:`SimulatedClock` advances by the recorded seconds, and is the clock of the store and the
search. Several workers are simulated by a queue of events in order of time.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from autotune.domain import (
    PAUSED_AT_STEP,
    CurvePoint,
    FailureReason,
    Infeasible,
    Interrupted,
    Job,
    WorkloadProfile,
)
from autotune.execution.outcomes import STOP_REQUESTED
from autotune.execution.replay.benchmark import TabularBenchmark
from autotune.execution.replay.events import Replay, TimedEvent, replay_events
from autotune.ports import Ask, Evaluate, P, ShouldStop, T, Tell


class SimulatedClock:
    """Returns ``start`` plus ``seconds``; it advances only when ``seconds`` is set."""

    def __init__(self, start: datetime | None = None) -> None:
        self.start = start or datetime.now(UTC)
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)


class ReplayExecutor:
    """``workers`` simulated workers that look up their results in ``benchmark``.

    Pass :attr:`clock` to the store and the tuner, so that trials have their recorded duration, and
    :attr:`workload` to the predictions of memory and time.
    """

    def __init__(self, benchmark: TabularBenchmark, workers: int = 1) -> None:
        self.clock = SimulatedClock()
        self.workload: WorkloadProfile | None = benchmark.workload
        self._benchmark, self._workers = benchmark, workers
        self._stopped = False
        self._paused: dict[str, float] = {}
        """The second at which the trial in a folder was paused."""

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        """Ask for jobs while workers are idle, advance to the next event, tell each outcome;
        return when ``ask`` returns ``None`` and no job is running. ``evaluate`` is not called."""
        order = itertools.count()
        running: list[tuple[float, int, _ReplayedJob]] = []
        while True:
            while not self._stopped and len(running) < self._workers and (job := ask()) is not None:
                replayed = _ReplayedJob(job, self._replay(job), self.clock.seconds)
                heapq.heappush(running, (replayed.next_at, next(order), replayed))
            if self._stopped or not running:
                for _, _, replayed in sorted(running):
                    tell(replayed.job, Interrupted(STOP_REQUESTED))
                return
            self.clock.seconds, _, replayed = heapq.heappop(running)
            if isinstance(replayed.event, CurvePoint):
                replayed.advance(should_stop(replayed.job, replayed.event))
                heapq.heappush(running, (replayed.next_at, next(order), replayed))
            else:
                if PAUSED_AT_STEP in replayed.event.result.environment:
                    self._paused[replayed.job.directory] = replayed.seconds
                tell(replayed.job, replayed.event)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` in this process: there are no workers."""
        return function(*args, **kwargs)

    def stop(self) -> None:
        """End running jobs now (reported as ``Interrupted``) and start no more."""
        self._stopped = True

    def close(self) -> None:
        """Do nothing: there are no processes to end."""

    def _replay(self, job: Job) -> Replay:
        record = self._benchmark.find(job.strategy, job.seed)
        if record is not None:
            paused_at = [self._paused[f] for f in job.continues if f in self._paused]
            return replay_events(record, job, paused_at=paused_at[0] if paused_at else 0.0)
        name = self._benchmark.name
        reason = f"the landscape {name} has no record of this strategy with seed {job.seed}"
        return _immediate(Infeasible(FailureReason.UNSUPPORTED, reason))


class _ReplayedJob:
    """A running job: its next event, and the simulated second of it."""

    def __init__(self, job: Job, replay: Replay, started_at: float) -> None:
        self.job, self._replay, self._started_at = job, replay, started_at
        self._set_next(next(replay))

    def advance(self, answer: str | None) -> None:
        """Answer the point that was reported, and move to the next event."""
        self._set_next(self._replay.send(answer))

    def _set_next(self, timed: TimedEvent) -> None:
        self.seconds, self.event = timed
        self.next_at = self._started_at + self.seconds


def _immediate(outcome: Infeasible) -> Replay:
    yield 0.0, outcome
