"""An upper bound on the score that a strategy can reach, for early stopping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotune.domain import Phase, Strategy, Study, Trial
from autotune.domain.metrics import METRICS
from autotune.tuner.samplers.factored.observations import Observations
from autotune.tuner.samplers.factored.surrogates import Surrogates

MIN_TRAINED_GROUPS = 6
"""Training groups with a score below which there is no bound."""


class GpScoreUpperBound:
    """Upper confidence bounds of metrics of the train phase, by the Gaussian process of the
    sampler. A pure function of the history."""

    def __init__(self, study: Study) -> None:
        self._observations = Observations(study)
        self._surrogates = Surrogates(study.space)

    def __call__(
        self, strategy: Strategy, metric: str, history: Sequence[Trial], deviations: float
    ) -> float | None:
        """The score ``deviations`` standard deviations better than expected; ``None`` with fewer
        than :data:`MIN_TRAINED_GROUPS` groups."""
        observations = self._observations.update(history).by_number(Phase.TRAIN)
        if sum(metric in o.values for _, o in observations) < MIN_TRAINED_GROUPS:
            return None
        surrogate = self._surrogates.fit(Phase.TRAIN, metric, observations)
        if surrogate is None:
            return None
        sign = 1.0 if METRICS[metric].direction == "maximize" else -1.0
        ids = self._surrogates.encoders[Phase.TRAIN].encode([strategy])
        return float(surrogate.sample(ids, np.array([sign * deviations]), np.zeros(1))[0, 0])
