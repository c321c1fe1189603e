"""The probability that a trial belongs to the Pareto front, given the noise of the measurements.

The figures of all trials near the front are sampled from their posterior. The probability of a
trial is the share of samples in which it satisfies the constraints and no other trial that
satisfies them dominates it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.metric_posterior import POSTERIOR_SAMPLES
from autotune.analysis.posterior import Posterior
from autotune.analysis.replicates import Estimate, Replicates
from autotune.domain import State, Study, Trial
from autotune.domain.constraints import constraint_bound, is_satisfied

Floats = NDArray[np.float64]

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


def front_points(
    study: Study,
    trials: Sequence[Trial],
    front: Sequence[Trial],
    posterior: Posterior | None = None,
) -> list[FrontPoint]:
    """The members of ``front`` with their estimates, in the same order."""
    replicates = Replicates(trials)
    probabilities = front_probabilities(study, trials, front, posterior)
    names = study.reported_metrics
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
    study: Study,
    trials: Sequence[Trial],
    front: Sequence[Trial],
    posterior: Posterior | None = None,
) -> dict[int, float]:
    """The probability of each member of ``front`` by number; deterministic."""
    if not front:
        return {}
    posterior = posterior or Posterior(study, trials)
    members = [*front, *_other_trials(study, trials, front)]
    objectives = [o.sign * posterior.sample(o.metric, members) for o in study.objectives]
    rivals = _likely_rivals(objectives, len(front))
    feasible = _sample_feasibility(posterior, members)
    return {
        trial.number: _share_on_front(objectives, feasible, row, rivals[row])
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


def _sample_feasibility(posterior: Posterior, members: Sequence[Trial]) -> NDArray[np.bool_]:
    """In which samples ``members`` satisfy the constraints, shape (samples, members). A bound
    relative to the default moves with the sampled value of the default."""
    feasible = np.ones((POSTERIOR_SAMPLES, len(members)), dtype=bool)
    for constraint in posterior.study.constraints:
        if constraint_bound(constraint, posterior.default) is None:
            continue
        values, bound = posterior.sample(constraint.metric, members), constraint.bound
        if constraint.relative and posterior.default is not None:
            values = values - posterior.sample(constraint.metric, [posterior.default])
        feasible &= is_satisfied(constraint, values, bound)
    return feasible


def _likely_rivals(objectives: Sequence[Floats], front_size: int) -> list[NDArray[np.int64]]:
    """For each of the first ``front_size`` members, the rows of the members that can dominate it.
    The others dominate it with a total probability below :data:`MAX_TRUNCATION_ERROR`."""
    probability = np.ones((front_size, objectives[0].shape[1]))
    for samples in objectives:
        means, deviations = samples.mean(axis=0), samples.std(axis=0)
        lead = means[None, :] - means[:front_size, None]
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
    others = {}
    for trial in trials:
        measurements = trial.result.measurements
        if trial.state is not State.COMPLETE or not trial.is_result:
            continue
        if trial.strategy.key not in front_keys and all(
            name in measurements and math.isfinite(measurements[name].value)
            for name in study.target_metrics
        ):
            others[trial.strategy.key] = trial
    return list(others.values())
