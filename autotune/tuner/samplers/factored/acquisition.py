"""Acquisition function: the expected hypervolume improvement per second of a trial.

The hypervolume of a set is a mean over directions of how far the set reaches in that direction:
HV = c E[max over points of min over objectives of (y / direction)^k] (Golovin and Zhang 2020,
Random Hypervolume Scalarizations). The improvement by a point costs one comparison per direction,
for any number of objectives. The improvement by several points is that of the farthest of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.front import non_dominated
from autotune.analysis.hypervolume import reference_and_unit
from autotune.domain import Phase, Strategy, Study, Trial
from autotune.domain.metrics import get_metric
from autotune.levers import phase_levers
from autotune.tuner.samplers.factored.candidate_batch import CandidateBatch
from autotune.tuner.samplers.factored.constraints import Constraints
from autotune.tuner.samplers.factored.encoding import group_key
from autotune.tuner.samplers.factored.gaussian_process import Floats
from autotune.tuner.samplers.factored.posterior import Posterior, score_phase

Scalarized = NDArray[np.float32]
"""How far points reach in each direction, shape (..., directions). Single precision, because these
arrays are large."""

DIRECTIONS = 64

NEAR_MISS_SQUARINGS = 4
"""A near miss counts with the 16th power: 4 squarings are much faster than numpy's power."""

STOPPED_WEIGHT = 0.01
"""Weight of a stopped training if no candidate is expected to improve the front."""

MIN_CONSTRAINT_PROBABILITY = 0.25
"""A candidate that satisfies the constraints with a smaller probability is not run, however large
its improvement would be, while others improve the front."""

BOUNDED_REFERENCE_UNITS = 3.0
"""By how many units the reference point of an objective is farther away if a constraint bounds its
metric: a gain counts as a quarter of an equal gain in another objective, because the bound says how
much of the metric is enough."""

MIN_INCUMBENT_PROBABILITY = 0.5
"""A measured strategy counts as an incumbent if it satisfies the constraints with this
probability."""

MIN_TRIAL_SECONDS = 0.05
"""Duration of a trial whose phases are both cached."""

MAX_FRONT_PARENTS, MAX_OTHER_PARENTS = 8, 4


@lru_cache(maxsize=16)
def directions(objectives: int, count: int = DIRECTIONS) -> Floats:
    """Evenly spread non-negative unit vectors, shape (count, objectives)."""
    from scipy.special import ndtri
    from scipy.stats.qmc import Sobol

    if objectives == 1:
        return np.ones((1, 1))
    points = Sobol(objectives, rng=0).random(count)
    normal = np.abs(ndtri(np.clip(points, 1e-6, 1 - 1e-6)))
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def scalarize(points: Floats) -> Scalarized:
    """How far points of shape (..., objectives) reach in each direction."""
    rays = directions(points.shape[-1]).astype(np.float32)
    scalarized = np.full((*points.shape[:-1], len(rays)), np.inf, dtype=np.float32)
    for objective in range(points.shape[-1]):
        values = np.maximum(points[..., objective, None], 0.0).astype(np.float32)
        np.minimum(scalarized, values / rays[:, objective], out=scalarized)
    return scalarized


def _volume_constant(objectives: int) -> float:
    ball = math.pi ** (objectives / 2) / math.gamma(objectives / 2 + 1)
    return float(ball / 2**objectives)


def scalarize_front(front: Floats) -> Scalarized:
    """How far a front of shape (points, objectives) reaches in each direction."""
    return np.asarray(scalarize(front).max(axis=0, initial=0.0))


def hypervolume_improvements(candidates: Scalarized, front: Scalarized, objectives: int) -> Floats:
    """Hypervolume improvements, shape (candidates, samples), of ``candidates``, shape (candidates,
    samples, directions), over ``front``, shape (directions,)."""
    union = _power(np.maximum(candidates, front), objectives)
    beyond = union - _power(front, objectives)
    return np.asarray(_volume_constant(objectives) * beyond.mean(axis=2), dtype=float)


def _power(values: Scalarized, exponent: int) -> Scalarized:
    """By multiplication, which is much faster than numpy's power."""
    power = values
    for _ in range(exponent - 1):
        power = power * values
    return power


