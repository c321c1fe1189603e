"""The memory formula, calibrated on the peaks that trials had.

Each component of :mod:`autotune.search.feasibility.memory` is scaled by a factor of its own. The
factors are those most likely after the observed peaks, starting from 1 with the spread that
:data:`PRIORS` gives; what they leave unexplained is the spread of a prediction. An outlier counts
less (Huber's weights), and an out-of-memory trial counts as a bound: its peak lay above it.
All of it is a function of the trials; nothing else is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotune.search.feasibility.estimate import LogNormalEstimate
from autotune.search.feasibility.memory import COMPONENTS, MemoryPhase

PRIORS = (0.25, 0.2, 0.4, 0.4, 0.6)
"""How far from 1 the factor of each component may lie, as a standard deviation of its logarithm."""

SPREAD, SPREAD_TRIALS = 0.12, 6.0
"""The spread of logarithms of peaks around the formula that is expected, and the number of trials
that this expectation is worth."""

HUBER = 1.5
OUTLIER = 3.0
"""Misses beyond so many spreads widen the spread no further."""

ROUNDS = 12

Vector = np.ndarray
"""``float64[components]``."""


@dataclass(frozen=True)
class Peak:
    """What a trial was seen to hold at most, or (``bound``) at least."""

    phases: tuple[MemoryPhase, ...]
    gib: float
    bound: bool = False


class MemoryModel:
    """Factors fitted to ``peaks``. Without any, the formula as it is."""

    def __init__(self, peaks: Sequence[Peak] = ()) -> None:
        self._precision = np.diag(1 / np.square(PRIORS))
        self._logs = np.zeros(len(COMPONENTS))
        self._spread = SPREAD
        if peaks:
            self._fit(peaks)

    @property
    def factors(self) -> dict[str, float]:
        """By what each component is scaled."""
        return dict(zip(COMPONENTS, np.exp(self._logs).tolist(), strict=True))

    def predict(self, phases: Sequence[MemoryPhase]) -> LogNormalEstimate:
        """The peak of a trial with these phases, in GiB."""
        values, slopes = _fullest(np.array([phases]), self._logs)
        doubt = float(slopes[0] @ np.linalg.solve(self._precision, slopes[0]))
        return LogNormalEstimate(float(values[0]), math.sqrt(self._spread**2 + doubt))

    def _fit(self, peaks: Sequence[Peak]) -> None:
        """Gauss-Newton on logarithms, with weights and the spread renewed each round."""
        prior = np.diag(1 / np.square(PRIORS))
        tables = _stacked(peaks)
        observed = np.log([max(peak.gib, 1e-6) for peak in peaks])
        bounds = np.array([peak.bound for peak in peaks])
        for _ in range(ROUNDS):
            values, slopes = _fullest(tables, self._logs)
            misses = observed - np.log(values)
            silent = bounds & (misses <= 0)  # a bound that is met says nothing more
            weights = _weights(misses / self._spread) * ~silent
            self._spread = self._spread_of(misses[~bounds])
            scaled = slopes * (weights / self._spread**2)[:, None]
            self._precision = prior + slopes.T @ scaled
            pull = scaled.T @ misses - prior @ self._logs
            step = np.linalg.solve(self._precision, pull)
            self._logs = self._logs + np.clip(step, -0.5, 0.5)

    def _spread_of(self, misses: Vector) -> float:
        widest = OUTLIER * self._spread
        total = SPREAD_TRIALS * SPREAD**2 + float(np.square(misses.clip(-widest, widest)).sum())
        return math.sqrt(total / (SPREAD_TRIALS + len(misses)))


def _weights(scores: Vector) -> Vector:
    weights: Vector = np.minimum(1.0, HUBER / np.maximum(np.abs(scores), 1e-12))
    return weights


def _stacked(peaks: Sequence[Peak]) -> np.ndarray:
    """Phases of all peaks, ``[peaks, phases, components]``; where there are fewer, one repeats."""
    most = max(len(peak.phases) for peak in peaks)
    return np.array([(*p.phases, *(p.phases[:1] * (most - len(p.phases)))) for p in peaks])


def _fullest(tables: np.ndarray, logs: Vector) -> tuple[Vector, np.ndarray]:
    """The fullest phase of each, and how its logarithm moves with those of the factors."""
    scaled = tables * np.exp(logs)
    totals = scaled.sum(axis=2)
    places = np.argmax(totals, axis=1)
    rows = np.arange(len(tables))
    values = totals[rows, places]
    return values, scaled[rows, places] / values[:, None]
