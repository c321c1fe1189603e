"""Strategies as inputs of a kernel: one level per kernel dimension, and positions of levels.

The values of a numeric lever have positions on a line from 0 to 1, logarithmic if they span
magnitudes. Every other value, and the state of a lever whose condition is false, is a level without
a position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Categorical, Dimension, SearchSpace, Strategy, Value
from autotune.domain.search_space import is_active, settings

LevelIds = NDArray[np.int64]
"""Shape (strategies, kernel dimensions): the level of each dimension."""

GroupKey = tuple[Value | None, ...]
"""The values of the levers that influence one phase."""

MIN_LOG_RATIO = 4.0
"""Positive numbers with at least this ratio of largest to smallest are on a logarithmic scale."""

OTHER_LEVERS = "other levers"
"""Name of the last kernel dimension."""

INACTIVE = "\0off"
"""The level of a lever whose condition is false."""

DERIVED_QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "updates": ("epochs", "batch_size"),
    "lr_budget": ("epochs", "batch_size", "learning_rate"),
}
"""Accuracy depends on these levers mostly through the number of updates and the product of updates
and learning rate. Each derived quantity is a kernel dimension if more than one of its levers is
searched."""

SCALING_EXPONENTS = {"sqrt": 0.5, "linear": 1.0}
"""Exponent of the batch size by which ``learning_rate_scaling`` multiplies the learning rate."""


def group_key(strategy: Strategy, levers: Sequence[str]) -> GroupKey:
    """Equal for strategies that agree on ``levers``."""
    return tuple(map(strategy.values.get, levers))


def derived_quantity(name: str, values: Mapping[str, Value]) -> float:
    """The number of updates, or updates times learning rate, in arbitrary units."""
    updates = _positive_number(values, "epochs") / _positive_number(values, "batch_size")
    if name == "updates":
        return updates
    exponent = SCALING_EXPONENTS.get(str(values.get("learning_rate_scaling")), 0.0)
    scale = math.pow(_positive_number(values, "batch_size"), exponent)
    return updates * _positive_number(values, "learning_rate") * scale


def _positive_number(values: Mapping[str, Value], lever: str) -> float:
    value = values.get(lever, 1.0)
    return float(value) if isinstance(value, int | float) and value > 0 else 1.0


class KernelDimension:
    """The levels of one lever or derived quantity, and the positions of those that are numbers.

    ``domain`` are the numbers between which positions are 0 to 1; empty if all levels are
    unordered.
    """

    def __init__(self, domain: Sequence[float], log: bool) -> None:
        self._log = log and min(domain, default=0.0) > 0
        ends = [self._scale(end) for end in (min(domain), max(domain))] if domain else [0.0]
        self._low, self._width = ends[0], (ends[-1] - ends[0]) or 1.0
        self._numeric = bool(domain)
        self._ids: dict[Value, int] = {}
        self.positions: list[float] = []
        """Position of each level; NaN if it is not a number."""

    def level_id(self, value: Value) -> int:
        """The id of the level of ``value``; a new one on the first call."""
        key = value if isinstance(value, str) else float(value) if self._numeric else str(value)
        level = self._ids.get(key)
        if level is None:
            level = self._ids[key] = len(self.positions)
            self.positions.append(self._position(key))
        return level

    @property
    def is_numeric(self) -> bool:
        return self._numeric

    def _scale(self, number: float) -> float:
        return math.log(max(number, 1e-12)) if self._log else number

    def _position(self, key: Value) -> float:
        if isinstance(key, str):
            return math.nan
        return (self._scale(float(key)) - self._low) / self._width


class Encoder:
    """Encodes strategies as levels of the searched levers among ``levers``.

    The last kernel dimension stands for all other levers, which ``start_with`` can set.
    """

    def __init__(self, space: SearchSpace, levers: Sequence[str]) -> None:
        self._space = space
        self._dimensions = [d for d in space.dimensions if d.lever in levers and _varies(d)]
        searched = {dimension.lever for dimension in self._dimensions}
        self._fixed = [name for name in levers if name not in searched]
        self._fixed_defaults = tuple(space.defaults.get(name) for name in self._fixed)
        self._derived = [
            name for name, parts in DERIVED_QUANTITIES.items() if len(searched & {*parts}) > 1
        ]
        self.kernel_dimensions = [
            *(_kernel_dimension(dimension) for dimension in self._dimensions),
            *(self._derived_dimension(name) for name in self._derived),
            KernelDimension((), False),
        ]

    @property
    def discrete_columns(self) -> list[int]:
        """The kernel dimensions of levers without a continuous range, and that of the others."""
        searched = [i for i, d in enumerate(self._dimensions) if not _is_continuous(d)]
        return [*searched, len(self.kernel_dimensions) - 1]

    def dimension_settings(self) -> list[tuple[str, tuple[Value, ...]]]:
        """The name of each kernel dimension, and settings of its lever that span its domain; none
        for derived quantities and for the last dimension."""
        searched = [(d.lever, settings(d.domain) or _ends(d)) for d in self._dimensions]
        return [*searched, *((name, ()) for name in self._derived), (OTHER_LEVERS, ())]

    def encode(self, strategies: Sequence[Strategy]) -> LevelIds:
        """Levels, shape (strategies, kernel dimensions)."""
        rows = [self._level_ids(strategy.values) for strategy in strategies]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.kernel_dimensions))

    def _level_ids(self, values: Mapping[str, Value]) -> list[int]:
        ids = []
        for dimension, kernel_dimension in zip(
            self._dimensions, self.kernel_dimensions, strict=False
        ):
            active = dimension.when is None or is_active(self._space, dimension, values)
            ids.append(kernel_dimension.level_id(values[dimension.lever] if active else INACTIVE))
        derived_dimensions = self.kernel_dimensions[len(self._dimensions) :]
        for name, kernel_dimension in zip(self._derived, derived_dimensions, strict=False):
            ids.append(kernel_dimension.level_id(derived_quantity(name, values)))
        fixed = tuple(map(values.get, self._fixed))
        level = "" if fixed == self._fixed_defaults else repr(fixed)
        ids.append(self.kernel_dimensions[-1].level_id(level))
        return ids

    def _derived_dimension(self, name: str) -> KernelDimension:
        """From the least to the greatest value over the ranges of the searched levers."""
        parts = [d for d in self._dimensions if d.lever in DERIVED_QUANTITIES[name]]
        levers = [dimension.lever for dimension in parts]
        corners = product(*(_ends(dimension) for dimension in parts))
        values = [
            derived_quantity(
                name, {**self._space.defaults, **dict(zip(levers, corner, strict=True))}
            )
            for corner in corners
        ]
        return KernelDimension((min(values), max(values)), log=True)


def _ends(dimension: Dimension) -> tuple[Value, Value]:
    domain = dimension.domain
    if not isinstance(domain, Categorical):
        return domain.low, domain.high
    numbers = [v for v in domain.values if isinstance(v, int | float)] or [1.0]
    return min(numbers), max(numbers)


def _is_continuous(dimension: Dimension) -> bool:
    domain = dimension.domain
    return not (isinstance(domain, Categorical) or domain.integer or domain.step is not None)


def _varies(dimension: Dimension) -> bool:
    return not (isinstance(dimension.domain, Categorical) and len(dimension.domain.values) < 2)


def _kernel_dimension(dimension: Dimension) -> KernelDimension:
    domain = dimension.domain
    if not isinstance(domain, Categorical):
        return KernelDimension((domain.low, domain.high), domain.log)
    numbers = [v for v in domain.values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < 2:
        return KernelDimension((), False)
    low = min(numbers)
    return KernelDimension(numbers, low > 0 and max(numbers) >= MIN_LOG_RATIO * low)
