"""Whether a stored study may be continued under a changed study file."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from autotune.domain import Categorical, Dimension, Range, SearchSpace, Study, expression
from autotune.domain.search_space import contains, levers, settings
from autotune.spec.metrics import COST, devices


def incompatibilities(old: Study, new: Study) -> list[str]:
    """What differs in a way that changes what the numbers of ``old`` mean, one sentence each; an
    empty list where the new study may go on from the old one's trials.

    Budget, limits, executor, sampler, ``start_with``, ``warm_start``, what is shared, stopped and
    confirmed, bounds of constraints and a wider space are free to change. Prices are, where no
    figure of the study is money.
    """
    return [*_task(old, new), *_metrics(old, new), *_space(old, new), *_prices(old, new)]


def _task(old: Study, new: Study) -> list[str]:
    pairs = (
        (f.name, getattr(old.task, f.name), getattr(new.task, f.name)) for f in fields(old.task)
    )
    return [_differs(f"task.{name}", a, b) for name, a, b in pairs if a != b]


def _metrics(old: Study, new: Study) -> list[str]:
    def shown(study: Study) -> str:
        return ", ".join(f"{o.direction} {o.metric}" for o in study.objectives)

    found = []
    if old.objectives != new.objectives:
        found.append(_differs("objectives", shown(old), shown(new)))
    known = {o.metric for o in old.objectives} | {c.metric for c in old.constraints}
    late = {c.metric: str(c) for c in new.constraints if c.metric not in known}
    return [
        *found,
        *(f"the constraint '{c}' is on a metric not judged before" for c in late.values()),
    ]


def _space(old: Study, new: Study) -> list[str]:
    before, after = dict(old.space.defaults), dict(new.space.defaults)
    found = [
        _differs(f"the default of {name}", before[name], after.get(name))
        for name in before
        if before[name] != after.get(name)
    ]
    there = {d.lever: d for d in new.space.dimensions}
    for dimension in old.space.dimensions:
        name, now = dimension.lever, there.get(dimension.lever)
        if now is None:
            found.append(f"space.{name} is no longer searched")
        elif not _within(dimension, now):
            found.append(f"space.{name} no longer holds all that was searched")
        elif now.when is not None and now.when != dimension.when:
            found.append(_differs(f"the condition of space.{name}", dimension.when, now.when))
    known = {rule.excludes for rule in old.space.rules}
    added = (rule.excludes for rule in new.space.rules if rule.excludes not in known)
    return [*found, *(f"the rule '{text}' is new" for text in added if _bears_on(old.space, text))]


def _bears_on(space: SearchSpace, excludes: str) -> bool:
    """Whether a rule can exclude a strategy of ``space``: it names a lever that is searched there,
    or holds of the defaults."""
    rule = expression.parse(excludes, space.defaults.keys())
    return bool(rule.names & set(levers(space))) or rule.holds(space.defaults)


def _within(old: Dimension, new: Dimension) -> bool:
    """Whether every setting of ``old`` may still be picked."""
    finite = settings(old.domain)
    if finite is not None:
        return all(contains(new.domain, value) for value in finite)
    assert isinstance(old.domain, Range)
    if isinstance(new.domain, Categorical) or settings(new.domain) is not None:
        return False
    return new.domain.low <= old.domain.low and old.domain.high <= new.domain.high


def _prices(old: Study, new: Study) -> list[str]:
    used = {o.metric for o in new.objectives} | {c.metric for c in new.constraints}
    if not used & set(COST):
        return []
    found = []
    if old.prices.cpu_core != new.prices.cpu_core:
        found.append(_differs("prices.cpu_core", old.prices.cpu_core, new.prices.cpu_core))
    gpus = any(device.startswith("cuda") for device in (*devices(old.space), *devices(new.space)))
    if gpus and dict(old.prices.gpus) != dict(new.prices.gpus):
        names = sorted({*old.prices.gpus, *new.prices.gpus})
        pairs = ((n, old.prices.gpus.get(n), new.prices.gpus.get(n)) for n in names)
        found += [_differs(f"prices.gpus.{n}", a, b) for n, a, b in pairs if a != b]
    return found


def _differs(what: str, old: Any, new: Any) -> str:
    return f"{what} was {old}, now {new}"
