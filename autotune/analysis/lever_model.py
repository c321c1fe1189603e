"""A Gaussian process over strategies that separates the effects of their levers.

The value of a strategy is modelled as the sum of a function of each lever, of a function of each
pair of levers, and of noise. The contribution of a lever to the difference between two strategies
is its Shapley value: the mean change over all orders in which the levers can be switched from one
strategy to the other. For functions of one and of two levers it has a closed form, which is linear
in these functions, so its posterior is normal. The contributions add up to the difference that the
model predicts.

The kernel of a lever is that of functions whose mean over the trials is zero (Durrande et al. 2013,
ANOVA kernels), so that the function of a pair contains nothing that those of its levers contain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from autotune.domain import Value

Floats = NDArray[np.float64]

LOG_RATIO = 4.0
"""Positive settings whose extremes differ by this factor are compared on a logarithmic scale."""
CONSTANT_VARIANCE = 10.0
"""Prior variance of the level, which carries no information, in units of the data's variance."""
LEVERS_SHARE, PAIRS_SHARE, NOISE_SHARE = 0.5, 0.1, 0.05
"""Prior modes of the variance of all levers together, of all pairs, and of the noise, in units of
the data's variance."""
PRIOR_WEIGHT = 0.25
"""Weight of the prior of a variance, an inverse gamma distribution, in pairs of degrees of freedom
of the data."""
ITERATIONS = 30


@dataclass(frozen=True)
class Contributions:
    """The normal posterior of the contributions of ``levers``: ``mean`` of shape (levers,) and
    ``covariance`` of shape (levers, levers), in the unit of the values."""

    levers: tuple[str, ...]
    mean: Floats
    covariance: Floats


class LeverModel:
    """The model of one metric, fitted to ``values`` (trials,) of strategies with ``settings``.

    ``noise`` (trials,) are the variances of the values that are known; the model estimates how much
    noise there is beyond them. Equal data give an equal model. Uses one thread: with small matrices
    and a busy machine, more are slower.
    """

    def __init__(
        self,
        levers: Sequence[str],
        settings: Sequence[Mapping[str, Value]],
        values: Floats,
        noise: Floats,
    ) -> None:
        self.levers = tuple(levers)
        self._axes = [_LeverAxis([row[lever] for row in settings]) for lever in levers]
        self._scale = float(values.std()) or 1.0
        with threadpool_limits(1, user_api="blas"):
            self._fit((values - values.mean()) / self._scale, noise / self._scale**2)

    def _fit(self, targets: Floats, noise: Floats) -> None:
        """Fit without pairs first: levers with large effects are those that interact."""
        fixed, identity = CONSTANT_VARIANCE + np.diag(noise), np.eye(len(targets))
        kernels = np.array([axis.of_trials for axis in self._axes])
        modes = [LEVERS_SHARE / len(self.levers)] * len(self.levers)
        additive = np.array([*kernels, identity])
        variances = _fit_variances(additive, fixed, targets, [*modes, NOISE_SHARE])
        self._weights = _pair_weights(variances[:-1])
        kernels = np.array([*kernels, _pair_kernel(self._weights, kernels), identity])
        variances = _fit_variances(kernels, fixed, targets, [*modes, PAIRS_SHARE, NOISE_SHARE])
        self._variances, self._pair_variance = variances[:-2], float(variances[-2])
        self._inverse = np.linalg.inv(fixed + np.tensordot(variances, kernels, 1))
        self._solution = self._inverse @ targets

    def contributions(
        self, base: Mapping[str, Value], target: Mapping[str, Value]
    ) -> Contributions:
        """The part of each lever in the value of ``target`` minus that of ``base``."""
        ends = [
            (axis, (base[lever], target[lever]))
            for axis, lever in zip(self._axes, self.levers, strict=True)
        ]
        with_trials = np.array([axis.kernel(pair) for axis, pair in ends])  # (levers, 2, trials)
        within = np.array([axis.kernel(pair, pair) for axis, pair in ends])  # (levers, 2, 2)
        # A function of two levers changes with each of them by the mean of its changes at both ends
        # of the other: by the change of the one times the level of the other.
        change, level = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
        covariance = (change @ with_trials) * self._gain(level @ with_trials)
        own = (within @ change @ change) * self._gain((within @ level @ level)[:, None])[:, 0]
        shared = self._weights * (within @ change @ level)
        prior = np.diag(own) + self._pair_variance * (np.outer(shared, shared) - np.diag(shared**2))
        posterior = prior - covariance @ self._inverse @ covariance.T
        mean = covariance @ self._solution
        return Contributions(self.levers, mean * self._scale, posterior * self._scale**2)

    def _gain(self, level: Floats) -> Floats:
        """The factor from the kernel of a lever to that of its own function and those of its pairs,
        (levers, points), if the kernels of the other levers are ``level`` (levers, points)."""
        weighted = self._weights[:, None] * level
        pairs = self._weights[:, None] * (weighted.sum(axis=0) - weighted)
        return np.asarray(self._variances[:, None] + self._pair_variance * pairs)


