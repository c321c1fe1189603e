"""Search spaces: dimensions and rules, and how to complete, check, count and enumerate them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from autotune.domain import expression
from autotune.domain.strategy import Strategy, Value

MIN_VALUES, VALUES_PER_DECADE = 16, 10
"""Settings of a continuous range that a search compares: at least so many, and so many in each
decade of a logarithmic range, where neighbours then differ by a factor of 1.26."""


@dataclass(frozen=True)
class Categorical:
    """A finite, ordered list of settings."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A numeric interval, both ends included. ``step`` makes it a grid; ``log`` makes it
    logarithmic."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    integer: bool = False


@dataclass(frozen=True)
class Dimension:
    """One lever that is searched. Where the condition ``when`` (an expression over earlier levers)
    does not hold, the lever has no effect and keeps its default."""

    lever: str
    domain: Categorical | Range
    when: str | None = None


@dataclass(frozen=True)
class ForbiddenClause:
    """A forbidden combination: ``excludes`` is an expression that holds for it."""

    excludes: str
    reason: str


@dataclass(frozen=True)
class SearchSpace:
    """All strategies of a study: dimensions in order, and the defaults of all levers."""

    dimensions: tuple[Dimension, ...]
    defaults: Mapping[str, Value]
    rules: tuple[ForbiddenClause, ...] = ()


def is_active(space: SearchSpace, dimension: Dimension, values: Mapping[str, Value]) -> bool:
    """Whether ``dimension`` has an effect, given the levers before it; other levers have their
    default."""
    if dimension.when is None:
        return True
    condition = expression.parse(dimension.when, space.defaults.keys())
    return condition.holds({**space.defaults, **values})


def complete(space: SearchSpace, choices: Mapping[str, Value]) -> Strategy:
    """The strategy with ``choices``; levers that are inactive or not named have their default."""
    values = dict(space.defaults)
    for dimension in space.dimensions:
        if dimension.lever in choices and is_active(space, dimension, values):
            values[dimension.lever] = choices[dimension.lever]
    fixed = {name: value for name, value in choices.items() if name not in levers(space)}
    return Strategy({**values, **fixed})


def levers(space: SearchSpace) -> tuple[str, ...]:
    """Names of the levers that are searched."""
    return tuple(dimension.lever for dimension in space.dimensions)


def excluded(space: SearchSpace, strategy: Strategy) -> ForbiddenClause | None:
    """The first rule that forbids ``strategy``, if any."""
    values = {**space.defaults, **strategy.values}
    for rule in space.rules:
        if expression.parse(rule.excludes, values.keys()).holds(values):
            return rule
    return None


def settings(domain: Categorical | Range) -> tuple[Value, ...] | None:
    """All settings of a finite domain, in order; ``None`` for a continuous one."""
    if isinstance(domain, Categorical):
        return domain.values
    if domain.step is None and not domain.integer:
        return None
    step = Decimal(str(domain.step if domain.step is not None else 1))
    low, high = Decimal(str(domain.low)), Decimal(str(domain.high))
    count = int((high - low) / step) + 1
    numbers = [low + step * index for index in range(count)]
    return tuple(int(n) if domain.integer else float(n) for n in numbers)


def contains(domain: Categorical | Range, value: Value) -> bool:
    """Whether ``value`` is in ``domain``."""
    if isinstance(domain, Categorical):
        return any(
            value == other and isinstance(value, str) == isinstance(other, str)
            for other in domain.values
        )
    if isinstance(value, str) or not domain.low <= value <= domain.high:
        return False
    step = domain.step if domain.step is not None else 1 if domain.integer else None
    if step is None:
        return True
    return (Decimal(str(float(value))) - Decimal(str(domain.low))) % Decimal(str(step)) == 0


def grid_values(domain: Categorical | Range, points: int) -> tuple[Value, ...]:
    """The settings of ``domain``; for a continuous one, ``points`` evenly spaced values."""
    finite = settings(domain)
    if finite is not None:
        return finite
    assert isinstance(domain, Range)
    return tuple(quantile(domain, index / max(points - 1, 1)) for index in range(points))


