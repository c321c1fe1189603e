"""Estimates and 95% confidence intervals from raw samples of plain floats.

Every worker imports this module, and exported scripts contain a copy of it. ``scipy.stats`` has the
same functions, but importing it costs each worker and rank tens of MiB, and exports a dependency.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from statistics import NormalDist

Interval = tuple[float, float]
Estimate = tuple[float, Interval | None]
"""A value and its 95% interval; ``None`` where one sample gives no interval."""

_T_975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
_BOOTSTRAP_SAMPLES = 400

MIN_WINDOWS = 3
"""Timing windows from which a rate has an interval."""

MAX_LOG_HALF_WIDTH = 50.0


def t_quantile(degrees: int) -> float:
    """The 97.5% quantile of Student's t distribution.

    A table up to 10 degrees of freedom, then the expansion around the normal quantile (Abramowitz
    and Stegun 26.7.5), which is accurate to four digits there.
    """
    if degrees < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, not {degrees}")
    if degrees <= len(_T_975):
        return _T_975[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3


def t_probability(value: float, degrees: float) -> float:
    """The probability that Student's t is at most ``value``.

    Exact for up to 30 degrees of freedom, rounded down (Abramowitz and Stegun 26.7.3 and 26.7.4);
    accurate to 0.0002 beyond (26.7.8); normal with ``inf``.
    """
    if degrees > 30:
        if math.isfinite(degrees):
            value *= (1 - 1 / (4 * degrees)) / math.sqrt(1 + value * value / (2 * degrees))
        return NormalDist().cdf(value)
    count = max(1, int(degrees))
    angle = math.atan(value / math.sqrt(count))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, 0.0) if count % 2 else (1.0, 0.0)
    for power in range(3 if count % 2 else 2, count + 1, 2):
        total += term
        term *= cosine * cosine * (power - 1) / power
    central = 2 / math.pi * (angle + sine * total) if count % 2 else sine * total
    return (1 + central) / 2


def mean(samples: Sequence[float]) -> Estimate:
    """The mean and its t-interval."""
    value = statistics.fmean(samples)
    if len(samples) < 2:
        return value, None
    half = t_quantile(len(samples) - 1) * statistics.stdev(samples) / math.sqrt(len(samples))
    return value, (value - half, value + half)


def rate(amounts: Sequence[float], seconds: Sequence[float]) -> Estimate:
    """Total amount over total time, with the interval of a ratio of means; none for fewer than
    :data:`MIN_WINDOWS`, whose variation says nothing.

    Windows can differ in length: each has weight in proportion to it. The interval is the
    t-interval of the residuals ``amount - rate * seconds`` (the linearised ratio estimator), on the
    scale of the logarithm, since a rate is positive.
    """
    value = sum(amounts) / sum(seconds)
    count = len(amounts)
    if count < MIN_WINDOWS or value <= 0:
        return value, None
    residuals = [a - value * s for a, s in zip(amounts, seconds, strict=True)]
    deviation = math.sqrt(sum(r * r for r in residuals) / (count * (count - 1)))
    half = t_quantile(count - 1) * deviation / statistics.fmean(seconds)
    return value, log_interval(value, half / value)


def log_interval(value: float, relative_half_width: float) -> Interval:
    """The interval of a positive value whose logarithm has this half-width."""
    factor = math.exp(min(relative_half_width, MAX_LOG_HALF_WIDTH))
    return value / factor, value * factor


def percentile(samples: Sequence[float], fraction: float) -> float:
    """The value below which ``fraction`` (0 to 1) of the samples lie, interpolated linearly."""
    ordered = sorted(samples)
    position = fraction * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def quantile(samples: Sequence[float], fraction: float) -> Estimate:
    """The percentile and its bootstrap interval, with a fixed seed."""
    value = percentile(samples, fraction)
    return value, _bootstrap(samples, lambda resample: percentile(resample, fraction))


def median(samples: Sequence[float]) -> Estimate:
    """The median and its bootstrap interval."""
    return quantile(samples, 0.5)


def _bootstrap(
    samples: Sequence[float], statistic: Callable[[Sequence[float]], float]
) -> Interval | None:
    if len(samples) < 3:
        return None
    rng = random.Random(0)
    values = [statistic(rng.choices(samples, k=len(samples))) for _ in range(_BOOTSTRAP_SAMPLES)]
    return percentile(values, 0.025), percentile(values, 0.975)
