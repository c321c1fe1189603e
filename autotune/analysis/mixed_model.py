"""Shrinkage of noisy measurements: a Bayesian linear mixed model.

The true value of a group (strategies that share a measurement) is a sum of effects of its features,
the same for all groups, and of a deviation of its own. Measurements add noise of known variance and
offsets that many of them share, such as the difficulty of the examples of a split. The scales of
the effects and of the deviations are unknown: the posterior is averaged over a grid of them, with
the marginal likelihood as weight (empirical Bayes with the uncertainty of its scales).

A posterior with the right prior has no winner's curse: the expectation of the best of many groups
is not biased by its selection. Outliers, such as trainings that diverged, have a prior variance of
their own, so that they do not widen the prior of the others.

Source: Robinson (1991), That BLUP is a good thing: the estimation of random effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

DEVIATION_SCALES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
"""Standard deviations of groups on the grid, in units of the spread of the values. Nearly uniform:
with few groups a uniform prior of the scale gives intervals that hold (Gelman, 2006)."""

EFFECT_SCALES = (0.03, 0.1, 0.2, 0.35, 0.6)
"""Prior standard deviations of the effects on the grid, in the same units."""

INTERCEPT_SCALE = 30.0
"""Prior standard deviation of the intercept, in the same units."""

OUTLIER_LIMIT = 4.5
"""Residuals of the robust regression, in robust standard deviations, beyond which a group is an
outlier."""

OUTLIER_RIDGE, ROBUST_ITERATIONS = 2.0, 6
"""Penalty of the coefficients of the robust regression, and its iterations."""

MIN_WEIGHT = 0.004
"""Points of the grid with less weight are left out."""

MIN_NOISE = 1e-6
"""Smallest standard deviation of the noise, in units of the spread."""


@dataclass(frozen=True)
class Measurements:
    """``values`` (n,) of ``groups`` (n,) with the ``variances`` (n,) of their independent noise.

    ``offsets`` (n, offsets) are the loadings of the common offsets, whose prior variances are
    ``offset_variances`` (offsets,).
    """

    groups: Indices
    values: Floats
    variances: Floats
    offsets: Floats
    offset_variances: Floats


@dataclass(frozen=True)
class _Component:
    """The normal posterior of the groups at one point of the grid: ``mean + loadings @ z + residual
    * e`` with standard normal ``z`` (shared) and ``e`` (one for each group)."""

    weight: float
    means: Floats
    loadings: Floats
    residuals: Floats

    @property
    def variances(self) -> Floats:
        return np.asarray((self.loadings**2).sum(axis=1) + self.residuals**2)


class GroupPosterior:
    """The joint posterior of the true values of all groups: a mixture of normal distributions."""

    def __init__(self, components: Sequence[_Component]) -> None:
        self._components = components

    def moments(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation, each of shape (groups,)."""
        return self._mix([(c.weight, c.means, c.variances) for c in self._components])

    def shift(self, values: Floats) -> GroupPosterior:
        """The posterior of groups whose true values are larger by ``values`` (groups,)."""
        return GroupPosterior([replace(c, means=c.means + values) for c in self._components])

    def difference_moments(self, reference: int) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the difference of each group to ``reference``."""
        parts = []
        for c in self._components:
            shared = ((c.loadings - c.loadings[reference]) ** 2).sum(axis=1)
            variance = shared + c.residuals**2 + c.residuals[reference] ** 2
            variance[reference] = 0.0
            parts.append((c.weight, c.means - c.means[reference], variance))
        return self._mix(parts)

    def sample(self, groups: Indices, count: int, rng: np.random.Generator) -> Floats:
        """``count`` joint samples of the values of ``groups``, shape (count, groups)."""
        weights = np.array([c.weight for c in self._components])
        ends = np.round(np.cumsum(weights) * count).astype(int)
        blocks = []
        for component, size in zip(self._components, np.diff(ends, prepend=0), strict=True):
            shared = rng.standard_normal((size, component.loadings.shape[1]))
            own = rng.standard_normal((size, len(component.means)))[:, groups]
            blocks.append(
                component.means[groups]
                + shared @ component.loadings[groups].T
                + own * component.residuals[groups]
            )
        return np.asarray(np.concatenate(blocks)[rng.permutation(count)])

    @staticmethod
    def _mix(parts: Sequence[tuple[float, Floats, Floats]]) -> tuple[Floats, Floats]:
        mean = np.sum([weight * means for weight, means, _ in parts], axis=0)
        variance = np.sum([w * (v + (m - mean) ** 2) for w, m, v in parts], axis=0)
        return np.asarray(mean), np.asarray(np.sqrt(variance))


def fit_groups(
    features: Floats, measurements: Measurements, expected: Floats | None = None
) -> GroupPosterior:
    """The posterior of the groups with ``features`` (groups, features); each has a measurement.
    ``expected`` (groups,) are their values before anything is measured, up to a constant.

    Uses one thread: with small matrices and a busy machine, more are slower.
    """
    if expected is None:
        expected = np.zeros(len(features))
    rest = replace(measurements, values=measurements.values - expected[measurements.groups])
    with threadpool_limits(1):
        return _fit_groups(features, rest).shift(expected)


def _fit_groups(features: Floats, measurements: Measurements) -> GroupPosterior:
    statistics = _GroupStatistics(features, measurements)
    excess = statistics.excess_variances()
    points = []
    for deviation in DEVIATION_SCALES:
        level = statistics.deviation_level(deviation, excess)
        points += [level.solve(effect) for effect in EFFECT_SCALES]
    evidence = np.array([solution.log_evidence for solution in points])
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    weights[weights < MIN_WEIGHT] = 0.0
    weights /= weights.sum()
    pairs = zip(points, weights.tolist(), strict=True)
    return GroupPosterior([solution.component(weight) for solution, weight in pairs if weight])


class _GroupStatistics:
    """Sufficient statistics of the measurements by group: the precision and the weighted mean."""

    def __init__(self, features: Floats, measurements: Measurements) -> None:
        groups, count = measurements.groups, len(features)
        self.center = float(np.median(measurements.values))
        values = measurements.values - self.center
        noise = float(np.sqrt(np.median(measurements.variances)))
        self.spread = max(float(values.std()), noise, 1e-9)
        variances = np.maximum(measurements.variances, (MIN_NOISE * self.spread) ** 2)
        weights = 1 / variances
        self.precisions = np.bincount(groups, weights, minlength=count)
        self.values = np.bincount(groups, weights * values, minlength=count) / self.precisions
        offsets = np.zeros((count, measurements.offsets.shape[1]))
        np.add.at(offsets, groups, weights[:, None] * measurements.offsets)
        offsets /= self.precisions[:, None]
        self.effects = np.column_stack([np.ones(count), features])
        self.design = np.column_stack([self.effects, offsets])
        within, rest = measurements.offsets - offsets[groups], values - self.values[groups]
        self.within_gram = (within * weights[:, None]).T @ within
        self.within_moment = (within * weights[:, None]).T @ rest
        self.constant = float(weights @ rest**2) + float(np.log(variances).sum())
        self.offset_variances = measurements.offset_variances

    def excess_variances(self) -> Floats:
        """How much larger the prior variance of the deviation of each group is, because it is an
        outlier of a robust regression on the features; 0 for most."""
        penalty = OUTLIER_RIDGE * np.diag([0.0, *np.ones(self.effects.shape[1] - 1)])
        noise = np.sqrt(1 / self.precisions)
        residuals = self.values - np.median(self.values)
        for _ in range(ROBUST_ITERATIONS):
            spread = np.maximum(1.4826 * np.median(np.abs(residuals)), noise)
            weights = 1 / np.maximum(np.abs(residuals), spread)
            weights /= weights.max()
            weighted = self.effects * weights[:, None]
            gram = weighted.T @ self.effects + penalty
            residuals = self.values - self.effects @ np.linalg.solve(gram, weighted.T @ self.values)
        return np.asarray(np.maximum(residuals**2 - (OUTLIER_LIMIT * spread) ** 2, 0.0))

    def deviation_level(self, deviation: float, excess: Floats) -> _DeviationLevel:
        return _DeviationLevel(self, (deviation * self.spread) ** 2 + excess)


class _DeviationLevel:
    """The statistics with the deviations of the groups, of prior variance ``variances``,
    integrated out."""

    def __init__(self, statistics: _GroupStatistics, variances: Floats) -> None:
        self.statistics, self.variances = statistics, variances
        self.inflation = 1 + variances * statistics.precisions
        precisions = statistics.precisions / self.inflation
        weighted = statistics.design * precisions[:, None]
        self.gram, self.moment = weighted.T @ statistics.design, weighted.T @ statistics.values
        first = statistics.effects.shape[1]
        self.gram[first:, first:] += statistics.within_gram
        self.moment[first:] += statistics.within_moment
        self.constant = (
            statistics.constant
            + float(precisions @ statistics.values**2)
            + float(np.log(self.inflation).sum())
        )

    def solve(self, effect: float) -> _Solution:
        """The coefficients where effects have the standard deviation ``effect`` (in spreads)."""
        statistics = self.statistics
        prior_variances = np.concatenate([
            [(INTERCEPT_SCALE * statistics.spread) ** 2],
            np.full(statistics.effects.shape[1] - 1, (effect * statistics.spread) ** 2),
            statistics.offset_variances,
        ])  # fmt: skip
        cholesky = np.linalg.cholesky(self.gram + np.diag(1 / prior_variances))
        inverse = np.linalg.inv(cholesky)
        solution = inverse @ self.moment
        determinant = 2 * np.log(np.diag(cholesky)).sum() + np.log(prior_variances).sum()
        log_evidence = -0.5 * (self.constant + float(determinant) - float(solution @ solution))
        return _Solution(self, log_evidence, inverse, inverse.T @ solution)


@dataclass(frozen=True)
class _Solution:
    """The posterior of the coefficients: mean, and the inverse Cholesky factor of the precision."""

    level: _DeviationLevel
    log_evidence: float
    inverse: Floats
    coefficients: Floats

    def component(self, weight: float) -> _Component:
        """The posterior of the groups."""
        level, statistics = self.level, self.level.statistics
        shrinkage = 1 - 1 / level.inflation
        loadings = -shrinkage[:, None] * statistics.design
        loadings[:, : statistics.effects.shape[1]] += statistics.effects
        own = shrinkage * statistics.values + loadings @ self.coefficients
        residuals = np.sqrt(level.variances / level.inflation)
        return _Component(weight, statistics.center + own, loadings @ self.inverse.T, residuals)
