"""Packs and unpacks :class:`~autotune.domain.Correctness`: one bit for each label."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from autotune.domain import Correctness

HIT_SHARES = ("accuracy", "exact_match")
"""The scores that are the share of correct labels or answers, of which a run stores a bit each."""


def pack_correctness(
    split: str, hits: NDArray[np.bool_], starts: NDArray[np.bool_] | None = None
) -> Correctness:
    """The correctness of the labels ``hits`` of the split with this digest. ``starts``, of the same
    shape, marks the first label of each example; ``None`` if each example has one label."""
    return Correctness(split, len(hits), _pack(hits), None if starts is None else _pack(starts))


def count_hits(correctness: Correctness) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Correctly predicted labels and all labels of each example, each of shape (examples,)."""
    hits = _unpack(correctness.hits, correctness.num_labels).astype(np.int64)
    if correctness.starts is None:
        return hits, np.ones_like(hits)
    starts = np.flatnonzero(_unpack(correctness.starts, correctness.num_labels))
    ends = np.append(starts[1:], correctness.num_labels)
    return np.add.reduceat(hits, starts), ends - starts


def _pack(bits: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def _unpack(text: str, count: int) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count)
