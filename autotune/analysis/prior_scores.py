"""What is expected of scores before a study measures any, as the sampler expects it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.replicates import is_score
from autotune.domain import Strategy, Study
from autotune.domain.metrics import MetricKind, get_metric
from autotune.levers.priors import accuracy_effects, accuracy_log_odds

Floats = NDArray[np.float64]

LIMITS = (0.01, 0.99)
"""Shares beyond these are taken for these where log-odds are needed."""


def prior_scores(study: Study, metric: str, strategies: Sequence[Strategy], level: float) -> Floats:
    """Expected differences of ``metric`` to the default, shape (strategies,), where the default
    reaches ``level``. 0 for what is no share, and where the sizes of the model and the data are not
    known, on which the right learning rate depends."""
    if study.workload is None or not is_score(metric):
        return np.zeros(len(strategies))
    if get_metric(metric).kind is not MetricKind.SHARE:
        return np.zeros(len(strategies))
    effects = accuracy_effects(study.sampler.priors, study.space.defaults)
    # Trials of earlier versions have no value for levers that came later.
    members = [study.baseline.with_values(**strategy.values) for strategy in strategies]
    log_odds = np.array(
        [accuracy_log_odds(s, study.workload, effects) for s in (study.baseline, *members)]
    )
    share = float(np.clip(level, *LIMITS))
    center = np.log(share / (1 - share))
    return np.asarray(1 / (1 + np.exp(-(center + log_odds[1:] - log_odds[0]))) - share)
