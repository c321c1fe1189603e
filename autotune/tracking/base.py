"""What trackers have in common. The store stays the truth: they are copies for other eyes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autotune.analysis.front import knee, pareto_front
from autotune.domain import CurvePoint, Study, Trial
from autotune.ports import Observer


class Tracker(Observer, Protocol):
    """An observer that writes a copy of the search elsewhere, and is closed at its end."""

    def close(self, study: Study, trials: Sequence[Trial]) -> None:
        """The search has ended: write the members of the front, and let go of everything."""


def curve(point: CurvePoint) -> dict[str, float]:
    """The figures of a point, by the name that a tracker shows."""
    loss = {} if point.loss is None else {"train_loss": point.loss}
    return {**loss, **{f"validation_{name}": value for name, value in point.metrics.items()}}


def front_markdown(study: Study, trials: Sequence[Trial]) -> str:
    """The front as a Markdown table."""
    front = pareto_front(study, trials)
    middle = knee(study, front)
    metrics = [objective.metric for objective in study.objectives]
    head = ["trial", *metrics, "otherwise than the default"]
    lines = [head, ["---"] * len(head)]
    for trial in front:
        differences = trial.strategy.differences(study.baseline)
        settings = ", ".join(f"{lever} {here}" for lever, (here, _) in differences.items())
        mark = " (knee)" if trial is middle else ""
        figures = [f"{trial.metric(metric):.6g}" for metric in metrics]
        lines.append([f"{trial.number}{mark}", *figures, settings or "the default"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def front_numbers(study: Study, trials: Sequence[Trial]) -> frozenset[int]:
    """Numbers of the trials on the front."""
    return frozenset(trial.number for trial in pareto_front(study, trials))
