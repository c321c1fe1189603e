"""Which labels are correct, packed into bits."""

from __future__ import annotations

import numpy as np

from autotune.measure.correctness import count_hits, pack_correctness


def test_one_label_for_each_example() -> None:
    hits = np.random.default_rng(0).random(1821) < 0.6
    packed = pack_correctness("digest", hits)
    assert (packed.split, packed.num_labels, packed.starts) == ("digest", 1821, None)
    assert len(packed.hits) == 304, "228 bytes in base64"
    correct, labels = count_hits(packed)
    assert correct.tolist() == hits.astype(int).tolist()
    assert labels.tolist() == [1] * 1821


def test_several_labels_for_each_example() -> None:
    hits = np.array([1, 0, 1, 1, 1, 0, 0, 1, 1], dtype=bool)
    starts = np.array([1, 0, 0, 1, 1, 0, 0, 0, 0], dtype=bool)
    correct, labels = count_hits(pack_correctness("digest", hits, starts))
    assert correct.tolist() == [2, 1, 3]
    assert labels.tolist() == [3, 1, 5]
