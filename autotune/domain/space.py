"""The shape of a search space; what can be done with one is in :mod:`autotune.space`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autotune.domain.strategy import Value


@dataclass(frozen=True)
class Choice:
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
    domain: Choice | Range
    when: str | None = None


@dataclass(frozen=True)
class Rule:
    """A combination that is not offered: ``excludes`` is an expression that is true for it."""

    excludes: str
    reason: str


@dataclass(frozen=True)
class Space:
    """All strategies that a study may try: dimensions in order, and defaults for every lever."""

    dimensions: tuple[Dimension, ...]
    defaults: Mapping[str, Value]
    rules: tuple[Rule, ...] = ()
