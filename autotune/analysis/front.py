"""The Pareto front of a study: which trials satisfy its constraints and are beaten by none.

Points are compared as *gains*: objective values signed so that more is always better.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Constraint, Direction, Objective, State, Study, Trial, TrialOrigin
from autotune.domain.constraints import constraint_bound
from autotune.domain.metrics import METRICS

ObjectiveValues = NDArray[np.float64]
"""Shape (points, objectives); more is better in every column."""

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Violation:
    """A constraint that a trial does not meet. ``value`` is ``None`` where it was not measured."""

    constraint: Constraint
    value: float | None
    bound: float

    def __str__(self) -> str:
        rule = str(self.constraint)
        limit = f" (= {self.bound:.4g})" if self.constraint.relative else ""
        found = "was not measured" if self.value is None else f"is {self.value:.4g}"
        return f"{self.constraint.metric} {found}; the study asks for {rule}{limit}"


def value_of(trial: Trial | None, metric: str) -> float | None:
    """The metric's value, ``None`` where it was not measured or is no finite number."""
    value = None if trial is None else trial.metric(metric)
    return value if value is not None and math.isfinite(value) else None


def find_baseline(study: Study, trials: Sequence[Trial]) -> Trial | None:
    """The trial of the default configuration: the first that completed, else the first at all. One
    that had the host to itself comes before others."""
    strategy = study.baseline
    found = [
        t
        for t in trials
        if t.origin == TrialOrigin.DEFAULT
        or (t.strategy.values == strategy.values and not t.imported and t.is_result)
    ]
    complete = [trial for trial in found if trial.state is State.COMPLETE]
    alone = [trial for trial in complete if trial.origin == TrialOrigin.ISOLATED_RERUN]
    return next(iter([*alone, *complete, *found]), None)


def superseded_trials(trials: Sequence[Trial]) -> frozenset[int]:
    """Numbers of the trials whose strategy was run again with the host to itself: that run speaks
    for it, in place of them."""
    alone = {
        t.strategy.key
        for t in trials
        if t.origin == TrialOrigin.ISOLATED_RERUN and t.state is State.COMPLETE
    }
    if not alone:
        return frozenset()
    repeated = (TrialOrigin.CONFIRMATION, TrialOrigin.ISOLATED_RERUN)
    return frozenset(
        t.number for t in trials if t.origin not in repeated and t.strategy.key in alone
    )


def find_violations(study: Study, trial: Trial, default: Trial | None) -> list[Violation]:
    """The constraints that ``trial`` breaks. One relative to an unmeasured default binds nobody;
    one on a metric that this trial did not measure is broken, since it cannot be shown to hold."""
    broken = []
    for constraint in study.constraints:
        limit, value = constraint_bound(constraint, default), value_of(trial, constraint.metric)
        if limit is None:
            continue
        if value is None or not _COMPARE[constraint.operator](value, limit):
            broken.append(Violation(constraint, value, limit))
    return broken


