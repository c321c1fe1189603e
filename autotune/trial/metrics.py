"""Scores of predictions, with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, sqrt
from statistics import NormalDist

import numpy as np

from autotune.domain import Measurement
from autotune.domain.metrics import METRICS
from autotune.domain.registry import import_object
from autotune.domain.tasks import has_metric
from autotune.errors import UsageError
from autotune.trial.tasks.base import IGNORE_INDEX

RESAMPLES = 1000
Z95 = NormalDist().inv_cdf(0.975)


def classification_scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, Measurement]:
    """``accuracy``, ``f1`` (macro) and ``mcc`` of class indices, one per example.

    The values are those of scikit-learn, which is not imported because it takes 60 MiB in every
    process. ``accuracy`` has a Wilson interval, ``f1`` and ``mcc`` a percentile bootstrap over
    examples (1,000 resamples with a fixed seed).
    """
    size = int(max(labels.max(), predictions.max())) + 1
    counts = np.bincount(labels * size + predictions, minlength=size * size)
    resampled = resample(counts).reshape(RESAMPLES, size, size)
    confusion = counts.reshape(1, size, size)
    accuracy = float((labels == predictions).mean())
    f1, mcc = float(macro_f1(confusion)[0]), float(matthews(confusion)[0])
    n = len(labels)
    return {
        "accuracy": Measurement("accuracy", accuracy, "ratio", n, wilson_interval(accuracy, n)),
        "f1": Measurement("f1", f1, "ratio", n, _interval(macro_f1, resampled)),
        "mcc": Measurement("mcc", mcc, "ratio", n, _interval(matthews, resampled)),
    }


def registered_scores(
    task_kind: str, labels: np.ndarray, predictions: np.ndarray, label_names: Sequence[str]
) -> list[Measurement]:
    """The scores whose records in :data:`~autotune.domain.metrics.METRICS` name a function, such as
    those of plug-ins. Raises :class:`UsageError` if a score is not finite."""
    is_evaluated = labels != IGNORE_INDEX
    labels, predictions = labels[is_evaluated], predictions[is_evaluated]
    measurements = []
    for name, metric in METRICS.items():
        if metric.score is None or not has_metric(task_kind, name):
            continue
        value = float(import_object(metric.score)(labels, predictions, label_names))
        if not isfinite(value):
            raise UsageError(f"the score of metric {name} is {value}", hint="return a number")
        measurements.append(Measurement(name, value, metric.unit, len(labels)))
    return measurements


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """The 95% score interval (Wilson 1927) of a proportion of ``n`` independent cases."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def resample(counts: np.ndarray) -> np.ndarray:
    """1,000 bootstrap resamples of the ``counts`` of categories: ``[resamples, *categories]``.

    Counts of cases sampled with replacement are multinomial; sampling these directly is faster.
    """
    total = int(counts.sum())
    return np.random.default_rng(0).multinomial(total, counts / total, size=RESAMPLES)


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of ``values``."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _interval(
    statistic: Callable[[np.ndarray], np.ndarray], confusions: np.ndarray
) -> tuple[float, float]:
    return percentile_interval(statistic(confusions))


def macro_f1(confusions: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur, of each ``[label, prediction]`` confusion matrix."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    marginals = confusions.sum(axis=-1) + confusions.sum(axis=-2)
    occurs = marginals > 0
    f1 = np.divide(2 * hits, marginals, out=np.zeros(hits.shape), where=occurs)
    return np.asarray(f1.sum(axis=-1) / occurs.sum(axis=-1))


def matthews(confusions: np.ndarray) -> np.ndarray:
    """Matthews correlation (multi-class, Gorodkin 2004) of each confusion matrix."""
    tables = confusions.astype(np.float64)
    actual, predicted = tables.sum(axis=-1), tables.sum(axis=-2)
    total = tables.sum(axis=(-2, -1))
    hits = np.trace(tables, axis1=-2, axis2=-1)
    covariance = hits * total - (actual * predicted).sum(axis=-1)
    variance = (total**2 - (actual**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return np.divide(covariance, np.sqrt(variance), out=np.zeros(total.shape), where=variance > 0)
