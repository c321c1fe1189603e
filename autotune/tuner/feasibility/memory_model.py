"""Predicts the peak memory of a trial: the formula of :mod:`.memory`, calibrated on measured peaks.

Each component of a footprint is scaled by a factor. The factors are the maximum a posteriori
estimate given the measured peaks, with a log-normal prior around 1 (:data:`PRIOR_SIGMAS`). The
remaining residuals give the uncertainty of a prediction. Outliers have less weight (Huber), and a
trial that ran out of memory is a lower bound of its peak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.tuner.feasibility.estimate import LogNormalEstimate
from autotune.tuner.feasibility.memory import COMPONENTS, MemoryFootprint

PRIOR_SIGMAS = (0.25, 0.2, 0.4, 0.4, 0.6)
"""Standard deviation of the logarithm of each component's factor."""

PRIOR_SIGMA, PRIOR_TRIALS = 0.12, 6.0
"""Expected standard deviation of the residuals' logarithms, and the number of trials that the
expectation counts as."""

HUBER_SIGMAS = 1.5
MAX_RESIDUAL_SIGMAS = 3.0
"""Larger residuals do not widen the uncertainty further."""

ROUNDS = 12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Peak:
    """The measured peak of a trial in GiB, or a lower bound of it."""

    footprints: tuple[MemoryFootprint, ...]
    gib: float
    is_lower_bound: bool = False


class MemoryModel:
    """Factors fitted to ``peaks``. Without peaks they are 1."""

    def __init__(self, peaks: Sequence[Peak] = ()) -> None:
        self._precision = np.diag(1 / np.square(PRIOR_SIGMAS))
        self._log_factors = np.zeros(len(COMPONENTS))
        self._sigma = PRIOR_SIGMA
        if peaks:
            self._fit(peaks)

    @property
    def factors(self) -> dict[str, float]:
        """The factor of each component."""
        return dict(zip(COMPONENTS, np.exp(self._log_factors).tolist(), strict=True))

    def predict(self, footprints: Sequence[MemoryFootprint]) -> LogNormalEstimate:
        """The peak in GiB of a trial with these footprints."""
        values, gradients = _largest_footprint(np.array([footprints]), self._log_factors)
        variance = float(gradients[0] @ np.linalg.solve(self._precision, gradients[0]))
        return LogNormalEstimate(float(values[0]), math.sqrt(self._sigma**2 + variance))

    def _fit(self, peaks: Sequence[Peak]) -> None:
        """Gauss-Newton on logarithms; weights and sigma are updated in each round."""
        prior = np.diag(1 / np.square(PRIOR_SIGMAS))
        footprints = _stack(peaks)
        log_peaks = np.log([max(peak.gib, 1e-6) for peak in peaks])
        bounds = np.array([peak.is_lower_bound for peak in peaks])
        for _ in range(ROUNDS):
            values, gradients = _largest_footprint(footprints, self._log_factors)
            residuals = log_peaks - np.log(values)
            is_satisfied = bounds & (residuals <= 0)  # carries no further information
            weights = _huber_weights(residuals / self._sigma) * ~is_satisfied
            self._sigma = self._residual_sigma(residuals[~bounds])
            scaled = gradients * (weights / self._sigma**2)[:, None]
            self._precision = prior + gradients.T @ scaled
            descent = scaled.T @ residuals - prior @ self._log_factors
            step = np.linalg.solve(self._precision, descent)
            self._log_factors = self._log_factors + np.clip(step, -0.5, 0.5)

    def _residual_sigma(self, residuals: Floats) -> float:
        limit = MAX_RESIDUAL_SIGMAS * self._sigma
        squares = float(np.square(residuals.clip(-limit, limit)).sum())
        total = PRIOR_TRIALS * PRIOR_SIGMA**2 + squares
        return math.sqrt(total / (PRIOR_TRIALS + len(residuals)))


def _huber_weights(z_scores: Floats) -> Floats:
    weights: Floats = np.minimum(1.0, HUBER_SIGMAS / np.maximum(np.abs(z_scores), 1e-12))
    return weights


def _stack(peaks: Sequence[Peak]) -> Floats:
    """Footprints, shape (peaks, footprints, components). Shorter lists repeat their first one."""
    count = max(len(peak.footprints) for peak in peaks)
    rows = [(*p.footprints, *(p.footprints[:1] * (count - len(p.footprints)))) for p in peaks]
    return np.array(rows)


def _largest_footprint(footprints: Floats, log_factors: Floats) -> tuple[Floats, Floats]:
    """The largest scaled footprint of each trial, shape (trials,), and the gradient of its
    logarithm with respect to ``log_factors``, shape (trials, components)."""
    scaled = footprints * np.exp(log_factors)
    totals = scaled.sum(axis=2)
    largest = np.argmax(totals, axis=1)
    trials = np.arange(len(footprints))
    values = totals[trials, largest]
    return values, scaled[trials, largest] / values[:, None]
