"""The examples of a split as artifacts of :mod:`autotune.deployment` take them."""

from __future__ import annotations

import numpy as np

from autotune.deployment.inputs import EncodedText
from autotune.trial.split import Split

CALIBRATION_EXAMPLES = 128
"""Training examples from which static quantization takes the ranges of activations."""


def encoded_texts(split: Split) -> list[EncodedText]:
    """All examples of ``split``, in its order."""
    return [_encoded_text(split, row) for row in range(len(split))]


def calibration_texts(train: Split, seed: int) -> list[EncodedText]:
    """Random training examples, the same for each deployment of a study with this ``seed``."""
    order = np.random.default_rng(seed).permutation(len(train))
    return [_encoded_text(train, row) for row in order[:CALIBRATION_EXAMPLES].tolist()]


def _encoded_text(split: Split, row: int) -> EncodedText:
    cells = slice(int(split.offsets[row]), int(split.offsets[row + 1]))
    text: EncodedText = {"input_ids": split.tokens[cells].astype(np.int64)}
    if split.types is None:
        return text
    return {**text, "token_type_ids": split.types[cells].astype(np.int64)}
