"""One split of a prepared task, and its padded batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

IGNORE_INDEX = -100
"""The label of tokens that are not evaluated; the default of torch's cross-entropy."""

Arrays = dict[str, np.ndarray]
"""``tokens`` (int32, all examples concatenated), ``offsets`` (int64, one more than examples),
``labels`` (one per example or token, or a row of them for each example; integers, or floats where
they are no classes) and, for pairs, ``types`` (int32, one per token). Kinds can add others: see
:class:`autotune.trial.split.Split`."""


@dataclass(frozen=True)
class Split:
    """Concatenated examples: example ``i`` is ``tokens[offsets[i]:offsets[i + 1]]``.

    ``labels`` has one class per example, one per token (:data:`IGNORE_INDEX` for tokens without a
    label), or the form of its task kind with one row per example. ``types`` (one per token)
    distinguishes the two texts of a pair. ``extras`` are what the task kind needs for its scores:
    those whose names begin with ``row_`` have a row for each example, with ``token_`` one for each
    token.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    types: np.ndarray | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Split:
        """The split with the arrays that a task kind has encoded."""
        names = {item.name for item in fields(cls)}
        extras = {name: array for name, array in arrays.items() if name not in names}
        return cls(**{name: arrays[name] for name in names & arrays.keys()}, extras=extras)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, special tokens included."""
        return np.diff(self.offsets)

    @property
    def digest(self) -> str:
        """16 hex digits that are equal for equal labels in the same order. Tokens count only where
        they have the labels, so that models with several tokenizers are compared by example."""
        if self.labels_by_token:
            return _digest(self.tokens, self.offsets, self.labels)
        if "references" in self.extras:  # labels are positions of tokens
            return _digest(self.extras["references"])
        examples = self.extras.get("row_example")  # of windows, all of which have its label
        firsts = slice(None) if examples is None else np.unique(examples, return_index=True)[1]
        return _digest(self.labels[firsts])

    @property
    def labels_by_token(self) -> bool:
        return len(self.labels) != len(self)

    def batch(self, rows: Any, pad_token_id: int, length: int | None = None) -> Arrays:
        """Model inputs for ``rows``: int64 ``[rows, length]`` (``labels``: ``[rows]`` unless there
        is one per token). ``length`` is at least that of the longest row."""
        indices, mask = self._cell_indices(rows, length)
        batch = {
            "input_ids": _padded(self.tokens, indices, mask, pad_token_id),
            "attention_mask": mask.astype(np.int64),
        }
        if self.types is not None:
            batch["token_type_ids"] = _padded(self.types, indices, mask, 0)
        by_token = self.labels_by_token
        labels = (
            _padded(self.labels, indices, mask, IGNORE_INDEX) if by_token else self.labels[rows]
        )
        return {**batch, "labels": labels}

    def scatter(self, rows: Any, predictions: np.ndarray, out: np.ndarray, by_token: bool) -> None:
        """Write the ``predictions`` for a batch of ``rows`` to their positions in ``out``: one for
        each of its rows and tokens (``[rows, length, ...]`` to ``[tokens, ...]``) or rows."""
        if by_token:
            indices, mask = self._cell_indices(rows, predictions.shape[1])
            out[indices[mask]] = predictions[mask]
        else:
            out[rows] = predictions

    def gather(self, rows: Any, values: np.ndarray, length: int) -> np.ndarray:
        """The values of the tokens of ``rows``: ``[tokens, ...]`` to ``[rows, length, ...]``, with
        0 for padding. The inverse of :meth:`scatter`."""
        indices, mask = self._cell_indices(rows, length)
        cells = np.zeros((*mask.shape, *values.shape[1:]), values.dtype)
        cells[mask] = values[indices[mask]]
        return cells

    def _cell_indices(self, rows: Any, length: int | None) -> tuple[np.ndarray, np.ndarray]:
        """The index into :attr:`tokens` of each cell of the padded batch, and the mask of the cells
        that are not padding."""
        lengths = self.lengths[rows]
        steps = np.arange(max(int(lengths.max()), length or 0))
        return self.offsets[:-1][rows][:, None] + steps, steps < lengths[:, None]


def _digest(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()[:16]


def _padded(flat: np.ndarray, indices: np.ndarray, mask: np.ndarray, value: int) -> np.ndarray:
    cells = np.full(mask.shape, value, dtype=np.int64)
    cells[mask] = flat[indices[mask]]
    return cells
