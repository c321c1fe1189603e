"""The posterior of one metric over the strategies of a study, and how it is read.

Positive quantities are modelled by their logarithm, shares and correlations as they are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.mixed_model import GroupPosterior
from autotune.domain import Constraint
from autotune.domain.constraints import is_satisfied
from autotune.domain.metrics import MetricKind, get_metric

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

POSTERIOR_SAMPLES = 400
"""The standard error of a probability is at most 0.025."""

INTERVAL_QUANTILE = 2.06
"""97.5% quantile of Student's t with 25 degrees of freedom, because variances are estimates."""

RANGES: Mapping[MetricKind, tuple[float, float]] = {
    MetricKind.SHARE: (0.0, 1.0),
    MetricKind.CORRELATION: (-1.0, 1.0),
}
"""Limits of metrics that are modelled as they are."""

MIN_BOUND = 1e-300
"""Stands for bounds of positive quantities that are not positive."""


@dataclass(frozen=True)
class Belief:
    """The posterior mean of the true value of a metric and its 95% interval. ``sources`` are the
    numbers of the trials that measured it."""

    metric: str
    value: float
    ci95: tuple[float, float]
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """The difference of a strategy to the default: of scores in their unit, of other metrics
    (``is_ratio``) as a multiple of the default, with the 95% interval."""

    metric: str
    value: float
    ci95: tuple[float, float]
    is_ratio: bool

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes that there is no difference."""
        neutral = 1.0 if self.is_ratio else 0.0
        return not self.ci95[0] <= neutral <= self.ci95[1]


@dataclass(frozen=True)
class Scale:
    """The scale on which a metric is modelled: its logarithm, or the metric itself."""

    metric: str
    is_log: bool

    def inverse(self, values: Floats) -> Floats:
        if self.is_log:
            return np.asarray(np.exp(values))
        low, high = RANGES.get(get_metric(self.metric).kind, (-math.inf, math.inf))
        return np.asarray(np.clip(values, low, high))

    def interval(self, mean: float, deviation: float) -> tuple[float, float]:
        half = INTERVAL_QUANTILE * deviation
        low, high = self.inverse(np.array([mean - half, mean + half])).tolist()
        return low, high


class MetricPosterior(ABC):
    """The posterior of one metric; ``rows`` are the rows of its groups by key."""

    scale: Scale
    rows: Mapping[str, int]

    @abstractmethod
    def moments(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation on the scale of the model, each of shape (groups,)."""

    @abstractmethod
    def difference_moments(self, reference: int) -> tuple[Floats, Floats]:
        """The same of the differences to the group in row ``reference``."""

    @abstractmethod
    def sample_scaled(self, rows: Rows) -> Floats:
        """Joint samples on the scale of the model, shape (samples, rows)."""

    @abstractmethod
    def sources(self, row: int) -> Sequence[int]:
        """The numbers of the trials that measured the group."""

    def belief(self, row: int) -> Belief:
        mean, deviation = (float(moment[row]) for moment in self._moments)
        value = float(self.scale.inverse(np.array(mean)))
        ci95 = self.scale.interval(mean, deviation)
        return Belief(self.scale.metric, value, ci95, tuple(self.sources(row)))

    def compare(self, row: int, reference: int) -> Comparison:
        mean, deviation = (float(m[row]) for m in self._difference_moments(reference))
        half = INTERVAL_QUANTILE * deviation
        apply: Callable[[float], float] = math.exp if self.scale.is_log else float
        ends = apply(mean - half), apply(mean + half)
        return Comparison(self.scale.metric, apply(mean), ends, self.scale.is_log)

    def probability(self, row: int, constraint: Constraint, reference: int | None = None) -> float:
        """The probability of satisfying ``constraint``, relative to the group ``reference``."""
        moments = self._moments if reference is None else self._difference_moments(reference)
        mean, deviation = (float(moment[row]) for moment in moments)
        bound = self._scaled_bound(constraint.bound, reference)
        if deviation < 1e-9 * max(1.0, abs(mean)):
            return float(is_satisfied(constraint, mean, bound))
        below = NormalDist(mean, deviation).cdf(bound)
        return 1 - below if constraint.operator in (">=", ">") else below

    def _scaled_bound(self, bound: float, reference: int | None) -> float:
        """A bound, or one on the difference to ``reference``, on the scale of the model."""
        if not self.scale.is_log:
            return bound
        factor = bound if reference is None else 1 + bound / self.belief(reference).value
        return math.log(max(factor, MIN_BOUND))

    def sample(self, rows: Rows) -> Floats:
        return self.scale.inverse(self.sample_scaled(rows))

    @cached_property
    def _moments(self) -> tuple[Floats, Floats]:
        return self.moments()

    def _difference_moments(self, reference: int) -> tuple[Floats, Floats]:
        if reference not in self._differences:
            self._differences[reference] = self.difference_moments(reference)
        return self._differences[reference]

    @cached_property
    def _differences(self) -> dict[int, tuple[Floats, Floats]]:
        return {}


