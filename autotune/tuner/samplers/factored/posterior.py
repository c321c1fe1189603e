"""The posterior of a history: surrogates of all quantities, and the true scores of its trials."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autotune.domain import Phase, digest
from autotune.domain.metrics import METRICS
from autotune.tuner.samplers.factored.encoding import GroupKey
from autotune.tuner.samplers.factored.gaussian_process import Floats
from autotune.tuner.samplers.factored.observations import Observations
from autotune.tuner.samplers.factored.surrogates import Surrogate, Surrogates


def score_phase(metric: str) -> Phase:
    """The phase that measures a score: of the trained model, or of the deployed one."""
    record = METRICS.get(metric)
    return Phase.DEPLOY if record is not None and record.base is not None else Phase.TRAIN


class Posterior:
    """The posterior given ``observations``, as ``sample_count`` samples that are deterministic in
    ``seed``. Surrogates are fitted when they are first used."""

    def __init__(
        self, observations: Observations, surrogates: Surrogates, sample_count: int, seed: int
    ) -> None:
        self.observations, self.sample_count = observations, sample_count
        self.encoders, self.prior_mean = surrogates.encoders, surrogates.prior_mean
        self._surrogates, self._seed = surrogates, seed
        self._fits: dict[tuple[Phase, str], Surrogate | None] = {}
        self._true_scores: dict[str, Mapping[GroupKey, Floats]] = {}

    def surrogate(self, phase: Phase, quantity: str) -> Surrogate | None:
        """The surrogate of a quantity; ``None`` without an observation."""
        key = phase, quantity
        if key not in self._fits:
            observations = self.observations.with_stopped(phase, quantity)
            self._fits[key] = self._surrogates.fit(phase, quantity, observations)
        return self._fits[key]

    def true_scores(self, metric: str) -> Mapping[GroupKey, Floats]:
        """Samples, shape (samples,), of the true score of each group that measured it; empty for
        metrics that are no scores. The groups are those of :func:`score_phase`.

        The error of the default, with which others are compared, is independent of theirs.
        """
        if metric not in self._true_scores:
            phase = score_phase(metric)
            surrogate = self.surrogate(phase, metric)
            default = self.observations.default_groups.get(phase)
            normal = self.normal(phase, metric)
            own = self.normal(phase, metric, "default")
            self._true_scores[metric] = (
                {}
                if surrogate is None
                else surrogate.true_scores(lambda group: own if group == default else normal)
            )
        return self._true_scores[metric]

    def normal(self, *labels: str) -> Floats:
        """Evenly spaced quantiles of the standard normal distribution, in an order that depends on
        ``labels``, shape (samples,)."""
        from scipy.special import ndtri

        seed = int(digest([self._seed, *labels])[:8], 16)
        order = np.random.default_rng(seed).permutation(self.sample_count)
        return np.asarray(ndtri((order + 0.5) / self.sample_count))
