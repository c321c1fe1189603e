"""The course of a search over time: who ran when, what was stopped and where, what was foretold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autotune.domain import CurvePoint, State, Trial

SAME_RUNG = 0.05


@dataclass(frozen=True)
class TimelineBar:
    """One trial on the time line. ``lane`` counts trials that ran side by side, from 0."""

    trial: Trial
    lane: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class EarlyStop:
    """A trial that was stopped early, at ``share`` (0..1) of its steps: 0 before any training,
    ``None`` where that was not looked up."""

    trial: Trial
    share: float | None


@dataclass(frozen=True)
class Rung:
    """A point at which trials may be stopped, ``share`` (0..1) into their steps; 0 is the probe,
    before any training. Of the trials ``reached`` so many were ``stopped`` there."""

    share: float
    reached: int
    stopped: int


@dataclass(frozen=True)
class PredictionCheck:
    """A number predicted before the trial ran, its 90% interval, and what was then measured.
    ``metric`` may also be ``seconds``, the time of the whole trial."""

    metric: str
    predicted: float
    measured: float | None
    interval: tuple[float, float] | None = None


def timeline(trials: Sequence[Trial], now: datetime) -> list[TimelineBar]:
    """When each started trial ran, each in the first lane that is free; running ones up to
    ``now``."""
    started = sorted(
        (trial.started_at, trial.number, trial) for trial in trials if trial.started_at is not None
    )
    free: list[datetime] = []
    bars = []
    for start, _, trial in started:
        end = max(trial.finished_at or now, start)
        lane = next((i for i, until in enumerate(free) if until <= start), len(free))
        free[lane : lane + 1] = [end]
        bars.append(TimelineBar(trial, lane, start, end))
    return bars


def early_stops(
    trials: Sequence[Trial], curves: Mapping[int, Sequence[CurvePoint]] | None
) -> list[EarlyStop]:
    """Trials stopped early and how far each had come, by the ``curves`` of all trials that reported
    a point."""
    pruned = [trial for trial in trials if trial.state is State.PRUNED]
    if curves is None:
        return [EarlyStop(trial, None) for trial in pruned]
    return [EarlyStop(trial, _come(curves.get(trial.number, ()))) for trial in pruned]


def _come(curve: Sequence[CurvePoint]) -> float:
    return curve[-1].step / curve[-1].total_steps if curve else 0.0


def rung_counts(trials: Sequence[Trial], curves: Mapping[int, Sequence[CurvePoint]]) -> list[Rung]:
    """The rungs that trials came to, the probe first; shares within 5% count as one rung."""
    reached: Counter[float] = Counter()
    stopped: Counter[float] = Counter()
    for trial in trials:
        if trial.state not in (State.COMPLETE, State.PRUNED, State.RUNNING):
            continue
        curve = curves.get(trial.number, ())
        passed = {_rung(p) for p in curve if p.metrics and p.step < p.total_steps}
        reached.update({0.0, *passed})
        if trial.state is State.PRUNED:
            stopped[max(passed, default=0.0)] += 1
    return [Rung(share, reached[share], stopped[share]) for share in sorted(reached)]


def _rung(point: CurvePoint) -> float:
    return round(point.step / point.total_steps / SAME_RUNG) * SAME_RUNG


def prediction_checks(trial: Trial) -> list[PredictionCheck]:
    """Predictions that the search noted in the trial's environment, beside the measurements."""
    predicted = trial.result.environment.get("predicted")
    if not isinstance(predicted, Mapping):
        return []
    intervals = predicted.get("intervals", {})
    found = []
    for name, value in sorted(predicted.items()):
        if isinstance(value, int | float):
            measured = _seconds(trial) if name == "seconds" else trial.metric(str(name))
            low_high = tuple(intervals[name]) if name in intervals else None
            found.append(PredictionCheck(str(name), float(value), measured, low_high))
    return found


def _seconds(trial: Trial) -> float | None:
    """How long the trial took, where it ran whole."""
    numbers = trial.result.measurements.values()
    whole = trial.state is State.COMPLETE and all(number.source is None for number in numbers)
    return trial.seconds if whole else None
