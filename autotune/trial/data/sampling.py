"""Which examples are trained on, which are searched by, and which the search never sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from autotune.errors import DataError

HOLDOUT_FRACTION = 0.1
"""The share of train that stands in for a split that the data set does not have."""

FEWEST = 2
"""Examples of each stratum in a carved split, where train can spare them."""


def holdout_rows(
    strata: Sequence[str], texts: Sequence[object], splits: Sequence[str], seed: int
) -> dict[str, list[int]]:
    """Rows of train for each of ``splits`` and, under ``train``, those that remain.

    Stratified and the same for the same seed. A text that occurs twice stays in train, so that no
    carved example was trained on. Raises :class:`DataError` where nothing can be spared.
    """
    uses = Counter(map(repr, texts))
    carved: dict[str, list[int]] = {split: [] for split in splits}
    for rows in _shuffled(strata, seed):
        share = min(
            max(FEWEST, round(HOLDOUT_FRACTION * len(rows))), len(rows) // (len(splits) + 1)
        )
        once = [row for row in rows if uses[repr(texts[row])] == 1]
        for place, split in enumerate(splits):
            carved[split] += once[place * share : (place + 1) * share]
    for split, rows in carved.items():
        if not rows:
            raise DataError(
                f"the data set has no {split} split and too few rows in train "
                f"({len(strata)}) to carve one from",
                hint=f"task.dataset.{split}: FILE",
            )
    taken = {row for rows in carved.values() for row in rows}
    rest = [row for row in range(len(strata)) if row not in taken]
    return {"train": rest, **{split: sorted(rows) for split, rows in carved.items()}}


def stratified_subsample(strata: Sequence[str], size: int, seed: int) -> list[int]:
    """``size`` rows in their order, each stratum in proportion (at least one of each)."""
    groups = _shuffled(strata, seed)
    if size >= len(strata):
        return list(range(len(strata)))
    if size < len(groups):
        raise DataError(
            f"{size} samples cannot hold one of each of {len(groups)} labels",
            hint="raise task.train_samples and task.validation_samples",
        )
    shares = _proportional([len(rows) for rows in groups], size)
    return sorted(row for rows, n in zip(groups, shares, strict=True) for row in rows[:n])


def _proportional(counts: Sequence[int], size: int) -> list[int]:
    """Whole numbers that add up to ``size``, at least 1 each, by largest remainder."""
    exact = [size * count / sum(counts) for count in counts]
    shares = [max(1, int(share)) for share in exact]
    while sum(shares) != size:
        step = 1 if sum(shares) < size else -1
        open_ones = [i for i in range(len(shares)) if 1 <= shares[i] + step <= counts[i]]
        shares[max(open_ones, key=lambda i: step * (exact[i] - shares[i]))] += step
    return shares


def _shuffled(strata: Sequence[str], seed: int) -> list[list[int]]:
    """The rows of each stratum, by its name, in an order drawn with ``seed``."""
    random = np.random.default_rng(seed)
    groups: dict[str, list[int]] = {name: [] for name in sorted(set(strata))}
    for row, name in enumerate(strata):
        groups[name].append(row)
    return [[rows[i] for i in random.permutation(len(rows))] for rows in groups.values()]
