"""Quasi-Monte Carlo search."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats.qmc import Sobol

from autotune.domain import Strategy, Study, Trial
from autotune.domain.search_space import complete, excluded, quantile
from autotune.tuner.samplers.common import TriedStrategies, choose_untried, derive_seed

BATCH_POINTS = 512
"""Points computed at a time: a power of two keeps the balance of a Sobol sequence."""


class QmcSampler:
    """A scrambled Sobol sequence over the space: even coverage, independent of the results.

    Proposes the first point that was not tried, so that the position in the sequence follows from
    the history. Source: Owen (1997), scrambled net variance; implementation of SciPy.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        dimensions = max(len(study.space.dimensions), 1)
        self._sequence = Sobol(dimensions, rng=derive_seed(study.sampler.seed))
        self._points: list[Strategy] = []
        self._tried = TriedStrategies()

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy; ``None`` if the space is exhausted."""
        tried = self._tried.keys(history)
        for index in range(len(history) + BATCH_POINTS):
            strategy = self._point(index)
            if strategy.key not in tried and excluded(self._study.space, strategy) is None:
                return strategy
        return choose_untried(self._study.space, tried, self._study.sampler.seed)

    def _point(self, index: int) -> Strategy:
        while index >= len(self._points):
            for row in self._sequence.random(BATCH_POINTS):
                self._points.append(self._strategy(row.tolist()))
        return self._points[index]

    def _strategy(self, point: Sequence[float]) -> Strategy:
        """The strategy at a point of the unit cube."""
        values = {
            dimension.lever: quantile(dimension.domain, coordinate)
            for dimension, coordinate in zip(self._study.space.dimensions, point, strict=False)
        }
        return complete(self._study.space, values)
