"""Learning curves of trials at their rungs, as early stopping reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.domain import CurvePoint, Phase, State, Strategy, Trial
from autotune.domain.metrics import METRICS

RUNG_TOLERANCE = 0.02
"""Points are of the same rung if their fractions of all steps differ by at most this much."""


@dataclass(frozen=True)
class TrialProgress:
    """A running trial at ``point``, the latest of its learning curve.

    ``profile_metrics`` are measured or cached, ``scores`` are those of its latest rung.
    """

    strategy: Strategy
    point: CurvePoint
    profile_metrics: Mapping[str, float]
    scores: Mapping[str, float]

    @classmethod
    def from_points(
        cls, strategy: Strategy, points: Sequence[CurvePoint], cached: Mapping[str, float]
    ) -> TrialProgress:
        """The progress after ``points`` (at least one), with ``cached`` metrics of a profile."""
        profile_metrics = dict(cached)
        scores: dict[str, float] = {}
        for point in points:
            for name, value in point.metrics.items():
                (scores if is_score(name) else profile_metrics)[name] = value
        return cls(strategy, points[-1], profile_metrics, scores)

    @property
    def fraction(self) -> float:
        """The fraction of all steps that is done."""
        return _fraction(self.point)


class LearningCurves:
    """The rungs of trials by number: the points of their learning curves that have metrics."""

    def __init__(self) -> None:
        self._points: dict[int, list[CurvePoint]] = {}

    def add(self, number: int, *points: CurvePoint) -> None:
        """Append points to the curve of a trial."""
        self._points.setdefault(number, []).extend(p for p in points if p.metrics)

    def points(self, number: int) -> Sequence[CurvePoint]:
        """The points of a trial, empty if there are none."""
        return self._points.get(number, ())

    def missing(self, history: Sequence[Trial]) -> list[int]:
        """Finished trials without a curve here: of another driver, or of an earlier session."""
        states = (State.COMPLETE, State.PRUNED)
        return [t.number for t in history if t.state in states and t.number not in self._points]

    def metric_at(self, number: int, fraction: float, metric: str) -> float | None:
        """The metric at the rung of a trial after ``fraction`` of all steps."""
        for point in self.points(number):
            if metric in point.metrics and abs(_fraction(point) - fraction) <= RUNG_TOLERANCE:
                return point.metrics[metric]
        return None


def is_score(metric: str) -> bool:
    """Whether a metric is measured by the train phase."""
    return metric in METRICS and METRICS[metric].phase is Phase.TRAIN


def rung_score(metric: str) -> str | None:
    """The score at rungs from which the final value of ``metric`` is forecast: itself, or that of
    the trained model if it is a score of the deployed one; ``None`` for what is no score."""
    return metric if is_score(metric) else METRICS[metric].base if metric in METRICS else None


def is_deployed(metric: str) -> bool:
    """Whether a metric is one of the deployed model, which no other trial can stand for."""
    return metric in METRICS and METRICS[metric].phase is Phase.DEPLOY


def _fraction(point: CurvePoint) -> float:
    return point.step / max(point.total_steps, 1)
