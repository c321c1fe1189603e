"""The best score that a strategy can be hoped to reach before any training of it is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotune.domain import Phase, Strategy, Study, Trial
from autotune.domain.metrics import METRICS
from autotune.search.samplers.factored.observations import Observations
from autotune.search.samplers.factored.surrogates import Surrogates

ENOUGH = 6
"""Training groups that have to be known before anything is said about another."""


class GpScoreUpperBound:
    """Upper bounds of training metrics, from the groups whose score is known and the model's own
    uncertainty about the one asked for. State is a cache: the history decides."""

    def __init__(self, study: Study) -> None:
        self._facts = Observations(study)
        self._surrogates = Surrogates(study.space)

    def __call__(
        self, strategy: Strategy, metric: str, history: Sequence[Trial], deviations: float
    ) -> float | None:
        """The metric so many standard deviations on the better side of what is expected."""
        known = self._facts.learn(history).ordered(Phase.TRAIN)
        if sum(metric in fact.values for _, fact in known) < ENOUGH:
            return None
        model = self._surrogates.of(Phase.TRAIN, metric, known)
        if model is None:
            return None
        sign = 1.0 if METRICS[metric].direction == "maximize" else -1.0
        ids = self._surrogates.encoders[Phase.TRAIN].encode([strategy])
        return float(model.draws(ids, np.array([sign * deviations]))[0, 0])
