"""The probability that a trial belongs to the Pareto front, given the noise of the measurements.

The figures of all trials near the front are sampled from their posterior, which follows from the
confidence interval of each measurement and the variation between repeated runs. The probability of
a trial is the share of samples in which it satisfies the constraints and no other trial that
satisfies them dominates it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.front import find_baseline
from autotune.analysis.replicates import (
    SPEED,
    Z95,
    Estimate,
    Replicates,
    ci95_half_width,
    is_score,
    speed_dependent_share,
)
from autotune.domain import Phase, State, Study, Trial
from autotune.domain.constraints import constraint_bound, is_satisfied
from autotune.domain.metrics import METRICS

Floats = NDArray[np.float64]

POSTERIOR_SAMPLES = 400
"""The standard error of a probability is at most 0.025."""

MAX_TRUNCATION_ERROR = 0.005
"""How much too high a probability can be because unlikely rivals are ignored."""


@dataclass(frozen=True)
class FrontPoint:
    """A member of the front.

    ``estimates`` are its objectives by metric, ``test_estimates`` its scores on the test split.
    ``confirmations`` are its confirmation runs; ``probability`` (0..1) is that of belonging to the
    front.
    """

    trial: Trial
    estimates: Mapping[str, Estimate]
    test_estimates: Mapping[str, Estimate]
    confirmations: Sequence[Trial]
    probability: float

    @property
    def is_confirmed(self) -> bool:
        """Whether a full training run with another seed repeated it."""
        return bool(self.confirmations)


def front_points(study: Study, trials: Sequence[Trial], front: Sequence[Trial]) -> list[FrontPoint]:
    """The members of ``front`` with their estimates, in the same order."""
    replicates = Replicates(trials)
    probabilities = front_probabilities(study, trials, front, replicates)
    names = [objective.metric for objective in study.objectives]
    return [
        FrontPoint(
            trial,
            {name: e for name in names if (e := replicates.estimate(trial, name)) is not None},
            {name: e for name in names if (e := replicates.test_estimate(trial, name)) is not None},
            replicates.confirmations(trial),
            probabilities[trial.number],
        )
        for trial in front
    ]


def front_probabilities(
    study: Study, trials: Sequence[Trial], front: Sequence[Trial], replicates: Replicates
) -> dict[int, float]:
    """The probability of each member of ``front`` by number; deterministic."""
    if not front:
        return {}
    posterior = _Posterior([*front, *_other_trials(study, trials, front)], replicates)
    rivals = _likely_rivals(study, posterior, len(front))
    rows = np.unique(np.concatenate([np.arange(len(front)), *rivals]))
    objectives = [o.sign * posterior.sample(o.metric, rows) for o in study.objectives]
    feasible = _sample_feasibility(study, find_baseline(study, trials), posterior, rows)
    return {
        trial.number: _share_on_front(objectives, feasible, row, np.searchsorted(rows, rivals[row]))
        for row, trial in enumerate(front)
    }


def _share_on_front(
    objectives: Sequence[Floats],
    feasible: NDArray[np.bool_],
    row: int,
    rivals: NDArray[np.int64],
) -> float:
    """The share of samples in which the trial in ``row`` satisfies the constraints and none of
    ``rivals`` that does so dominates it."""
    covered = feasible[:, rivals]
    better = np.zeros_like(covered)
    for values in objectives:
        own, rival_values = values[:, row, None], values[:, rivals]
        covered &= rival_values >= own
        better |= rival_values > own
    dominated = (covered & better).any(axis=1)
    return float((feasible[:, row] & ~dominated).mean())


def _sample_feasibility(
    study: Study, default: Trial | None, posterior: _Posterior, rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """In which samples the trials in ``rows`` satisfy the constraints, shape (samples, rows). A
    bound relative to the default is one on the noise of the default too, which it satisfies or
    violates itself in all samples."""
    feasible = np.ones((POSTERIOR_SAMPLES, len(rows)), dtype=bool)
    for constraint in study.constraints:
        limit = constraint_bound(constraint, default)
        if limit is not None:
            values = posterior.sample(constraint.metric, rows)
            satisfied = is_satisfied(constraint, values, limit)
            if constraint.relative and default is not None:
                own = [t.strategy.key == default.strategy.key for t in posterior.trials]
                value = default.metric(constraint.metric)
                satisfied = satisfied | np.array(own)[rows] & is_satisfied(constraint, value, limit)
            feasible &= satisfied
    return feasible


def _likely_rivals(study: Study, posterior: _Posterior, front_size: int) -> list[NDArray[np.int64]]:
    """For each of the first ``front_size`` trials, the rows of the trials that can dominate it. The
    others dominate it with a total probability below :data:`MAX_TRUNCATION_ERROR`."""
    probability = np.ones((front_size, len(posterior.trials)))
    for objective in study.objectives:
        means, deviations = posterior.moments(objective.metric)
        lead = objective.sign * (means[None, :] - means[:front_size, None])
        noise = np.maximum(np.hypot(deviations[None, :], deviations[:front_size, None]), 1e-12)
        # Logistic approximation of the normal distribution function.
        better = 1 / (1 + np.exp(np.clip(-1.702 * lead / noise, -50, 50)))
        probability = np.minimum(probability, better)
    probability[np.arange(front_size), np.arange(front_size)] = 0.0
    rivals = []
    for row in probability:
        order = np.argsort(row)
        ignored = int(np.searchsorted(np.cumsum(row[order]), MAX_TRUNCATION_ERROR))
        rivals.append(np.sort(order[ignored:]))
    return rivals


def _other_trials(study: Study, trials: Sequence[Trial], front: Sequence[Trial]) -> list[Trial]:
    """Complete trials outside ``front`` that measured all objectives and constraints, the last one
    of each strategy."""
    front_keys = {trial.strategy.key for trial in front}
    names = [o.metric for o in study.objectives] + [c.metric for c in study.constraints]
    others = {}
    for trial in trials:
        measurements = trial.result.measurements
        if trial.state is not State.COMPLETE or not trial.is_result:
            continue
        if trial.strategy.key not in front_keys and all(
            name in measurements and math.isfinite(measurements[name].value) for name in names
        ):
            others[trial.strategy.key] = trial
    return list(others.values())


class _Posterior:
    """Independent posteriors of the metrics of ``trials``, all of which measured them."""

    def __init__(self, trials: Sequence[Trial], replicates: Replicates) -> None:
        self.trials, self._replicates = trials, replicates
        self._moments: dict[str, tuple[Floats, Floats]] = {}

    def moments(self, metric: str) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the true value, each of shape (trials,)."""
        if metric not in self._moments:
            moments = self._measured_moments(metric)
            if _is_run_metric(metric):
                moments = self._run_moments(metric, moments)
            self._moments[metric] = moments
        return self._moments[metric]

    def sample(self, metric: str, rows: NDArray[np.int64]) -> Floats:
        """Samples for the trials in ``rows``, shape (samples, rows)."""
        means, deviations = (moment[rows] for moment in self.moments(metric))
        if is_score(metric):
            return np.asarray(means + deviations * self._noise(metric, rows))
        relative = np.divide(deviations, means, out=np.zeros_like(means), where=means > 0)
        if _is_run_metric(metric):
            relative = -relative  # time and cost fall where the sampled speed rises
        noise = self._noise(SPEED if _is_run_metric(metric) else metric, rows)
        return np.asarray(means * np.exp(relative * noise))

    def _measured_moments(self, metric: str) -> tuple[Floats, Floats]:
        """The noise of a score comes from the number of samples and the seed. For other metrics the
        variation between runs includes all noise; without repeated runs, that within the run is
        used."""
        measurements = [trial.result.measurements[metric] for trial in self.trials]
        means = np.array([m.value for m in measurements], dtype=float)
        within = np.array([ci95_half_width(m) or 0.0 for m in measurements]) / Z95
        between = self._replicates.run_variation(metric)
        if between is None:
            return means, within
        if is_score(metric):
            return means, np.hypot(within, between.deviation)
        deviations = np.maximum(within, between.deviation * np.abs(means))
        for row, trial in enumerate(self.trials):
            if not self._replicates.confirmations(trial):
                continue
            estimate = self._replicates.estimate(trial, metric)
            if estimate is not None:
                means[row] = estimate.value
                deviations[row] /= math.sqrt(estimate.runs)
        return means, deviations

    def _run_moments(self, metric: str, moments: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """For a metric of the full run: its speed-dependent share varies with the speed."""
        means, deviations = moments
        if any(SPEED not in trial.result.measurements for trial in self.trials):
            return means, deviations
        speed, speed_deviation = self.moments(SPEED)
        shares = np.array([speed_dependent_share(trial, metric) for trial in self.trials])
        return means, np.asarray(np.abs(means) * shares * speed_deviation / speed)

    def _noise(self, metric: str, rows: NDArray[np.int64]) -> Floats:
        """Standard normal noise, shape (samples, rows), equal for trials that share the
        measurement."""
        sources = [_source_number(self.trials[row], metric) for row in rows.tolist()]
        unique, index = np.unique(sources, return_inverse=True)
        rng = np.random.default_rng([*metric.encode()])
        noise = rng.standard_normal((POSTERIOR_SAMPLES, len(unique)))
        return np.asarray(noise[:, index])


def _is_run_metric(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].phase is Phase.RUN


def _source_number(trial: Trial, metric: str) -> int:
    """Number of the trial that measured the value."""
    measurement = trial.result.measurements.get(metric)
    source = None if measurement is None else measurement.source
    return trial.number if source is None else source
