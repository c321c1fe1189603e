"""Early stopping with several objectives: stops a trial that cannot change the front any more.

Optuna's pruners accept one objective only. Here a trial is evaluated after its profile phase and at
its rungs, by the best value that it can still reach in each objective. The decision is a pure
function of the trials in the store and of the points of their learning curves that have metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.front import (
    feasible_trials,
    find_baseline,
    non_dominated,
    signed_objectives,
)
from autotune.analysis.replicates import with_mean_scores
from autotune.analysis.text import metric_label
from autotune.components import STOPPING_RULES
from autotune.domain import (
    CurvePoint,
    Objective,
    PauseReason,
    Phase,
    State,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.domain.constraints import constraint_bound, is_satisfied
from autotune.domain.registry import import_object
from autotune.errors import StoreUnavailableError
from autotune.ports import Store
from autotune.tuner.cache import shared_profile
from autotune.tuner.history import History
from autotune.tuner.learning_curves import (
    LearningCurves,
    TrialProgress,
    is_deployed,
    is_score,
    rung_score,
)
from autotune.tuner.pausing import Outlook, estimate_outlook, pause_reason
from autotune.tuner.score_forecast import ScoreForecast, ScoreUpperBound, forecast_at_rung
from autotune.tuner.started_trial import StartedTrial

MAX_SPEED_GAIN = 0.05
"""Metrics of the profile phase can improve by at most this fraction in the rest of the trial."""

MIN_FINISHED_TRIALS = 6
"""Finished trials that passed a rung, from which the improvement after it is estimated."""

GAIN_QUANTILE = 0.95
"""A trial is assumed to improve after a rung by this quantile of the finished trials' gains."""

SIGMAS_AT_PROFILE, SIGMAS_AT_RUNG = 2.5, 2.0
"""Standard deviations of the upper bound of a score, after the profile phase and at a rung. At a
rung the gains of finished trials count too, but all of those can be unlike this trial."""

REDUCTION_FACTOR = 3
"""Successive halving lets one trial out of this many pass a rung."""

MIN_CONSTRAINT_PROBABILITY = 0.05
"""A trial is stopped at a rung if a constraint on a score will hold with less than this
probability."""

MAX_SINGLE_CURVES = 8
"""Up to this many learning curves are read one by one; more are read in one query."""


class EarlyStopper:
    """Evaluates the early-stopping rule whenever a running trial reports metrics."""

    def __init__(
        self, study: Study, store: Store, history: History, score_bound: ScoreUpperBound
    ) -> None:
        self._study, self._store, self._history = study, store, history
        self._score_bound = score_bound
        self._curves = LearningCurves()

    def should_stop(self, started: StartedTrial, point: CurvePoint) -> str | None:
        """The reason to stop a trial at ``point``; ``None`` if it can still change the front."""
        trial = started.trial
        self._curves.add(trial.number, point)
        rule = import_object(STOPPING_RULES[self._study.stopping].should_stop)
        if rule is None or not point.metrics or not trial.may_be_stopped:
            return None
        if Phase.TRAIN not in started.job.phases:
            return None  # the trial ends after its profile phase anyway
        if point.step >= point.total_steps:
            return None  # it has ended: only its last evaluation follows
        try:
            others = [t for t in self._history.refresh() if t.number != trial.number]
            self._load_curves(self._curves.missing(others))
        except StoreUnavailableError:
            return None  # without the other trials there is no reason to stop
        progress = self._progress(trial, started.cache_hit.profile, others)
        reason: str | None = rule(self._study, progress, others, self._curves, self._score_bound)
        if isinstance(reason, PauseReason) and trial.origin is TrialOrigin.CONTINUED:
            return None  # it is paused once only
        return reason

    def outlook(self, trial: Trial, profile: Trial) -> Outlook | None:
        """What continuing ``trial``, which was paused, is expected to gain. ``profile`` is the
        trial that measured its profile phase."""
        history = self._history.refresh()
        self._load_curves(self._curves.missing(history))
        if not self._curves.points(trial.number):
            return None
        progress = self._progress(trial, profile, history)
        forecasts = _forecasts(self._study, progress, history, self._curves, self._score_bound)
        metrics, averaged = progress.profile_metrics, with_mean_scores(history)
        return estimate_outlook(self._study, progress.point, metrics, forecasts, averaged)

    def _progress(
        self, trial: Trial, profile: Trial | None, history: Sequence[Trial]
    ) -> TrialProgress:
        """The progress of a trial, with the profile that it shares, if it does."""
        metrics = {} if profile is None else shared_profile(self._study, trial.strategy, profile)
        points = self._curves.points(trial.number)
        progress = TrialProgress.from_points(trial.strategy, points, metrics)
        return _with_deployed_figures(self._study, progress, history, self._score_bound)

    def _load_curves(self, numbers: Sequence[int]) -> None:
        """Read the curves of trials that another driver or an earlier session ran."""
        if len(numbers) > MAX_SINGLE_CURVES:
            curves = self._store.curves(self._study.name)
        else:
            curves = {n: self._store.trial(self._study.name, n).result.curve for n in numbers}
        for number in numbers:
            self._curves.add(number, *curves.get(number, ()))


