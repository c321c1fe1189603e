"""Strategies as features of a linear model: the searched levers that influence a phase."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Categorical, Dimension, SearchSpace, Strategy, Value
from autotune.levers import has_effect

Floats = NDArray[np.float64]
Feature = Callable[[Value | None], float]

MIN_LOG_RATIO = 4.0
"""Positive numbers with at least this ratio of largest to smallest are on a logarithmic scale."""


def lever_features(space: SearchSpace, metric: str, strategies: Sequence[Strategy]) -> Floats:
    """The levers that can change ``metric``: shape (strategies, features), each from -1 to 1 and
    without columns that do not vary.

    A number has a linear and a quadratic feature, a word or truth value one for each value that is
    not the default.
    """
    columns = [
        [feature(strategy.values.get(dimension.lever)) for strategy in strategies]
        for dimension in space.dimensions
        if has_effect(dimension.lever, metric)
        for feature in _features(dimension, space.defaults.get(dimension.lever))
    ]
    matrix = np.array(columns, dtype=float).T.reshape(len(strategies), len(columns))
    return matrix[:, np.ptp(matrix, axis=0) > 0] if len(strategies) else matrix


def _features(dimension: Dimension, default: Value | None) -> list[Feature]:
    domain = dimension.domain
    if not isinstance(domain, Categorical):
        return _number_features(domain.low, domain.high, domain.log)
    numbers = [v for v in domain.values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) > 2:
        return _number_features(min(numbers), max(numbers), True)
    return [_indicator(value) for value in domain.values if value != default]


def _indicator(setting: Value) -> Feature:
    return lambda value: 1.0 if value == setting else 0.0


def _number_features(low: float, high: float, log: bool) -> list[Feature]:
    is_log = log and low > 0 and high >= MIN_LOG_RATIO * low
    scale = math.log if is_log else float
    start, width = scale(low), (scale(high) - scale(low)) or 1.0

    def position(value: Value | None) -> float:
        """From -1 at the low end to 1 at the high end; 0 for what is no such number."""
        if not isinstance(value, int | float) or (is_log and value <= 0):
            return 0.0
        return min(max(2 * (scale(value) - start) / width - 1, -1.5), 1.5)

    return [position, lambda value: position(value) ** 2]
