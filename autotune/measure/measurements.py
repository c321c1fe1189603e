"""Measurements from raw samples. Their units are those of the metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotune.domain import Measurement
from autotune.domain.metrics import METRICS
from autotune.measure import statistics
from autotune.measure.clock import Window


def exact(name: str, value: float) -> Measurement:
    """A value without a confidence interval, such as a single reading."""
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
    """Samples per second over the steady windows; over all windows if there are none."""
    steady = [window for window in windows if window.is_steady] or list(windows)
    warmup = [window.rate for window in windows if window not in steady]
    estimate = statistics.rate([w.examples for w in steady], [w.seconds for w in steady])
    return sampled(name, estimate, [window.rate for window in steady], warmup)


def product(name: str, first: Measurement, second: Measurement) -> Measurement:
    """Two independent positive measurements multiplied; their relative half-widths add in
    quadrature. Without an interval if ``first`` has none."""
    value = first.value * second.value
    relative = math.hypot(_relative_half_width(first), _relative_half_width(second))
    is_known = first.ci95 is not None and value > 0
    ci95 = statistics.log_interval(value, relative) if is_known else None
    return Measurement(name, value, METRICS[name].unit, min(first.n, second.n), ci95)


def _relative_half_width(measurement: Measurement) -> float:
    """Half the width of the interval, relative to the value; 0 without an interval."""
    if measurement.ci95 is None:
        return 0.0
    low, high = measurement.ci95
    return (high - low) / 2 / measurement.value


def inverse(name: str, numerator: float, denominator: Measurement) -> Measurement:
    """``numerator`` divided by a measurement. Without an interval if that of the denominator
    includes zero."""
    ends = denominator.ci95
    ci95 = None if ends is None or ends[0] <= 0 else (numerator / ends[1], numerator / ends[0])
    value = numerator / denominator.value
    return Measurement(name, value, METRICS[name].unit, denominator.n, ci95)
