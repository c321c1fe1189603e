"""Filters of trials: bounds on metrics, and conditions on metrics and levers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotune.analysis.front import direction_of, value_of
from autotune.domain import Study, Trial, Value, expression
from autotune.domain.expression import Expression
from autotune.domain.metrics import METRICS, select_metrics


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
        """The end of the range that every trial passes."""
        return self.low if self.at_least else self.high

    @property
    def is_ratio(self) -> bool:
        return self.metric in METRICS and METRICS[self.metric].is_ratio

    @property
    def is_active(self) -> bool:
        return not math.isclose(self.value, self.inactive_value, rel_tol=1e-9)

    def with_value(self, value: float) -> MetricFilter:
        return replace(self, value=value)

    def accepts(self, trial: Trial) -> bool:
        """Whether the trial satisfies the bound. An active filter rejects trials that did not
        measure the metric."""
        if not self.is_active:
            return True
        value = value_of(trial, self.metric)
        if value is None:
            return False
        return value >= self.value if self.at_least else value <= self.value


def metric_filters(study: Study, members: Sequence[Trial]) -> list[MetricFilter]:
    """Inactive filters on the objectives and on the metrics with
    :attr:`~autotune.domain.metrics.Metric.is_filter`, if they vary over ``members``."""
    filters = []
    objectives = [objective.metric for objective in study.objectives]
    others = select_metrics(lambda metric: metric.is_filter)
    for name in dict.fromkeys([*objectives, *others]):
        values = [v for trial in members if (v := value_of(trial, name)) is not None]
        if not values or min(values) == max(values):
            continue
        low, high, step = _rounded_range(min(values), max(values))
        metric_filter = MetricFilter(name, more_is_better(study, name), low, high, step, 0.0)
        filters.append(metric_filter.with_value(metric_filter.inactive_value))
    return filters


def apply_filters(members: Sequence[Trial], filters: Sequence[MetricFilter]) -> list[Trial]:
    """The trials that all ``filters`` accept."""
    active = [metric_filter for metric_filter in filters if metric_filter.is_active]
    return [trial for trial in members if all(f.accepts(trial) for f in active)]


def more_is_better(study: Study, metric: str) -> bool:
    return direction_of(study, metric) == "maximize"


def _rounded_range(low: float, high: float) -> tuple[float, float, float]:
    """(low, high, step): round ends, and a step of 1, 2 or 5 times a power of ten that divides the
    range into at least 50 steps. A new result seldom changes the ends."""
    raw = (high - low) / 50
    power = 10.0 ** math.floor(math.log10(raw))
    step = max(m * power for m in (1, 2, 5) if m * power <= raw * (1 + 1e-9))
    digits = max(0, 1 - math.floor(math.log10(step)))
    grid = step * 10
    start, end = math.floor(low / grid) * grid, math.ceil(high / grid) * grid
    return round(start, digits), round(end, digits), round(step, digits)


def parse_condition(study: Study, condition: str) -> Expression:
    """A condition over metrics and levers. Raises ExpressionError."""
    return expression.parse(
        condition, {*METRICS, *study.space.defaults, "trial", "state", "origin"}
    )


def condition_values(trial: Trial) -> dict[str, Value]:
    """What a condition can read of a trial."""
    return {
        **trial.strategy.values, **trial.metrics, "trial": trial.number,
        "state": trial.state.value, "origin": trial.origin,
    }  # fmt: skip


def filter_by_condition(study: Study, trials: Sequence[Trial], condition: str) -> list[Trial]:
    """The trials for which ``condition``, an expression over metrics and levers, is true. It is
    false if the trial did not measure a metric in it. Raises ExpressionError."""
    if not condition.strip():
        return list(trials)
    parsed = parse_condition(study, condition)
    pairs = ((trial, condition_values(trial)) for trial in trials)
    return [trial for trial, v in pairs if parsed.names <= v.keys() and parsed.holds(v)]
