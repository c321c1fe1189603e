"""What a trial leaves behind: measurements, curves, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """A number with its unit and the raw samples it was derived from.

    ``n`` counts what the value rests on (windows timed, examples judged). ``ci95`` is the 95%
    interval, or ``None`` where one run gives no spread. ``samples`` are steady-state raw values in
    ``unit``; ``warmup`` were recorded but left out. ``source`` is the trial this number was shared
    from, ``None`` where it was measured here.
    """

    name: str
    value: float
    unit: str
    n: int = 1
    ci95: tuple[float, float] | None = None
    samples: tuple[float, ...] = ()
    warmup: tuple[float, ...] = ()
    source: int | None = None


@dataclass(frozen=True)
class CurvePoint:
    """Progress of a running trial: where it is, and what is known there.

    ``loss`` is the mean training loss since the last point. ``metrics`` holds validation scores
    where the trial evaluated at this point; such a point is a rung, at which it may be stopped.
    """

    step: int
    total_steps: int
    samples: int
    seconds: float
    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something worth knowing later that is no number: a phase begun, a fallback taken."""

    at: datetime
    kind: str
    message: str


CONCURRENT_TRIALS = "concurrent_trials"
"""Name in a trial's environment of how many ran beside it; absent where it had the host alone."""


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves behind whatever became of it. ``memory`` is (seconds, GiB) over time."""

    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    memory: tuple[tuple[float, float], ...] = ()
    events: tuple[Event, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    log: str | None = None
