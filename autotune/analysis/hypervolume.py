"""Hypervolume: one number for how much a front dominates, and how it grew.

Every objective is read in units of the default configuration (value / default), so the number has
no unit and 2-objective studies of different machines can be compared. The reference point is fixed
for a study: a bound that the study sets on the losing side of an objective, else 0 for what is
maximised and twice the default for what is minimised.
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
"""Moments in the history of a study with four objectives or more."""


@dataclass(frozen=True)
class HypervolumePoint:
    """The hypervolume once trial ``number``, the ``finished``-th, had finished (``at``)."""

    number: int
    at: datetime | None
    value: float
    finished: int


def hypervolume(study: Study, trials: Sequence[Trial]) -> float | None:
    """What the study's front dominates, in units of the default; ``None`` without the default."""
    points = _scaled(study, trials, feasible_trials(study, trials))
    return None if points is None else dominated_volume(points)


def hypervolume_history(study: Study, trials: Sequence[Trial]) -> list[HypervolumePoint]:
    """The hypervolume after each finished trial, in the order in which they finished; with four
    objectives or more at :data:`MOST_POINTS` moments, since each volume then takes long."""
    ended = [trial for trial in trials if trial.state.finished]
    ended.sort(key=lambda t: (t.finished_at is None, _seconds(t.finished_at), t.number))
    members = feasible_trials(study, trials)
    points = _scaled(study, trials, members)
    if points is None:
        return []
    place = {trial.number: row for row, trial in enumerate(members)}
    front = IncrementalHypervolume(len(study.objectives))
    stride = 1 if len(study.objectives) <= 3 else max(1, -(-len(ended) // MAX_HISTORY_POINTS))
    history = []
    for start in range(0, len(ended), stride):
        batch = ended[start : start + stride]
        front.add_all(points[[place[t.number] for t in batch if t.number in place]])
        last, so_far = batch[-1], start + len(batch)
        history.append(HypervolumePoint(last.number, last.finished_at, front.volume, so_far))
    return history


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()


class IncrementalHypervolume:
    """A front that grows point by point and knows its volume above the origin."""

    def __init__(self, width: int) -> None:
        self.points: ObjectiveValues = np.empty((0, width))
        self.volume = 0.0

    def add(self, point: NDArray[np.float64]) -> bool:
        """Take in a point; ``False`` where what is here already covers it."""
        if not (point > 0).all() or (self.points >= point).all(axis=1).any():
            return False
        self.volume += _exclusive(point, self.points)
        beaten = (self.points <= point).all(axis=1)
        self.points = np.vstack([self.points[~beaten], point])
        return True

    def add_all(self, points: ObjectiveValues) -> None:
        """Take in many points at once; those that others of them beat cost nothing."""
        here = np.vstack([self.points, points])
        lasting = points[non_dominated(here)[len(self.points) :]]
        for point in lasting[np.argsort(-lasting.prod(axis=1))]:
            self.add(point)


def dominated_volume(points: ObjectiveValues) -> float:
    """Volume between the origin and points, shape (n, objectives); non-positive ones add nothing.

    The WFG algorithm (While, Bradstreet, Barone 2012), an objective less at each level: of what
    lies beyond a point in the first objective, only the others still matter.
    """
    inside = points[(points > 0).all(axis=1)]
    return _volume(_reduced(inside))


def _reduced(points: ObjectiveValues) -> ObjectiveValues:
    """The distinct non-dominated points, greatest first gain first."""
    unique = np.unique(points, axis=0)[::-1]
    return unique[non_dominated(unique)] if len(unique) > 1 else unique


def _volume(front: ObjectiveValues) -> float:
    """``front`` as :func:`_reduced` leaves it."""
    if len(front) == 0:
        return 0.0
    if len(front) == 1:
        return float(front[0].prod())
    if front.shape[1] == 2:
        return float(front[:, 0] @ np.diff(front[:, 1], prepend=0.0))
    if front.shape[1] == 3:
        return _volume_3d(front)
    return float(
        sum(front[i, 0] * _exclusive(front[i, 1:], front[:i, 1:]) for i in range(len(front)))
    )


def _volume_3d(front: ObjectiveValues) -> float:
    """On the grid that the points' coordinates span, each cell is as high as the highest point
    beyond it; those heights are running maxima, so all cells take O(n^2) array work."""
    count = len(front)
    order = np.argsort(front[:, 1])[::-1]
    height = np.zeros((count, count))
    height[order, np.arange(count)] = front[order, 2]
    height = np.maximum.accumulate(np.maximum.accumulate(height, axis=0), axis=1)
    first = -np.diff(front[:, 0], append=0.0)
    second = -np.diff(front[order, 1], append=0.0)
    return float(first @ height @ second)


def _exclusive(point: NDArray[np.float64], others: ObjectiveValues) -> float:
    """The volume that ``point`` covers and ``others`` do not."""
    return float(point.prod()) - _volume(_reduced(np.minimum(others, point)))


def _scaled(
    study: Study, trials: Sequence[Trial], members: Sequence[Trial]
) -> ObjectiveValues | None:
    """Gains of ``members`` over the reference point, in units of the default."""
    default = find_baseline(study, trials)
    frames = [reference_and_unit(study, objective, default) for objective in study.objectives]
    scales = [pair for pair in frames if pair is not None]
    if len(scales) < len(frames):
        return None
    reference, unit = np.array(scales, dtype=float).reshape(len(frames), 2).T
    return np.asarray((signed_objectives(study, members) - reference) / unit)


def reference_and_unit(
    study: Study, objective: Objective, default: Trial | None
) -> tuple[float, float] | None:
    """(reference gain, unit) of one objective."""
    value = value_of(default, objective.metric)
    if value is None:
        return None
    unit = abs(value) or 1.0
    losing = (">=", ">") if objective.direction == "maximize" else ("<=", "<")
    bounds = [
        constraint_bound(constraint, default)
        for constraint in study.constraints
        if constraint.metric == objective.metric and constraint.operator in losing
    ]
    known = [objective.sign * bound for bound in bounds if bound is not None]
    fallback = 0.0 if objective.direction == "maximize" else -(value + unit)
    return max(known, default=fallback), unit


def exclusive_hypervolumes(
    study: Study, trials: Sequence[Trial], front: Sequence[Trial]
) -> dict[int, float]:
    """What each member of ``front`` dominates that no other of them does, by number of the trial;
    empty without the default."""
    points = _scaled(study, trials, front)
    if points is None:
        return {}
    inside = np.maximum(points, 0.0)
    return {
        trial.number: _exclusive(inside[row], np.delete(inside, row, axis=0))
        for row, trial in enumerate(front)
    }
