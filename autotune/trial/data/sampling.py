"""Samples the examples of splits: held-out rows and stratified subsets of train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from autotune.errors import DataError

HOLDOUT_FRACTION = 0.1
"""The fraction of train that replaces a missing split."""

MIN_STRATUM_ROWS = 2
"""Examples of each stratum in a held-out split, if train has enough."""


def holdout_rows(
    strata: Sequence[str], texts: Sequence[object], splits: Sequence[str], seed: int
) -> dict[str, list[int]]:
    """Rows of train for each of ``splits``, and the remaining rows under ``train``.

    The sample is stratified and determined by ``seed``. A text that occurs twice stays in train,
    so that held-out texts are not trained on. Raises :class:`DataError` if train is too small.
    """
    uses = Counter(map(repr, texts))
    held_out: dict[str, list[int]] = {split: [] for split in splits}
    for rows in _shuffled(strata, seed):
        size = min(
            max(MIN_STRATUM_ROWS, round(HOLDOUT_FRACTION * len(rows))),
            len(rows) // (len(splits) + 1),
        )
        unique = [row for row in rows if uses[repr(texts[row])] == 1]
        for index, split in enumerate(splits):
            held_out[split] += unique[index * size : (index + 1) * size]
    for split, rows in held_out.items():
        if not rows:
            raise DataError(
                f"the data set has no {split} split and too few rows in train "
                f"({len(strata)}) to hold one out",
                hint=f"task.dataset.{split}: FILE",
            )
    held_out_rows = {row for rows in held_out.values() for row in rows}
    rest = [row for row in range(len(strata)) if row not in held_out_rows]
    return {"train": rest, **{split: sorted(rows) for split, rows in held_out.items()}}


def stratified_subsample(strata: Sequence[str], size: int, seed: int) -> list[int]:
    """``size`` rows in ascending order, each stratum in proportion and at least once."""
    groups = _shuffled(strata, seed)
    if size >= len(strata):
        return list(range(len(strata)))
    if size < len(groups):
        raise DataError(
            f"{size} samples are fewer than the {len(groups)} labels",
            hint="raise task.train_samples and task.validation_samples",
        )
    shares = _proportional([len(rows) for rows in groups], size)
    return sorted(row for rows, n in zip(groups, shares, strict=True) for row in rows[:n])


def _proportional(counts: Sequence[int], size: int) -> list[int]:
    """Integers of sum ``size``, at least 1 each, by the largest remainder method."""
    exact = [size * count / sum(counts) for count in counts]
    shares = [max(1, int(share)) for share in exact]
    while sum(shares) != size:
        step = 1 if sum(shares) < size else -1
        adjustable = [i for i in range(len(shares)) if 1 <= shares[i] + step <= counts[i]]
        shares[max(adjustable, key=lambda i: step * (exact[i] - shares[i]))] += step
    return shares


def _shuffled(strata: Sequence[str], seed: int) -> list[list[int]]:
    """The rows of each stratum in random order, sorted by the stratum's name."""
    rng = np.random.default_rng(seed)
    groups: dict[str, list[int]] = {name: [] for name in sorted(set(strata))}
    for row, name in enumerate(strata):
        groups[name].append(row)
    return [[rows[i] for i in rng.permutation(len(rows))] for rows in groups.values()]