def with_free_members(
    candidates: Scalarized, groups: NDArray[np.int64], free: NDArray[np.bool_]
) -> Scalarized:
    """``candidates``, each raised to the maximum over the free members of its group: a measurement
    of one member makes the trials of these members free."""
    members = np.flatnonzero(free)
    members = members[np.argsort(groups[members], kind="stable")]
    group_ids, starts = np.unique(groups[members], return_index=True)
    maxima = np.zeros((int(groups.max()) + 1, *candidates.shape[1:]), dtype=np.float32)
    for group_id, rows in zip(group_ids, np.split(members, starts[1:]), strict=True):
        maxima[group_id] = candidates[rows].max(axis=0)
    return np.maximum(candidates, maxima[groups])


class AcquisitionScorer:
    """Scores candidates by the improvement of the front of a history.

    Objectives are relative to the reference point, in units of the default, and at least 0. A point
    that violates a constraint is 0 in every objective.
    """

    def __init__(self, study: Study, posterior: Posterior, default: Trial | None) -> None:
        self._study, self._posterior, self._default = study, posterior, default
        self._constraints = Constraints(study, posterior, default)
        complete = posterior.observations.complete
        self._trials = [complete[number] for number in sorted(complete)]
        values = [[self._measured(t, o.metric) for o in study.objectives] for t in self._trials]
        self._values = np.array(values, dtype=float).reshape(len(values), len(study.objectives))
        self._references = self._references_and_units()
        self._points = self._scaled_objectives(list(self._values.T))
        satisfied = self._constraints.satisfied_by_trials(self._trials)
        self._points[satisfied.mean(axis=1) < MIN_INCUMBENT_PROBABILITY] = 0.0

    def _measured(self, trial: Trial, metric: str) -> float | None:
        """A metric of ``trial``; of a score the mean over the seeds of the strategy."""
        phase = score_phase(metric)
        group = group_key(trial.strategy, phase_levers(phase))
        observation = self._posterior.observations.groups[phase].get(group)
        if get_metric(metric).is_score and observation is not None:
            return observation.values.get(metric, trial.metric(metric))
        return trial.metric(metric)

    def parents(self) -> list[Strategy]:
        """The latest strategies of the front, then the latest others."""
        if not len(self._points):
            return []
        on_front = non_dominated(self._points) & (self._points > 0).all(axis=1)
        front = [t for t, on in zip(self._trials, on_front, strict=True) if on]
        others = [t for t, on in zip(self._trials, on_front, strict=True) if not on]
        latest = [*front[::-1][:MAX_FRONT_PARENTS], *others[::-1][:MAX_OTHER_PARENTS]]
        return [trial.strategy for trial in latest]

    def scores(self, batch: CandidateBatch, count: int, feasibility: Floats) -> Floats | None:
        """Expected improvement per second of the first ``count`` of the batch, shape (count,).

        The rest of the batch are early-stopped trials. ``feasibility`` is the probability that each
        of the batch runs. ``None`` if an objective has no observation.
        """
        width = len(self._study.objectives)
        samples = [batch.metric_samples(objective.metric) for objective in self._study.objectives]
        metrics = [metric for metric in samples if metric is not None]
        if len(metrics) < width:
            return None
        objectives = self._scaled_objectives(metrics)
        scale = self._scale(objectives[:count])
        is_feasible = self._constraints.satisfied_by_candidates(batch)
        front = scalarize_front(self._points / scale)
        reach = scalarize(objectives / scale)
        feasible_reach = np.where(is_feasible[..., None], reach, 0.0)
        stopped_improve = hypervolume_improvements(feasible_reach[count:], front, width) > 0
        weights = _sample_weights(stopped_improve, batch, count)
        seconds = batch.expected_seconds()[:count] + MIN_TRIAL_SECONDS

        improvements = hypervolume_improvements(
            _with_free_candidates(feasible_reach, batch, count), front, width
        )
        expected = feasibility[:count] * (improvements * weights).mean(axis=1)
        is_likely = is_feasible[:count].mean(axis=1) >= MIN_CONSTRAINT_PROBABILITY
        if (expected * is_likely).any():
            expected *= is_likely
        if expected.any():
            return np.asarray(expected / seconds)
        is_cached = batch.is_cached(Phase.PROFILE) & batch.is_cached(batch.last_phase)
        stopped_weights = ~is_cached[:count] * _stopped_weights(batch, count)
        probabilities = self._constraints.probabilities(batch)[:count]
        near_misses = probabilities * _near_misses(reach[:count], front)
        return np.asarray(stopped_weights * feasibility[:count] * near_misses / seconds)

    def _scale(self, objectives: Floats) -> Floats:
        """The best value of each objective, else the best expected one: the scale of the
        directions."""
        best = self._points.max(axis=0, initial=0.0)
        expected = np.median(objectives, axis=1).max(axis=0)
        return np.asarray(np.maximum(np.where(best > 0, best, expected), 1e-9))

    def _scaled_objectives(self, values: Sequence[Floats]) -> Floats:
        """The objectives relative to their reference points, shape (..., objectives), from their
        values, each of shape (...)."""
        scaled = [
            (objective.sign * value - reference) / unit
            for objective, value, (reference, unit) in zip(
                self._study.objectives, values, self._references, strict=True
            )
        ]
        points = np.stack(scaled, axis=-1)
        points[~np.isfinite(points).all(axis=-1)] = 0.0
        return np.asarray(np.maximum(points, 0.0))

    def _references_and_units(self) -> list[tuple[float, float]]:
        """(reference, unit) of each objective; without the default, from the measured values.

        A bound is no reference here: a fast strategy just within it would be worth nothing.
        """
        references, unconstrained = [], replace(self._study, constraints=())
        bounded = {constraint.metric for constraint in self._study.constraints}
        for index, objective in enumerate(self._study.objectives):
            pair = reference_and_unit(unconstrained, objective, self._default)
            if pair is None:
                values = objective.sign * self._values[:, index]
                values = values[np.isfinite(values)]
                low = float(values.min()) if len(values) else 0.0
                span = float(np.ptp(values)) if len(values) else 0.0
                unit = span or abs(low) or 1.0
                pair = low - 0.1 * unit, unit
            reference, unit = pair
            distance = BOUNDED_REFERENCE_UNITS if objective.metric in bounded else 0.0
            references.append((reference - distance * unit, unit))
        return references


