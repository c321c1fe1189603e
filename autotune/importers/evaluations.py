"""Reads which weights of a training run count: ``load_best_model_at_end`` of
``TrainingArguments``, with the interval of evaluations and the metric."""

from __future__ import annotations

import math
from typing import Any

from autotune.domain import Phase
from autotune.domain.metrics import METRICS
from autotune.importers.base import ImportedConfig, pop_int, pop_number

DEFAULT_INTERVAL = 500
"""Steps of ``logging_steps``, which are those of evaluations too unless they are given."""

METRIC_NAMES = {"matthews_correlation": "mcc"}
"""Metrics by the names of other libraries."""


def read_evaluations(config: ImportedConfig, options: dict[str, Any]) -> None:
    """Move the fields to keys of ``task``, whose length has been read. Without
    ``load_best_model_at_end``, evaluations have no influence on the result."""
    name = str(options.pop("metric_for_best_model", None) or "loss").removeprefix("eval_")
    is_greater_better = options.pop("greater_is_better", None)
    older_name = options.pop("evaluation_strategy", None)
    strategy = str(options.pop("eval_strategy", None) or older_name or "no")
    if not options.pop("load_best_model_at_end", False):
        return
    every = _read_interval(config, options, strategy)
    if every is None:
        config.skipped["load_best_model_at_end"] = "it needs eval_strategy steps or epoch"
        return
    if isinstance(every, int) and every >= config.task.get("steps", math.inf):
        config.skipped["load_best_model_at_end"] = "the run has one evaluation, at its end"
        return
    config.task["evaluate_every"] = every
    metric = METRICS.get(METRIC_NAMES.get(name, name))
    if metric is None or metric.phase is not Phase.TRAIN or metric.name == "train_samples":
        config.skipped["metric_for_best_model"] = f"trials have no score {name}"
        return
    config.task["best_metric"] = metric.name
    is_maximized = metric.direction == "maximize"
    if is_greater_better not in (None, is_maximized):
        better = "greater" if is_maximized else "smaller"
        config.skipped["greater_is_better"] = f"for trials, {better} {metric.name} is better"


def _read_interval(
    config: ImportedConfig, options: dict[str, Any], strategy: str
) -> int | str | None:
    """The interval as ``task.evaluate_every`` has it; ``None`` without evaluations."""
    logging_steps = options.get("logging_steps") or DEFAULT_INTERVAL
    interval = pop_number(options, "eval_steps", float(logging_steps))
    if strategy == "epoch":
        return "1 epoch"
    if strategy != "steps":
        return None
    if interval >= 1:
        return pop_int({"eval_steps": interval}, "eval_steps", DEFAULT_INTERVAL, minimum=1)
    # A share of the whole run.
    if steps := config.task.get("steps"):
        return math.ceil(int(steps) * interval)
    return f"{config.task['epochs'] * interval:g} epochs"
