"""Differences between confirmation runs in words."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.analysis.paired import PairedRuns, Ratio, ScoreDifference
from autotune.analysis.text import comparison_phrase, format_ratio
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
    metric = get_metric(ratio.metric)
    is_inverse = metric.comparison == "faster" and metric.direction == "minimize"
    ends = sorted(1 / end if is_inverse else end for end in ratio.ci95)
    interval = " to ".join(map(format_ratio, ends))
    runs = _count(ratio.pairs, "pair") + " of runs"
    note = ", relative to the reference workload" if ratio.is_relative else ""
    return f"{comparison_phrase(metric, ratio.value, 1.0)} ({interval}; {runs}{note})"


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