def feasible_trials(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials with every objective measured and every constraint met, in given order.

    Confirming runs are left out: they repeat a strategy that is already here, on other data; and so
    are hints from other machines. Of a strategy that was run again alone, that run is here.
    """
    default, replaced = find_baseline(study, trials), superseded_trials(trials)
    return [
        trial
        for trial in trials
        if trial.number not in replaced
        and _counts(study, trial)
        and not find_violations(study, trial, default)
    ]


def _counts(study: Study, trial: Trial) -> bool:
    if trial.state is not State.COMPLETE or not trial.is_result:
        return False
    return all(value_of(trial, o.metric) is not None for o in study.objectives)


def confirmed_trials(trials: Sequence[Trial]) -> frozenset[int]:
    """Numbers of the trials whose strategy was run again, whole, with another seed."""
    again = {t.strategy.key for t in trials if t.is_confirmation and t.state is State.COMPLETE}
    if not again:
        return frozenset()
    return frozenset(t.number for t in trials if not t.is_confirmation and t.strategy.key in again)


def signed_objectives(study: Study, trials: Sequence[Trial]) -> ObjectiveValues:
    """Signed objective values of trials that measured them all."""
    rows = [[o.sign * float(t.metric(o.metric) or 0.0) for o in study.objectives] for t in trials]
    return np.array(rows, dtype=float).reshape(len(trials), len(study.objectives))


def dominates(study: Study, one: Trial, other: Trial) -> bool:
    """Whether ``one`` is at least as good in every objective and better in one."""
    left, right = signed_objectives(study, [one, other])
    return bool((left >= right).all() and (left > right).any())


def pareto_front(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """Feasible trials that no other dominates, best in the first objective first."""
    return pareto_optimal(study, feasible_trials(study, trials))


def pareto_optimal(study: Study, members: Sequence[Trial]) -> list[Trial]:
    """Those of ``members`` (all objectives measured) that no other of them dominates."""
    points = signed_objectives(study, members)
    places = np.flatnonzero(non_dominated(points)).tolist()
    order = sorted(places, key=lambda i: (*(-points[i]), members[i].number))
    return [members[i] for i in order]


def front_by_metrics(study: Study, members: Sequence[Trial], metrics: Sequence[str]) -> list[Trial]:
    """The front of ``metrics`` alone, objectives or not, each in its better direction."""
    asked = tuple(Objective(metric, direction_of(study, metric)) for metric in metrics)
    known = [t for t in members if all(value_of(t, m) is not None for m in metrics)]
    return pareto_optimal(replace(study, objectives=asked), known)


def direction_of(study: Study, metric: str) -> Direction:
    """The better direction of any metric: the study's own, else the catalogue's."""
    own = next((o.direction for o in study.objectives if o.metric == metric), None)
    return own or (METRICS[metric].direction if metric in METRICS else "maximize")


def non_dominated(points: ObjectiveValues) -> NDArray[np.bool_]:
    """A mask of the points that no other dominates; equal points stand or fall together.

    O(n log n) for up to two objectives, O(n x front) comparisons of whole columns for more.
    """
    count, width = points.shape
    if count == 0 or width == 0:
        return np.ones(count, dtype=bool)
    if width == 1:
        return np.asarray(points[:, 0] == points[:, 0].max())
    unique, inverse = np.unique(points, axis=0, return_inverse=True)
    kept = _sweep(unique) if width == 2 else _cull(unique)
    return np.asarray(kept[inverse.reshape(-1)])


def _sweep(unique: ObjectiveValues) -> NDArray[np.bool_]:
    """Rows come in ascending order: one stays if it beats the second gain of all after it."""
    second = unique[:, 1]
    later = np.maximum.accumulate(second[::-1])[::-1]
    return np.append(second[:-1] > later[1:], True)


def _cull(unique: ObjectiveValues) -> NDArray[np.bool_]:
    """Distinct rows: take the one with the greatest sum of ranks, drop all it covers, repeat.

    Equal gains share a rank, so that what dominates a row always comes before it.
    """
    columns = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in unique.T]
    ranks = np.sum(columns, axis=0)
    left = np.argsort(-ranks, kind="stable")
    kept = np.zeros(len(unique), dtype=bool)
    while left.size:
        best = left[0]
        kept[best] = True
        left = left[(unique[left] > unique[best]).any(axis=1)]
    return kept


def knee(study: Study, front: Sequence[Trial]) -> Trial | None:
    """The trial nearest to the utopia point: the best of every objective at once.

    Each objective is scaled to 0..1 over the front, so that no unit weighs more than another. With
    one objective that is the best trial. Of equally near trials the lowest number is taken.
    """
    if not front:
        return None
    away = _shortfall(signed_objectives(study, front))
    distances = np.round(np.sqrt((away**2).sum(axis=1)), 12)
    return min(zip(distances, front, strict=True), key=lambda pair: (pair[0], pair[1].number))[1]


def suggest_trial(
    study: Study, front: Sequence[Trial], weights: Mapping[str, float]
) -> Trial | None:
    """The trial that falls least short of the best, each objective weighted (by metric name)."""
    if not front:
        return None
    weight = np.array([weights.get(o.metric, 1.0) for o in study.objectives])
    short = np.round((_shortfall(signed_objectives(study, front)) * weight).sum(axis=1), 12)
    return min(zip(short, front, strict=True), key=lambda pair: (pair[0], pair[1].number))[1]


def _shortfall(points: ObjectiveValues) -> ObjectiveValues:
    """How far each point is from the best of its column, in units of the column's spread."""
    best, spread = points.max(axis=0), np.ptp(points, axis=0)
    return np.asarray((best - points) / np.where(spread > 0, spread, 1.0))
