"""Domains of levers as distributions of Optuna. Imports Optuna: import this module lazily."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autotune.analysis.text import value_sort_key
from autotune.domain import Categorical, Range, Value
from autotune.domain.search_space import contains, settings


def distribution(
    domain: Categorical | Range,
    values: Iterable[Value] = (),
    *,
    finite_as_categorical: bool = False,
) -> BaseDistribution:
    """A distribution that contains ``domain`` and all ``values``, some of which can be outside of
    it, as the default and the user's own strategies can be.

    A range becomes categorical if a value is outside, or if it is finite and
    ``finite_as_categorical`` is set.
    """
    tried = set(values)
    finite = settings(domain)
    is_range = finite is None or not finite_as_categorical
    if isinstance(domain, Range) and is_range and all(contains(domain, v) for v in tried):
        return range_distribution(domain)
    choices = dict.fromkeys([*(finite or ()), *sorted(tried, key=value_sort_key)])
    return CategoricalDistribution(list(choices))


def range_distribution(domain: Range) -> BaseDistribution:
    """Optuna has no step on a logarithmic scale."""
    if domain.integer:
        step = 1 if domain.log else int(domain.step or 1)
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    step_size = None if domain.log else domain.step
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=step_size)