# --------------------------------------------------------------------------------------- the rules


def optimistic(
    study: Study,
    progress: TrialProgress,
    history: Sequence[Trial],
    curves: LearningCurves,
    score_bound: ScoreUpperBound | None = None,
) -> str | None:
    """The reason to stop a trial whose best possible result is dominated or infeasible, or that
    will probably violate a constraint, or to pause one that will probably not improve the front.

    The best possible result: scores are assumed to improve as much as in the best of the finished
    trials that were similar at this rung; metrics of the profile phase by :data:`MAX_SPEED_GAIN`.
    """

    def best(metric: str, sign: float) -> float:
        if rung_score(metric) is not None:
            return _best_score(metric, sign, progress, history, curves, score_bound)
        value = progress.profile_metrics.get(metric)
        return math.inf if value is None else sign * value + MAX_SPEED_GAIN * abs(value)

    forecasts = _forecasts(study, progress, history, curves, score_bound)
    averaged = with_mean_scores(history)
    return (
        _violated_constraint(study, best, history)
        or _improbable_constraint(study, progress, forecasts, history)
        or _dominating_trial(study, best, averaged)
        or _pause_reason(study, progress, forecasts, averaged)
    )


def asha(
    study: Study,
    progress: TrialProgress,
    history: Sequence[Trial],
    curves: LearningCurves,
    score_bound: ScoreUpperBound | None = None,
) -> str | None:
    """The reason to stop a trial that is not among the best at its rung.

    Asynchronous successive halving by non-dominated rank (Schmucker et al. 2021, MO-ASHA): a trial
    continues if fewer than one in :data:`REDUCTION_FACTOR` of those at this rung rank better.
    """
    del score_bound
    own = _rung_values(study.objectives, progress.profile_metrics, progress.scores)
    if own is None:
        return None
    others = list(_values_at_rung(study.objectives, progress.fraction, history, curves))
    if len(others) + 1 < REDUCTION_FACTOR:
        return None
    ranks = _non_dominated_ranks(np.array([own, *others]))
    better = int((ranks < ranks[0]).sum())
    if better < len(ranks) / REDUCTION_FACTOR:
        return None
    step = f"step {progress.point.step} of {progress.point.total_steps}"
    return f"at {step}, {better} of {len(others)} other trials rank better"


def _best_score(
    metric: str,
    sign: float,
    progress: TrialProgress,
    history: Sequence[Trial],
    curves: LearningCurves,
    score_bound: ScoreUpperBound | None,
) -> float:
    """The signed score that the trial can still reach; infinite if unknown."""
    at_rung, bound = progress.scores.get(rung_score(metric) or metric), None
    if score_bound is not None:
        sigmas = SIGMAS_AT_PROFILE if at_rung is None else SIGMAS_AT_RUNG
        bound = score_bound(progress.strategy, metric, history, sigmas)
    if at_rung is None:
        return math.inf if bound is None else sign * bound
    current = sign * at_rung
    gain = _optimistic_gain(metric, sign, current, progress.fraction, history, curves)
    return current + gain if bound is None else max(current + gain, sign * bound)


