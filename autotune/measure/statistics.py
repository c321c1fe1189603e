"""Values and 95% intervals from raw samples. Pure functions over plain floats."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from statistics import NormalDist

Interval = tuple[float, float]
Estimate = tuple[float, Interval | None]
"""A value, and its 95% interval or ``None`` where one sample gives no spread."""

_T_975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
_BOOTSTRAP_DRAWS = 400


def t_quantile(freedom: int) -> float:
    """The 97.5% point of Student's t: a table to 10 degrees of freedom, then the expansion around
    the normal one (Abramowitz and Stegun 26.7.5), which is good to four digits there."""
    if freedom < 1:
        raise ValueError(f"Student's t needs a degree of freedom or more, not {freedom}")
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def mean(samples: Sequence[float]) -> Estimate:
    """The mean and its t-interval."""
    value = statistics.fmean(samples)
    if len(samples) < 2:
        return value, None
    half = t_quantile(len(samples) - 1) * statistics.stdev(samples) / math.sqrt(len(samples))
    return value, (value - half, value + half)


def rate(amounts: Sequence[float], seconds: Sequence[float]) -> Estimate:
    """All work over all time, with the interval of a ratio of means.

    Windows need not last alike: a short last one weighs as little as it is. The interval is the
    t-interval of the residuals ``amount - rate * seconds`` (the linearised ratio estimator).
    """
    value = sum(amounts) / sum(seconds)
    count = len(amounts)
    if count < 2:
        return value, None
    residuals = [a - value * s for a, s in zip(amounts, seconds, strict=True)]
    deviation = math.sqrt(sum(r * r for r in residuals) / (count * (count - 1)))
    half = t_quantile(count - 1) * deviation / statistics.fmean(seconds)
    return value, (value - half, value + half)


def percentile(samples: Sequence[float], share: float) -> float:
    """The point below which ``share`` (0 to 1) of the samples lie, interpolated linearly."""
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def quantile(samples: Sequence[float], share: float) -> Estimate:
    """The percentile and its bootstrap interval, from draws of a fixed seed."""
    value = percentile(samples, share)
    return value, _bootstrap(samples, lambda drawn: percentile(drawn, share))


def median(samples: Sequence[float]) -> Estimate:
    """The median and its bootstrap interval."""
    return quantile(samples, 0.5)


def _bootstrap(
    samples: Sequence[float], statistic: Callable[[Sequence[float]], float]
) -> Interval | None:
    if len(samples) < 3:
        return None
    source = random.Random(0)
    draws = [statistic(source.choices(samples, k=len(samples))) for _ in range(_BOOTSTRAP_DRAWS)]
    return percentile(draws, 0.025), percentile(draws, 0.975)
