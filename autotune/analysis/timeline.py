"""The trials of a search over time, where early stopping stopped them, and their predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autotune.analysis.intervals import SPEED
from autotune.domain import CurvePoint, State, Trial, TrialOrigin

RUNG_RESOLUTION = 0.05
"""Rungs are counted together if they round to the same multiple of this share of the steps."""


@dataclass(frozen=True)
class TimelineBar:
    """One trial on the timeline. ``lane`` numbers concurrent trials from 0."""

    trial: Trial
    lane: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class EarlyStop:
    """A trial that was stopped early after ``share`` (0..1) of its steps: 0 before any training,
    ``None`` if its curve was not loaded."""

    trial: Trial
    share: float | None


@dataclass(frozen=True)
class Rung:
    """A point at which trials can be stopped: after ``share`` (0..1) of their steps, 0 after the
    profile phase. ``stopped`` of the ``reached`` trials were stopped there."""

    share: float
    reached: int
    stopped: int


@dataclass(frozen=True)
class PredictionCheck:
    """A value predicted before the trial ran, its 90% interval, and the measured value.
    ``metric`` can also be ``seconds``, the duration of the whole trial."""

    metric: str
    predicted: float
    measured: float | None
    interval: tuple[float, float] | None = None


def timeline(trials: Sequence[Trial], now: datetime) -> list[TimelineBar]:
    """When each started trial ran, each in the first free lane; running trials until ``now``."""
    started = sorted(
        (trial.started_at, trial.number, trial) for trial in trials if trial.started_at is not None
    )
    lane_ends: list[datetime] = []
    bars = []
    for start, _, trial in started:
        end = max(trial.finished_at or now, start)
        free_lanes = (lane for lane, lane_end in enumerate(lane_ends) if lane_end <= start)
        lane = next(free_lanes, len(lane_ends))
        lane_ends[lane : lane + 1] = [end]
        bars.append(TimelineBar(trial, lane, start, end))
    return bars


def early_stops(
    trials: Sequence[Trial], curves: Mapping[int, Sequence[CurvePoint]] | None
) -> list[EarlyStop]:
    """Trials stopped early and their progress; those that went on later were not stopped.
    ``curves`` are those of all trials that reported a point, by number."""
    continued = _continued(trials)
    pruned = [trial for trial in trials if _is_stopped(trial, continued)]
    if curves is None:
        return [EarlyStop(trial, None) for trial in pruned]
    return [EarlyStop(trial, _progress(curves.get(trial.number, ()))) for trial in pruned]


def _continued(trials: Sequence[Trial]) -> set[tuple[str, int]]:
    return {(t.strategy.key, t.seed) for t in trials if t.origin is TrialOrigin.CONTINUED}


def _is_stopped(trial: Trial, continued: Collection[tuple[str, int]]) -> bool:
    is_pruned = trial.state is State.PRUNED
    return is_pruned and (trial.strategy.key, trial.seed) not in continued


def _progress(curve: Sequence[CurvePoint]) -> float:
    return curve[-1].step / curve[-1].total_steps if curve else 0.0


def rung_counts(trials: Sequence[Trial], curves: Mapping[int, Sequence[CurvePoint]]) -> list[Rung]:
    """The rungs that trials reached, in order; rungs nearer than 5% of the steps are merged. The
    profile phase reports no score."""
    continued = _continued(trials)
    reached: Counter[float] = Counter()
    stopped: Counter[float] = Counter()
    for trial in trials:
        if trial.state not in (State.COMPLETE, State.PRUNED, State.RUNNING):
            continue
        curve = curves.get(trial.number, ())
        points = (p for p in curve if p.metrics and SPEED not in p.metrics)
        rungs = {_rung_share(p) for p in points if p.step < p.total_steps}
        reached.update({0.0, *rungs})
        if _is_stopped(trial, continued):
            stopped[max(rungs, default=0.0)] += 1
    return [Rung(share, reached[share], stopped[share]) for share in sorted(reached)]


def _rung_share(point: CurvePoint) -> float:
    return round(point.step / point.total_steps / RUNG_RESOLUTION) * RUNG_RESOLUTION


def prediction_checks(trial: Trial) -> list[PredictionCheck]:
    """The predictions in the trial's environment with the measured values."""
    predicted = trial.result.environment.get("predicted")
    if not isinstance(predicted, Mapping):
        return []
    intervals = predicted.get("intervals", {})
    checks = []
    for name, value in sorted(predicted.items()):
        if isinstance(value, int | float):
            measured = _full_seconds(trial) if name == "seconds" else trial.metric(str(name))
            interval = tuple(intervals[name]) if name in intervals else None
            checks.append(PredictionCheck(str(name), float(value), measured, interval))
    return checks


def _full_seconds(trial: Trial) -> float | None:
    """Duration of the trial if it ran from its beginning, without cached results."""
    if trial.state is not State.COMPLETE or trial.is_continuation:
        return None
    is_full = all(m.source is None for m in trial.result.measurements.values())
    return trial.seconds if is_full else None
