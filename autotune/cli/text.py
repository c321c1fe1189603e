"""States, settings and units as the commands print them."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.analysis.text import metric_label, strategy_settings
from autotune.domain import State, Study, Trial
from autotune.domain.metrics import METRICS, Metric

STATE_STYLES: Mapping[State, str] = {
    State.QUEUED: "dim",
    State.RUNNING: "cyan",
    State.COMPLETE: "green",
    State.PRUNED: "yellow",
    State.INFEASIBLE: "magenta",
    State.FAILED: "red",
    State.INTERRUPTED: "dim yellow",
}


def non_default_settings(study: Study, trial: Trial) -> str:
    """The settings that differ from the default, as ``lever=value lever=value``."""
    return " ".join(strategy_settings(trial.strategy, study.baseline)) or "the default"


def unit_heading(metric: Metric) -> str:
    """The unit below the label of a metric; empty if each value has it, as in ``81.2%``."""
    return "" if metric.unit in ("ratio", "USD") else metric.unit


def label_with_unit(name: str) -> str:
    """The label of a metric with its unit, for rows of values without it."""
    unit = unit_heading(METRICS[name]) if name in METRICS else ""
    return f"{metric_label(name)} ({unit})" if unit else metric_label(name)
