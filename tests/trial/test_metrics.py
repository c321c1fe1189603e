"""Scores equal those of scikit-learn; their intervals have the right coverage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from autotune.trial.metrics import (
    RESAMPLES,
    classification_scores,
    macro_f1,
    matthews,
    resample,
    wilson_interval,
)


def make_predictions(n: int, right: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of four classes, and predictions of which about ``right`` are right."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, n)
    return labels, np.where(random.random(n) < right, labels, random.integers(0, 4, n))


def test_scores_equal_those_of_scikit_learn() -> None:
    labels, predictions = make_predictions(200, 0.6)
    tables = np.bincount(labels * 4 + predictions, minlength=16).reshape(1, 4, 4)
    expected = f1_score(labels, predictions, average="macro")
    assert macro_f1(tables)[0] == pytest.approx(expected)
    assert matthews(tables)[0] == pytest.approx(matthews_corrcoef(labels, predictions))


def test_scores_are_ratios_with_intervals_around_them() -> None:
    measured = classification_scores(*make_predictions(400, 0.7))
    assert set(measured) == {"accuracy", "f1", "mcc"}
    for name, score in measured.items():
        assert (score.name, score.unit, score.n) == (name, "ratio", 400)
        assert score.ci95 is not None
        assert score.ci95[0] < score.value < score.ci95[1]
        assert 0.03 < score.ci95[1] - score.ci95[0] < 0.2
    assert measured == classification_scores(*make_predictions(400, 0.7))


def test_intervals_shrink_with_the_root_of_n() -> None:
    widths = []
    for times in (1, 16):
        labels, predictions = (np.tile(array, times) for array in make_predictions(200, 0.7))
        low, high = classification_scores(labels, predictions)["f1"].ci95 or (0.0, 0.0)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("prediction", [0, 1])
def test_constant_predictions_have_scores(prediction: int) -> None:
    labels = np.array([0, 0, 0, 1])
    measured = classification_scores(labels, np.full(4, prediction))
    assert measured["mcc"].value == 0
    assert measured["accuracy"].value == (0.75 if prediction == 0 else 0.25)


def test_wilson_by_hand() -> None:
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_resampling_keeps_the_total() -> None:
    samples = np.concatenate(list(resample(np.array([5, 0, 15]))))
    assert samples.shape == (RESAMPLES, 3)
    assert (samples.sum(axis=1) == 20).all() and (samples[:, 1] == 0).all()
    assert samples[:, 0].mean() == pytest.approx(5, abs=0.3)
