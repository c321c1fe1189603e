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


def reach(points: Floats) -> Floats:
    """How far points, shape (..., objectives), go in each direction: shape (..., directions)."""
    found: Floats | None = None
    rays = directions(points.shape[-1])
    for objective in range(points.shape[-1]):
        along = np.maximum(points[..., objective, None], 0.0) / rays[:, objective]
        found = along if found is None else np.minimum(found, along, out=found)
    assert found is not None
    return found


def volume_constant(objectives: int) -> float:
    ball = math.pi ** (objectives / 2) / math.gamma(objectives / 2 + 1)
    return float(ball / 2**objectives)


def best_reach(front: Floats, objectives: int) -> Floats:
    """The farthest that a front, shape (points, objectives), goes in each direction."""
    if len(front) == 0:
        return np.zeros(len(directions(objectives)))
    return np.asarray(reach(front).max(axis=0))


def gain(reached: Floats, best: Floats, objectives: int) -> Floats:
    """Mean gain of hypervolume of candidates that reach so far, shape (candidates, samples,
    directions), over a front that reaches ``best``."""
    beyond = np.maximum(reached, best) ** objectives - best**objectives
    return np.asarray(volume_constant(objectives) * beyond.mean(axis=(1, 2)))


def together(reached: Floats, groups: NDArray[np.int64], free: NDArray[np.bool_]) -> Floats:
    """``reached``, raised to what the free members of a candidate's group reach: measuring one
    member of a group makes those free to have as well."""
    joint = np.zeros((int(groups.max()) + 1, *reached.shape[1:]))
    np.maximum.at(joint, groups[free], reached[free])
    return np.asarray(np.maximum(reached, joint[groups]))
