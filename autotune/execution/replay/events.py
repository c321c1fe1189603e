"""Replays one recorded trial: a complete one, only its profile phase, or only its train phase.

A recording holds complete trials. A job that runs one phase takes the recorded seconds of that
phase; `_Times` derives them, and is the only estimate here. All other values are as measured.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.domain import (
    PAUSED_AT_STEP,
    Completed,
    CurvePoint,
    Failed,
    FailureReason,
    Infeasible,
    Job,
    Measurement,
    Outcome,
    PauseReason,
    Phase,
    Pruned,
    State,
    TrialResult,
)
from autotune.domain.metrics import METRICS
from autotune.execution import outcomes
from autotune.execution.replay.benchmark import Record

TimedEvent = tuple[float, CurvePoint | Outcome]
"""Seconds since the start of the trial, and the point or outcome reported then."""

Replay = Generator[TimedEvent, str | None, None]
"""The events of a trial in order of time; the last one is the outcome. The answer to each point is
sent in: a reason to stop, or ``None``."""

PROFILE_WINDOWS, PROFILE_WINDOW_SECONDS = 3, 0.5
"""Timing windows of the profile phase after warm-up, as in ``autotune/trial/profiling.py``."""

SPEED = "train_samples_per_second"
"""The point that reports this metric ends the profile phase."""

NON_TRAINING_PHASES = ("4 reference", "6 reference", "8 latency")
"""Steps of the profile phase in recordings of trials that did not profile before training."""


def replay_events(record: Record, job: Job, *, paused_at: float = 0.0) -> Replay:
    """The events of ``job`` according to ``record``, within the job's limits.

    ``paused_at``: the second at which an earlier trial was paused that this one continues.
    """
    result = TrialResult(environment={"replayed": True})
    for seconds, event in _within_time_limit(job, _continued(record, job, paused_at)):
        if not isinstance(event, CurvePoint):
            measurements = event.result.measurements or result.measurements
            yield seconds, replace(event, result=replace(result, measurements=measurements))
            return
        result = replace(result, curve=(*result.curve, event))
        if SPEED in event.metrics:
            result = replace(result, measurements=_measurements(record, [Phase.PROFILE]))
        reason = yield seconds, event
        if reason is not None and event.metrics:
            if isinstance(reason, PauseReason):
                environment = {**result.environment, PAUSED_AT_STEP: event.step}
                result = replace(result, environment=environment)
            yield seconds, Pruned(reason, result)
            return


def _continued(record: Record, job: Job, paused_at: float) -> Iterator[TimedEvent]:
    """The events of a job whose training continues where it was after ``paused_at`` seconds: as
    soon as the model is set up again."""
    setup = _Times.from_record(record).setup if paused_at else 0.0
    for seconds, event in _events(record, job):
        yield setup + max(0.0, seconds - paused_at), event


def _within_time_limit(job: Job, events: Iterator[TimedEvent]) -> Iterator[TimedEvent]:
    """``events`` up to the job's time limit, and a timeout if they exceed it."""
    minutes = job.limits.minutes
    for seconds, event in events:
        if minutes is not None and seconds > minutes * 60:
            yield minutes * 60, outcomes.of_timeout(minutes)
            return
        yield seconds, event


def _events(record: Record, job: Job) -> Iterator[TimedEvent]:
    """The recorded events of the job's phases, without a time limit."""
    times, limit = _Times.from_record(record), job.limits.memory_gib
    peak = record.measurements.get("peak_memory_gib")
    if limit is not None and peak is not None and peak.value > limit:
        reason = f"the recorded peak of {peak.value:.2f} GiB exceeds the limit of {limit:g} GiB"
        yield times.setup, Infeasible(FailureReason.OUT_OF_MEMORY, reason)
    elif record.state is not State.COMPLETE:
        yield from ((times.at(point.seconds), point) for point in record.curve)
        yield record.seconds, _failed_outcome(record)
    else:
        yield from _points(record, job.phases, times)
        result = TrialResult(_measurements(record, job.phases))
        yield times.total(job.phases), Completed(result)


