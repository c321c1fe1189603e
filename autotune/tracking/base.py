"""The interface of trackers and their common parts. All state of a search is in the store; trackers
only write copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autotune.analysis.front import knee, pareto_front
from autotune.analysis.text import strategy_difference
from autotune.domain import CurvePoint, Study, Trial
from autotune.ports import Observer


class Tracker(Observer, Protocol):
    """An observer that writes a copy of the search to a service."""

    def close(self, study: Study, trials: Sequence[Trial]) -> None:
        """Write the front at the end of the search, and release all resources."""


def curve(point: CurvePoint) -> dict[str, float]:
    """The metrics of a point, by their names in the tracker."""
    loss = {} if point.loss is None else {"train_loss": point.loss}
    return {**loss, **{f"validation_{name}": value for name, value in point.metrics.items()}}


def front_markdown(study: Study, trials: Sequence[Trial]) -> str:
    """The front as a Markdown table."""
    front = pareto_front(study, trials)
    knee_trial = knee(study, front)
    metrics = [objective.metric for objective in study.objectives]
    head = ["trial", *metrics, "settings"]
    lines = [head, ["---"] * len(head)]
    for trial in front:
        mark = " (knee)" if trial is knee_trial else ""
        values = [f"{trial.metric(metric):.6g}" for metric in metrics]
        lines.append(
            [
                f"{trial.number}{mark}",
                *values,
                strategy_difference(trial.strategy, study.baseline.values),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def front_numbers(study: Study, trials: Sequence[Trial]) -> frozenset[int]:
    """The numbers of the trials on the front."""
    return frozenset(trial.number for trial in pareto_front(study, trials))
