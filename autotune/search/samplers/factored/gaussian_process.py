"""What one quantity will be for strategies not measured yet: a Gaussian process over levers.

Logarithms of speed, and log-odds of accuracy, are nearly sums of what each lever adds. So the
kernel is a sum of one kernel a lever and of products of two of them, each lever with a weight of
its own: a lever's effect is learned from every trial that moves it, whatever else they moved.
Source: Duvenaud, Nickisch, Rasmussen (2011), Additive Gaussian Processes, of order two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.search.samplers.factored.encoding import Ids, KernelDimension

Floats = NDArray[np.float64]

CONSTANT = 4.0
"""Prior variance of the mean, beside quantities scaled to a spread of about 1."""

PAIRS = 0.3
"""Prior share of a product of two levers beside what each adds."""

LENGTH, LENGTH_SPREAD = 1.0, 0.5
"""Prior median and log spread of the distance, the searched range being 1, at which levers bend."""

WEIGHT_SPREAD, PAIRS_SPREAD, NOISE_SPREAD = 1.0, 1.0, 1.0

JITTER = 1e-6
ROOT5 = 5**0.5


@dataclass(frozen=True)
class KernelParams:
    """Of a kernel: variance and length a lever, weight of pairs, and variance of the noise."""

    weights: Floats
    lengths: Floats
    pairs: float
    noise: float

    def packed(self) -> Floats:
        return np.asarray(np.log([*self.weights, *self.lengths, self.pairs, self.noise]))


def unpacked(logs: Floats) -> KernelParams:
    values = np.exp(logs)
    axes = (len(values) - 2) // 2
    return KernelParams(
        values[:axes], values[axes : 2 * axes], float(values[-2]), float(values[-1])
    )


def prior(axes: int, noise: float) -> KernelParams:
    """Before any measurement: every lever may matter alike."""
    return KernelParams(np.full(axes, 1.0 / max(axes, 3)), np.full(axes, LENGTH), PAIRS, noise)


def matern52(axis: KernelDimension, left: Ids, right: Ids, length: float) -> Floats:
    """How alike levels are, 0 to 1, shape (left, right): Matern 5/2 on a line, else equality."""
    places = np.array(axis.places)
    if len(places) <= 64:
        table = _alike(places, places, length)
        np.fill_diagonal(table, 1.0)
        return np.asarray(table[left[:, None], right[None, :]])
    found = _alike(places[left], places[right], length)
    found[left[:, None] == right[None, :]] = 1.0
    return found


def _alike(left: Floats, right: Floats, length: float) -> Floats:
    far = ROOT5 / length * np.abs(left[:, None] - right[None, :])
    near = (1 + far + far**2 / 3) * np.exp(-far)
    return np.asarray(np.nan_to_num(near, nan=0.0))


def _slope(axis: KernelDimension, left: Ids, right: Ids, length: float) -> Floats:
    """Derivative of :func:`alike` by the logarithm of the length."""
    places = np.array(axis.places)
    far = ROOT5 / length * np.abs(places[left][:, None] - places[right][None, :])
    return np.asarray(np.nan_to_num(far**2 * (1 + far) / 3 * np.exp(-far), nan=0.0))


def kernel_matrix(
    axes: Sequence[KernelDimension], left: Ids, right: Ids, hyper: KernelParams
) -> Floats:
    """Covariance of the quantity between strategies, noise left out."""
    single = np.zeros((len(left), len(right)))
    square = np.zeros_like(single)
    for place, axis in enumerate(axes):
        part = hyper.weights[place] * matern52(
            axis, left[:, place], right[:, place], float(hyper.lengths[place])
        )
        single += part
        square += part * part
    return np.asarray(CONSTANT + single + hyper.pairs / 2 * (single * single - square))


def self_variance(hyper: KernelParams) -> float:
    total, square = float(hyper.weights.sum()), float((hyper.weights**2).sum())
    return CONSTANT + total + hyper.pairs / 2 * (total**2 - square)


class GaussianProcess:
    """A quantity given what was measured of it: ``values`` (centred, in units of ``scale``) at
    ``ids``, with the variance that each measurement is known to have."""

    def __init__(
        self,
        axes: Sequence[KernelDimension],
        ids: Ids,
        values: Floats,
        variances: Floats,
        hyper: KernelParams,
    ) -> None:
        self._axes, self._ids, self._hyper = axes, ids, hyper
        covariance = kernel_matrix(axes, ids, ids, hyper)
        covariance[np.diag_indices(len(ids))] += hyper.noise + variances + JITTER
        self._root: Floats = np.asarray(np.linalg.cholesky(covariance))
        self._solved = _solve(self._root, _solve(self._root, values), transposed=True)

    def predict(self, ids: Ids) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noise-free quantity, each of shape (strategies,)."""
        cross = kernel_matrix(self._axes, self._ids, ids, self._hyper)
        half = _solve(self._root, cross)
        variance = self_variance(self._hyper) - (half**2).sum(axis=0)
        return cross.T @ self._solved, np.sqrt(np.maximum(variance, 1e-9))


