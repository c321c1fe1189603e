"""What a study searches on a host, and what it leaves out and why."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from autotune.domain import (
    Categorical,
    ForbiddenClause,
    Host,
    Range,
    SearchSpace,
    Study,
    Value,
    expression,
)
from autotune.domain.search_space import settings, size
from autotune.levers import LEVERS
from autotune.spec.conditions import can_hold
from autotune.spec.domains import unavailable_settings
from autotune.spec.fields import AUTO
from autotune.spec.resolve import ResolvedStudy


@dataclass(frozen=True)
class LeverExplanation:
    """``searched`` are the settings or the range that are searched here, as text; empty if the
    lever keeps its ``default``. ``left_out`` are pairs of a setting that this host cannot run and
    the reason. ``in_file`` tells whether the study names the lever."""

    lever: str
    summary: str
    default: Value
    searched: tuple[str, ...]
    when: str | None
    left_out: tuple[tuple[str, str], ...]
    in_file: bool


@dataclass(frozen=True)
class Explanation:
    """``combinations`` counts the strategies of the finite levers that the rules allow; the
    ``continuous`` levers are not counted. ``rules`` are those that exclude something here.
    ``duration`` says what ends the search, and after which time at the latest. ``baseline`` is what
    the settings of levers that are not searched are called."""

    levers: tuple[LeverExplanation, ...]
    rules: tuple[ForbiddenClause, ...]
    combinations: int
    continuous: tuple[str, ...]
    duration: str
    baseline: str = "the default"


def explain(resolved: ResolvedStudy, host: Host) -> Explanation:
    """Every lever, in the order of the registry."""
    space = resolved.study.space
    continuous = tuple(d.lever for d in space.dimensions if settings(d.domain) is None)
    return Explanation(
        levers=tuple(_explain_lever(name, resolved, host) for name in LEVERS),
        rules=tuple(rule for rule in space.rules if can_hold(rule.excludes, space)),
        combinations=count_combinations(space, continuous),
        continuous=continuous,
        duration=describe_duration(resolved.study),
        baseline=resolved.study.baseline_name,
    )


def describe_duration(study: Study) -> str:
    """What ends the search and how long it takes, as far as the file says."""
    budget, limit = study.budget, study.limits.minutes
    ends = [f"{budget.trials} trials"] if budget.trials is not None else []
    ends += [f"{budget.minutes:g} minutes"] if budget.minutes is not None else []
    ends += [f"${budget.usd:g}"] if budget.usd is not None else []
    if budget.patience is not None:
        ends.append(f"{budget.patience} trials without a gain")
    first = ", whichever is first" if len(ends) > 1 else ""
    text = f"ends after {' or '.join(ends)}{first}"
    if study.confirm is not None:
        text += f"; up to {study.confirm.runs} trials of it confirm the best and the default"
    if limit is not None:
        text += f"; a trial takes at most {limit:g} minutes"
    if budget.minutes is None:
        bound = _upper_bound(budget.trials, limit, study.executor.workers)
        text += bound or "; the time is unknown before the first trial: set budget.minutes"
    return text


def _upper_bound(trials: int | None, minutes: float | None, workers: int) -> str:
    """The time of all trials at their limit; empty if there is none."""
    if trials is None or minutes is None:
        return ""
    hours = trials * minutes / max(workers, 1) / 60
    return f", so that the search takes at most {hours:.1f} hours"


def count_combinations(space: SearchSpace, continuous: Collection[str]) -> int:
    """The number of strategies of the finite levers. Groups of levers that no rule or condition
    connects are enumerated separately and their counts multiplied."""
    dimensions = [
        replace(d, when=None) if d.when and _levers_in(d.when) & set(continuous) else d
        for d in space.dimensions
        if d.lever not in continuous
    ]
    rules = tuple(rule for rule in space.rules if not _levers_in(rule.excludes) & set(continuous))
    connections = [_levers_in(rule.excludes) for rule in rules]
    connections += [{d.lever} | (_levers_in(d.when) if d.when else set()) for d in dimensions]
    groups: list[set[str]] = []
    for connection in connections:
        joined = [group for group in groups if group & connection]
        groups = [group for group in groups if group not in joined] + [connection.union(*joined)]
    subspaces = (
        replace(space, dimensions=tuple(d for d in dimensions if d.lever in group), rules=rules)
        for group in groups
    )
    return math.prod(size(subspace) or 0 for subspace in subspaces)


def _levers_in(text: str) -> set[str]:
    return set(expression.parse(text, LEVERS.keys()).names)


def _explain_lever(name: str, resolved: ResolvedStudy, host: Host) -> LeverExplanation:
    space: SearchSpace = resolved.study.space
    dimension = next((d for d in space.dimensions if d.lever == name), None)
    left_out = [setting for setting in resolved.skipped if setting.lever == name]
    in_file = name in resolved.study.spec["space"]
    written = resolved.study.spec["space"].get(name, AUTO)
    if written in (AUTO, {"values": AUTO}):
        left_out += unavailable_settings(LEVERS[name], host)
    return LeverExplanation(
        lever=name,
        summary=LEVERS[name].summary,
        default=space.defaults[name],
        searched=() if dimension is None else describe_domain(dimension.domain),
        when=None if dimension is None else dimension.when,
        left_out=tuple((setting.value, setting.reason) for setting in left_out),
        in_file=in_file,
    )


def describe_domain(domain: Categorical | Range) -> tuple[str, ...]:
    """A domain as text: its settings, or ``1e-05 to 0.001, log``."""
    if isinstance(domain, Categorical):
        return tuple(str(v).lower() if isinstance(v, bool) else f"{v}" for v in domain.values)
    how = ", log" if domain.log else f", step {domain.step:g}" if domain.step is not None else ""
    return (f"{domain.low:g} to {domain.high:g}{how}",)