def _with_free_candidates(scalarized: Scalarized, batch: CandidateBatch, count: int) -> Scalarized:
    """The first ``count`` candidates together with the candidates that their measurements complete:
    those of the same group whose other phases are cached. A deployed model has been trained."""
    candidates = scalarized[:count]
    improved = candidates
    for phase, other in permutations((Phase.PROFILE, batch.last_phase)):
        free = (batch.is_cached(other) & ~batch.is_cached(phase))[:count]
        if free.any():
            groups = batch.factors[phase].index[:count]
            improved = np.maximum(improved, with_free_members(candidates, groups, free))
    return improved


def _sample_weights(
    stopped_improve: NDArray[np.bool_], batch: CandidateBatch, count: int
) -> Floats:
    """Weights of the posterior samples, shape (count, samples). Discards samples under which a
    stopped trial would have improved the front, for the training group of that trial."""
    index = batch.factors[Phase.TRAIN].index
    discarded = np.zeros((int(index.max()) + 1, stopped_improve.shape[1]), dtype=bool)
    np.logical_or.at(discarded, index[count:], stopped_improve)
    return np.where(discarded, 0.0, 1.0)[index[:count]]


def _stopped_weights(batch: CandidateBatch, count: int) -> Floats:
    """:data:`STOPPED_WEIGHT` for candidates of a stopped training group, 1 for others."""
    index = batch.factors[Phase.TRAIN].index
    is_stopped = np.bincount(index[count:], minlength=int(index.max()) + 1) > 0
    return np.where(is_stopped, STOPPED_WEIGHT, 1.0)[index[:count]]


def _near_misses(candidates: Scalarized, front: Scalarized) -> Floats:
    """How near each candidate is to an improvement, 0 to 1: for use if none is expected to improve
    the front."""
    nearness = np.minimum(candidates / np.maximum(front, 1e-12), 1.0)
    for _ in range(NEAR_MISS_SQUARINGS):
        nearness *= nearness
    return np.asarray(nearness.mean(axis=(1, 2)))
