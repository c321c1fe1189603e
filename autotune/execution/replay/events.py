"""What a recorded trial did, told again: whole, only its speed probe, or only its training.

A recording holds whole trials. Where a job leaves a half out, so are the seconds of that half;
:class:`_Times` says which those are, and is the only thing here that was not measured.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from autotune.domain import (
    Completed,
    CurvePoint,
    Failed,
    FailureReason,
    Infeasible,
    Job,
    Measurement,
    Outcome,
    Phase,
    Pruned,
    State,
    TrialResult,
)
from autotune.domain.metrics import METRICS
from autotune.execution import outcomes
from autotune.execution.replay.benchmark import Record

Event = tuple[float, CurvePoint | Outcome]
"""Seconds since the trial began, and what happens then."""

Course = Generator[Event, str | None, None]
"""The moments of a trial in order, an outcome last. A point is answered with what the search said
to it: a reason to stop, or ``None``."""

STEADY_WINDOWS, WINDOW_SECONDS = 3, 0.5
"""How long a probe trains, as in ``trial/profiling.py`` and ``trial/training.py``."""

SPEED = "train_samples_per_second"
"""The point that reports this metric is the end of a probe."""

NON_TRAINING_PHASES = ("4 reference", "6 reference", "8 latency")
"""Phases of a probe in recordings of trials that did not probe first."""


def replay_events(record: Record, job: Job) -> Course:
    """How ``job`` goes by ``record``, within the job's limits."""
    seen = TrialResult(environment={"replayed": True})
    for after, what in _within(job, _moments(record, job)):
        if not isinstance(what, CurvePoint):
            measured = what.result.measurements or seen.measurements
            yield after, replace(what, result=replace(seen, measurements=measured))
            return
        seen = replace(seen, curve=(*seen.curve, what))
        if SPEED in what.metrics:
            seen = replace(seen, measurements=_measured(record, [Phase.PROFILE]))
        reason = yield after, what
        if reason is not None and what.metrics:
            yield after, Pruned(reason, seen)
            return


def _within(job: Job, moments: Iterator[Event]) -> Iterator[Event]:
    """``moments`` up to the job's time limit, where there is one."""
    minutes = job.limits.minutes
    for after, what in moments:
        if minutes is not None and after > minutes * 60:
            yield minutes * 60, outcomes.of_timeout(minutes)
            return
        yield after, what


def _moments(record: Record, job: Job) -> Iterator[Event]:
    """All that ``record`` has to tell of the job's parts."""
    times, limit = _Times.of(record), job.limits.memory_gib
    peak = record.measurements.get("peak_memory_gib")
    if limit is not None and peak is not None and peak.value > limit:
        reason = f"the recorded {peak.value:.2f} GiB are more than the {limit:g} GiB it may take"
        yield times.ready, Infeasible(FailureReason.OUT_OF_MEMORY, reason)
    elif record.state is not State.COMPLETE:
        yield from ((times.at(point.seconds), point) for point in record.curve)
        yield record.seconds, _ended(record)
    else:
        yield from _points(record, job.phases, times)
        measured = _measured(record, job.phases)
        yield times.until_end(job.phases), Completed(TrialResult(measured))


def _points(record: Record, parts: Collection[Phase], times: _Times) -> Iterator[Event]:
    """What is reported along the way: a probe's figures, and the points of a training."""
    figures = {name: m.value for name, m in _measured(record, [Phase.PROFILE]).items()}
    if Phase.TRAIN not in parts:
        if Phase.PROFILE in parts:
            yield times.until_end(parts), _probed(record, times.probe_alone, figures)
        return
    waits, delay = Phase.PROFILE in parts, 0.0
    for point in record.curve:
        if SPEED in point.metrics:
            continue
        if waits and point.seconds > times.probe:
            waits, delay = False, times.probing
            yield times.at(times.probe) + delay, _probed(record, times.probe, figures)
        yield times.at(point.seconds) + delay, point
    if waits:
        yield times.at(times.probe) + times.probing, _probed(record, times.probe, figures)


def _probed(record: Record, seconds: float, figures: Mapping[str, float]) -> CurvePoint:
    """The report of a probe that ended after so many seconds of training."""
    last = record.curve[-1]
    share = min(1.0, seconds / last.seconds)
    step, samples = round(share * last.step), round(share * last.samples)
    return CurvePoint(step, last.total_steps, samples, seconds, None, figures)


def _measured(record: Record, parts: Collection[Phase]) -> dict[str, Measurement]:
    """What a job of these parts measures. The time and price of a whole run are worked out from
    what is known of either part."""
    known = {*parts, *({Phase.RUN} if parts else ())}
    return {n: m for n, m in record.measurements.items() if METRICS[n].phase in known}


def _ended(record: Record) -> Outcome:
    """How a trial ended that did not complete."""
    failure = FailureReason(record.kind or FailureReason.ERROR)
    reason = record.reason or "it did not complete"
    if record.state is State.INFEASIBLE:
        return Infeasible(failure, reason)
    return Failed(failure, reason)


@dataclass(frozen=True)
class _Times:
    """Where a trial's seconds went. ``ready`` is what comes before the first step, and the little
    that all trials do at their end; ``training`` all steps and rungs, ``scale`` its wall-clock by
    second of the curve; ``probing`` what a probe measures beside training, ``judging`` the
    evaluation at the end.

    ``probe`` and ``probe_alone`` are the seconds of the curve by which the probe of a whole trial
    ends, whose rungs end windows early, and a probe after which nothing comes.
    """

    ready: float
    training: float
    scale: float
    probing: float
    judging: float
    probe: float
    probe_alone: float

    @staticmethod
    def of(record: Record) -> _Times:
        phases, curve = record.phases, record.curve
        told = next((point.seconds for point in curve if SPEED in point.metrics), 0.0)
        training = told + phases.get("5 train", 0.0)
        probing = sum(phases.get(name, 0.0) for name in NON_TRAINING_PHASES)
        probing += max(0.0, phases.get("4 probe", 0.0) - told)
        judging = phases.get("6 evaluate", 0.0) + phases.get("7 evaluate", 0.0)
        seconds = curve[-1].seconds if curve else 0.0
        return _Times(
            ready=record.seconds - training - probing - judging,
            training=training,
            scale=training / seconds if seconds else 1.0,
            probing=probing,
            judging=judging,
            probe=told or _probe_ends(curve, rungs=True),
            probe_alone=_probe_ends(curve, rungs=False),
        )

    def at(self, seconds: float) -> float:
        """When a trial that did not probe is so far in its training."""
        return self.ready + seconds * self.scale

    def until_end(self, parts: Collection[Phase]) -> float:
        """How long a trial of these parts takes."""
        if not parts:
            return 0.0
        if Phase.TRAIN not in parts:
            return self.at(self.probe_alone) + self.probing
        extra = self.probing if Phase.PROFILE in parts else 0.0
        return self.ready + self.training + extra + self.judging


def _probe_ends(curve: Sequence[CurvePoint], *, rungs: bool) -> float:
    """The seconds of training after which a probe has its windows: they follow the warm-up, which
    is the first point, and end early at a rung and where training ends."""
    if not curve:
        return 0.0
    reached, end = curve[0].seconds, curve[-1].seconds
    stops = [point.seconds for point in curve if point.metrics and rungs]
    for _ in range(STEADY_WINDOWS):
        due = reached + WINDOW_SECONDS
        reached = min([due, end, *(stop for stop in stops if stop > reached)])
    return reached
