"""Which labels of a split the model of a trial predicts correctly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autotune.measure.correctness import count_hits
from autotune.trial.evaluation import Predictions, find_hits
from autotune.trial.split import Split
from autotune.trial.tasks.base import IGNORE_INDEX


def predictions(*classes: int) -> Predictions:
    array = np.array(classes, dtype=np.int64)
    return Predictions(array, np.zeros(len(array), np.float32), [])


TOKENS, OFFSETS = np.arange(9, dtype=np.int32), np.array([0, 2, 5, 9], dtype=np.int64)


def test_one_bit_for_each_text() -> None:
    split = Split(TOKENS, OFFSETS, np.array([1, 0, 2], dtype=np.int64))
    correctness = find_hits(predictions(1, 1, 2), split, "text-classification")
    assert correctness is not None
    assert correctness.starts is None
    assert count_hits(correctness)[0].tolist() == [1, 0, 1]


def test_one_bit_for_each_word_with_a_tag() -> None:
    """The second sentence was cut before its first word, so that it has no evaluated label."""
    labels = np.full(9, IGNORE_INDEX, dtype=np.int64)
    labels[[1, 5, 6, 8]] = [3, 3, 0, 1]
    split = Split(TOKENS, OFFSETS, labels)
    correctness = find_hits(predictions(9, 3, 9, 9, 9, 3, 1, 9, 1), split, "token-classification")
    assert correctness is not None
    hits, sizes = count_hits(correctness)
    assert (hits.tolist(), sizes.tolist()) == ([1, 2], [1, 3])


def test_texts_have_one_digest_whatever_their_tokens() -> None:
    """So that models with several tokenizers are compared by example."""
    labels = np.array([1, 0, 2], dtype=np.int64)
    split = Split(TOKENS, OFFSETS, labels)
    assert split.digest == replace(split, tokens=TOKENS[::-1]).digest
    assert split.digest != replace(split, labels=labels[::-1]).digest
    windows = Split(
        TOKENS, OFFSETS, labels=np.array([1, 1, 0, 2]),
        extras={"row_example": np.array([0, 0, 1, 2])},
    )  # fmt: skip
    windows = replace(windows, offsets=np.array([0, 2, 4, 5, 9], dtype=np.int64))
    assert windows.digest == split.digest, "two windows of the first text"


def test_questions_have_the_digest_of_their_answers() -> None:
    references = {"references": np.frombuffer(b'[["a b", ["b"]]]', dtype=np.uint8)}
    positions = [np.array([[4, 4]]), np.array([[2, 3]])]
    first, second = (Split(TOKENS, OFFSETS[[0, 3]], p, extras=references) for p in positions)
    assert first.digest == second.digest


def test_words_have_the_digest_of_their_tokens() -> None:
    labels = np.zeros(9, dtype=np.int64)
    split = Split(TOKENS, OFFSETS, labels)
    assert split.digest == replace(split, tokens=TOKENS.copy()).digest
    others = [
        replace(split, labels=labels + 1),
        replace(split, tokens=TOKENS[::-1]),
        replace(split, offsets=np.array([0, 3, 5, 9], dtype=np.int64)),
    ]
    assert len({split.digest, *(other.digest for other in others)}) == 4
