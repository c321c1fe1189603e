"""The maximum length of a task: how many texts it cuts, and the one that fits the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

import numpy as np

from autotune.trial.data.tokenizer import ModelInputs
from autotune.trial.tasks.base import Arrays, Examples, TaskType, is_evaluated

LENGTH_SAMPLE = 500
"""Texts of which the full length is measured."""

MAX_SAMPLE_CHARACTERS = 2_000_000
"""Characters of these texts: about two seconds."""

UNLIMITED_LENGTH = 10**6
"""A length in tokens that no text reaches."""

MIN_TRUNCATED_SHARE = 0.01
"""The share of truncated texts, or of lost labels, that is worth a note."""

AUTO_LIMIT = 512
"""The longest length in tokens that ``max_length: auto`` chooses: that of BERT."""

AUTO_PERCENTILE = 99
"""``max_length: auto`` cuts at most the other texts, in percent."""

AUTO_MULTIPLE = 8
"""``max_length: auto`` is a multiple, which suits matrix kernels."""


def choose_max_length(
    inputs: ModelInputs, task_type: TaskType, train: Examples, ids: Mapping[str, int]
) -> tuple[ModelInputs, str]:
    """``inputs`` with the length that fits nearly all texts of train, and a note on it."""
    lengths = _sample_lengths(inputs, task_type, train, ids, inputs.max_length)
    fitting = ceil(np.percentile(lengths, AUTO_PERCENTILE) / AUTO_MULTIPLE) * AUTO_MULTIPLE
    length = min(inputs.max_length, fitting)
    note = f"max_length is {length}, for the lengths of train (longest: {max(lengths)})"
    return replace(inputs, max_length=length), note


def truncation_note(
    inputs: ModelInputs,
    task_type: TaskType,
    train: Examples,
    ids: Mapping[str, int],
    arrays: Arrays,
) -> str | None:
    """A note on how many texts of train are cut, or divided into windows; ``None`` for less than
    1%. Lengths are those of a sample, because most of a long text is otherwise not tokenized."""
    windows = len(arrays["offsets"]) - 1
    if windows > len(train):
        return f"train: {len(train)} texts are divided into {windows} windows"
    is_full = np.diff(arrays["offsets"]) >= inputs.max_length
    if is_full.mean() < MIN_TRUNCATED_SHARE:
        return None
    lengths = _sample_lengths(inputs, task_type, train, ids, UNLIMITED_LENGTH)
    share = (lengths > inputs.max_length).mean()
    if share < MIN_TRUNCATED_SHARE:
        return None
    p95 = int(np.percentile(lengths, 95))
    return (
        f"{share:.0%} of train is cut at {inputs.max_length} tokens (95th percentile: {p95}); "
        "task.max_length sets the limit"
    )


def lost_labels_note(
    inputs: ModelInputs,
    task_type: TaskType,
    validation: Examples,
    ids: Mapping[str, int],
    arrays: Arrays,
) -> str | None:
    """A note on how many labels of validation are not scored because their words are cut off, for
    a kind with a label for each token; ``None`` for less than 1%. Tokenizers lose different ones.
    The share is that of a sample."""
    if np.diff(arrays["offsets"]).max() < inputs.max_length:
        return None
    sample = validation.take(_sample_rows(validation))
    scored, total = (
        int(is_evaluated(task_type.encode(inputs.tokenizer, sample, ids, limit)["labels"]).sum())
        for limit in (inputs.max_length, UNLIMITED_LENGTH)
    )
    share = 1 - scored / total if total else 0.0
    if share < MIN_TRUNCATED_SHARE:
        return None
    return (
        f"validation: {share:.0%} of the labels are beyond {inputs.max_length} tokens and are not "
        "scored; task.max_length sets the limit"
    )


def _sample_lengths(
    inputs: ModelInputs,
    task_type: TaskType,
    train: Examples,
    ids: Mapping[str, int],
    limit: int,
) -> np.ndarray:
    """The lengths in tokens, up to ``limit``, of a sample of train."""
    sample = task_type.encode(inputs.tokenizer, train.take(_sample_rows(train)), ids, limit)
    return np.diff(sample["offsets"])


def _sample_rows(examples: Examples) -> list[int]:
    rows = np.unique(np.linspace(0, len(examples) - 1, LENGTH_SAMPLE).astype(int))
    characters = np.cumsum([sum(map(len, examples.inputs[row])) for row in rows])
    chosen: list[int] = rows[: max(1, int((characters <= MAX_SAMPLE_CHARACTERS).sum()))].tolist()
    return chosen