def _optimistic_gain(
    metric: str,
    sign: float,
    current: float,
    fraction: float,
    history: Sequence[Trial],
    curves: LearningCurves,
) -> float:
    """By how much a score of ``current`` can improve after the rung at ``fraction``, judging by the
    half of the finished trials that had the most similar score there."""
    gains: list[tuple[float, float]] = []  # (difference at the rung, gain after it)
    for trial in history:
        if trial.state is not State.COMPLETE or trial.is_confirmation:
            continue  # a confirmation is evaluated on other examples
        at_rung = curves.metric_at(trial.number, fraction, rung_score(metric) or metric)
        final = trial.metric(metric)
        if at_rung is not None and final is not None:
            gains.append((abs(sign * at_rung - current), sign * (final - at_rung)))
    if len(gains) < MIN_FINISHED_TRIALS:
        return math.inf
    similar = sorted(gains)[: max(MIN_FINISHED_TRIALS, len(gains) // 2)]
    quantile = np.quantile([gain for _, gain in similar], GAIN_QUANTILE, method="higher")
    return max(0.0, float(quantile))


def _violated_constraint(
    study: Study, best: Callable[[str, float], float], history: Sequence[Trial]
) -> str | None:
    """A constraint that the trial violates even with its best possible result. The reason names it:
    the sampler takes stops for a constraint, and no others, for violations."""
    default = find_baseline(study, history)
    for constraint in study.constraints:
        limit = constraint_bound(constraint, default)
        sign = 1.0 if constraint.operator in (">=", ">") else -1.0
        value = sign * best(constraint.metric, sign)
        if limit is not None and not is_satisfied(constraint, value, limit):
            label = metric_label(constraint.metric)
            return f"{label} can be {value:.4g} at best; the study requires {constraint}"
    return None


def _with_deployed_figures(
    study: Study,
    progress: TrialProgress,
    history: Sequence[Trial],
    score_bound: ScoreUpperBound,
) -> TrialProgress:
    """``progress`` with an optimistic value of each speed, latency or size of the deployed model
    that an objective or a constraint names: it is measured after the training only."""
    names = [name for name in study.target_metrics if is_deployed(name) and not rung_score(name)]
    bounds = {
        name: score_bound(progress.strategy, name, history, SIGMAS_AT_PROFILE) for name in names
    }
    figures = {name: bound for name, bound in bounds.items() if bound is not None}
    return replace(progress, profile_metrics={**progress.profile_metrics, **figures})


def _forecasts(
    study: Study,
    progress: TrialProgress,
    history: Sequence[Trial],
    curves: LearningCurves,
    score_bound: ScoreUpperBound | None,
) -> Mapping[str, ScoreForecast]:
    """Forecasts of the scores of a trial at a rung, and of those of its deployed model that the
    study names, by metric; empty before its first rung."""
    deployed = [name for name in study.target_metrics if rung_score(name) in progress.scores]
    forecasts = {
        metric: forecast_at_rung(metric, progress, history, curves, score_bound)
        for metric in (*progress.scores, *deployed)
    }
    return {metric: forecast for metric, forecast in forecasts.items() if forecast is not None}


def _pause_reason(
    study: Study,
    progress: TrialProgress,
    forecasts: Mapping[str, ScoreForecast],
    history: Sequence[Trial],
) -> PauseReason | None:
    """The reason to pause a trial at a rung."""
    if not forecasts or not progress.point.metrics.keys() & progress.scores.keys():
        return None
    metrics = progress.profile_metrics
    outlook = estimate_outlook(study, progress.point, metrics, forecasts, history)
    setup_seconds = metrics.get("setup_seconds", 0.0)
    reason = pause_reason(study, progress.point, outlook, setup_seconds, history)
    return None if reason is None else PauseReason(reason)


def _improbable_constraint(
    study: Study,
    progress: TrialProgress,
    forecasts: Mapping[str, ScoreForecast],
    history: Sequence[Trial],
) -> str | None:
    """A constraint on a score that will probably not hold at the end, judging by the rung."""
    default = find_baseline(study, history)
    for constraint in study.constraints:
        metric, limit = constraint.metric, constraint_bound(constraint, default)
        if limit is None or metric not in forecasts:
            continue
        forecast = forecasts[metric]
        probability = forecast.probability(constraint, limit)
        if probability < MIN_CONSTRAINT_PROBABILITY:
            end = "when deployed" if is_deployed(metric) else "at the end"
            return (
                f"{metric_label(rung_score(metric) or metric)} {forecast.score:.4g} at step "
                f"{progress.point.step} of {progress.point.total_steps}, about "
                f"{forecast.expected:.4g} {end}: {constraint} holds with a probability of "
                f"{probability:.0%}"
            )
    return None


def _dominating_trial(
    study: Study, best: Callable[[str, float], float], history: Sequence[Trial]
) -> str | None:
    """A feasible trial that is at least as good as the best possible result in all objectives."""
    members = feasible_trials(study, history)
    if not members:
        return None
    bounds = np.array([best(o.metric, o.sign) for o in study.objectives])
    is_dominating = (signed_objectives(study, members) >= bounds).all(axis=1)
    if not is_dominating.any():
        return None
    number = members[int(np.argmax(is_dominating))].number
    values = ", ".join(
        f"{metric_label(o.metric)} {o.sign * bound:.4g}"
        for o, bound in zip(study.objectives, bounds, strict=True)
    )
    return f"dominated by trial {number} even if it reaches {values}"


def _values_at_rung(
    objectives: Sequence[Objective],
    fraction: float,
    history: Sequence[Trial],
    curves: LearningCurves,
) -> Iterator[list[float]]:
    """Signed objective values of the other trials that reached this rung."""
    for trial in history:
        at_rung = {o.metric: curves.metric_at(trial.number, fraction, o.metric) for o in objectives}
        scores = {name: value for name, value in at_rung.items() if value is not None}
        if scores and (values := _rung_values(objectives, trial.metrics, scores)) is not None:
            yield values


def _rung_values(
    objectives: Sequence[Objective],
    profile_metrics: Mapping[str, float],
    scores: Mapping[str, float],
) -> list[float] | None:
    """Signed values of all objectives at a rung; ``None`` if one of them is unknown there."""
    values: list[float] = []
    for objective in objectives:
        metrics = scores if is_score(objective.metric) else profile_metrics
        if objective.metric not in metrics:
            return None
        values.append(objective.sign * metrics[objective.metric])
    return values


def _non_dominated_ranks(points: NDArray[np.float64]) -> NDArray[np.int_]:
    """The rank of each point: 0 on the front, 1 on the front of the remaining points, ..."""
    ranks = np.zeros(len(points), dtype=int)
    remaining = np.arange(len(points))
    rank = 0
    while remaining.size:
        on_front = non_dominated(points[remaining])
        ranks[remaining[on_front]] = rank
        remaining, rank = remaining[~on_front], rank + 1
    return ranks
