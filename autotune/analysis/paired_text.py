"""Differences between confirmation runs in words."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.analysis.comparison_text import describe_interval, describe_value
from autotune.analysis.metric_posterior import Comparison
from autotune.analysis.paired import PairedRuns, Ratio, ScoreDifference
from autotune.analysis.text import comparison_phrase
from autotune.domain import Trial
from autotune.domain.metrics import get_metric

SMALLEST_POINT = 0.001
"""The smallest difference of a score that is printed: a tenth of a point."""


def describe_difference(difference: ScoreDifference) -> str:
    """``0.4 points less accurate (-1.9 to +1.1; 1,821 test examples, 3 seeds)``."""
    metric = get_metric(difference.metric)
    if metric.is_ratio:
        phrase = comparison_phrase(metric, difference.value, 0.0)
        if abs(difference.value) < SMALLEST_POINT / 2:
            phrase = f"no difference in {metric.label}"
        low, high = (f"{100 * end:+.1f}" for end in difference.ci95)
    else:
        higher = "higher" if difference.value > 0 else "lower"
        phrase = f"{metric.label} {abs(difference.value):.{metric.decimals}f} {higher}"
        low, high = (f"{end:+.{metric.decimals}f}" for end in difference.ci95)
    runs = f"{difference.examples:,} test examples, {_count(difference.seeds, 'seed')}"
    return f"{phrase} ({low} to {high}; {runs})"


def describe_ratio(ratio: Ratio) -> str:
    """``2.9x faster (2.7x to 3.1x; 3 pairs of runs, relative to the reference workload)``."""
    comparison = Comparison(ratio.metric, ratio.value, ratio.ci95, is_ratio=True)
    runs = _count(ratio.pairs, "pair") + " of runs"
    details = filter(None, (describe_interval(comparison), runs))
    note = ", relative to the reference workload" if ratio.is_relative else ""
    return f"{describe_value(comparison)} ({'; '.join(details)}{note})"


def describe_pairs(
    pairs: PairedRuns, trial: Trial, default: Trial | None, metrics: Sequence[str]
) -> list[str]:
    """The confirmation runs of ``trial`` against those of ``default`` as phrases, one for each of
    ``metrics`` that can be compared."""
    phrases: list[str] = []
    if default is None:
        return phrases
    for metric in metrics:
        if (difference := pairs.score_difference(trial, default, metric)) is not None:
            phrases.append(describe_difference(difference))
        elif (ratio := pairs.ratio(trial, default, metric)) is not None:
            phrases.append(describe_ratio(ratio))
    return phrases


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
