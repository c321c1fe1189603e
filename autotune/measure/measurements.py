"""Measurements out of raw samples. Units come from the catalogue of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotune.domain import Measurement
from autotune.domain.metrics import METRICS
from autotune.measure import statistics
from autotune.measure.clock import Window


def exact(name: str, value: float) -> Measurement:
    """A number that was read once and has no spread within one run."""
    return Measurement(name, value, METRICS[name].unit)


def sampled(
    name: str,
    estimate: statistics.Estimate,
    samples: Sequence[float],
    warmup: Sequence[float] = (),
) -> Measurement:
    """A value and interval derived from ``samples``."""
    value, ci95 = estimate
    unit = METRICS[name].unit
    return Measurement(name, value, unit, len(samples), ci95, tuple(samples), tuple(warmup))


def throughput(name: str, windows: Sequence[Window]) -> Measurement:
    """Examples per second of the windows after warm-up. A run too short to have any is judged by
    the windows that there are."""
    steady = [window for window in windows if not window.warmup] or list(windows)
    warmup = [window.rate for window in windows if window not in steady]
    estimate = statistics.rate([w.examples for w in steady], [w.seconds for w in steady])
    return sampled(name, estimate, [window.rate for window in steady], warmup)


def product(name: str, first: Measurement, second: Measurement) -> Measurement:
    """Two independent measurements multiplied; their relative half-widths add in quadrature."""
    value = first.value * second.value
    relative = math.hypot(_relative_half(first), _relative_half(second))
    ci95 = None if relative == 0 else (value * (1 - relative), value * (1 + relative))
    return Measurement(name, value, METRICS[name].unit, min(first.n, second.n), ci95)


def _relative_half(of: Measurement) -> float:
    return 0.0 if of.ci95 is None else (of.ci95[1] - of.ci95[0]) / 2 / of.value


def inverse(name: str, numerator: float, of: Measurement) -> Measurement:
    """``numerator`` over ``of``; an interval that reaches zero has no finite inverse."""
    ends = of.ci95
    ci95 = None if ends is None or ends[0] <= 0 else (numerator / ends[1], numerator / ends[0])
    return Measurement(name, numerator / of.value, METRICS[name].unit, of.n, ci95)
