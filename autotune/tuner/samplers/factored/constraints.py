"""Which strategies satisfy the constraints of a study, given the errors of measured scores.

A measured accuracy is a sample of the true one. A strategy near the bound therefore satisfies a
constraint with a probability, and a bound relative to the default is as uncertain as the accuracy
of the default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Constraint, Study, Trial
from autotune.domain.constraints import constraint_bound, is_satisfied
from autotune.levers import phase_levers
from autotune.tuner.samplers.factored.candidate_batch import CandidateBatch
from autotune.tuner.samplers.factored.encoding import group_key
from autotune.tuner.samplers.factored.gaussian_process import Floats
from autotune.tuner.samplers.factored.posterior import Posterior, score_phase

MIN_DEVIATION = 1e-9
"""Standard deviation of the margin of a metric that is known exactly."""

Satisfied = NDArray[np.bool_]
"""In which posterior samples all constraints are satisfied, shape (strategies, samples)."""


class Constraints:
    """The constraints of ``study``; those relative to an unmeasured default are ignored."""

    def __init__(self, study: Study, posterior: Posterior, default: Trial | None) -> None:
        self._study, self._posterior, self._default = study, posterior, default

    def satisfied_by_trials(self, trials: Sequence[Trial]) -> Satisfied:
        """For complete trials. A metric that was not measured violates its constraint."""
        satisfied = np.ones((len(trials), self._posterior.sample_count), dtype=bool)
        for constraint, bound in self._bounds():
            levers = phase_levers(score_phase(constraint.metric))
            groups = [group_key(trial.strategy, levers) for trial in trials]
            scores = self._posterior.true_scores(constraint.metric)
            for row, (trial, group) in enumerate(zip(trials, groups, strict=True)):
                value = scores.get(group, trial.metric(constraint.metric))
                satisfied[row] &= value is not None and is_satisfied(constraint, value, bound)
        return satisfied

    def satisfied_by_candidates(self, batch: CandidateBatch) -> Satisfied:
        satisfied = np.ones((len(batch.strategies), self._posterior.sample_count), dtype=bool)
        for constraint, bound in self._bounds():
            samples = batch.true_samples(constraint.metric)
            if samples is not None:
                satisfied &= is_satisfied(constraint, samples, bound)
        return satisfied

    def probabilities(self, batch: CandidateBatch) -> Floats:
        """The probability that each candidate satisfies all constraints, shape (candidates,), by a
        normal approximation: it also orders candidates of which no sample satisfies them."""
        from scipy.special import ndtr

        probabilities = np.ones(len(batch.strategies))
        for constraint, bound in self._bounds():
            samples = batch.true_samples(constraint.metric)
            if samples is not None:
                sign = 1.0 if constraint.operator in (">=", ">") else -1.0
                margins = sign * (samples - bound)
                deviations = np.maximum(margins.std(axis=1), MIN_DEVIATION)
                probabilities *= ndtr(margins.mean(axis=1) / deviations)
        return probabilities

    def _bounds(self) -> Iterator[tuple[Constraint, float | Floats]]:
        """Each constraint with its bound, or samples of it, shape (samples,)."""
        default_groups = self._posterior.observations.default_groups
        for constraint in self._study.constraints:
            limit = constraint_bound(constraint, self._default)
            if limit is None:
                continue
            default_group = default_groups[score_phase(constraint.metric)]
            scores = self._posterior.true_scores(constraint.metric).get(default_group)
            if constraint.relative and scores is not None:
                yield constraint, scores + constraint.bound
            else:
                yield constraint, limit
