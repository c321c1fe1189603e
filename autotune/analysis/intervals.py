"""The 95% interval of each figure of a trial, or why it has none.

Results of earlier versions can have intervals that are not possible, such as a speed below zero:
they are read on the scale of the logarithm, or left out if they come from too few windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotune.analysis.front import value_of
from autotune.domain import Measurement, Phase, Trial
from autotune.domain.metrics import METRICS, MetricKind, get_metric
from autotune.measure.statistics import MIN_WINDOWS, log_interval

SPEED = "train_samples_per_second"

EXACT_METRICS = ("model_size_mib", "size_mb", "train_samples")

WINDOW_KINDS = (MetricKind.RATE, MetricKind.RELATIVE_RATE)
"""Kinds of metrics whose ``n`` counts timing windows."""

UNBOUNDED_KINDS = (MetricKind.SHARE, MetricKind.CORRELATION)
"""Kinds of metrics that are not positive quantities."""


@dataclass(frozen=True)
class Interval:
    """The interval of a figure; ``reason`` says why it has none."""

    ci95: tuple[float, float] | None
    reason: str | None = None


def figure_interval(trial: Trial, metric: str) -> Interval:
    """The interval of ``metric`` within the run of ``trial``, which measured it."""
    measurement = trial.result.measurements[metric]
    if measurement.ci95 is not None:
        return _possible_interval(measurement)
    if get_metric(metric).phase is Phase.RUN and metric in METRICS:
        return _run_interval(trial, metric)
    return Interval(None, _missing_reason(measurement))


def speed_dependent_share(trial: Trial, metric: str) -> float:
    """The share of a metric of the full run that is inversely proportional to the training speed:
    the time after setup."""
    if metric not in METRICS or METRICS[metric].phase is not Phase.RUN:
        return 0.0
    seconds, setup = value_of(trial, "train_seconds"), value_of(trial, "setup_seconds")
    return max(1 - (setup or 0.0) / seconds, 0.0) if seconds else 1.0


def _possible_interval(measurement: Measurement) -> Interval:
    metric, (low, high) = get_metric(measurement.name), measurement.ci95 or (0.0, 0.0)
    if metric.kind in WINDOW_KINDS and measurement.n < MIN_WINDOWS:
        return Interval(None, _few_windows(measurement.n))
    if metric.kind in UNBOUNDED_KINDS or low > 0 or measurement.value <= 0:
        return Interval((low, high))
    half = (high - low) / 2 / measurement.value
    return Interval(log_interval(measurement.value, half))


def _run_interval(trial: Trial, metric: str) -> Interval:
    """The interval of time, cost or energy that follows from the interval of the speed."""
    speed, value = trial.result.measurements.get(SPEED), trial.result.measurements[metric].value
    if speed is None or not math.isfinite(speed.value):
        return Interval(None, "no training speed was measured, from which it follows")
    ends, reason = figure_interval(trial, SPEED).ci95, figure_interval(trial, SPEED).reason
    if ends is None:
        return Interval(None, f"follows from the training speed: {reason}")
    share = speed_dependent_share(trial, metric)
    low, high = (value * (1 + share * (speed.value / end - 1)) for end in reversed(ends))
    return Interval((low, high)) if share else Interval(None, "does not depend on the speed")


def _few_windows(count: int) -> str:
    return f"{count} timing window{'s' * (count != 1)}, fewer than {MIN_WINDOWS}"


def _missing_reason(measurement: Measurement) -> str:
    metric = get_metric(measurement.name)
    if measurement.name in EXACT_METRICS:
        return "counted, not estimated"
    if metric.kind in WINDOW_KINDS:
        return _few_windows(measurement.n)
    if metric.kind is MetricKind.MEMORY:
        return "one peak of one run"
    if metric.is_score:
        return "one evaluation without an estimate of its error"
    return "a single reading of one run"
