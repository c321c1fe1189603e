"""Bounds on what a strategy can reach, for early stopping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotune.domain import Strategy, Study, Trial
from autotune.domain.metrics import get_metric
from autotune.tuner.samplers.factored.observations import Observations
from autotune.tuner.samplers.factored.surrogates import Surrogates

MIN_GROUPS = 6
"""Groups that measured a metric below which there is no bound."""


class GpScoreUpperBound:
    """Confidence bounds of metrics of the trained or the deployed model, by the Gaussian process of
    the sampler. A pure function of the history."""

    def __init__(self, study: Study) -> None:
        self._observations = Observations(study)
        self._surrogates = Surrogates(study.space)

    def __call__(
        self, strategy: Strategy, metric: str, history: Sequence[Trial], deviations: float
    ) -> float | None:
        """The value ``deviations`` standard deviations better than expected; ``None`` with fewer
        than :data:`MIN_GROUPS` groups."""
        phase = get_metric(metric).phase
        observations = self._observations.update(history).by_number(phase)
        if sum(metric in o.values for _, o in observations) < MIN_GROUPS:
            return None
        surrogate = self._surrogates.fit(phase, metric, observations)
        if surrogate is None:
            return None
        sign = 1.0 if get_metric(metric).direction == "maximize" else -1.0
        ids = self._surrogates.encoders[phase].encode([strategy])
        return float(surrogate.sample(ids, np.array([sign * deviations]), np.zeros(1))[0, 0])
