"""How much each example contributes to a score, so that two models can be compared by example.

A score is a function of the means of some numbers of each example: F1 of the counts of correct,
actual and predicted entities, Pearson's correlation of moments. Its infinitesimal jackknife
(Jaeckel 1972; Efron 1982) is its change as an example gains weight. Plus the score itself, these
are numbers whose mean is the score and whose variance is, over the number of examples, that of the
score. For a mean they are the values themselves. The difference of two models has the variance of
the differences of their contributions, which agrees with a paired bootstrap over examples.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log10

import numpy as np

STEP = 1e-7
"""The weight that an example gains: small beside one example among a million."""

DIGITS = 6
"""Digits of stored contributions."""


def contributions(rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The contribution of each row of ``rows`` (``[examples, numbers]``) to the score ``function``
    of their means (``[..., numbers]`` to ``[...]``)."""
    means = rows.mean(axis=0)
    value = function(means[None])[0]
    moved = function(means + STEP * (rows - means))
    return np.asarray(value + (moved - value) / STEP)


def class_contributions(
    labels: np.ndarray, predictions: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The contributions of examples to the mean F1 of the classes that occur, and to the Matthews
    correlation, of class indices below ``size``. They are derivatives in closed form: for many
    classes, the numbers of each example whose means :func:`contributions` needs are too many."""
    actual, predicted, hits = (
        np.bincount(classes, minlength=size) / len(labels)
        for classes in (labels, predictions, labels[labels == predictions])
    )
    is_hit = labels == predictions
    marginals = np.where(actual + predicted > 0, actual + predicted, 1.0)
    f1, count = 2 * hits / marginals, np.count_nonzero(actual + predicted)
    losses = f1 / marginals
    gains = np.where(is_hit, 2 / marginals[labels], 0.0) - losses[labels] - losses[predictions]
    return (f1.sum() + gains) / count, _matthews_contributions(
        labels, predictions, actual, predicted
    )


def _matthews_contributions(
    labels: np.ndarray, predictions: np.ndarray, actual: np.ndarray, predicted: np.ndarray
) -> np.ndarray:
    """``actual`` and ``predicted`` are the shares of the classes."""
    is_hit = labels == predictions
    chance, of_actual, of_predicted = actual @ predicted, actual @ actual, predicted @ predicted
    if len(np.unique(labels)) == 1 or len(np.unique(predictions)) == 1:
        return np.zeros(len(labels))
    covariance = is_hit.mean() - chance
    scale = np.sqrt((1 - of_actual) * (1 - of_predicted))
    slopes = is_hit - is_hit.mean() - (predicted[labels] + actual[predictions] - 2 * chance)
    relative = (actual[labels] - of_actual) / (1 - of_actual)
    relative += (predicted[predictions] - of_predicted) / (1 - of_predicted)
    return np.asarray((covariance * (1 + relative) + slopes) / scale)


def rounded(values: np.ndarray) -> tuple[float, ...]:
    """``values`` with :data:`DIGITS` digits of the largest, which are short as text."""
    largest = float(np.abs(values).max())
    return tuple(np.round(values, DIGITS - (ceil(log10(largest)) if largest else 0)).tolist())
