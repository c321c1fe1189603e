"""Narrowing down: bounds that a reader sets on metrics, and conditions on metrics and levers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.analysis.front import direction_of, value_of
from autotune.domain import Study, Trial, expression
from autotune.domain.metrics import METRICS

ALWAYS_OFFERED = ("accuracy", "peak_memory_gib", "cost_usd")
"""Offered as bounds whether or not they are objectives, where they were measured."""


@dataclass(frozen=True)
class MetricFilter:
    """A bound on one metric: ``value`` between ``low`` and ``high`` in steps of ``step``."""

    metric: str
    at_least: bool
    low: float
    high: float
    step: float
    value: float

    @property
    def inactive_value(self) -> float:
        """The end that every trial passes."""
        return self.low if self.at_least else self.high

    @property
    def is_ratio(self) -> bool:
        known = METRICS.get(self.metric)
        return known is not None and known.unit == "ratio"

    @property
    def is_active(self) -> bool:
        """Whether it asks for anything: not at its loose end."""
        return not math.isclose(self.value, self.inactive_value, rel_tol=1e-9)

    def with_value(self, value: float) -> MetricFilter:
        return replace(self, value=value)

    def accepts(self, trial: Trial) -> bool:
        """Whether the trial meets the bound; at its loose end it asks for nothing."""
        if not self.is_active:
            return True
        value = value_of(trial, self.metric)
        if value is None:
            return False
        return value >= self.value if self.at_least else value <= self.value


def metric_filters(study: Study, members: Sequence[Trial]) -> list[MetricFilter]:
    """The bounds worth offering: objectives and the usual ones, over what ``members`` span."""
    found = []
    for metric in dict.fromkeys([*(o.metric for o in study.objectives), *ALWAYS_OFFERED]):
        values = [v for t in members if (v := value_of(t, metric)) is not None]
        if not values or min(values) == max(values):
            continue
        low, high, step = _round_ends(min(values), max(values))
        bound = MetricFilter(metric, more_is_better(study, metric), low, high, step, 0.0)
        found.append(bound.with_value(bound.inactive_value))
    return found


def apply_filters(members: Sequence[Trial], wanted: Sequence[MetricFilter]) -> list[Trial]:
    """The trials that meet every bound."""
    active = [bound for bound in wanted if bound.is_active]
    return [trial for trial in members if all(bound.accepts(trial) for bound in active)]


def more_is_better(study: Study, metric: str) -> bool:
    """The better direction of any metric: the study's own, else the catalogue's."""
    return direction_of(study, metric) == "maximize"


def _round_ends(low: float, high: float) -> tuple[float, float, float]:
    """Round ends around ``low`` and ``high`` and a step of 1, 2 or 5 that cuts them into 50 or
    more, so that a new result seldom moves the ends."""
    raw = (high - low) / 50
    power = 10.0 ** math.floor(math.log10(raw))
    step = max(m * power for m in (1, 2, 5) if m * power <= raw * (1 + 1e-9))
    digits = max(0, 1 - math.floor(math.log10(step)))
    wide = step * 10
    start, end = math.floor(low / wide) * wide, math.ceil(high / wide) * wide
    return round(start, digits), round(end, digits), round(step, digits)


def filter_by_condition(study: Study, trials: Sequence[Trial], condition: str) -> list[Trial]:
    """Trials for which ``condition`` over metrics and levers holds. One that asks for a metric
    which a trial did not measure does not hold. Raises ExpressionError."""
    if not condition.strip():
        return list(trials)
    words = {*METRICS, *study.space.defaults, "trial", "state", "origin"}
    wanted = expression.parse(condition, words)
    found = []
    for trial in trials:
        known = {
            **trial.strategy.values, **trial.metrics, "trial": trial.number,
            "state": trial.state.value, "origin": trial.origin,
        }  # fmt: skip
        if wanted.names <= known.keys() and wanted.holds(known):
            found.append(trial)
    return found
