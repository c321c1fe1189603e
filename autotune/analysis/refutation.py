"""Whether the confirmation runs of a finalist speak against it, so that another takes its place.

A pure function of the study and its trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotune.analysis.front import find_baseline
from autotune.analysis.paired import PairedRuns
from autotune.analysis.replicates import Z95, Estimate, Replicates, is_score
from autotune.analysis.student_t import StudentT
from autotune.domain import Constraint, Objective, State, Study, Trial

MIN_PROBABILITY = 0.8
"""The probability with which a recommended strategy satisfies each constraint, at least."""

REFUTED_PROBABILITY = 0.2
"""A strategy is refuted if its confirmation runs alone make a constraint less likely than this."""


class Refutations:
    """The verdict of the confirmation runs in ``history``."""

    def __init__(self, study: Study, history: Sequence[Trial]) -> None:
        self._study, self._history = study, history
        self._paired, self._replicates = PairedRuns(history), Replicates(history)
        self._default = find_baseline(study, history)

    def is_refuted(self, trial: Trial) -> bool:
        """Whether a confirmation run of the strategy of ``trial`` failed, its runs alone make a
        constraint unlikely, or it is probably worse than the default in every objective."""
        runs = [
            run
            for run in self._history
            if run.is_confirmation and run.strategy == trial.strategy and run.is_informative
        ]
        if any(run.state.is_finished and run.state is not State.COMPLETE for run in runs):
            return True
        if self.satisfaction_probability(trial) < REFUTED_PROBABILITY:
            return True
        return self.worse_probability(trial) >= MIN_PROBABILITY

    def satisfaction_probability(self, trial: Trial) -> float:
        """The probability that a confirmed strategy satisfies the constraint that it is least sure
        to. A constraint about which the runs say nothing counts as satisfied."""
        constraints = self._study.constraints
        return min((self._satisfaction(trial, c) for c in constraints), default=1.0)

    def worse_probability(self, trial: Trial) -> float:
        """The probability that a confirmed strategy is worse than the default in every objective;
        0 where the runs say nothing."""
        return math.prod(self._worse(trial, objective) for objective in self._study.objectives)

    def _satisfaction(self, trial: Trial, constraint: Constraint) -> float:
        above = self._probability_above(trial, constraint)
        if above is None:
            return 1.0
        return above if constraint.operator in (">", ">=") else 1 - above

    def _probability_above(self, trial: Trial, constraint: Constraint) -> float | None:
        """The probability of a value above the bound of ``constraint``; ``None`` if unknown."""
        metric, bound, default = constraint.metric, constraint.bound, self._default
        if not constraint.relative:
            estimate = self._estimate(trial, metric)
            return None if estimate is None else _probability_above(estimate, metric, bound)
        if default is None:
            return None
        if is_score(metric):
            difference = self._paired.score_difference(trial, default, metric)
            return None if difference is None else difference.probability_above(bound)
        ratio, reference = self._paired.ratio(trial, default, metric), default.metric(metric)
        if ratio is None or not reference:
            return None
        limit = 1 + bound / reference
        return ratio.probability_above(limit) if limit > 0 else 1.0

    def _estimate(self, trial: Trial, metric: str) -> Estimate | None:
        if is_score(metric):
            return self._replicates.test_estimate(trial, metric)
        if not self._replicates.confirmations(trial):
            return None
        return self._replicates.estimate(trial, metric, confirmations_only=True)

    def _worse(self, trial: Trial, objective: Objective) -> float:
        if self._default is None:
            return 0.0
        if is_score(objective.metric):
            difference = self._paired.score_difference(trial, self._default, objective.metric)
            better = None if difference is None else difference.probability_above(0.0)
        else:
            ratio = self._paired.ratio(trial, self._default, objective.metric)
            better = None if ratio is None else ratio.probability_above(1.0)
        if better is None:
            return 0.0
        return 1 - better if objective.sign > 0 else better


def _probability_above(estimate: Estimate, metric: str, bound: float) -> float | None:
    """The probability of a true value above ``bound``; of other metrics than scores on the scale of
    the logarithm."""
    if estimate.ci95 is None:
        return float(estimate.value > bound)
    low, high = estimate.ci95
    if is_score(metric):
        return StudentT(estimate.value, (high - low) / 2 / Z95).probability_above(bound)
    if bound <= 0 or low <= 0:
        return float(estimate.value > bound)
    scale = math.log(high / low) / 2 / Z95
    return StudentT(math.log(estimate.value), scale).probability_above(math.log(bound))
