"""One split of a prepared task, and how rows of it become a padded batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autotune.trial.tasks.base import IGNORE_INDEX, Arrays


@dataclass(frozen=True)
class Split:
    """Examples end to end: example ``i`` is ``tokens[offsets[i]:offsets[i + 1]]``.

    ``labels`` holds one class an example, or one a token (:data:`IGNORED` where none is due).
    ``types`` (one a token) tells the two texts of a pair apart.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    types: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Word pieces of each example, special ones included."""
        return np.diff(self.offsets)

    @property
    def labels_by_token(self) -> bool:
        return len(self.labels) != len(self)

    def batch(self, rows: Any, pad_token_id: int, length: int | None = None) -> Arrays:
        """The inputs of a model for ``rows``: int64 ``[rows, length]`` (``labels``: ``[rows]``
        unless by token). ``length`` is that of the longest row unless a greater one is given."""
        here, mask = self._cell_indices(rows, length)
        batch = {
            "input_ids": _padded(self.tokens, here, mask, pad_token_id),
            "attention_mask": mask.astype(np.int64),
        }
        if self.types is not None:
            batch["token_type_ids"] = _padded(self.types, here, mask, 0)
        by_token = self.labels_by_token
        labels = _padded(self.labels, here, mask, IGNORE_INDEX) if by_token else self.labels[rows]
        return {**batch, "labels": labels}

    def scatter(self, rows: Any, predictions: np.ndarray, out: np.ndarray) -> None:
        """Write the ``predictions`` for a batch of ``rows`` (shaped like its labels) to where their
        labels are: ``out`` is shaped like :attr:`labels`."""
        if self.labels_by_token:
            here, mask = self._cell_indices(rows, predictions.shape[1])
            out[here[mask]] = predictions[mask]
        else:
            out[rows] = predictions

    def _cell_indices(self, rows: Any, length: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Where in :attr:`tokens` each cell of the padded batch is, and which cells are real."""
        lengths = self.lengths[rows]
        steps = np.arange(max(int(lengths.max()), length or 0))
        return self.offsets[:-1][rows][:, None] + steps, steps < lengths[:, None]


def _padded(flat: np.ndarray, here: np.ndarray, mask: np.ndarray, filling: int) -> np.ndarray:
    cells = np.full(mask.shape, filling, dtype=np.int64)
    cells[mask] = flat[here[mask]]
    return cells
