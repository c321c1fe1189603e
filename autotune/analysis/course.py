"""The course of a search over time: who ran when, what was stopped and where, what was foretold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autotune.domain import CurvePoint, State, Trial


@dataclass(frozen=True)
class Bar:
    """One trial on the time line. ``lane`` counts trials that ran side by side, from 0."""

    trial: Trial
    lane: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Stop:
    """A trial that was stopped early, at ``share`` (0..1) of its steps; ``None`` if unknown."""

    trial: Trial
    step: int | None
    share: float | None
    rungs: int


@dataclass(frozen=True)
class Foretold:
    """A number predicted before the trial ran, beside what was then measured."""

    metric: str
    predicted: float
    measured: float | None


def timeline(trials: Sequence[Trial], now: datetime) -> list[Bar]:
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
        bars.append(Bar(trial, lane, start, end))
    return bars


def stops(trials: Sequence[Trial], curves: Mapping[int, Sequence[CurvePoint]]) -> list[Stop]:
    """Trials stopped early and how far each had come; ``rungs`` it had passed by then."""
    found = []
    for trial in trials:
        if trial.state is not State.PRUNED:
            continue
        curve = curves.get(trial.number) or trial.evidence.curve
        last = curve[-1] if curve else None
        share = last.step / last.total_steps if last is not None and last.total_steps else None
        rungs = sum(bool(point.metrics) for point in curve)
        found.append(Stop(trial, None if last is None else last.step, share, rungs))
    return found


def foretold(trial: Trial) -> list[Foretold]:
    """Predictions that the search noted in the trial's environment, beside the measurements."""
    predicted = trial.evidence.environment.get("predicted")
    if not isinstance(predicted, Mapping):
        return []
    return [
        Foretold(str(metric), float(value), trial.metric(str(metric)))
        for metric, value in sorted(predicted.items())
        if isinstance(value, int | float)
    ]