class _LeverAxis:
    """The kernel of one lever, whose ``settings`` in the trials span the axis.

    Numbers are as far apart as their share of the range says; words, and settings of different
    types, one whole range. Similarity is exp(-distance).
    """

    def __init__(self, settings: Sequence[Value]) -> None:
        numbers = [float(v) for v in settings if _is_number(v)]
        low, high = min(numbers, default=0.0), max(numbers, default=0.0)
        self._is_log = low > 0 and high >= LOG_RATIO * low
        self._low, self._high = self._position(low), self._position(high)
        self._settings = settings
        similarity = self._similarity(settings, settings)
        self._mean = float(similarity.mean())
        self._variance = 1.0 - self._mean or 1.0
        self.of_trials = self.kernel(settings)
        """Shape (trials, trials); the mean of its diagonal is 1."""

    def kernel(self, first: Sequence[Value], second: Sequence[Value] | None = None) -> Floats:
        """The covariance of ``first`` with ``second``, by default with the settings of the trials;
        shape (first, second)."""
        second = self._settings if second is None else second
        row = self._similarity(first, self._settings).mean(axis=1)
        column = self._similarity(second, self._settings).mean(axis=1)
        centred = self._similarity(first, second) - row[:, None] - column + self._mean
        return np.asarray(centred / self._variance)

    def _similarity(self, first: Sequence[Value], second: Sequence[Value]) -> Floats:
        (numbers, words), (others, other_words) = map(self._coordinates, (first, second))
        distances = np.abs(numbers[:, None] - others) / (self._high - self._low or 1.0)
        return np.exp(-np.where(words[:, None] == other_words, distances, 1.0))

    def _coordinates(self, settings: Sequence[Value]) -> tuple[Floats, NDArray[np.str_]]:
        """The positions of numbers, 0 for words; the words, empty for numbers."""
        numbers = [self._position(float(v)) if _is_number(v) else 0.0 for v in settings]
        return np.array(numbers), np.array(["" if _is_number(v) else repr(v) for v in settings])

    def _position(self, number: float) -> float:
        """On a logarithmic axis, numbers that are not positive are at its low end."""
        if not self._is_log:
            return number
        return math.log(number) if number > 0 else self._low


def _is_number(value: Value) -> bool:
    return not isinstance(value, str | bool)


def _pair_weights(variances: Floats) -> Floats:
    """The weights of levers in pairs: proportional to their variances, so that the variance of all
    pairs together is 1."""
    pairs = (variances.sum() ** 2 - (variances**2).sum()) / 2
    return variances / math.sqrt(pairs) if len(variances) > 1 else np.zeros(1)


def _pair_kernel(weights: Floats, kernels: Floats) -> Floats:
    """The sum over all pairs of the product of their two kernels."""
    weighted = weights[:, None, None] * kernels
    return np.asarray((weighted.sum(axis=0) ** 2 - (weighted**2).sum(axis=0)) / 2)


def _fit_variances(
    kernels: Floats, fixed: Floats, targets: Floats, modes: Sequence[float]
) -> Floats:
    """The variances of ``kernels`` (kernels, trials, trials) that maximise the posterior of
    ``targets`` with the covariance ``fixed`` in addition.

    Each step sets the derivative to zero with the rest of the model unchanged, as in restricted
    maximum likelihood. Few steps suffice, since a contribution hardly depends on the variances.
    """
    prior_scale = PRIOR_WEIGHT * np.array(modes)
    variances, flat = np.array(modes), kernels.reshape(len(kernels), -1)
    for _ in range(ITERATIONS):
        inverse = np.linalg.inv(fixed + (variances @ flat).reshape(fixed.shape))
        solution = inverse @ targets
        fit, size = kernels @ solution @ solution, flat @ inverse.ravel()
        variances = (fit * variances**2 / 2 + prior_scale) / (size * variances / 2 + PRIOR_WEIGHT)
    return np.asarray(variances)
