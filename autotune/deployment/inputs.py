"""Padded batches of encoded texts. Needs only NumPy, because exported folders contain a copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

EncodedText = Mapping[str, Sequence[int] | NDArray[np.int64]]
"""Token ids of one text without padding: ``input_ids``, and for pairs ``token_type_ids``."""

Arrays = dict[str, NDArray[np.int64]]
"""Arguments of the model by name, ``int64[n, length]``."""

MASK = "attention_mask"


def pad(batch: Sequence[EncodedText], names: Sequence[str], pad_token_id: int) -> Arrays:
    """The arrays ``names`` of a batch, padded to its longest text."""
    lengths = np.array([len(text["input_ids"]) for text in batch])
    mask = np.arange(lengths.max()) < lengths[:, None]
    arrays: Arrays = {}
    for name in names:
        if name == MASK:
            arrays[name] = mask.astype(np.int64)
            continue
        cells = np.full(mask.shape, pad_token_id if name == "input_ids" else 0, dtype=np.int64)
        cells[mask] = np.concatenate([text[name] for text in batch])
        arrays[name] = cells
    return arrays


def batch_indices(
    lengths: Sequence[int], batch_size: int, padding: str
) -> Iterator[NDArray[np.int64]]:
    """The indices of the texts of each batch. ``bucketed`` puts texts of similar length together,
    the longest first; ``dynamic`` keeps the order."""
    order = np.arange(len(lengths))
    if padding == "bucketed":
        order = np.argsort(-np.asarray(lengths), kind="stable")
    return (order[start : start + batch_size] for start in range(0, len(order), batch_size))
