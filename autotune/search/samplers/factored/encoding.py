"""Strategies as a kernel sees them: one level of every lever, and how alike two levels are.

A lever that is searched over numbers has levels on a line (of magnitudes, where the numbers span
some); every other setting, and a lever that its condition switches off, is a level of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Categorical, Dimension, SearchSpace, Strategy, Value
from autotune.domain.search_space import is_active

Ids = NDArray[np.int64]
"""Shape (strategies, axes): which level of each axis."""

MAGNITUDES = 4.0
"""Positive numbers that span at least this ratio are compared by magnitude."""

INACTIVE = "\0off"
"""The level of a lever that its condition switches off."""


DERIVED: Mapping[str, tuple[str, ...]] = {
    "updates": ("epochs", "batch_size"),
    "travel": ("epochs", "batch_size", "learning_rate"),
}
"""What a model learns by depends less on these levers than on how many updates they make, and how
far those go together; each is an axis where several of its levers are searched."""


def derived(name: str, values: Mapping[str, Value]) -> float:
    """Updates, or updates times the rate, in units that do not matter."""
    updates = _number(values, "epochs") / _number(values, "batch_size")
    if name == "updates":
        return updates
    power = SCALING.get(str(values.get("learning_rate_scaling")), 0.0)
    return (
        updates * _number(values, "learning_rate") * math.pow(_number(values, "batch_size"), power)
    )


SCALING = {"sqrt": 0.5, "linear": 1.0}


def _number(values: Mapping[str, Value], lever: str) -> float:
    value = values.get(lever, 1.0)
    return float(value) if isinstance(value, int | float) and value > 0 else 1.0


def group(strategy: Strategy, levers: Sequence[str]) -> tuple[Value | None, ...]:
    """The same for strategies that agree on ``levers``."""
    return tuple(map(strategy.values.get, levers))


class KernelDimension:
    """The levels that one lever has been seen at, and where numbers lie on a line from 0 to 1."""

    def __init__(self, domain: Sequence[float], log: bool) -> None:
        self._log = log and min(domain, default=0.0) > 0
        ends = [self._magnitude(end) for end in (min(domain), max(domain))] if domain else [0.0]
        self._low, self._width = ends[0], (ends[-1] - ends[0]) or 1.0
        self._numeric = bool(domain)
        self._ids: dict[Value, int] = {}
        self.places: list[float] = []
        """Place of each level on the line; NaN for one that is no number."""

    def level(self, value: Value) -> int:
        """The id of a setting, the same whenever it is asked for."""
        key = value if isinstance(value, str) else float(value) if self._numeric else str(value)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self.places)
            self.places.append(self._place(key))
        return found

    @property
    def is_numeric(self) -> bool:
        return self._numeric

    def _magnitude(self, number: float) -> float:
        return math.log(max(number, 1e-12)) if self._log else number

    def _place(self, key: Value) -> float:
        if isinstance(key, str):
            return math.nan
        return (self._magnitude(float(key)) - self._low) / self._width


class Encoder:
    """Strategies of a space as levels of those of its levers that are among ``levers``.

    Levers beside the searched ones (set by the user in ``start_with``) make up one more axis.
    """

    def __init__(self, space: SearchSpace, levers: Sequence[str]) -> None:
        self._space = space
        self._dimensions = [d for d in space.dimensions if d.lever in levers and _varies(d)]
        searched = {dimension.lever for dimension in self._dimensions}
        self._beside = [name for name in levers if name not in searched]
        self._usual = tuple(space.defaults.get(name) for name in self._beside)
        self._derived = [
            name for name, parts in DERIVED.items() if len(searched.intersection(parts)) > 1
        ]
        self.axes = [
            *(_axis(dimension) for dimension in self._dimensions),
            *(self._derived_axis(name) for name in self._derived),
            KernelDimension((), False),
        ]

    def encode(self, strategies: Sequence[Strategy]) -> Ids:
        """Levels, shape (strategies, axes)."""
        rows = [self._levels(strategy.values) for strategy in strategies]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self.axes))

    def _levels(self, values: Mapping[str, Value]) -> list[int]:
        levels = []
        for dimension, axis in zip(self._dimensions, self.axes, strict=False):
            on = dimension.when is None or is_active(self._space, dimension, values)
            levels.append(axis.level(values[dimension.lever] if on else INACTIVE))
        for name, axis in zip(self._derived, self.axes[len(self._dimensions) :], strict=False):
            levels.append(axis.level(derived(name, values)))
        beside = tuple(map(values.get, self._beside))
        levels.append(self.axes[-1].level("" if beside == self._usual else repr(beside)))
        return levels

    def _derived_axis(self, name: str) -> KernelDimension:
        """From the least to the most that the searched levers can make of it."""
        parts = [d for d in self._dimensions if d.lever in DERIVED[name]]
        ends = product(*(_ends(dimension) for dimension in parts))
        levers = [dimension.lever for dimension in parts]
        found = [
            derived(name, {**self._space.defaults, **dict(zip(levers, end, strict=True))})
            for end in ends
        ]
        return KernelDimension((min(found), max(found)), log=True)


def _ends(dimension: Dimension) -> tuple[Value, Value]:
    domain = dimension.domain
    if not isinstance(domain, Categorical):
        return domain.low, domain.high
    numbers = [v for v in domain.values if isinstance(v, int | float)] or [1.0]
    return min(numbers), max(numbers)


def _varies(dimension: Dimension) -> bool:
    return not (isinstance(dimension.domain, Categorical) and len(dimension.domain.values) < 2)


def _axis(dimension: Dimension) -> KernelDimension:
    domain = dimension.domain
    if not isinstance(domain, Categorical):
        return KernelDimension((domain.low, domain.high), domain.log)
    numbers = [v for v in domain.values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < 2:
        return KernelDimension((), False)
    low = min(numbers)
    return KernelDimension(numbers, low > 0 and max(numbers) >= MAGNITUDES * low)
