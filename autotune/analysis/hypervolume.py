"""Hypervolume of a study's front, and how it grew during the search.

Objectives are in units of the default configuration (value / default), so the hypervolume has no
unit and studies on different hosts can be compared. The reference point of a study is fixed: for
each objective a constraint's bound on the losing side if there is one, else 0 for what is
maximized and twice the default for what is minimized.

The algorithms are written out here for three reasons. ``optuna._hypervolume`` is private and
imports Optuna, which the command line does not load. It has no incremental update, which a history
of thousands of trials needs. ``moocore`` would be a new compiled dependency for 60 lines of numpy.
The tests compare with Optuna's implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.front import (
    ObjectiveValues,
    feasible_trials,
    find_baseline,
    non_dominated,
    signed_objectives,
    value_of,
)
from autotune.domain import Objective, Study, Trial
from autotune.domain.constraints import constraint_bound

MAX_HISTORY_POINTS = 100
"""Length of the history of a study with four objectives or more."""


@dataclass(frozen=True)
class HypervolumePoint:
    """The hypervolume after trial ``number``, the ``finished``-th to finish (``at``)."""

    number: int
    at: datetime | None
    value: float
    finished: int


def hypervolume(study: Study, trials: Sequence[Trial]) -> float | None:
    """The hypervolume of the front in units of the default; ``None`` without the default."""
    points = _scaled_objectives(study, trials, feasible_trials(study, trials))
    return None if points is None else dominated_volume(points)


def hypervolume_history(study: Study, trials: Sequence[Trial]) -> list[HypervolumePoint]:
    """The hypervolume after each finished trial, in the order of finishing. With four objectives or
    more it has at most :data:`MAX_HISTORY_POINTS` points, since each volume then takes long."""
    finished = [trial for trial in trials if trial.state.is_finished]
    finished.sort(key=lambda t: (t.finished_at is None, _timestamp(t.finished_at), t.number))
    members = feasible_trials(study, trials)
    points = _scaled_objectives(study, trials, members)
    if points is None:
        return []
    rows = {trial.number: row for row, trial in enumerate(members)}
    front = IncrementalHypervolume(len(study.objectives))
    has_few_objectives = len(study.objectives) <= 3
    stride = 1 if has_few_objectives else max(1, -(-len(finished) // MAX_HISTORY_POINTS))
    history = []
    for start in range(0, len(finished), stride):
        batch = finished[start : start + stride]
        front.add_all(points[[rows[t.number] for t in batch if t.number in rows]])
        last, count = batch[-1], start + len(batch)
        history.append(HypervolumePoint(last.number, last.finished_at, front.volume, count))
    return history


def _timestamp(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()


class IncrementalHypervolume:
    """The non-dominated of the points added so far, and their volume above the origin."""

    def __init__(self, width: int) -> None:
        self.points: ObjectiveValues = np.empty((0, width))
        self.volume = 0.0

    def add(self, point: NDArray[np.float64]) -> bool:
        """Add a point of shape (objectives,); ``False`` if it adds no volume."""
        if not (point > 0).all() or (self.points >= point).all(axis=1).any():
            return False
        self.volume += _exclusive_volume(point, self.points)
        dominated = (self.points <= point).all(axis=1)
        self.points = np.vstack([self.points[~dominated], point])
        return True

    def add_all(self, points: ObjectiveValues) -> None:
        """Add points of shape (n, objectives), skipping those that others of them dominate."""
        union = np.vstack([self.points, points])
        remaining = points[non_dominated(union)[len(self.points) :]]
        for point in remaining[np.argsort(-remaining.prod(axis=1))]:
            self.add(point)


def dominated_volume(points: ObjectiveValues) -> float:
    """Volume between the origin and ``points``, shape (n, objectives). Points with a non-positive
    coordinate add nothing.

    The WFG algorithm (While, Bradstreet, Barone 2012). Each recursion removes one objective: for
    the volume beyond a point in the first objective only the others matter.
    """
    inside = points[(points > 0).all(axis=1)]
    return _sorted_volume(_sorted_front(inside))


def _sorted_front(points: ObjectiveValues) -> ObjectiveValues:
    """The distinct non-dominated points in descending order of the first objective."""
    unique = np.unique(points, axis=0)[::-1]
    return unique[non_dominated(unique)] if len(unique) > 1 else unique


def _sorted_volume(front: ObjectiveValues) -> float:
    """The volume of a front returned by :func:`_sorted_front`."""
    if len(front) == 0:
        return 0.0
    if len(front) == 1:
        return float(front[0].prod())
    if front.shape[1] == 2:
        return float(front[:, 0] @ np.diff(front[:, 1], prepend=0.0))
    if front.shape[1] == 3:
        return _sorted_volume_3d(front)
    return float(
        sum(front[i, 0] * _exclusive_volume(front[i, 1:], front[:i, 1:]) for i in range(len(front)))
    )


def _sorted_volume_3d(front: ObjectiveValues) -> float:
    """The volume over the grid spanned by the first two coordinates. Each cell is as high as the
    highest point beyond it; these heights are running maxima, so all cells take O(n^2)."""
    count = len(front)
    order = np.argsort(front[:, 1])[::-1]
    heights = np.zeros((count, count))
    heights[order, np.arange(count)] = front[order, 2]
    heights = np.maximum.accumulate(np.maximum.accumulate(heights, axis=0), axis=1)
    first = -np.diff(front[:, 0], append=0.0)
    second = -np.diff(front[order, 1], append=0.0)
    return float(first @ heights @ second)


def _exclusive_volume(point: NDArray[np.float64], others: ObjectiveValues) -> float:
    """The volume that ``point`` dominates and ``others`` do not."""
    return float(point.prod()) - _sorted_volume(_sorted_front(np.minimum(others, point)))


def _scaled_objectives(
    study: Study, trials: Sequence[Trial], members: Sequence[Trial]
) -> ObjectiveValues | None:
    """Objectives of ``members`` relative to the reference point, in units of the default."""
    default = find_baseline(study, trials)
    scales = [reference_and_unit(study, objective, default) for objective in study.objectives]
    measured = [scale for scale in scales if scale is not None]
    if len(measured) < len(scales):
        return None
    reference, unit = np.array(measured, dtype=float).reshape(len(scales), 2).T
    return np.asarray((signed_objectives(study, members) - reference) / unit)


def reference_and_unit(
    study: Study, objective: Objective, default: Trial | None
) -> tuple[float, float] | None:
    """(signed reference value, unit) of one objective; ``None`` if the default lacks it."""
    value = value_of(default, objective.metric)
    if value is None:
        return None
    unit = abs(value) or 1.0
    losing_operators = (">=", ">") if objective.direction == "maximize" else ("<=", "<")
    bounds = [
        constraint_bound(constraint, default)
        for constraint in study.constraints
        if constraint.metric == objective.metric and constraint.operator in losing_operators
    ]
    references = [objective.sign * bound for bound in bounds if bound is not None]
    fallback = 0.0 if objective.direction == "maximize" else -(value + unit)
    return max(references, default=fallback), unit


def exclusive_hypervolumes(
    study: Study, trials: Sequence[Trial], front: Sequence[Trial]
) -> dict[int, float]:
    """The volume that only this member of ``front`` dominates, by number of the trial; empty
    without the default."""
    points = _scaled_objectives(study, trials, front)
    if points is None:
        return {}
    inside = np.maximum(points, 0.0)
    return {
        trial.number: _exclusive_volume(inside[row], np.delete(inside, row, axis=0))
        for row, trial in enumerate(front)
    }