def candidate_values(
    space: SearchSpace, dimension: Dimension, start_with: Iterable[Strategy] = ()
) -> tuple[Value, ...]:
    """The settings of ``dimension`` that a search compares: of a continuous one evenly spaced ones,
    its ends and the default included. Closer ones would share no results and could not be told
    apart, so the default and the settings of ``start_with`` replace the nearest between the ends.
    """
    domain = dimension.domain
    finite = settings(domain)
    if finite is not None:
        return finite
    assert isinstance(domain, Range)
    decades = math.log10(domain.high / domain.low) if domain.log else 0.0
    last = max(MIN_VALUES - 1, round(VALUES_PER_DECADE * decades))
    even = grid_values(domain, last + 1)
    values: dict[int, Value] = dict(enumerate(even))
    default = space.defaults[dimension.lever]
    for value in (*(strategy[dimension.lever] for strategy in start_with), default):
        if not isinstance(value, str) and contains(domain, value):
            values[round(position(domain, value) * last)] = value
    values |= {0: domain.low, last: domain.high}
    if contains(domain, default):
        values[-1] = default
    return tuple(sorted(set(values.values()), key=float))


def position(domain: Range, value: float) -> float:
    """Where ``value`` is in ``domain``, 0 to 1."""
    if domain.log:
        width = math.log(domain.high / domain.low) or 1.0
        return math.log(max(value, 1e-300) / domain.low) / width
    return (value - domain.low) / ((domain.high - domain.low) or 1.0)


def quantile(domain: Categorical | Range, share: float) -> Value:
    """The setting at ``share`` (0 to 1) of ``domain``, rounded to four significant digits."""
    finite = settings(domain)
    if finite is not None:
        return finite[min(int(share * len(finite)), len(finite) - 1)]
    assert isinstance(domain, Range)
    if domain.log:
        value = domain.low * (domain.high / domain.low) ** share
    else:
        value = domain.low + (domain.high - domain.low) * share
    return min(max(float(f"{value:.4g}"), domain.low), domain.high)


def grid(space: SearchSpace, points: int = 4) -> Iterator[Strategy]:
    """Every allowed strategy of the space once, with continuous levers at ``points`` values."""
    keys: set[str] = set()
    for values in _branches(space, _rules_by_depth(space), 0, dict(space.defaults), points):
        strategy = Strategy(values)
        if strategy.key not in keys:
            keys.add(strategy.key)
            yield strategy


def _rules_by_depth(space: SearchSpace) -> list[list[expression.Expression]]:
    """The rules by the number of dimensions that must be set before they can be evaluated, so that
    a branch is cut at the first dimension that violates a rule."""
    indices = {dimension.lever: index for index, dimension in enumerate(space.dimensions)}
    rules: list[list[expression.Expression]] = [[] for _ in range(len(space.dimensions) + 1)]
    for rule in space.rules:
        parsed = expression.parse(rule.excludes, space.defaults.keys())
        rules[1 + max(indices.get(name, -1) for name in parsed.names)].append(parsed)
    return rules


def _branches(
    space: SearchSpace,
    rules: list[list[expression.Expression]],
    index: int,
    values: dict[str, Value],
    points: int,
) -> Iterator[dict[str, Value]]:
    """All completions of ``values``, in which the dimensions before ``index`` are set."""
    if any(rule.holds(values) for rule in rules[index]):
        return
    if index == len(space.dimensions):
        yield values
        return
    dimension = space.dimensions[index]
    candidates: Iterable[Value] = (space.defaults[dimension.lever],)
    if is_active(space, dimension, values):
        candidates = grid_values(dimension.domain, points)
    for value in candidates:
        branch = {**values, dimension.lever: value}
        yield from _branches(space, rules, index + 1, branch, points)


def size(space: SearchSpace, limit: int = 100_000) -> int | None:
    """The number of strategies, at most ``limit``; ``None`` if a lever is continuous."""
    if any(settings(dimension.domain) is None for dimension in space.dimensions):
        return None
    return sum(1 for _, _ in zip(range(limit), grid(space), strict=False))
