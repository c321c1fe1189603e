"""The interface of trackers and their common parts. All state of a search is in the store; trackers
only write copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autotune.analysis import markdown
from autotune.analysis.front import pareto_front
from autotune.analysis.snapshot import Snapshot
from autotune.analysis.text import format_estimate
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
    """The recommended trial in a sentence, and the front as a Markdown table: means over all runs
    of each strategy with half the 95% interval, and whether it is confirmed."""
    snapshot = Snapshot(study, trials)
    metrics = study.reported_metrics
    rows = []
    for point in snapshot.front_points.values():
        trial = point.trial
        estimates = [(metric, point.estimates.get(metric)) for metric in metrics]
        rows.append(
            [
                f"{trial.number}{' (knee)' if trial is snapshot.knee else ''}",
                *(format_estimate(m, e.value, e.ci95) if e else "" for m, e in estimates),
                snapshot.recommender.status(trial).value,
                markdown.escape(snapshot.strategy_differences[trial.number]),
            ]
        )
    table = markdown.table(["trial", *metrics, "confirmation", "settings"], rows)
    sentence = snapshot.recommendation_sentence("knee")
    return table if sentence is None else f"{markdown.paragraph(sentence)}\n\n{table}"


def front_numbers(study: Study, trials: Sequence[Trial]) -> frozenset[int]:
    """The numbers of the trials on the front."""
    return frozenset(trial.number for trial in pareto_front(study, trials))
