"""The contributions of the levers of one strategy to one metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.drift import drift_exponent, log_drift
from autotune.analysis.front import find_baseline, superseded_trials, value_of
from autotune.analysis.lever_model import LeverModel
from autotune.analysis.metric_posterior import INTERVAL_QUANTILE, Comparison
from autotune.analysis.replicates import Z95, ci95_half_width
from autotune.domain import Phase, State, Study, Trial
from autotune.domain.metrics import get_metric
from autotune.levers import has_effect
from autotune.measure.statistics import t_quantile

Floats = NDArray[np.float64]

MIN_TRIALS = 3
MAX_TRIALS = 150
"""Trials to which a model is fitted at most."""


@dataclass(frozen=True)
class MetricPath:
    """The normal posterior of the contributions of ``levers`` to the metric of ``total``, on its
    logarithmic or linear scale. ``trials`` were used for it."""

    levers: tuple[str, ...]
    mean: Floats
    covariance: Floats
    total: Comparison
    trials: int

    def depends_on(self, group: Sequence[str]) -> bool:
        return any(lever in self.levers for lever in group)

    def moments(self, group: Sequence[str]) -> tuple[float, float]:
        """Mean and standard deviation of the joint contribution of ``group``."""
        rows = [self.levers.index(lever) for lever in group if lever in self.levers]
        variance = self.covariance[np.ix_(rows, rows)].sum()
        return float(self.mean[rows].sum()), math.sqrt(max(float(variance), 0.0))

    def contribution(self, group: Sequence[str]) -> Comparison:
        mean, deviation = self.moments(group)
        width = t_quantile(self.trials - 1) * deviation
        ends = (mean, mean - width, mean + width)
        value, low, high = map(math.exp, ends) if self.total.is_ratio else ends
        return replace(self.total, value=value, ci95=(low, high))


def metric_path(
    study: Study, trials: Sequence[Trial], trial: Trial, total: Comparison
) -> MetricPath | None:
    """The contributions of the levers in which ``trial`` differs from the default to ``total``;
    ``None`` without such a lever or with fewer than :data:`MIN_TRIALS` trials."""
    metric = total.metric
    members = _members(study, trials, trial, metric)
    base = {**study.space.defaults, **study.baseline.values}
    rows = [{**base, **member.strategy.values} for member in members]
    target = {**base, **trial.strategy.values}
    levers = [
        lever
        for lever in target
        if has_effect(lever, metric) and any(row.get(lever) != base.get(lever) for row in rows)
    ]
    changed = [lever for lever in levers if target[lever] != base.get(lever)]
    if len(members) < MIN_TRIALS or not changed:
        return None
    values, noise = _values(study, trials, members, total)
    contributions = LeverModel(levers, rows, values, noise).contributions(base, target)
    index = [levers.index(lever) for lever in changed]
    mean, covariance = contributions.mean[index], contributions.covariance[np.ix_(index, index)]
    mean, covariance = _with_total(mean, covariance, total)
    return MetricPath(tuple(changed), mean, covariance, total, len(members))


def _with_total(mean: Floats, covariance: Floats, total: Comparison) -> tuple[Floats, Floats]:
    """The posterior of the contributions under the belief ``total`` of their sum, which is that of
    all other texts. What is least certain changes the most (Jeffrey's rule)."""
    variance = float(covariance.sum())
    if variance <= 0:
        return mean, covariance
    value, low, high = (total.value, *total.ci95)
    if total.is_ratio:
        value, low, high = map(math.log, (value, low, high))
    gain = covariance.sum(axis=1) / variance
    change = ((high - low) / 2 / INTERVAL_QUANTILE) ** 2 - variance
    return mean + gain * (value - mean.sum()), covariance + np.outer(gain, gain) * change


def _members(study: Study, trials: Sequence[Trial], trial: Trial, metric: str) -> list[Trial]:
    """The trials that measured ``metric`` themselves, at most :data:`MAX_TRIALS`: the default,
    ``trial``, and others evenly spaced over the search. The profile phase of a trial that was
    stopped later counts."""
    superseded = superseded_trials(trials)
    is_profile = get_metric(metric).phase is Phase.PROFILE
    states = (State.COMPLETE, State.PRUNED) if is_profile else (State.COMPLETE,)
    numbers = {member.number for member in trials}
    members = [
        member
        for member in trials
        if member.state in states
        and member.is_result
        and member.number not in superseded
        and value_of(member, metric) is not None
        and member.result.measurements[metric].source not in numbers
    ]
    own = (trial.strategy.key, study.baseline.key)
    required = [member for member in members if member.strategy.key in own]
    others = [member for member in members if member.strategy.key not in own]
    step = math.ceil(len(others) / MAX_TRIALS) or 1
    return sorted([*required, *others[::step]], key=lambda member: member.number)


def _values(
    study: Study, trials: Sequence[Trial], members: Sequence[Trial], total: Comparison
) -> tuple[Floats, Floats]:
    """The values of ``members`` on the scale of ``total``, speeds at the speed that the machine had
    for the default, and the known variance of each."""
    measured = [member.result.measurements[total.metric] for member in members]
    values = np.array([m.value for m in measured])
    deviations = np.array([(ci95_half_width(m) or 0.0) / Z95 for m in measured])
    if not total.is_ratio:
        return values, deviations**2
    default, exponent = find_baseline(study, trials), drift_exponent(total.metric)
    drifts = np.array([log_drift(member, default) or 0.0 for member in members])
    return np.log(values) + exponent * drifts, (deviations / values) ** 2
