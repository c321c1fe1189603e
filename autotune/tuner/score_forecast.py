"""Forecasts of the final score of a training run from its score at a rung.

The gain after a rung is estimated from the finished trials that passed it. It is modelled on a
scale on which it is about the same for all trials: the log-odds of shares, the logarithm of losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from autotune.analysis.student_t import StudentT
from autotune.domain import Constraint, State, Strategy, Trial
from autotune.domain.constraints import is_satisfied
from autotune.domain.metrics import METRICS, MetricKind
from autotune.domain.training import RUNG_EXAMPLES
from autotune.tuner.learning_curves import LearningCurves, TrialProgress, rung_score

ScoreUpperBound = Callable[[Strategy, str, Sequence[Trial], float], float | None]
"""Returns a bound of a metric of the trained or the deployed model, given the strategy, the metric,
the history, and the number of standard deviations by which the bound is better than the expected
value. ``None`` if there is too little data."""

TOTAL_GAIN_SD = 0.7
"""Prior standard deviation of the gain over a whole training run between strategies of one task,
in log-odds (or logarithms). In the recorded landscapes it is 0.6 after a quarter of the steps and
0.35 after half."""

PRIOR_TRIALS = 4.0
"""The prior standard deviation counts as much as this many observed gains."""

MIN_SIMILAR = 6
"""From this many finished trials on, only the half with the most similar score counts."""

PREDICTION_SD_FACTOR = 2.0
"""The sampler's standard deviation of a score is multiplied by this: its model can be wrong."""

PRIOR_SUCCESSES = 0.5
"""Trials that are assumed to have satisfied a constraint, and as many to have violated it, after a
score at the rung as low as that of a trial (the prior of Jeffreys)."""

SHARE_LIMITS = 0.002, 0.998


@dataclass(frozen=True)
class ScoreForecast:
    """The final score of ``metric`` of a trial whose score at a rung is ``score``, which is that of
    the trained model if ``metric`` is one of the deployed model.

    ``distribution`` is on the scale of the metric. ``finished`` are the scores of other trials at
    this rung and at their end.
    """

    metric: str
    score: float
    distribution: StudentT
    finished: Sequence[tuple[float, float]]

    @property
    def expected(self) -> float:
        """The median of the final score."""
        return _from_scale(self.metric, self.distribution.location)

    def probability(self, constraint: Constraint, limit: float) -> float:
        """The probability that the final score satisfies ``constraint``, whose bound is ``limit``.

        At least the share that is estimated from the trials that were no better at this rung, if
        there are any: at a rung at which others had learned nothing either, a low score says
        nothing.
        """
        is_minimum = constraint.operator in (">=", ">")
        sign = 1.0 if is_minimum else -1.0
        above = self.distribution.probability_above(to_scale(self.metric, limit))
        tolerance = math.sqrt(_sampling_variance(self.metric, self.score))
        worst = sign * to_scale(self.metric, self.score) + tolerance
        finals = [
            final for rung, final in self.finished if sign * to_scale(self.metric, rung) <= worst
        ]
        satisfied = sum(is_satisfied(constraint, final, limit) for final in finals)
        share = (satisfied + PRIOR_SUCCESSES) / (len(finals) + 2 * PRIOR_SUCCESSES)
        share = share if finals else 0.0
        return max(above if is_minimum else 1 - above, share)


def forecast_score(
    metric: str,
    score: float,
    fraction: float,
    finished: Sequence[tuple[float, float]],
    prediction: tuple[float, float] | None = None,
) -> ScoreForecast | None:
    """The final score of a trial that has ``score`` at the rung after ``fraction`` of its steps.

    ``finished`` are the scores of other trials at this rung and at their end.
    ``prediction`` is the mean and the standard deviation that the sampler's model expects of the
    strategy. ``None`` if no trial has passed this rung.
    """
    current = to_scale(metric, score)
    scaled = [(to_scale(metric, at_rung), to_scale(metric, final)) for at_rung, final in finished]
    gains = sorted((abs(at_rung - current), final - at_rung) for at_rung, final in scaled)
    if not gains:
        return None
    similar = [gain for _, gain in gains[: max(MIN_SIMILAR, len(gains) // 2)]]
    mean = fmean(similar)
    noise = _sampling_variance(metric, score)
    prior = (TOTAL_GAIN_SD * (1 - fraction)) ** 2 + noise
    squares = sum((gain - mean) ** 2 for gain in similar)
    degrees = PRIOR_TRIALS + len(similar) - 1  # one is used by the mean
    variance = (PRIOR_TRIALS * prior + squares) / degrees * (1 + 1 / len(similar))
    distribution = StudentT(current + mean, math.sqrt(variance), degrees)
    if prediction is not None:
        distribution = _combine(distribution, *_on_scale(metric, *prediction))
    return ScoreForecast(metric, score, distribution, finished)


def forecast_at_rung(
    metric: str,
    progress: TrialProgress,
    history: Sequence[Trial],
    curves: LearningCurves,
    score_bound: ScoreUpperBound | None,
) -> ScoreForecast | None:
    """The final score of a trial at a rung; ``None`` if no finished trial has passed it.

    For a score of the deployed model, the gains after the rung contain what deployment changes.
    """
    at_rungs = rung_score(metric) or metric
    finished = [
        (at_rung, final)
        for trial in history
        if trial.state is State.COMPLETE
        and trial.is_result  # a confirmation is evaluated on other examples
        and (at_rung := curves.metric_at(trial.number, progress.fraction, at_rungs)) is not None
        and (final := trial.metric(metric)) is not None
    ]
    prediction = None
    if score_bound is not None:
        mean, bound = (score_bound(progress.strategy, metric, history, n) for n in (0.0, 1.0))
        prediction = None if mean is None or bound is None else (mean, abs(bound - mean))
    score = progress.scores[at_rungs]
    return forecast_score(metric, score, progress.fraction, finished, prediction)


def to_scale(metric: str, value: float) -> float:
    """The score on the scale on which gains are modelled."""
    kind = METRICS[metric].kind
    if kind is MetricKind.SHARE:
        share = min(max(value, SHARE_LIMITS[0]), SHARE_LIMITS[1])
        return math.log(share / (1 - share))
    if kind is MetricKind.LOSS:
        return math.log(max(value, 1e-9))
    return value


def _from_scale(metric: str, value: float) -> float:
    kind = METRICS[metric].kind
    if kind is MetricKind.SHARE:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) if kind is MetricKind.LOSS else value


def _sampling_variance(metric: str, score: float) -> float:
    """Variance of a share of :data:`RUNG_EXAMPLES` examples, in log-odds."""
    if METRICS[metric].kind is not MetricKind.SHARE:
        return 0.0
    share = min(max(score, 1 / RUNG_EXAMPLES), 1 - 1 / RUNG_EXAMPLES)
    return 1 / (RUNG_EXAMPLES * share * (1 - share))


def _on_scale(metric: str, mean: float, deviation: float) -> tuple[float, float]:
    """Mean and variance of a predicted score on the scale of the metric."""
    low, high = (to_scale(metric, mean + sign * deviation) for sign in (-1, 1))
    spread = PREDICTION_SD_FACTOR * max(high - low, 1e-6) / 2
    return to_scale(metric, mean), spread**2


def _combine(forecast: StudentT, mean: float, variance: float) -> StudentT:
    """``forecast`` and an independent estimate, each weighted by its precision."""
    own, other = 1 / forecast.scale**2, 1 / variance
    location = (own * forecast.location + other * mean) / (own + other)
    return StudentT(location, math.sqrt(1 / (own + other)), forecast.degrees)
