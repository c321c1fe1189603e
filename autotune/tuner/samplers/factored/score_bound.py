"""Bounds on what a strategy can reach, for early stopping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotune.domain import Strategy, Study, Trial, WorkloadProfile
from autotune.domain.metrics import get_metric
from autotune.levers import phase_levers
from autotune.tuner.samplers.factored.encoding import group_key
from autotune.tuner.samplers.factored.observations import Observations, observe
from autotune.tuner.samplers.factored.surrogates import make_surrogates

MIN_GROUPS = 6
"""Groups that measured a metric below which there is no bound."""


class GpScoreUpperBound:
    """Confidence bounds of metrics of the trained or the deployed model, by the Gaussian process of
    the sampler, fitted to measurements alone: a stop is no reason for the next. A pure function of
    the history."""

    def __init__(self, study: Study, workload: WorkloadProfile | None = None) -> None:
        self._study = study
        self._observations: Observations | None = None
        self._surrogates = make_surrogates(study, workload)

    def __call__(
        self, strategy: Strategy, metric: str, history: Sequence[Trial], deviations: float
    ) -> float | None:
        """The value ``deviations`` standard deviations better than expected; ``None`` with fewer
        than :data:`MIN_GROUPS` groups."""
        phase, surrogates = get_metric(metric).phase, self._surrogates
        self._observations = observe(self._study, history, self._observations)
        observations = self._observations.by_number(phase)
        if sum(metric in o.values for _, o in observations) < MIN_GROUPS:
            return None
        surrogate = surrogates.fit(phase, metric, observations)
        if surrogate is None:
            return None
        sign = 1.0 if get_metric(metric).direction == "maximize" else -1.0
        ids = surrogates.encoders[phase].encode([strategy])
        group = [group_key(strategy, phase_levers(phase))]
        log_odds = surrogates.prior_mean.log_odds(metric, group, [strategy])
        factor = float(surrogates.prior_mean.values(metric, group, [strategy])[0])
        sample = surrogate.sample(ids, np.array([sign * deviations]), log_odds)
        return factor * float(sample[0, 0])
