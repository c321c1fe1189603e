"""Scores of predictions, with confidence intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
BLOCK_NUMBERS = 1 << 18
"""Numbers (8 bytes each) in a block of resamples: 2 MiB, which no trial notices."""

Z95 = NormalDist().inv_cdf(0.975)


def classification_scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, Measurement]:
    """``accuracy``, ``f1`` (macro) and ``mcc`` of class indices, one per example.

    The values are those of scikit-learn, which is not imported because it takes 60 MiB in every
    process. ``accuracy`` has a Wilson interval, ``f1`` and ``mcc`` a percentile bootstrap over
    examples (1,000 resamples with a fixed seed).
    """
    size = int(max(labels.max(), predictions.max())) + 1
    cells, counts = _occupied_cells(labels * size + predictions, size)
    accuracy = float((labels == predictions).mean())
    f1, mcc = (float(values[0]) for values in _f1_and_mcc(counts[None], cells, size))
    blocks = [_f1_and_mcc(block, cells, size) for block in resample(counts, width=size)]
    f1s, mccs = (np.concatenate(values) for values in zip(*blocks, strict=True))
    n = len(labels)
    return {
        "accuracy": Measurement("accuracy", accuracy, "ratio", n, wilson_interval(accuracy, n)),
        "f1": Measurement("f1", f1, "ratio", n, percentile_interval(f1s)),
        "mcc": Measurement("mcc", mcc, "ratio", n, percentile_interval(mccs)),
    }


def _occupied_cells(flat: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells ``label * size + prediction`` of the confusion matrix that are not zero, ascending,
    and their counts. The last cell of the matrix is always among them: a multinomial draw then
    takes the random numbers that it would take for the whole matrix."""
    cells, counts = np.unique(flat, return_counts=True)
    if cells[-1] == size * size - 1:
        return cells, counts
    return np.append(cells, size * size - 1), np.append(counts, 0)


def _f1_and_mcc(counts: np.ndarray, cells: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """:func:`macro_f1` and :func:`matthews` of confusion matrices given as the ``counts``
    (``[matrices, cells]``) of their ``cells``."""
    labels, predictions = np.divmod(cells, size)
    is_hit = labels == predictions
    hits = np.zeros((len(counts), size), dtype=np.int64)
    hits[:, labels[is_hit]] = counts[:, is_hit]
    actual = _sums_by_class(counts, labels, size)
    predicted = _sums_by_class(counts, predictions, size)
    return _macro_f1(hits, actual, predicted), _matthews(hits, actual, predicted)


def _sums_by_class(counts: np.ndarray, classes: np.ndarray, size: int) -> np.ndarray:
    """``[matrices, size]``: the sums of the columns of ``counts`` that have the same class."""
    order = np.argsort(classes, kind="stable")
    present, starts = np.unique(classes[order], return_index=True)
    sums = np.zeros((len(counts), size), dtype=np.int64)
    sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums


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


def resample(counts: np.ndarray, *, width: int = 1) -> Iterator[np.ndarray]:
    """1,000 bootstrap resamples of the ``counts`` of categories in blocks ``[block, *categories]``,
    each of at most :data:`BLOCK_NUMBERS` numbers where a resample has ``width`` or more of them.

    Counts of cases sampled with replacement are multinomial; sampling these directly is faster. The
    blocks have the random numbers of one draw, whatever their size.
    """
    rng, total = np.random.default_rng(0), int(counts.sum())
    size = max(1, BLOCK_NUMBERS // max(width, len(counts)))
    for start in range(0, RESAMPLES, size):
        yield rng.multinomial(total, counts / total, size=min(size, RESAMPLES - start))


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of ``values``."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def macro_f1(confusions: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur, of each ``[label, prediction]`` confusion matrix."""
    return _macro_f1(*_marginals(confusions))


def matthews(confusions: np.ndarray) -> np.ndarray:
    """Matthews correlation (multi-class, Gorodkin 2004) of each confusion matrix."""
    return _matthews(*_marginals(confusions))


def _marginals(confusions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, actual and predicted examples of each class, ``[matrices, classes]``."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    return hits, confusions.sum(axis=-1), confusions.sum(axis=-2)


def _macro_f1(hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    marginals = actual + predicted
    occurs = marginals > 0
    f1 = np.divide(2 * hits, marginals, out=np.zeros(hits.shape), where=occurs)
    return np.asarray(f1.sum(axis=-1) / occurs.sum(axis=-1))


def _matthews(hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    actual, predicted = actual.astype(np.float64), predicted.astype(np.float64)
    total = actual.sum(axis=-1)
    covariance = hits.sum(axis=-1) * total - (actual * predicted).sum(axis=-1)
    variance = (total**2 - (actual**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return np.divide(covariance, np.sqrt(variance), out=np.zeros(total.shape), where=variance > 0)
