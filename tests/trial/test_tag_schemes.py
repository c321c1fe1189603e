"""Entities of tags in BIO, BIOES and BILOU notation, against seqeval."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from seqeval.metrics import f1_score
from seqeval.scheme import BILOU

from autotune.trial.split import Split
from autotune.trial.tasks import get_task_type

SENTENCES, WORDS = 60, 9


def random_tags(prefixes: str, rng: Random) -> list[list[str]]:
    """Sentences of tags in any order, valid or not."""
    names = ["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("PER", "LOC"))]
    return [[rng.choice(names) for _ in range(WORDS)] for _ in range(SENTENCES)]


def valid_tags(rng: Random) -> list[list[str]]:
    """Sentences of entities of one to three words, in BILOU notation."""
    sentences = []
    for _ in range(SENTENCES):
        tags: list[str] = []
        while len(tags) < WORDS:
            kind, length = rng.choice(("PER", "LOC", "O", "O")), rng.randrange(1, 4)
            if kind == "O":
                tags.append("O")
            elif length == 1:
                tags.append(f"U-{kind}")
            else:
                tags += [f"B-{kind}", *[f"I-{kind}"] * (length - 2), f"L-{kind}"]
        sentences.append(tags)
    return sentences


def our_f1(labels: list[list[str]], predictions: list[list[str]]) -> float:
    """The F1 of the task kind. Predictions can have another number of words than the labels."""
    names = sorted({tag for sentence in [*labels, *predictions] for tag in sentence})
    flat = [[names.index(tag) for row in rows for tag in row] for rows in (labels, predictions)]
    offsets = np.cumsum([0, *map(len, labels)])
    split = Split(np.zeros(offsets[-1], np.int32), offsets, np.array(flat[0]))
    scores = get_task_type("token-classification").scores(split, np.array(flat[1]), names)
    return scores["f1"].value


@pytest.mark.parametrize("prefixes", ["BI", "BIES"])
def test_f1_of_random_tags_is_that_of_seqeval(prefixes: str) -> None:
    rng = Random(prefixes)
    labels, predictions = random_tags(prefixes, rng), random_tags(prefixes, rng)
    for index in range(0, SENTENCES, 2):  # some are correct
        predictions[index] = labels[index]
    expected = f1_score(labels, predictions)
    assert 0.3 < expected < 0.9
    assert our_f1(labels, predictions) == pytest.approx(expected)


def test_f1_of_bilou_tags_is_that_of_seqeval() -> None:
    rng = Random(0)
    pairs = [
        (ours, theirs if len(theirs) == len(ours) else ours)
        for ours, theirs in pairwise([*valid_tags(rng), *valid_tags(rng)])
    ]
    labels, predictions = [a for a, _ in pairs], [b for _, b in pairs]
    expected = f1_score(labels, predictions, mode="strict", scheme=BILOU)
    assert 0.3 < expected < 0.95
    assert our_f1(labels, predictions) == pytest.approx(expected)