def _points(record: Record, phases: Collection[Phase], times: _Times) -> Iterator[TimedEvent]:
    """The points reported on the way: the result of the profile phase, and the training curve."""
    metrics = {name: m.value for name, m in _measurements(record, [Phase.PROFILE]).items()}
    if Phase.TRAIN not in phases:
        if Phase.PROFILE in phases:
            seconds = times.windows_without_rungs
            yield times.total(phases), _profile_point(record, seconds, metrics)
        return
    pending, delay = Phase.PROFILE in phases, 0.0
    for point in record.curve:
        if SPEED in point.metrics:
            continue
        if pending and point.seconds > times.windows:
            pending, delay = False, times.profiling
            yield times.at(times.windows) + delay, _profile_point(record, times.windows, metrics)
        yield times.at(point.seconds) + delay, point
    if pending:
        seconds = times.at(times.windows) + times.profiling
        yield seconds, _profile_point(record, times.windows, metrics)


def _profile_point(record: Record, seconds: float, metrics: Mapping[str, float]) -> CurvePoint:
    """The point at the end of the profile phase, after ``seconds`` of training."""
    last = record.curve[-1]
    progress = min(1.0, seconds / last.seconds)
    step, samples = round(progress * last.step), round(progress * last.samples)
    return CurvePoint(step, last.total_steps, samples, seconds, None, metrics)


def _measurements(record: Record, phases: Collection[Phase]) -> dict[str, Measurement]:
    """The measurements of a job with these phases. Time and money of the full training run follow
    from either phase."""
    measured = {*phases, *({Phase.RUN} if phases else ())}
    return {n: m for n, m in record.measurements.items() if METRICS[n].phase in measured}


def _failed_outcome(record: Record) -> Outcome:
    """The outcome of a recorded trial that did not complete."""
    failure = FailureReason(record.failure or FailureReason.ERROR)
    reason = record.reason or "it did not complete"
    if record.state is State.INFEASIBLE:
        return Infeasible(failure, reason)
    return Failed(failure, reason)


@dataclass(frozen=True)
class _Times:
    """How the seconds of a recorded trial divide.

    ``setup`` precedes the first step; it includes the little that every trial does at its end.
    ``training`` covers all steps and rungs, ``scale`` is its wall-clock time for each second of the
    learning curve. ``profiling`` is the profile phase without its training steps, ``evaluation``
    the evaluation at the end.

    ``windows`` is the second of the curve at which the timing windows of a complete trial end,
    whose rungs cut windows short; ``windows_without_rungs`` that of a trial without a train phase.
    """

    setup: float
    training: float
    scale: float
    profiling: float
    evaluation: float
    windows: float
    windows_without_rungs: float

    @staticmethod
    def from_record(record: Record) -> _Times:
        phases, curve = record.phases, record.curve
        windows = next((point.seconds for point in curve if SPEED in point.metrics), 0.0)
        training = windows + phases.get("5 train", 0.0)
        profiling = sum(phases.get(name, 0.0) for name in NON_TRAINING_PHASES)
        profiling += max(0.0, phases.get("4 profile", 0.0) - windows)
        evaluation = phases.get("6 evaluate", 0.0) + phases.get("7 evaluate", 0.0)
        curve_seconds = curve[-1].seconds if curve else 0.0
        return _Times(
            setup=record.seconds - training - profiling - evaluation,
            training=training,
            scale=training / curve_seconds if curve_seconds else 1.0,
            profiling=profiling,
            evaluation=evaluation,
            windows=windows or _end_of_windows(curve, rungs=True),
            windows_without_rungs=_end_of_windows(curve, rungs=False),
        )

    def at(self, seconds: float) -> float:
        """When a trial without a profile phase reaches this second of its curve."""
        return self.setup + seconds * self.scale

    def total(self, phases: Collection[Phase]) -> float:
        """The seconds of a trial that runs these phases."""
        if not phases:
            return 0.0
        if Phase.TRAIN not in phases:
            return self.at(self.windows_without_rungs) + self.profiling
        profiling = self.profiling if Phase.PROFILE in phases else 0.0
        return self.setup + self.training + profiling + self.evaluation


def _end_of_windows(curve: Sequence[CurvePoint], *, rungs: bool) -> float:
    """The second of training at which the timing windows are complete. They follow the warm-up,
    which ends at the first point; a rung and the end of training cut a window short."""
    if not curve:
        return 0.0
    reached, end = curve[0].seconds, curve[-1].seconds
    cuts = [point.seconds for point in curve if point.metrics and rungs]
    for _ in range(PROFILE_WINDOWS):
        window_end = reached + PROFILE_WINDOW_SECONDS
        reached = min([window_end, end, *(cut for cut in cuts if cut > reached)])
    return reached
