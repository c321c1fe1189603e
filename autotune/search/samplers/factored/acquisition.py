"""The expected gain of hypervolume per second of cost.

The hypervolume of a set is an average over directions of the farthest that any of its points goes
in that direction: HV = c E[max over points of min over objectives of (y / direction)^k] (Golovin
and Zhang 2020, Random Hypervolume Scalarizations). So the gain of a point costs one comparison a
direction, for any number of objectives, and the gain of several points together is that of the
farthest of them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reach = NDArray[np.float32]
"""How far points go in each direction, shape (..., directions): single precision, being large."""

DIRECTIONS = 64


@lru_cache(maxsize=16)
def directions(objectives: int, count: int = DIRECTIONS) -> Floats:
    """Evenly spread unit vectors without negative parts, shape (count, objectives)."""
    from scipy.special import ndtri
    from scipy.stats.qmc import Sobol

    if objectives == 1:
        return np.ones((1, 1))
    points = Sobol(objectives, rng=0).random(count)
    normal = np.abs(ndtri(np.clip(points, 1e-6, 1 - 1e-6)))
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def scalarize(points: Floats) -> Reach:
    """How far points, shape (..., objectives), go in each direction: shape (..., directions)."""
    rays = directions(points.shape[-1]).astype(np.float32)
    found = np.full((*points.shape[:-1], len(rays)), np.inf, dtype=np.float32)
    for objective in range(points.shape[-1]):
        gained = np.maximum(points[..., objective, None], 0.0).astype(np.float32)
        np.minimum(found, gained / rays[:, objective], out=found)
    return found


def volume_constant(objectives: int) -> float:
    ball = math.pi ** (objectives / 2) / math.gamma(objectives / 2 + 1)
    return float(ball / 2**objectives)


def best_reach(front: Floats) -> Reach:
    """The farthest that a front, shape (points, objectives), goes in each direction."""
    return np.asarray(scalarize(front).max(axis=0, initial=0.0))


def hypervolume_gains(reached: Reach, best: Reach, objectives: int) -> Floats:
    """Gain of hypervolume, shape (candidates, draws), of candidates that reach so far, shape
    (candidates, draws, directions), over a front that reaches ``best``."""
    beyond = _power(np.maximum(reached, best), objectives) - _power(best, objectives)
    return np.asarray(volume_constant(objectives) * beyond.mean(axis=2), dtype=float)


def _power(values: Reach, exponent: int) -> Reach:
    """By multiplication, which is several times faster than numpy's power."""
    found = values
    for _ in range(exponent - 1):
        found = found * values
    return found


def with_free_members(reached: Reach, groups: NDArray[np.int64], free: NDArray[np.bool_]) -> Reach:
    """``reached``, raised to what the free members of a candidate's group reach: measuring one
    member of a group makes those free to have as well."""
    members = np.flatnonzero(free)
    members = members[np.argsort(groups[members], kind="stable")]
    places, starts = np.unique(groups[members], return_index=True)
    joint = np.zeros((int(groups.max()) + 1, *reached.shape[1:]), dtype=np.float32)
    for place, rows in zip(places, np.split(members, starts[1:]), strict=True):
        joint[place] = reached[rows].max(axis=0)
    return np.maximum(reached, joint[groups])
