"""The Pareto front of a study: the feasible trials that no other feasible trial dominates.

Objective values are signed so that more is better in every column. :class:`Snapshot`
(``autotune/analysis/snapshot.py``) computes all of this once for a list of trials.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Constraint, Direction, State, Study, Trial, TrialOrigin
from autotune.domain.constraints import constraint_bound, is_satisfied
from autotune.domain.metrics import METRICS

ObjectiveValues = NDArray[np.float64]
"""Shape (points, objectives); more is better in every column."""


@dataclass(frozen=True)
class Violation:
    """A constraint that a trial violates. ``value`` is ``None`` if it was not measured."""

    constraint: Constraint
    value: float | None
    bound: float

    def __str__(self) -> str:
        limit = f" (= {self.bound:.4g})" if self.constraint.relative else ""
        value = "was not measured" if self.value is None else f"is {self.value:.4g}"
        return f"{self.constraint.metric} {value}; the study requires {self.constraint}{limit}"


def value_of(trial: Trial | None, metric: str) -> float | None:
    """The value of ``metric``; ``None`` if it was not measured or is not finite."""
    value = None if trial is None else trial.metric(metric)
    return value if value is not None and math.isfinite(value) else None


def find_baseline(study: Study, trials: Sequence[Trial]) -> Trial | None:
    """The trial of the default configuration: an isolated run if there is one, else the first
    complete one, else the first."""
    strategy = study.baseline
    candidates = [
        trial
        for trial in trials
        if trial.origin == TrialOrigin.DEFAULT
        or (trial.strategy.values == strategy.values and not trial.is_imported and trial.is_result)
    ]
    complete = [trial for trial in candidates if trial.state is State.COMPLETE]
    isolated = [trial for trial in complete if trial.origin == TrialOrigin.ISOLATED_RERUN]
    return next(iter([*isolated, *complete, *candidates]), None)


def superseded_trials(trials: Sequence[Trial]) -> frozenset[int]:
    """Numbers of the trials whose strategy has an isolated re-run, which replaces them."""
    keys = {
        trial.strategy.key
        for trial in trials
        if trial.origin == TrialOrigin.ISOLATED_RERUN and trial.state is State.COMPLETE
    }
    if not keys:
        return frozenset()
    reruns = (TrialOrigin.REPLICATE, TrialOrigin.CONFIRMATION, TrialOrigin.ISOLATED_RERUN)
    return frozenset(
        trial.number
        for trial in trials
        if trial.origin not in reruns and trial.strategy.key in keys
    )


def confirmed_trials(trials: Sequence[Trial]) -> frozenset[int]:
    """Numbers of the trials whose strategy has a complete confirmation run."""
    keys = {t.strategy.key for t in trials if t.is_confirmation and t.state is State.COMPLETE}
    if not keys:
        return frozenset()
    return frozenset(t.number for t in trials if not t.is_confirmation and t.strategy.key in keys)


def find_violations(study: Study, trial: Trial, baseline: Trial | None) -> list[Violation]:
    """The constraints that ``trial`` violates.

    A constraint relative to an unmeasured default is ignored. A constraint on a metric that the
    trial did not measure is violated, since it cannot be verified.
    """
    violations = []
    for constraint in study.constraints:
        limit, value = constraint_bound(constraint, baseline), value_of(trial, constraint.metric)
        if limit is None:
            continue
        if value is None or not is_satisfied(constraint, value, limit):
            violations.append(Violation(constraint, value, limit))
    return violations


def violations_by_trial(
    study: Study, trials: Sequence[Trial], baseline: Trial | None
) -> dict[int, list[Violation]]:
    """Violated constraints by number of the complete trial, of trials that violate any."""
    if not study.constraints:
        return {}
    violations = {
        trial.number: find_violations(study, trial, baseline)
        for trial in trials
        if trial.state is State.COMPLETE
    }
    return {number: violated for number, violated in violations.items() if violated}


def measures_objectives(study: Study, trial: Trial) -> bool:
    return all(value_of(trial, objective.metric) is not None for objective in study.objectives)


def select_feasible(
    study: Study,
    trials: Sequence[Trial],
    violating: Collection[int],
    superseded: Collection[int],
) -> list[Trial]:
    """Complete results with all objectives measured whose numbers are in neither collection."""
    return [
        trial
        for trial in trials
        if trial.state is State.COMPLETE
        and trial.is_result
        and trial.number not in violating
        and trial.number not in superseded
        and measures_objectives(study, trial)
    ]


def feasible_trials(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials with all objectives measured and all constraints satisfied, in order.

    Runs with another seed and trials transferred from other hosts are left out. An isolated re-run
    replaces the other trials of its strategy.
    """
    violating = violations_by_trial(study, trials, find_baseline(study, trials))
    return select_feasible(study, trials, violating, superseded_trials(trials))