def _solve(root: Floats, right: Floats, *, transposed: bool = False) -> Floats:
    from scipy.linalg import solve_triangular

    return np.asarray(
        solve_triangular(root, right, lower=True, trans=int(transposed), check_finite=False)
    )


def fit(
    axes: Sequence[KernelDimension],
    ids: Ids,
    values: Floats,
    variances: Floats,
    start: KernelParams,
) -> KernelParams:
    """The most probable hyper-parameters given the measurements, ``start`` being the prior."""
    from scipy.optimize import minimize

    loss = _NegLogPosterior(axes, ids, values, variances, start)
    found: Any = minimize(
        loss, start.packed(), jac=True, method="L-BFGS-B",
        bounds=[(m - 4 * s, m + 4 * s) for m, s in zip(loss.middle, loss.spread, strict=True)],
        options={"maxiter": 30},
    )  # fmt: skip
    return unpacked(np.asarray(found.x))


class _NegLogPosterior:
    """Negative log posterior of the hyper-parameters, and its gradient, at their logarithms."""

    def __init__(
        self,
        axes: Sequence[KernelDimension],
        ids: Ids,
        values: Floats,
        variances: Floats,
        start: KernelParams,
    ) -> None:
        self._axes, self._ids, self._values, self._variances = axes, ids, values, variances
        self.middle = start.packed()
        count = len(axes)
        self.spread = np.concatenate([
            np.full(count, WEIGHT_SPREAD), np.full(count, LENGTH_SPREAD),
            [PAIRS_SPREAD, NOISE_SPREAD],
        ])  # fmt: skip

    def __call__(self, logs: Floats) -> tuple[float, Floats]:
        hyper = unpacked(logs)
        parts = np.stack([self._part(place, hyper) for place in range(len(self._axes))])
        single = parts.sum(axis=0)
        double = (single * single - (parts * parts).sum(axis=0)) / 2
        covariance = CONSTANT + single + hyper.pairs * double
        covariance[np.diag_indices(len(self._ids))] += hyper.noise + self._variances + JITTER
        root: Floats = np.asarray(np.linalg.cholesky(covariance))
        inverse = _solve(root, np.eye(len(root)))
        inverse = inverse.T @ inverse
        solved = inverse @ self._values
        sensitivity = (inverse - np.outer(solved, solved)) / 2
        outer = sensitivity[None] * (1 + hyper.pairs * (single[None] - parts))
        slope = np.empty_like(logs)
        count = len(self._axes)
        slope[:count] = (outer * parts).sum(axis=(1, 2))
        for place in range(count):
            slope[count + place] = self._length_slope(place, hyper, outer[place])
        slope[-2] = hyper.pairs * (sensitivity * double).sum()
        slope[-1] = hyper.noise * np.trace(sensitivity)
        away = (logs - self.middle) / self.spread
        loss = self._values @ solved / 2 + np.log(np.diag(root)).sum() + (away**2).sum() / 2
        return float(loss), slope + away / self.spread

    def _part(self, place: int, hyper: KernelParams) -> Floats:
        column = self._ids[:, place]
        near = matern52(self._axes[place], column, column, float(hyper.lengths[place]))
        return np.asarray(hyper.weights[place] * near)

    def _length_slope(self, place: int, hyper: KernelParams, outer: Floats) -> float:
        axis, column = self._axes[place], self._ids[:, place]
        if not axis.is_numeric:
            return 0.0
        slope = _slope(axis, column, column, float(hyper.lengths[place]))
        return float(hyper.weights[place] * (outer * slope).sum())
