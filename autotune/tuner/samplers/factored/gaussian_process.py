"""Gaussian process regression of one quantity over the levers.

The logarithm of a speed and the log-odds of an accuracy are nearly sums of the effects of the
levers. The kernel is therefore a sum of one Matern 5/2 kernel per lever and of their pairwise
products, each lever with its own variance: the effect of a lever is learned from every trial that
changes it, whatever else the trial changes. Source: Duvenaud, Nickisch, Rasmussen (2011), Additive
Gaussian Processes, order two.

Scikit-learn has no additive kernels, no categorical inputs and no priors on kernel parameters.
BoTorch has them, but would load torch into the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.tuner.samplers.factored.encoding import KernelDimension, LevelIds

Floats = NDArray[np.float64]

MEAN_VARIANCE = 4.0
"""Prior variance of the mean; quantities are scaled to a standard deviation of about 1."""

PAIR_WEIGHT = 0.3
"""Prior weight of the pairwise products relative to the sum of the single kernels."""

LENGTH_SCALE, LENGTH_SCALE_LOG_STD = 1.0, 0.5
"""Prior median and log standard deviation of a length scale; the searched range has length 1."""

VARIANCE_LOG_STD, PAIR_WEIGHT_LOG_STD, NOISE_LOG_STD = 1.0, 1.0, 1.0
"""Prior log standard deviations of the other parameters."""

JITTER = 1e-6
SQRT5 = 5**0.5
MAX_TABLE_LEVELS = 64
"""Number of levels up to which the kernel is tabulated by pair of levels."""


@dataclass(frozen=True)
class KernelParams:
    """``variances`` and ``length_scales`` per kernel dimension, the weight of pairwise products,
    and the variance of the noise."""

    variances: Floats
    length_scales: Floats
    pair_weight: float
    noise_variance: float

    def to_log(self) -> Floats:
        """Logarithms, shape (2 x dimensions + 2,)."""
        values = [*self.variances, *self.length_scales, self.pair_weight, self.noise_variance]
        return np.asarray(np.log(values))

    @staticmethod
    def from_log(logs: Floats) -> KernelParams:
        values = np.exp(logs)
        count = (len(values) - 2) // 2
        return KernelParams(
            values[:count], values[count : 2 * count], float(values[-2]), float(values[-1])
        )


def prior_params(count: int, noise_variance: float) -> KernelParams:
    """Prior medians for ``count`` kernel dimensions, all of equal variance."""
    variances = np.full(count, 1.0 / max(count, 3))
    return KernelParams(variances, np.full(count, LENGTH_SCALE), PAIR_WEIGHT, noise_variance)


def matern52(
    dimension: KernelDimension, left: LevelIds, right: LevelIds, length_scale: float
) -> Floats:
    """Correlation of levels, shape (left, right): Matern 5/2 between positions, 1 for equal levels,
    0 for other levels without a position."""
    positions = np.array(dimension.positions)
    if len(positions) <= MAX_TABLE_LEVELS:
        table = _matern52_positions(positions, positions, length_scale)
        np.fill_diagonal(table, 1.0)
        return np.asarray(table[left[:, None], right[None, :]])
    correlation = _matern52_positions(positions[left], positions[right], length_scale)
    correlation[left[:, None] == right[None, :]] = 1.0
    return correlation


def _matern52_positions(left: Floats, right: Floats, length_scale: float) -> Floats:
    distance = SQRT5 / length_scale * np.abs(left[:, None] - right[None, :])
    correlation = (1 + distance + distance**2 / 3) * np.exp(-distance)
    return np.asarray(np.nan_to_num(correlation, nan=0.0))


def _matern52_gradient(
    dimension: KernelDimension, left: LevelIds, right: LevelIds, length_scale: float
) -> Floats:
    """Derivative of :func:`matern52` by the logarithm of the length scale."""
    positions = np.array(dimension.positions)
    distance = SQRT5 / length_scale * np.abs(positions[left][:, None] - positions[right][None, :])
    gradient = distance**2 * (1 + distance) / 3 * np.exp(-distance)
    return np.asarray(np.nan_to_num(gradient, nan=0.0))


def kernel_matrix(
    dimensions: Sequence[KernelDimension], left: LevelIds, right: LevelIds, params: KernelParams
) -> Floats:
    """Prior covariance without noise, shape (left, right)."""
    total = np.zeros((len(left), len(right)))
    squares = np.zeros_like(total)
    for index, dimension in enumerate(dimensions):
        single = params.variances[index] * matern52(
            dimension, left[:, index], right[:, index], float(params.length_scales[index])
        )
        total += single
        squares += single * single
    return np.asarray(MEAN_VARIANCE + total + params.pair_weight / 2 * (total * total - squares))


def prior_variance(params: KernelParams) -> float:
    """The diagonal of :func:`kernel_matrix`, the same for every strategy."""
    total, squares = float(params.variances.sum()), float((params.variances**2).sum())
    return MEAN_VARIANCE + total + params.pair_weight / 2 * (total**2 - squares)


@dataclass(frozen=True)
class Residuals:
    """Deviations from the effects of the levers that strategies with equal levels of the kernel
    dimensions ``columns`` have in common; ``variance`` is a part of the noise of the parameters."""

    variance: float = 0.0
    columns: Sequence[int] = ()

    def covariance(self, left: LevelIds, right: LevelIds) -> Floats:
        """Shape (left, right)."""
        columns = list(self.columns)
        pairs = left[:, None, columns] == right[None, :, columns]
        return np.asarray(self.variance * pairs.all(axis=2))


NO_RESIDUALS = Residuals()


class GaussianProcess:
    """The posterior given ``values`` (centred and scaled) at ``ids``. ``variances`` are the known
    variances of the measurements, in addition to the noise of the kernel parameters."""

    def __init__(
        self,
        dimensions: Sequence[KernelDimension],
        ids: LevelIds,
        values: Floats,
        variances: Floats,
        params: KernelParams,
        residuals: Residuals = NO_RESIDUALS,
    ) -> None:
        self._dimensions, self._ids, self._params = dimensions, ids, params
        self._residuals = residuals
        covariance = kernel_matrix(dimensions, ids, ids, params) + residuals.covariance(ids, ids)
        noise = params.noise_variance - residuals.variance
        covariance[np.diag_indices(len(ids))] += noise + variances + JITTER
        self._values = values
        self._cholesky: Floats = np.asarray(np.linalg.cholesky(covariance))
        self._weights = _solve(self._cholesky, _solve(self._cholesky, values), transposed=True)

    def predict(self, ids: LevelIds, *, with_residuals: bool = False) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noise-free quantity, each of shape (strategies,):
        ``with_residuals`` of true values, otherwise of the effects of the levers alone."""
        cross = kernel_matrix(self._dimensions, self._ids, ids, self._params)
        variance = prior_variance(self._params)
        if with_residuals:
            cross = cross + self._residuals.covariance(self._ids, ids)
            variance += self._residuals.variance
        explained = _solve(self._cholesky, cross)
        variance = variance - (explained**2).sum(axis=0)
        return cross.T @ self._weights, np.sqrt(np.maximum(variance, 1e-9))

    def denoise(self, variances: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the true values at the measured strategies, each of shape
        (strategies,), if measurements have errors of these ``variances``. Any other deviation from
        the levers' effects is a property of the strategy."""
        inverse = _solve(self._cholesky, np.eye(len(self._values)))
        precisions = (inverse**2).sum(axis=0)
        mean = self._values - variances * self._weights
        return mean, np.sqrt(np.maximum(variances - variances**2 * precisions, 1e-9))


def _solve(cholesky: Floats, right: Floats, *, transposed: bool = False) -> Floats:
    from scipy.linalg import solve_triangular

    return np.asarray(
        solve_triangular(cholesky, right, lower=True, trans=int(transposed), check_finite=False)
    )


def fit_params(
    dimensions: Sequence[KernelDimension],
    ids: LevelIds,
    values: Floats,
    variances: Floats,
    prior: KernelParams,
) -> KernelParams:
    """The parameters with the highest posterior density given the measurements."""
    from scipy.optimize import minimize

    loss = _NegLogPosterior(dimensions, ids, values, variances, prior)
    bounds = [(m - 4 * s, m + 4 * s) for m, s in zip(loss.mean, loss.deviation, strict=True)]
    result: Any = minimize(
        loss, prior.to_log(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 30}
    )
    return KernelParams.from_log(np.asarray(result.x))


class _NegLogPosterior:
    """Negative log posterior density of the log parameters, and its gradient."""

    def __init__(
        self,
        dimensions: Sequence[KernelDimension],
        ids: LevelIds,
        values: Floats,
        variances: Floats,
        prior: KernelParams,
    ) -> None:
        self._dimensions, self._ids = dimensions, ids
        self._values, self._variances = values, variances
        self.mean = prior.to_log()
        count = len(dimensions)
        self.deviation = np.concatenate([
            np.full(count, VARIANCE_LOG_STD), np.full(count, LENGTH_SCALE_LOG_STD),
            [PAIR_WEIGHT_LOG_STD, NOISE_LOG_STD],
        ])  # fmt: skip

    def __call__(self, logs: Floats) -> tuple[float, Floats]:
        params = KernelParams.from_log(logs)
        count = len(self._dimensions)
        singles = np.stack([self._single_kernel(index, params) for index in range(count)])
        total = singles.sum(axis=0)
        pairs = (total * total - (singles * singles).sum(axis=0)) / 2
        covariance = MEAN_VARIANCE + total + params.pair_weight * pairs
        covariance[np.diag_indices(len(self._ids))] += (
            params.noise_variance + self._variances + JITTER
        )
        cholesky: Floats = np.asarray(np.linalg.cholesky(covariance))
        inverse = _solve(cholesky, np.eye(len(cholesky)))
        inverse = inverse.T @ inverse
        weights = inverse @ self._values
        sensitivity = (inverse - np.outer(weights, weights)) / 2
        single_sensitivity = sensitivity[None] * (1 + params.pair_weight * (total[None] - singles))
        gradient = np.empty_like(logs)
        gradient[:count] = (single_sensitivity * singles).sum(axis=(1, 2))
        for index in range(count):
            gradient[count + index] = self._length_gradient(
                index, params, single_sensitivity[index]
            )
        gradient[-2] = params.pair_weight * (sensitivity * pairs).sum()
        gradient[-1] = params.noise_variance * np.trace(sensitivity)
        standardized = (logs - self.mean) / self.deviation
        log_determinant = np.log(np.diag(cholesky)).sum()
        loss = self._values @ weights / 2 + log_determinant + (standardized**2).sum() / 2
        return float(loss), gradient + standardized / self.deviation

    def _single_kernel(self, index: int, params: KernelParams) -> Floats:
        ids = self._ids[:, index]
        correlation = matern52(
            self._dimensions[index], ids, ids, float(params.length_scales[index])
        )
        return np.asarray(params.variances[index] * correlation)

    def _length_gradient(self, index: int, params: KernelParams, sensitivity: Floats) -> float:
        dimension, ids = self._dimensions[index], self._ids[:, index]
        if not dimension.is_numeric:
            return 0.0
        gradient = _matern52_gradient(dimension, ids, ids, float(params.length_scales[index]))
        return float(params.variances[index] * (sensitivity * gradient).sum())
