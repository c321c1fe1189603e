"""Fewer points that draw the same picture: what lies under another point is left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

GRID = (160, 90)
"""Cells across and up: finer than a mark on a screen is wide."""


def decimate(first: Sequence[float], second: Sequence[float], most: int = 2_000) -> list[int]:
    """Places of at most ``most`` points, one a cell of a grid over their span, ends included."""
    if len(first) <= most:
        return list(range(len(first)))
    cells = _cells(np.asarray(first, float), GRID[0]) * GRID[1]
    cells += _cells(np.asarray(second, float), GRID[1])
    places = np.sort(np.unique(cells, return_index=True)[1])
    if places.size > most:
        places = places[np.linspace(0, places.size - 1, most).astype(int)]
    return [int(place) for place in places]


def _cells(values: Numbers, count: int) -> NDArray[np.int64]:
    span = np.ptp(values)
    if span == 0:
        return np.zeros(len(values), dtype=np.int64)
    scaled = (values - values.min()) / span * count
    return np.asarray(np.minimum(scaled, count - 1), dtype=np.int64)