def signed_objectives(study: Study, trials: Sequence[Trial]) -> ObjectiveValues:
    """Objective values of trials that measured them all, signed so that more is better."""
    rows = [[o.sign * float(t.metric(o.metric) or 0.0) for o in study.objectives] for t in trials]
    return np.array(rows, dtype=float).reshape(len(trials), len(study.objectives))


def pareto_front(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """The non-dominated feasible trials, best in the first objective first."""
    return pareto_optimal(study, feasible_trials(study, trials))


def pareto_optimal(study: Study, members: Sequence[Trial]) -> list[Trial]:
    """The non-dominated of ``members``, all of which measured all objectives."""
    return non_dominated_trials(members, signed_objectives(study, members))


def non_dominated_trials(members: Sequence[Trial], points: ObjectiveValues) -> list[Trial]:
    """The non-dominated of ``members`` with signed objective values ``points``, best in the first
    column first, then by number."""
    rows = np.flatnonzero(non_dominated(points)).tolist()
    rows.sort(key=lambda row: (*(-points[row]), members[row].number))
    return [members[row] for row in rows]


def direction_of(study: Study, metric: str) -> Direction:
    """The better direction of a metric: that of the study's objective, else of the registry."""
    own = next((o.direction for o in study.objectives if o.metric == metric), None)
    return own or (METRICS[metric].direction if metric in METRICS else "maximize")


def non_dominated(points: ObjectiveValues) -> NDArray[np.bool_]:
    """Mask of the non-dominated points, shape (points,). Equal points are all in it or all out.

    O(n log n) for up to two objectives, O(n x front) comparisons of whole columns for more.
    """
    count, width = points.shape
    if count == 0 or width == 0:
        return np.ones(count, dtype=bool)
    if width == 1:
        return np.asarray(points[:, 0] == points[:, 0].max())
    unique, inverse = np.unique(points, axis=0, return_inverse=True)
    mask = _non_dominated_2d(unique) if width == 2 else _non_dominated_nd(unique)
    return np.asarray(mask[inverse.reshape(-1)])


def _non_dominated_2d(unique: ObjectiveValues) -> NDArray[np.bool_]:
    """``unique`` rows are in ascending order: a row is non-dominated if its second value is greater
    than those of all later rows."""
    second = unique[:, 1]
    later_max = np.maximum.accumulate(second[::-1])[::-1]
    return np.append(second[:-1] > later_max[1:], True)


def _non_dominated_nd(unique: ObjectiveValues) -> NDArray[np.bool_]:
    """Repeatedly takes the row with the greatest sum of ranks and drops all rows it dominates.

    Equal values share a rank, so a row comes after all rows that dominate it.
    """
    columns = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in unique.T]
    rank_sums = np.sum(columns, axis=0)
    remaining = np.argsort(-rank_sums, kind="stable")
    mask = np.zeros(len(unique), dtype=bool)
    while remaining.size:
        best = remaining[0]
        mask[best] = True
        remaining = remaining[(unique[remaining] > unique[best]).any(axis=1)]
    return mask


def knee(
    study: Study, front: Sequence[Trial], points: ObjectiveValues | None = None
) -> Trial | None:
    """The trial nearest to the utopia point, the best value of every objective.

    ``points`` are the signed objectives, by default the measured ones. Each is scaled to 0..1 over
    the front. With one objective this is the best trial. Of equally near trials it is the one with
    the lowest number.
    """
    if not front:
        return None
    shortfall = _relative_shortfall(signed_objectives(study, front) if points is None else points)
    distances = np.round(np.sqrt((shortfall**2).sum(axis=1)), 12)
    return min(zip(distances, front, strict=True), key=lambda pair: (pair[0], pair[1].number))[1]


def suggest_trial(
    study: Study,
    front: Sequence[Trial],
    weights: Mapping[str, float],
    points: ObjectiveValues | None = None,
) -> Trial | None:
    """The trial with the least weighted sum of shortfalls; ``weights`` by metric, 1 if missing.
    ``points`` are the signed objectives, by default the measured ones."""
    if not front:
        return None
    weight = np.array([weights.get(o.metric, 1.0) for o in study.objectives])
    points = signed_objectives(study, front) if points is None else points
    totals = np.round((_relative_shortfall(points) * weight).sum(axis=1), 12)
    return min(zip(totals, front, strict=True), key=lambda pair: (pair[0], pair[1].number))[1]


def _relative_shortfall(points: ObjectiveValues) -> ObjectiveValues:
    """Distance of each point to the best of its column, in units of the column's range."""
    best, span = points.max(axis=0), np.ptp(points, axis=0)
    return np.asarray((best - points) / np.where(span > 0, span, 1.0))
