"""The probability that a strategy runs, learned from failed trials.

A Gaussian process on labels, +1 for a success and -1 for a failure, with a probit link. Source:
Rasmussen and Williams (2006), section 6.5, least-squares classification.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotune.domain import PHASES, Phase, SearchSpace, Strategy
from autotune.levers import phase_levers
from autotune.tuner.samplers.factored.candidate_batch import CandidateBatch
from autotune.tuner.samplers.factored.encoding import Encoder, LevelIds, group_key
from autotune.tuner.samplers.factored.gaussian_process import (
    Floats,
    GaussianProcess,
    KernelParams,
    fit_params,
    prior_params,
)
from autotune.tuner.samplers.factored.observations import Observations
from autotune.tuner.samplers.factored.surrogates import fit_count

NOISE_VARIANCE = 0.05
"""Prior median of the noise variance of labels."""
PROBIT_VARIANCE = 0.05
"""Variance of the probit link, in addition to that of the posterior."""
MAX_GROUPS = 100
"""Successful groups, and failed groups, to which the classifier is fitted."""

SUCCESS, FAILURE = 1.0, -1.0

MIN_P = 0.1
"""Probabilities below are set to 0."""

P_IF_SKIPPED = 0.1
"""Factor for groups that the feasibility filter has skipped, and would skip again."""


class FeasibilityClassifier:
    """A pure function of the observations; fitted parameters are cached."""

    def __init__(self, space: SearchSpace) -> None:
        self._encoders = {phase: Encoder(space, phase_levers(phase)) for phase in PHASES}
        self._params: dict[Phase, tuple[tuple[str, ...], KernelParams]] = {}

    def probabilities(self, observations: Observations, batch: CandidateBatch) -> Floats:
        """The probability that each candidate runs, shape (candidates,)."""
        probabilities = np.ones(len(batch.strategies))
        for phase in observations.phases:
            if any(failure.phase == phase for failure in observations.failures):
                probabilities *= self._phase_probabilities(phase, observations, batch)
        if observations.predicted_infeasible:
            levers = phase_levers(Phase.PROFILE)
            skipped = {
                group_key(strategy, levers)
                for strategy in observations.predicted_infeasible.values()
            }
            factor = batch.factors[Phase.PROFILE]
            is_skipped = np.array([key in skipped for key in factor.groups])[factor.index]
            probabilities = np.where(is_skipped, P_IF_SKIPPED * probabilities, probabilities)
        return probabilities

    def _phase_probabilities(
        self, phase: Phase, observations: Observations, batch: CandidateBatch
    ) -> Floats:
        from scipy.special import ndtr

        encoder, factor = self._encoders[phase], batch.factors[phase]
        succeeded = _group_members(phase, [s for _, s in sorted(observations.successes.items())])
        failed = _group_members(
            phase, [f.strategy for f in observations.failures if f.phase == phase]
        )
        first = succeeded[: min(fit_count(len(succeeded)), MAX_GROUPS)]
        params = self._fit_params(phase, first, failed[:MAX_GROUPS])
        ids, labels = self._training_data(phase, succeeded[-MAX_GROUPS:], failed[-MAX_GROUPS:])
        process = GaussianProcess(
            encoder.kernel_dimensions, ids, labels, np.zeros(len(labels)), params
        )
        mean, deviation = process.predict(encoder.encode(factor.members))
        z = (mean + SUCCESS) / np.sqrt(PROBIT_VARIANCE + deviation**2)
        probabilities = np.asarray(ndtr(z))
        return np.where(probabilities < MIN_P, 0.0, probabilities)[factor.index]

    def _fit_params(
        self, phase: Phase, succeeded: Sequence[Strategy], failed: Sequence[Strategy]
    ) -> KernelParams:
        """Fitted after every failure, and whenever the successful groups have grown by a third."""
        key = tuple(strategy.key for strategy in (*succeeded, *failed))
        cached = self._params.get(phase)
        if cached is not None and cached[0] == key:
            return cached[1]
        dimensions = self._encoders[phase].kernel_dimensions
        ids, labels = self._training_data(phase, succeeded, failed)
        prior = prior_params(len(dimensions), NOISE_VARIANCE)
        params = fit_params(dimensions, ids, labels, np.zeros(len(labels)), prior)
        self._params[phase] = key, params
        return params

    def _training_data(
        self, phase: Phase, succeeded: Sequence[Strategy], failed: Sequence[Strategy]
    ) -> tuple[LevelIds, Floats]:
        """Levels, and labels relative to the prior mean, which is success."""
        labels = np.array([0.0] * len(succeeded) + [FAILURE - SUCCESS] * len(failed))
        return self._encoders[phase].encode([*succeeded, *failed]), labels


def _group_members(phase: Phase, strategies: Sequence[Strategy]) -> list[Strategy]:
    """The last strategy of each group, in the order in which the groups first occur."""
    levers = phase_levers(phase)
    return list({group_key(strategy, levers): strategy for strategy in strategies}.values())