class GroupedPosterior(MetricPosterior):
    """Of a metric that one phase measures.

    ``run_variance`` is that of the error of one more run, on the scale of the model, without the
    part that all strategies have in common.
    """

    def __init__(
        self,
        scale: Scale,
        rows: Mapping[str, int],
        groups: GroupPosterior,
        sources: Mapping[int, Sequence[int]],
        run_variance: float,
    ) -> None:
        self.scale, self.rows, self.run_variance = scale, rows, run_variance
        self._groups, self._sources = groups, sources

    def moments(self) -> tuple[Floats, Floats]:
        return self._groups.moments()

    def difference_moments(self, reference: int) -> tuple[Floats, Floats]:
        return self._groups.difference_moments(reference)

    def sample_scaled(self, rows: Rows) -> Floats:
        rng = np.random.default_rng([*self.scale.metric.encode()])
        return self._groups.sample(rows, POSTERIOR_SAMPLES, rng)

    def sources(self, row: int) -> Sequence[int]:
        return self._sources[row]


class DerivedPosterior(MetricPosterior):
    """Of time, cost or energy of a full run: ``log value = constant - share * log speed``."""

    def __init__(
        self,
        scale: Scale,
        speed: MetricPosterior | None,
        speed_rows: Mapping[str, int],
        logs: Mapping[str, Sequence[tuple[float, float, int]]],
    ) -> None:
        self.scale, self._speed = scale, speed
        self.rows = {key: row for row, key in enumerate(logs)}
        self._constants = np.array([fmean(c for c, _, _ in runs) for runs in logs.values()])
        self._shares = np.array([fmean(share for _, share, _ in runs) for runs in logs.values()])
        self._numbers = [[number for _, _, number in runs] for runs in logs.values()]
        self._speed_rows = np.array([max(speed_rows[key], 0) for key in logs], dtype=np.int64)

    def moments(self) -> tuple[Floats, Floats]:
        if self._speed is None:
            return self._constants, np.zeros_like(self._constants)
        means, deviations = (moment[self._speed_rows] for moment in self._speed.moments())
        return self._constants - self._shares * means, self._shares * deviations

    def difference_moments(self, reference: int) -> tuple[Floats, Floats]:
        means, _ = self.moments()
        samples = self.sample_scaled(np.arange(len(means)))
        difference = samples - samples[:, [reference]]
        return means - means[reference], np.asarray(difference.std(axis=0))

    def sample_scaled(self, rows: Rows) -> Floats:
        if self._speed is None:
            return np.tile(self._constants[rows], (POSTERIOR_SAMPLES, 1))
        speeds = self._speed.sample_scaled(self._speed_rows[rows])
        return np.asarray(self._constants[rows] - self._shares[rows] * speeds)

    def sources(self, row: int) -> Sequence[int]:
        return self._numbers[row]
