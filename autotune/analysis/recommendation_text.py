"""Recommendations as sentences. The command line, reports, the dashboard and exports use these, so
that a strategy is described in the same words everywhere:

    3.1x faster than the default (2.4x to 3.9x), no clear difference in accuracy (-0.9 to +5.1
    points), 68% cheaper (57% to 76%); on validation, not confirmed
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotune.analysis.drift import drift_exponent, has_drifted, log_drift
from autotune.analysis.front import value_of
from autotune.analysis.metric_posterior import Comparison
from autotune.analysis.paired import PairedRuns, describe_difference
from autotune.analysis.recommendation import (
    MIN_PROBABILITY,
    Closest,
    Recommendation,
    Recommender,
    Status,
)
from autotune.analysis.replicates import Replicates, is_score
from autotune.analysis.text import describe_baseline, format_metric, format_ratio, metric_label
from autotune.domain import Phase, Trial
from autotune.domain.metrics import Metric, get_metric

MIN_INTERVAL = 0.0005
"""Narrower intervals, of shares or relative, are not printed: the value is exact."""


def recommendation_sentence(recommender: Recommender, recommendation: Recommendation) -> str:
    """``Knee: trial 24, 3.1x faster than the default (2.4x to 3.9x), ...; on validation, not
    confirmed.``, or why the default is recommended."""
    trial, goal = recommendation.trial, recommendation.goal
    name = goal.capitalize()
    if recommendation.closest is not None:
        default = recommender.study.baseline_name
        return f"{name}: {default}. {closest_sentence(recommender, recommendation.closest)}"
    return f"{name}: trial {trial.number}, {describe_trial(recommender, trial)}."


def describe_trial(recommender: Recommender, trial: Trial) -> str:
    """The strategy of ``trial`` against the default, and how sure that is."""
    comparison = comparison_phrase(recommender, trial)
    if comparison == describe_baseline(recommender.study):
        return comparison
    return "; ".join([comparison, status_phrase(recommender, trial), *_notes(recommender, trial)])


def comparison_phrase(
    recommender: Recommender, trial: Trial, metrics: Sequence[str] | None = None
) -> str:
    """The objectives, or ``metrics``, against the default, each with its 95% interval. Without a
    default the values."""
    posterior = recommender.posterior
    default = posterior.default
    if default is not None and trial.strategy.key == default.strategy.key:
        return describe_baseline(recommender.study)
    if metrics is None:
        metrics = [objective.metric for objective in recommender.study.objectives]
    comparisons = [c for name in metrics if (c := posterior.compare(trial, name)) is not None]
    if not comparisons:
        values = [(name, value_of(trial, name)) for name in metrics]
        figures = [f"{metric_label(n)} {format_metric(n, v)}" for n, v in values if v is not None]
        return ", ".join(figures) or "nothing measured"
    first, *others = map(describe_comparison, comparisons)
    head = _with_default(*first, recommender.study.baseline_name)
    return ", ".join([head, *(_joined(*other) for other in others)])


def status_phrase(recommender: Recommender, trial: Trial) -> str:
    """``confirmed on the test split: ...`` with the paired difference of the scores, ``refuted on
    the test split: ...``, or ``on validation, not confirmed``."""
    status = recommender.status(trial)
    if status is Status.UNCONFIRMED:
        return "on validation, not confirmed"
    details = ", ".join(test_phrases(recommender, trial))
    return f"{status.value} on the test split{f': {details}' if details else ''}"


def test_phrases(recommender: Recommender, trial: Trial) -> list[str]:
    """The scores of the confirmation runs against those of the default, else their values."""
    default, trials = recommender.posterior.default, recommender.trials
    scores = [o.metric for o in recommender.study.objectives if is_score(o.metric)]
    pairs, replicates = PairedRuns(trials), Replicates(trials)
    phrases = []
    for metric in scores:
        difference = pairs.score_difference(trial, default, metric) if default else None
        if difference is not None:
            phrases.append(describe_difference(difference))
        elif (estimate := replicates.test_estimate(trial, metric)) is not None:
            value = format_metric(metric, estimate.value)
            phrases.append(f"{metric_label(metric)} {value}, default not confirmed")
    return phrases


def _notes(recommender: Recommender, trial: Trial) -> list[str]:
    """What a reader has to know about the figures."""
    notes = []
    if recommender.is_composed(trial):
        numbers = " and ".join(map(str, recommender.sources(trial)))
        notes.append(f"never run as a whole: figures of trial {numbers} are used")
    default = recommender.posterior.default
    names = [objective.metric for objective in recommender.study.objectives]
    is_timed = any(drift_exponent(name) or get_metric(name).phase is Phase.RUN for name in names)
    if is_timed and has_drifted(trial, default):
        ratio = math.exp(log_drift(trial, default) or 0.0)
        word, factor = ("slower", ratio) if ratio > 1 else ("faster", 1 / ratio)
        name = recommender.study.baseline_name
        notes.append(
            "speeds relative to the reference workload, as the machine was "
            f"{100 * (factor - 1):.0f}% {word} in the trial than for {name}"
        )
    return notes


def closest_sentence(recommender: Recommender, closest: Closest) -> str:
    """Why only the default is recommended, and what would help."""
    trial, study = closest.trial, recommender.study
    refuted = " and was refuted" * (recommender.status(trial) is Status.REFUTED)
    return (
        f"No other strategy satisfies {closest.constraint} with a probability of "
        f"{MIN_PROBABILITY}. Closest is trial {trial.number} with {closest.probability:.2f}"
        f"{refuted}: {comparison_phrase(recommender, trial)}. To be surer, confirm with more seeds "
        f"(confirm.seeds) or search longer: autotune search {study.name} with a larger budget."
    )


# ----------------------------------------------------------------------------------- of phrases

Phrase = tuple[str, str, str]
"""A comparison without ``the default``, the word before it (``than``), and the interval."""


def describe_comparison(comparison: Comparison) -> Phrase:
    """``("3.1x faster", "than", "2.4x to 3.9x")``."""
    metric = get_metric(comparison.metric)
    if not comparison.is_ratio:
        return _difference_phrase(metric, comparison)
    if metric.comparison == "faster":
        return _speed_phrase(metric, comparison)
    return _amount_phrase(metric, comparison)


def _with_default(phrase: str, word: str, interval: str, default: str) -> str:
    text = f"{phrase} {word} {default}"
    return f"{text} ({interval})" if interval else text


def _joined(phrase: str, _: str, interval: str) -> str:
    return f"{phrase} ({interval})" if interval else phrase


def _difference_phrase(metric: Metric, comparison: Comparison) -> Phrase:
    scale, unit = (100, "points") if metric.is_ratio else (1, metric.unit)
    value, (low, high) = scale * comparison.value, (scale * end for end in comparison.ci95)
    interval = f"{low:+.1f} to {high:+.1f}" if high - low > scale * MIN_INTERVAL else ""
    is_accuracy = metric.comparison == "more accurate"
    if interval and not comparison.is_clear:
        return f"no clear difference in {metric.label}", "from", f"{interval} {unit}".rstrip()
    if abs(value) < scale * MIN_INTERVAL:
        return ("as accurate", "as", "") if is_accuracy else (f"the same {metric.label}", "as", "")
    amount = f"{abs(value):.1f} {unit}".rstrip()
    if is_accuracy:
        return f"{amount} {'more' if value > 0 else 'less'} accurate", "than", interval
    return f"{amount} {'higher' if value > 0 else 'lower'} {metric.label}", "than", interval


def _ratio_interval(low: float, high: float) -> str:
    is_exact = high / low - 1 < 2 * MIN_INTERVAL
    return "" if is_exact else f"{format_ratio(low)} to {format_ratio(high)}"


def _speed_phrase(metric: Metric, comparison: Comparison) -> Phrase:
    value, ends = comparison.value, comparison.ci95
    if metric.direction == "minimize":
        value, ends = 1 / value, (1 / ends[1], 1 / ends[0])
    interval = _ratio_interval(*ends)
    if interval and not comparison.is_clear:
        return f"no clear difference in {metric.label}", "from", interval
    if 0.995 <= value <= 1.005:
        phrase = "as fast"
    elif value > 1:
        phrase = f"{format_ratio(value)} faster"
    else:
        phrase, interval = f"{format_ratio(1 / value)} slower", _ratio_interval(*_inverse(ends))
    return f"{phrase} {metric.context}".rstrip(), "as" if phrase == "as fast" else "than", interval


def _inverse(ends: tuple[float, float]) -> tuple[float, float]:
    return 1 / ends[1], 1 / ends[0]


def _amount_phrase(metric: Metric, comparison: Comparison) -> Phrase:
    is_cost = metric.comparison == "cheaper"
    subject = f" {metric.context if is_cost else metric.label}".rstrip()
    value, (low, high) = comparison.value, comparison.ci95
    is_exact = not _ratio_interval(low, high)
    if not is_exact and not comparison.is_clear:
        return (f"no clear difference in {metric.label}", "from",
                f"{low - 1:+.0%} to {high - 1:+.0%}")  # fmt: skip
    if abs(value - 1) < 0.005:
        return (f"as cheap{subject}" if is_cost else f"the same{subject}"), "as", ""
    if value >= 2:
        phrase = f"{format_ratio(value)} the{' cost' if is_cost else ''}{subject}"
        return phrase, "of", _ratio_interval(low, high)
    less, more = ("cheaper", "more expensive") if is_cost else ("lower", "higher")
    if value < 1:
        interval = "" if is_exact else f"{1 - high:.0%} to {1 - low:.0%}"
        return f"{1 - value:.0%} {less}{subject}", "than", interval
    interval = "" if is_exact else f"{low - 1:.0%} to {high - 1:.0%}"
    return f"{value - 1:.0%} {more}{subject}", "than", interval
