"""Reduces the points of a plot without changing the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GRID_CELLS = (160, 90)
"""Cells across and up: smaller than a marker on a screen."""


def decimate(x: Sequence[float], y: Sequence[float], max_points: int = 2_000) -> list[int]:
    """Indices of at most ``max_points`` points: the first one in each cell of a grid over the range
    of the data."""
    if len(x) <= max_points:
        return list(range(len(x)))
    cells = _cell_indices(np.asarray(x, float), GRID_CELLS[0]) * GRID_CELLS[1]
    cells += _cell_indices(np.asarray(y, float), GRID_CELLS[1])
    indices = np.sort(np.unique(cells, return_index=True)[1])
    if indices.size > max_points:
        indices = indices[np.linspace(0, indices.size - 1, max_points).astype(int)]
    return [int(index) for index in indices]


def _cell_indices(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    span = np.ptp(values)
    if span == 0:
        return np.zeros(len(values), dtype=np.int64)
    scaled = (values - values.min()) / span * count
    return np.asarray(np.minimum(scaled, count - 1), dtype=np.int64)
