"""Predictions of an artifact. Needs only NumPy, because exported folders contain a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import Arrays, EncodedText, batch_indices, pad

Logits = NDArray[np.float32]

Session = Callable[[Arrays], NDArray[Any]]
"""Runs the model: arguments by name, each ``int64[n, length]``, to logits of any float type."""


@dataclass(frozen=True)
class Predictor:
    """A loaded artifact."""

    artifact: Artifact
    session: Session

    def predict(self, batch: Sequence[EncodedText]) -> Logits:
        """Logits of one batch: ``float32[n, labels]``. For tasks with outputs for each token,
        ``float32[n, length, labels]``, where rows of padding mean nothing."""
        arrays = pad(batch, self.artifact.inputs, self.artifact.pad_token_id)
        return np.asarray(self.session(arrays), dtype=np.float32)

    def predict_all(self, texts: Sequence[EncodedText]) -> list[Logits]:
        """The logits of each text, ``float32[labels]`` or ``float32[length, labels]``, in batches
        of the artifact's size and padding."""
        batches = self.batches(texts)
        outputs = (self.predict([texts[row] for row in rows]) for rows in batches)
        return split_logits(outputs, batches, texts)

    def batches(self, texts: Sequence[EncodedText]) -> list[NDArray[Any]]:
        """The indices of the texts of each batch."""
        lengths = [len(text["input_ids"]) for text in texts]
        return list(batch_indices(lengths, self.artifact.batch_size, self.artifact.padding))


def split_logits(
    outputs: Iterable[Logits], batches: Iterable[NDArray[Any]], texts: Sequence[EncodedText]
) -> list[Logits]:
    """The logits of each text, without padding, from the outputs for all ``batches``, which are
    indices of ``texts``."""
    logits: dict[int, Logits] = {}
    for rows, output in zip(batches, outputs, strict=True):
        for row, values in zip(rows.tolist(), output, strict=True):
            length = len(texts[row]["input_ids"])
            logits[row] = values if values.ndim == 1 else values[:length]
    return [logits[row] for row in range(len(texts))]
