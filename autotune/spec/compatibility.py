"""Whether a stored study can be continued with a changed study file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import product
from typing import Any

from autotune.domain import Categorical, Dimension, Range, SearchSpace, Study, Value, expression
from autotune.domain.metrics import METRICS, Requirement
from autotune.domain.search_space import contains, grid_values, settings
from autotune.spec.metrics import searched_devices

RANGE_VALUES = 16
"""Values of a range that stand for all, where a rule is tried on each combination."""


def incompatibilities(old: Study, new: Study) -> list[str]:
    """The differences that make the results of ``old`` incomparable with those of ``new``, one
    sentence each; empty if ``new`` can continue from the trials of ``old``.

    These can change: budget, limits, executor, sampler, ``start_with``, ``warm_start``, plug-ins,
    sharing, early stopping, confirmation, bounds of constraints, and the space if it only grows.
    Prices can change if no metric of the study depends on them.
    """
    return [
        *_task_differences(old, new),
        *_metric_differences(old, new),
        *_space_differences(old, new),
        *_price_differences(old, new),
    ]


def _task_differences(old: Study, new: Study) -> Iterator[str]:
    task = old.task.with_code_of(new.task)
    for field in fields(task):
        before, after = getattr(task, field.name), getattr(new.task, field.name)
        if before != after:
            yield _difference(f"task.{field.name}", before, after)
    for name, before, after in old.changed_content(new):
        yield _difference(name, before, after)


def _metric_differences(old: Study, new: Study) -> Iterator[str]:
    if old.objectives != new.objectives:
        yield _difference("objectives", _describe_objectives(old), _describe_objectives(new))
    added = {c.metric: str(c) for c in new.constraints if c.metric not in old.target_metrics}
    for constraint in added.values():
        yield f"the constraint '{constraint}' is on a metric that was not evaluated before"


def _describe_objectives(study: Study) -> str:
    return ", ".join(f"{o.direction} {o.metric}" for o in study.objectives)


def _space_differences(old: Study, new: Study) -> Iterator[str]:
    before, after = dict(old.space.defaults), dict(new.space.defaults)
    for name in before:
        if before[name] != after.get(name):
            yield _difference(f"the default of {name}", before[name], after.get(name))
    dimensions = {d.lever: d for d in new.space.dimensions}
    for dimension in old.space.dimensions:
        name, other = dimension.lever, dimensions.get(dimension.lever)
        if other is None:
            yield f"space.{name} is no longer searched"
        elif not _is_within(dimension, other):
            yield f"space.{name} no longer contains all settings that were searched"
        elif other.when is not None and other.when != dimension.when:
            yield _difference(f"the condition of space.{name}", dimension.when, other.when)
    old_rules = {rule.excludes for rule in old.space.rules}
    for rule in new.space.rules:
        if rule.excludes not in old_rules and _concerns(rule.excludes, old.space, after):
            yield f"the rule '{rule.excludes}' is new"


def _concerns(excludes: str, space: SearchSpace, defaults: Mapping[str, Value]) -> bool:
    """Whether a rule can exclude a strategy of ``space``: it holds for a combination of settings
    that are searched there, or names a lever with a range. A lever that ``space`` does not know yet
    is at its default in all of its strategies."""
    complete = {**defaults, **space.defaults}
    rule = expression.parse(excludes, complete.keys())
    searched = [d for d in space.dimensions if d.lever in rule.names]
    finite = [settings(d.domain) for d in searched]
    is_complete = all(values is not None and len(values) <= RANGE_VALUES for values in finite)
    if rule.names <= space.defaults.keys() and not is_complete:
        return True
    names = [d.lever for d in searched]
    grids = [grid_values(d.domain, RANGE_VALUES) for d in searched]
    return any(
        rule.holds({**complete, **dict(zip(names, values, strict=True))})
        for values in product(*grids)
    )


def _is_within(old: Dimension, new: Dimension) -> bool:
    """Whether ``new`` contains every setting of ``old``."""
    finite = settings(old.domain)
    if finite is not None:
        return all(contains(new.domain, value) for value in finite)
    assert isinstance(old.domain, Range)
    if isinstance(new.domain, Categorical) or settings(new.domain) is not None:
        return False
    return new.domain.low <= old.domain.low and old.domain.high <= new.domain.high


def _price_differences(old: Study, new: Study) -> Iterator[str]:
    metrics = (METRICS[name] for name in new.target_metrics if name in METRICS)
    if all(metric.requires is not Requirement.PRICES for metric in metrics):
        return
    if old.prices.cpu_core != new.prices.cpu_core:
        yield _difference("prices.cpu_core", old.prices.cpu_core, new.prices.cpu_core)
    yield from _changed_entries("prices.nodes", old.prices.nodes, new.prices.nodes)
    devices = (*searched_devices(old.space), *searched_devices(new.space))
    if any(device != "cpu" for device in devices):
        yield from _changed_entries("prices.gpus", old.prices.gpus, new.prices.gpus)


def _changed_entries(
    section: str, old: Mapping[str, float], new: Mapping[str, float]
) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield _difference(f"{section}.{name}", old.get(name), new.get(name))


def _difference(name: str, before: Any, after: Any) -> str:
    return f"{name} was {before}, now {after}"
