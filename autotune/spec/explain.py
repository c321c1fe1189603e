"""What a study searches on this host and what it leaves out, with reasons."""

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
    Value,
    expression,
)
from autotune.domain.search_space import settings, size
from autotune.levers import LEVERS
from autotune.spec.conditions import can_hold
from autotune.spec.domains import AUTO, unavailable
from autotune.spec.resolve import ResolvedStudy


@dataclass(frozen=True)
class LeverExplanation:
    """``searched`` are the settings or the range tried here, as text; empty where the lever keeps
    its ``default``. ``left_out`` are settings that this host cannot run, each with the reason."""

    lever: str
    summary: str
    default: Value
    searched: tuple[str, ...]
    when: str | None
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Explanation:
    """``combinations`` counts those of the finite levers, rules obeyed; the ``continuous`` levers
    come on top. ``rules`` are those that exclude something of this space."""

    levers: tuple[LeverExplanation, ...]
    rules: tuple[ForbiddenClause, ...]
    combinations: int
    continuous: tuple[str, ...]


def explain(loaded: ResolvedStudy, host: Host) -> Explanation:
    """The space of ``loaded`` in the registry's order, with all that is left out of it."""
    space = loaded.study.space
    continuous = tuple(d.lever for d in space.dimensions if settings(d.domain) is None)
    return Explanation(
        levers=tuple(_lever(name, loaded, host) for name in LEVERS),
        rules=tuple(rule for rule in space.rules if can_hold(rule.excludes, space)),
        combinations=combinations(space, continuous),
        continuous=continuous,
    )


def combinations(space: SearchSpace, continuous: Collection[str]) -> int:
    """How many strategies the finite levers make. Levers that no rule or condition ties together
    multiply, so only the tied ones are enumerated."""
    dimensions = [
        replace(d, when=None) if d.when and _names(d.when) & set(continuous) else d
        for d in space.dimensions
        if d.lever not in continuous
    ]
    rules = tuple(rule for rule in space.rules if not _names(rule.excludes) & set(continuous))
    ties = [_names(rule.excludes) for rule in rules]
    ties += [{d.lever} | (_names(d.when) if d.when else set()) for d in dimensions]
    groups: list[set[str]] = []
    for tie in ties:
        tied = [group for group in groups if group & tie]
        groups = [group for group in groups if group not in tied] + [tie.union(*tied)]
    parts = (tuple(d for d in dimensions if d.lever in group) for group in groups)
    return math.prod(size(replace(space, dimensions=part, rules=rules)) or 0 for part in parts)


def _names(text: str) -> set[str]:
    return set(expression.parse(text, LEVERS.keys()).names)


def _lever(name: str, loaded: ResolvedStudy, host: Host) -> LeverExplanation:
    space: SearchSpace = loaded.study.space
    dimension = next((d for d in space.dimensions if d.lever == name), None)
    named = [note for note in loaded.notes if note.lever == name]
    asked = loaded.study.spec["space"].get(name, AUTO)
    everything = asked == AUTO or asked == {"values": AUTO}
    left_out = [*named, *(unavailable(LEVERS[name], host) if everything else ())]
    return LeverExplanation(
        lever=name,
        summary=LEVERS[name].summary,
        default=space.defaults[name],
        searched=() if dimension is None else searched(dimension.domain),
        when=None if dimension is None else dimension.when,
        left_out=tuple((note.value, note.reason) for note in left_out),
    )


def searched(domain: Categorical | Range) -> tuple[str, ...]:
    """A domain as a person reads it: its settings, or ``1e-05 to 0.001, log``."""
    if isinstance(domain, Categorical):
        return tuple(str(v).lower() if isinstance(v, bool) else f"{v}" for v in domain.values)
    how = ", log" if domain.log else f", step {domain.step:g}" if domain.step is not None else ""
    return (f"{domain.low:g} to {domain.high:g}{how}",)
