"""Candidates and what is known as the hypervolume sees them, and what a candidate is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.front import non_dominated
from autotune.analysis.hypervolume import reference_and_unit
from autotune.domain import PHASES, Phase, Strategy, Study, Trial
from autotune.domain.constraints import constraint_bound
from autotune.search.samplers.factored import acquisition
from autotune.search.samplers.factored.acquisition import Reach
from autotune.search.samplers.factored.candidate_batch import CandidateBatch
from autotune.search.samplers.factored.gaussian_process import Floats
from autotune.search.samplers.factored.observations import Observations

DOUBLINGS = 4
"""A near miss counts at the 16th power: squared so often, several times faster than a power."""

STOPPED_WEIGHT = 0.01
"""What a stopped training still is worth where nothing is expected to gain."""

FLOOR_SECONDS = 0.05
"""A trial that measures nothing still is a trial."""


class AcquisitionScorer:
    """Objectives as the hypervolume sees them: gains over the reference, in units of the default;
    a point that breaks a constraint gains nothing."""

    def __init__(self, study: Study, facts: Observations, default: Trial | None) -> None:
        self._study, self._facts, self._default = study, facts, default
        self._trials = [facts.points[number] for number in sorted(facts.points)]
        names = [o.metric for o in study.objectives] + [c.metric for c in study.constraints]
        values = [[t.metric(name) for name in names] for t in self._trials]
        self._values = np.array(values, dtype=float).reshape(len(values), len(names))
        self._frame = self._frames()
        self.points = self._gains([self._values[:, i, None] for i in range(len(names))])[:, 0]

    def parents(self) -> list[Strategy]:
        """Strategies of the front, then the latest others."""
        if not len(self.points):
            return []
        front = non_dominated(self.points) & (self.points > 0).all(axis=1)
        ahead = [t for t, on in zip(self._trials, front, strict=True) if on]
        others = [t for t, on in zip(self._trials, front, strict=True) if not on]
        return [t.strategy for t in [*ahead[::-1][:8], *others[::-1][:4]]]

    def scores(self, pool: CandidateBatch, count: int, chance: Floats) -> Floats | None:
        """Expected gain per second of the first ``count`` of the pool, the others being trials that
        were stopped because they could not gain; ``None`` where nothing is known yet."""
        width = len(self._study.objectives)
        names = [o.metric for o in self._study.objectives]
        names += [c.metric for c in self._study.constraints]
        draws = [pool.metric(name) for name in names]
        if any(drawn is None for drawn in draws[:width]):
            return None
        drawn = self._gains(draws)
        scale = self._scale(drawn[:count])
        best = acquisition.best_reach(self.points / scale)
        alone = acquisition.scalarize(drawn / scale)
        likely = _believed(acquisition.hypervolume_gains(alone[count:], best, width) > 0, pool, count)
        cost = pool.cost()[:count] + FLOOR_SECONDS
        gained = acquisition.hypervolume_gains(_joined(alone, pool, count), best, width)
        expected = chance[:count] * (gained * likely).mean(axis=1)
        if expected.max() > 0:
            return np.asarray(expected / cost)
        worth = ~(pool.known(Phase.PROFILE) & pool.known(Phase.TRAIN))[:count] * _doubts(
            pool, count
        )
        return np.asarray(worth * chance[:count] * _nearly(alone[:count], best) / cost)

    def _scale(self, drawn: Floats) -> Floats:
        """The best of each objective so far, at which directions are laid out."""
        best = self.points.max(axis=0, initial=0.0)
        hoped = np.median(drawn, axis=1).max(axis=0)
        return np.asarray(np.maximum(np.where(best > 0, best, hoped), 1e-9))

    def _gains(self, values: Sequence[Floats | None]) -> Floats:
        """Gains, shape (candidates, draws, objectives), of the metrics of objectives and
        constraints, each of shape (candidates, draws)."""
        objectives = self._study.objectives
        signed = [
            (objective.sign * value - reference) / unit
            for objective, value, (reference, unit) in zip(
                objectives, values, self._frame, strict=False
            )
            if value is not None
        ]
        held = np.ones(signed[0].shape, dtype=bool)
        for constraint, value in zip(
            self._study.constraints, values[len(objectives) :], strict=True
        ):
            limit = constraint_bound(constraint, self._default)
            if limit is not None and value is not None:
                more = constraint.operator in (">=", ">")
                held &= (value >= limit) if more else (value <= limit)
        gains = np.stack(signed, axis=-1)
        gains[~held | ~np.isfinite(gains).all(axis=-1)] = 0.0
        return np.asarray(np.maximum(gains, 0.0))

    def _frames(self) -> list[tuple[float, float]]:
        """(reference, unit) of each objective; without the default, as seen so far."""
        found = []
        for place, objective in enumerate(self._study.objectives):
            framed = reference_and_unit(self._study, objective, self._default)
            if framed is None:
                seen = objective.sign * self._values[:, place]
                seen = seen[np.isfinite(seen)]
                low = float(seen.min()) if len(seen) else 0.0
                unit = float(np.ptp(seen)) if len(seen) else 0.0
                framed = low - 0.1 * (unit or abs(low) or 1.0), unit or abs(low) or 1.0
            found.append(framed)
        return found


def _joined(alone: Reach, pool: CandidateBatch, count: int) -> Reach:
    """How far each candidate reaches with all that its measurements complete for free: what it
    shares with halves that are known already."""
    reached = alone[:count]
    for half, other in (PHASES, PHASES[::-1]):
        free = (pool.known(other) & ~pool.known(half))[:count]
        if free.any():
            index = pool.factors[half].index[:count]
            reached = np.maximum(reached, acquisition.with_free_members(alone[:count], index, free))
    return reached


def _believed(gaining: NDArray[np.bool_], pool: CandidateBatch, count: int) -> Floats:
    """Weights of the draws, shape (count, draws): those by which a stopped trial (``gaining``, for
    all after the first ``count``) would have gained were wrong about its training group."""
    index = pool.factors[Phase.TRAIN].index
    wrong = np.zeros((int(index.max()) + 1, gaining.shape[1]), dtype=bool)
    np.logical_or.at(wrong, index[count:], gaining)
    return np.where(wrong, 0.0, 1.0)[index[:count]]


def _doubts(pool: CandidateBatch, count: int) -> Floats:
    """1 for each candidate, less where its training was stopped before."""
    index = pool.factors[Phase.TRAIN].index
    stopped = np.bincount(index[count:], minlength=int(index.max()) + 1) > 0
    return np.where(stopped, STOPPED_WEIGHT, 1.0)[index[:count]]


def _nearly(reached: Reach, best: Reach) -> Floats:
    """How near to a gain a candidate may come, where none is expected to gain."""
    near = np.minimum(reached / np.maximum(best, 1e-12), 1.0)
    for _ in range(DOUBLINGS):
        near *= near
    return np.asarray(near.mean(axis=(1, 2)))
