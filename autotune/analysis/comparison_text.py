"""A strategy against the default in words: ``3.1x faster (2.4x to 3.9x)``.

A difference whose 95% interval contains none is never stated as a gain or a loss.
"""

from __future__ import annotations

from autotune.analysis.metric_posterior import Comparison
from autotune.analysis.text import (
    UNCLEAR,
    comparison_phrase,
    conjunction,
    format_ratio,
)
from autotune.domain.metrics import Metric, get_metric

MIN_INTERVAL = 0.0005
"""Narrower intervals, of shares or relative, are not printed: the value is exact."""


def describe_comparison(comparison: Comparison, default_name: str = "") -> str:
    """``3.1x faster than the default (2.4x to 3.9x)``; without ``default_name`` ``3.1x faster
    (2.4x to 3.9x)``; ``no clear difference in accuracy`` if the interval contains none."""
    phrase, interval = describe_value(comparison), describe_interval(comparison)
    if default_name:
        phrase = f"{phrase} {conjunction(phrase)} {default_name}"
    return f"{phrase} ({interval})" if interval else phrase


def describe_value(comparison: Comparison) -> str:
    """``3.1x faster``, or ``no clear difference in training speed``."""
    metric = get_metric(comparison.metric)
    if describe_interval(comparison) and not comparison.is_clear:
        return f"no clear difference in {metric.label}"
    if comparison.is_ratio or metric.is_ratio:
        return comparison_phrase(metric, comparison.value, 1.0 if comparison.is_ratio else 0.0)
    value = comparison.value
    return f"{abs(value):.4g} {'higher' if value > 0 else 'lower'} {metric.label}"


def describe_interval(comparison: Comparison) -> str:
    """The interval in the unit of the phrase; empty if the value is exact."""
    metric, (low, high) = get_metric(comparison.metric), comparison.ci95
    if not comparison.is_ratio:
        return _difference_interval(metric, comparison)
    if high / low - 1 < 2 * MIN_INTERVAL:
        return ""
    if metric.comparison == "faster":
        is_slower = comparison.is_clear and (low > 1) == (metric.direction == "minimize")
        if is_slower == (metric.direction == "maximize"):
            low, high = 1 / high, 1 / low
    elif not comparison.is_clear:
        return f"{low - 1:+.0%} to {high - 1:+.0%}"
    elif comparison.value < 2:
        first, second = sorted((abs(low - 1), abs(high - 1)))
        return f"{first:.0%} to {second:.0%}"
    return f"{format_ratio(low)} to {format_ratio(high)}"


def describe_factor(comparison: Comparison) -> str:
    """``3.1x (2.4x to 3.9x)``, of scores ``+0.4 points (+0.1 to +0.7)``, or ``no clear difference
    (0.90x to 1.20x)``."""
    if comparison.is_clear or not describe_interval(comparison):
        return describe_contribution(comparison)
    return f"no clear difference ({_factor_interval(comparison)})"


def describe_contribution(comparison: Comparison) -> str:
    """With its interval, also if that contains no difference: ``1.7x (1.5x to 1.9x)`` or ``-0.3
    points (-0.8 to +0.2)``."""
    return f"{format_factor(comparison)} ({_factor_interval(comparison)})"


def format_factor(comparison: Comparison) -> str:
    """``1.7x`` or ``-0.3 points``."""
    is_share = not comparison.is_ratio and get_metric(comparison.metric).is_ratio
    return _format_number(comparison, comparison.value) + " points" * is_share


def format_comparison(comparison: Comparison) -> str:
    """For tables: ``3.1x``, of scores the difference in points such as ``+0.4``; with
    :data:`~autotune.analysis.text.UNCLEAR` if the interval contains no difference."""
    is_clear = comparison.is_clear or not describe_interval(comparison)
    return _format_number(comparison, comparison.value) + UNCLEAR * (not is_clear)


def _factor_interval(comparison: Comparison) -> str:
    return " to ".join(_format_number(comparison, end) for end in comparison.ci95)


def _format_number(comparison: Comparison, value: float) -> str:
    if comparison.is_ratio:
        return format_ratio(value)
    return f"{100 * value:+.1f}" if get_metric(comparison.metric).is_ratio else f"{value:+.3g}"


def _difference_interval(metric: Metric, comparison: Comparison) -> str:
    scale, decimals = (100, 1) if metric.is_ratio else (1, 3)
    low, high = (scale * end for end in comparison.ci95)
    if high - low < scale * MIN_INTERVAL:
        return ""
    unit = " points" if metric.is_ratio and not comparison.is_clear else ""
    return f"{low:+.{decimals}f} to {high:+.{decimals}f}{unit}"
