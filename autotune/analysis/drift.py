"""Speeds relative to the reference workload, whose time shows how fast the machine was.

The only place where a speed or time is corrected for drift: a rate is multiplied, and a time
divided, by the time of the reference workload of its trial over that of the default.
"""

from __future__ import annotations

import math
from dataclasses import replace

from autotune.analysis.front import value_of
from autotune.analysis.intervals import UNBOUNDED_KINDS, figure_interval, speed_dependent_share
from autotune.domain import Measurement, Phase, Trial, TrialOrigin
from autotune.domain.metrics import METRICS, MetricKind, get_metric

REFERENCE = "reference_seconds"

MIN_DRIFT = 0.03
"""Relative change of the reference workload from which a text mentions it. Its median varies by
about half of that on a quiet machine."""

RATE_KINDS = (MetricKind.RATE,)
TIME_KINDS = (MetricKind.TIME, MetricKind.MONEY)
"""Kinds of metrics of the profile phase that are proportional to the time of the machine."""
TIMED_KINDS = (*RATE_KINDS, *TIME_KINDS, MetricKind.RELATIVE_RATE, MetricKind.ENERGY)
"""Kinds of metrics that vary from one reading to the next."""


def drift_exponent(metric: str) -> int:
    """1 if a metric is inversely proportional to the time that the machine needs, -1 if it is
    proportional to it, else 0. Metrics of the full run follow from the speed, and have 0."""
    entry = METRICS.get(metric)
    if entry is None or metric == REFERENCE or entry.phase is not Phase.PROFILE:
        return 0
    return 1 if entry.kind in RATE_KINDS else -1 if entry.kind in TIME_KINDS else 0


def log_drift(trial: Trial, default: Trial | None) -> float | None:
    """The logarithm of how much slower the machine was in ``trial`` than in ``default``; ``None``
    if one has no reference workload, or ran on another kind of device, which has another."""
    own, reference = value_of(trial, REFERENCE), value_of(default, REFERENCE)
    if own is None or reference is None or own <= 0 or reference <= 0:
        return None
    if default is None or _device_kind(trial) != _device_kind(default):
        return None
    return math.log(own / reference)


def _device_kind(trial: Trial) -> str:
    """``cuda`` of ``cuda:0``."""
    return str(trial.strategy.values.get("device", "cpu")).partition(":")[0]


def relative_ratio(metric: str, trial: Trial, other: Trial | None) -> float | None:
    """``metric`` of ``trial`` as a multiple of that of ``other``, both at the same speed of the
    machine; ``None`` if one is unknown or zero."""
    value, base = value_of(trial, metric), value_of(other, metric)
    if value is None or base is None or base == 0:
        return None
    return value / base * relative_correction(metric, trial, other)


def relative_correction(metric: str, trial: Trial, other: Trial | None) -> float:
    """The factor by which ``metric`` of ``trial`` is multiplied to be what it were at the speed
    that the machine had in ``other``; 1 without a reference workload."""
    drift, share = log_drift(trial, other) or 0.0, speed_dependent_share(trial, metric)
    if share:
        return 1 - share + share * math.exp(-drift)
    return math.exp(drift_exponent(metric) * drift)


def correct_drift(trial: Trial, default: Trial | None) -> Trial:
    """``trial`` with the rates, times and costs that it would have at the speed that the machine
    had in ``default``; unchanged without a reference workload in both, or from another host."""
    if default is None or trial.origin is TrialOrigin.TRANSFERRED:
        return trial
    measurements = {
        name: _scale(measurement, relative_correction(name, trial, default))
        for name, measurement in trial.result.measurements.items()
    }
    return replace(trial, result=replace(trial.result, measurements=measurements))


def _scale(measurement: Measurement, factor: float) -> Measurement:
    ends = measurement.ci95
    ci95 = None if ends is None else (factor * ends[0], factor * ends[1])
    return replace(measurement, value=factor * measurement.value, ci95=ci95)


def has_drifted(trial: Trial, default: Trial | None) -> bool:
    """Whether the machine was noticeably slower or faster in ``trial`` than in ``default``."""
    drift = log_drift(trial, default)
    return drift is not None and abs(drift) > MIN_DRIFT


def is_clear_difference(metric: str, trial: Trial, other: Trial) -> bool:
    """Whether ``metric`` of two trials is clearly different, or clearly equal: it differs by more
    than the errors of both measurements, at the same speed of the machine, or both are exact and
    equal. Scores and what depends on time may always differ by chance if they have no interval;
    other figures without one are exact."""
    if trial.number == other.number:
        return True
    entry = get_metric(metric)
    values, errors = [], []
    for run, correction in ((trial, relative_correction(metric, trial, other)), (other, 1.0)):
        value, ends = value_of(run, metric), figure_interval(run, metric).ci95
        if value is None or (ends is None and (entry.kind in TIMED_KINDS or entry.is_score)):
            return False
        points = [correction * point for point in (value, *(ends or (value, value)))]
        if entry.kind not in UNBOUNDED_KINDS:
            if min(points) <= 0:
                return False
            points = [math.log(point) for point in points]
        values.append(points[0])
        errors.append((points[2] - points[1]) / 2)
    error = math.hypot(*errors)
    return error == 0 or abs(values[0] - values[1]) > error
