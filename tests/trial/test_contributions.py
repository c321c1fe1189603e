"""The contributions of examples to scores, compared with a paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autotune.domain import Measurement
from autotune.trial import metrics

EXAMPLES = 300
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, EXAMPLES)
GUESSES = np.where(RNG.random(EXAMPLES) < 0.7, LABELS, RNG.integers(0, 4, EXAMPLES))
OTHER_GUESSES = np.where(RNG.random(EXAMPLES) < 0.1, RNG.integers(0, 4, EXAMPLES), GUESSES)
NUMBERS = RNG.normal(2, 1.5, EXAMPLES)
ESTIMATES = NUMBERS + RNG.normal(0, 1, EXAMPLES)
OTHER_ESTIMATES = ESTIMATES + RNG.normal(0, 0.3, EXAMPLES)
FLAGS = RNG.random((EXAMPLES, 5)) < 0.3
LOGITS = RNG.normal(0, 1, FLAGS.shape) + 2 * FLAGS - 1
OTHER_LOGITS = LOGITS + RNG.normal(0, 0.5, FLAGS.shape)

Scores = Callable[[np.ndarray, np.ndarray], dict[str, Measurement]]
CASES = {
    "classes": (metrics.classification_scores, LABELS, GUESSES, OTHER_GUESSES),
    "numbers": (metrics.regression_scores, NUMBERS, ESTIMATES, OTHER_ESTIMATES),
    "several labels": (metrics.multi_label_scores, FLAGS, LOGITS, OTHER_LOGITS),
}


@pytest.mark.parametrize("case", CASES)
def test_differences_vary_as_in_a_paired_bootstrap(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, labels, own, other = CASES[case]
    pair = score(labels, own), score(labels, other)
    monkeypatch.setattr(metrics, "RESAMPLES", 1)  # their intervals are not needed
    samples = [RNG.integers(0, EXAMPLES, EXAMPLES) for _ in range(100)]
    resampled = [(score(labels[i], own[i]), score(labels[i], other[i])) for i in samples]
    for name in pair[0].keys() - {"accuracy"}:
        contributions = [np.array(side[name].samples) for side in pair]
        for side, values in zip(pair, contributions, strict=True):
            assert values.mean() == pytest.approx(side[name].value, abs=1e-4)
        error = np.std(contributions[0] - contributions[1]) / EXAMPLES**0.5
        differences = [a[name].value - b[name].value for a, b in resampled]
        assert error == pytest.approx(np.std(differences), rel=0.3)


def test_contributions_to_a_mean_are_its_values() -> None:
    f1, has_answer = np.array([0.0, 1.0, 0.5, 1.0]), np.array([True, True, True, False])
    scores = metrics.answer_scores(f1 == 1, f1, has_answer)
    assert scores["f1"].samples == pytest.approx(f1)
    assert scores["has_answer_f1"].value == 0.5
    assert scores["has_answer_f1"].samples == pytest.approx([-1 / 6, 7 / 6, 0.5, 0.5], abs=1e-5)


def test_contributions_to_a_constant_score_are_equal() -> None:
    constant = np.zeros(EXAMPLES, dtype=np.int64)
    assert set(metrics.classification_scores(LABELS, constant)["mcc"].samples) == {0.0}
    assert set(metrics.regression_scores(NUMBERS, constant)["pearson"].samples) == {0.0}
