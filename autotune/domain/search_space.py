"""A search space: its dimensions and rules, and how to complete, check, count and enumerate it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from autotune.domain import expression
from autotune.domain.strategy import Strategy, Value


@dataclass(frozen=True)
class Categorical:
    """A finite, ordered list of settings."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """A numeric interval, ends included; ``step`` makes it a grid, ``log`` searches magnitudes."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    integer: bool = False


@dataclass(frozen=True)
class Dimension:
    """One lever that the search may move. ``when`` (an expression over levers named before it)
    says for which strategies it matters; otherwise the lever keeps its default."""

    lever: str
    domain: Categorical | Range
    when: str | None = None


@dataclass(frozen=True)
class ForbiddenClause:
    """A combination that is not offered: ``excludes`` is an expression that is true for it."""

    excludes: str
    reason: str


@dataclass(frozen=True)
class SearchSpace:
    """All strategies that a study may try: dimensions in order, and defaults for every lever."""

    dimensions: tuple[Dimension, ...]
    defaults: Mapping[str, Value]
    rules: tuple[ForbiddenClause, ...] = ()


def is_active(space: SearchSpace, dimension: Dimension, values: Mapping[str, Value]) -> bool:
    """Whether ``dimension`` matters, given the levers before it (others at their default)."""
    if dimension.when is None:
        return True
    condition = expression.parse(dimension.when, space.defaults.keys())
    return condition.holds({**space.defaults, **values})


def complete(space: SearchSpace, choices: Mapping[str, Value]) -> Strategy:
    """The strategy that ``choices`` describe: switched-off and unnamed levers at their default."""
    values = dict(space.defaults)
    for dimension in space.dimensions:
        if dimension.lever in choices and is_active(space, dimension, values):
            values[dimension.lever] = choices[dimension.lever]
    fixed = {name: value for name, value in choices.items() if name not in levers(space)}
    return Strategy({**values, **fixed})


def levers(space: SearchSpace) -> tuple[str, ...]:
    """Names of the levers that the search moves."""
    return tuple(dimension.lever for dimension in space.dimensions)


def excluded(space: SearchSpace, strategy: Strategy) -> ForbiddenClause | None:
    """The first rule that keeps ``strategy`` out of the space, if any."""
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
    """Whether ``value`` may be picked from ``domain``."""
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
    """The settings of ``domain``, a continuous one sampled at ``points`` even places."""
    finite = settings(domain)
    if finite is not None:
        return finite
    assert isinstance(domain, Range)
    return tuple(quantile(domain, index / max(points - 1, 1)) for index in range(points))


def quantile(domain: Categorical | Range, share: float) -> Value:
    """The setting ``share`` (0 to 1) of the way through ``domain``, to four digits."""
    finite = settings(domain)
    if finite is not None:
        return finite[min(int(share * len(finite)), len(finite) - 1)]
    assert isinstance(domain, Range)
    if domain.log:
        return float(f"{domain.low * (domain.high / domain.low) ** share:.4g}")
    return float(f"{domain.low + (domain.high - domain.low) * share:.4g}")


def grid(space: SearchSpace, points: int = 4) -> Iterator[Strategy]:
    """Every strategy of the space once, continuous levers at ``points`` places, rules obeyed."""
    seen: set[str] = set()
    for values in _branches(space, _rules_due(space), 0, dict(space.defaults), points):
        strategy = Strategy(values)
        if strategy.key not in seen:
            seen.add(strategy.key)
            yield strategy


def _rules_due(space: SearchSpace) -> list[list[expression.Expression]]:
    """For each dimension the rules that can be judged once it is set, those over no dimension at
    all before the first: a branch that breaks one is cut where it breaks."""
    places = {dimension.lever: index for index, dimension in enumerate(space.dimensions)}
    due: list[list[expression.Expression]] = [[] for _ in range(len(space.dimensions) + 1)]
    for rule in space.rules:
        parsed = expression.parse(rule.excludes, space.defaults.keys())
        due[1 + max(places.get(name, -1) for name in parsed.names)].append(parsed)
    return due


def _branches(
    space: SearchSpace,
    due: list[list[expression.Expression]],
    index: int,
    values: dict[str, Value],
    points: int,
) -> Iterator[dict[str, Value]]:
    """``values`` with the dimensions before ``index`` set, completed in every way."""
    if any(rule.holds(values) for rule in due[index]):
        return
    if index == len(space.dimensions):
        yield values
        return
    dimension = space.dimensions[index]
    settings_here: Iterable[Value] = (space.defaults[dimension.lever],)
    if is_active(space, dimension, values):
        settings_here = grid_values(dimension.domain, points)
    for value in settings_here:
        branch = {**values, dimension.lever: value}
        yield from _branches(space, due, index + 1, branch, points)


def size(space: SearchSpace, limit: int = 100_000) -> int | None:
    """How many strategies there are: ``None`` when continuous, ``limit`` when at least that."""
    if any(settings(dimension.domain) is None for dimension in space.dimensions):
        return None
    return sum(1 for _, _ in zip(range(limit), grid(space), strict=False))
