"""Batches of calibration texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autotune.deployment.artifact import Artifact
from autotune.deployment.inputs import Arrays, EncodedText, pad

BATCH_SIZE = 8


def calibration_batches(artifact: Artifact, texts: Sequence[EncodedText]) -> Iterator[Arrays]:
    """The texts in batches of similar length, as arguments of the model."""
    by_length = sorted(texts, key=lambda text: len(text["input_ids"]))
    for start in range(0, len(texts), BATCH_SIZE):
        yield pad(by_length[start : start + BATCH_SIZE], artifact.inputs, artifact.pad_token_id)
