"""Scores of predictions, with confidence intervals.

The samples of a score that is no share of hits are the contributions of the examples to it
(:mod:`autotune.trial.contributions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isfinite, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from autotune.domain import Measurement
from autotune.domain.metrics import METRICS, MetricKind
from autotune.domain.registry import import_function
from autotune.domain.tasks import has_metric
from autotune.errors import UsageError
from autotune.trial.contributions import class_contributions, contributions, rounded
from autotune.trial.tasks.base import is_evaluated

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
    f1_samples, mcc_samples = map(rounded, class_contributions(labels, predictions, size))
    return {
        "accuracy": Measurement("accuracy", accuracy, "ratio", n, wilson_interval(accuracy, n)),
        "f1": Measurement("f1", f1, "ratio", n, percentile_interval(f1s), f1_samples),
        "mcc": Measurement("mcc", mcc, "ratio", n, percentile_interval(mccs), mcc_samples),
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
    task_kind: str, labels: Any, predictions: Any, label_names: Sequence[str]
) -> list[Measurement]:
    """The scores whose records in :data:`~autotune.domain.metrics.METRICS` name a function, such as
    those of plug-ins. ``labels`` with a row for each example are passed as they are. Raises
    :class:`UsageError` if a score is not finite."""
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        mask = is_evaluated(labels)
        labels, predictions = labels[mask], predictions[mask]
    measurements = []
    for name, metric in METRICS.items():
        if metric.score is None or not has_metric(task_kind, name):
            continue
        value = float(
            import_function(metric.score, f"metric {name}")(labels, predictions, label_names)
        )
        if not isfinite(value):
            raise UsageError(f"the score of metric {name} is {value}", hint="return a number")
        if metric.kind is MetricKind.SHARE and not 0 <= value <= 1:
            raise UsageError(
                f"the score of metric {name} is {value:g}, not from 0 to 1",
                hint="register a metric of another kind: autotune.plugins.register_metric",
            )
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


def regression_scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, Measurement]:
    """``pearson``, ``spearman`` and ``rmse`` of numbers, one per example, as in SciPy and
    scikit-learn; a correlation with a constant is 0.

    Intervals are percentile bootstraps over examples. That of ``spearman`` keeps the ranks of the
    examples.
    """
    x, y = labels.astype(np.float64), predictions.astype(np.float64)
    ranks = _ranks(x), _ranks(y)
    functions = {
        "pearson": (_moments(x, y), _correlation, "correlation"),
        "spearman": (_moments(*ranks), _correlation, "correlation"),
        "rmse": (((x - y) ** 2)[:, None], _root_mean, "label units"),
    }
    return {
        name: _bootstrapped(name, rows, function, unit)
        for name, (rows, function, unit) in functions.items()
    }


def multi_label_scores(labels: np.ndarray, logits: np.ndarray) -> dict[str, Measurement]:
    """Scores of boolean ``labels`` and of ``logits``, both ``[examples, labels]``.

    A label is predicted where its logit is positive. ``accuracy`` is the share of examples with all
    labels correct, ``f1`` the mean over labels (0 for one that never occurs), ``f1_micro`` that of
    all labels together, ``ranking_precision`` the average precision of the ranking of labels, all
    as in scikit-learn.
    """
    predictions, n = logits > 0, len(labels)
    accuracy = float((labels == predictions).all(axis=1).mean())
    counts = np.stack([labels & predictions, labels, predictions], axis=-1).astype(np.float64)
    ranking = ranking_precisions(labels, logits)[:, None]
    return {
        "accuracy": Measurement("accuracy", accuracy, "ratio", n, wilson_interval(accuracy, n)),
        "f1": _bootstrapped("f1", counts.reshape(n, -1), _mean_f1, "ratio"),
        "f1_micro": _bootstrapped("f1_micro", counts.sum(axis=1), _mean_f1, "ratio"),
        "ranking_precision": _bootstrapped("ranking_precision", ranking, _mean, "ratio"),
    }


def answer_scores(
    exact: np.ndarray, f1: np.ndarray, has_answer: np.ndarray
) -> dict[str, Measurement]:
    """``exact_match`` and ``f1`` from the scores of the answer to each question, from 0 to 1, and
    ``has_answer_f1`` of the questions that have an answer, as in the evaluation of SQuAD 2."""
    share, n = float(exact.mean()), len(exact)
    answered = np.stack([f1 * has_answer, has_answer], axis=1)
    return {
        "exact_match": Measurement("exact_match", share, "ratio", n, wilson_interval(share, n)),
        "f1": _bootstrapped("f1", f1[:, None], _mean, "ratio"),
        "has_answer_f1": _bootstrapped("has_answer_f1", answered, _ratio, "ratio"),
    }


def ranking_precisions(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """For each example the mean, over its labels, of the share of its labels among those that are
    ranked as high; 1 for an example with no label or with all, as in scikit-learn."""
    size = max(1, BLOCK_NUMBERS // labels.shape[1] ** 2)
    blocks = (slice(start, start + size) for start in range(0, len(labels), size))
    return np.concatenate([_ranking_precisions(labels[b], scores[b]) for b in blocks])


def _ranking_precisions(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    at_least = scores[:, None, :] >= scores[:, :, None]
    rank = at_least.sum(axis=2)
    true_rank = (at_least & labels[:, None, :]).sum(axis=2)
    sizes = labels.sum(axis=1)
    totals = np.where(labels, true_rank / rank, 0.0).sum(axis=1)
    is_trivial = (sizes == 0) | (sizes == labels.shape[1])
    return np.where(is_trivial, 1.0, totals / np.maximum(sizes, 1))


def _bootstrapped(
    name: str, rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray], unit: str
) -> Measurement:
    """The score ``function`` of the sum of ``rows`` (``[examples, numbers]``), with a percentile
    bootstrap over examples."""
    n = len(rows)
    blocks = resample(np.ones(n, dtype=np.int64))
    values = np.concatenate([function(block @ rows / n) for block in blocks])
    value = float(function(rows.mean(axis=0)[None])[0])
    samples = rounded(contributions(rows, function))
    return Measurement(name, value, unit, n, percentile_interval(values), samples)


def _moments(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The numbers of each example whose means give the correlation, about the means of all."""
    x, y = x - x.mean(), y - y.mean()
    return np.stack([x, y, x * x, y * y, x * y], axis=1)


def _correlation(means: np.ndarray) -> np.ndarray:
    """Pearson's correlation from means of :func:`_moments`, ``[..., 5]``."""
    x, y, xx, yy, xy = np.moveaxis(means, -1, 0)
    product = (xx - x * x) * (yy - y * y)
    covariance = xy - x * y
    is_defined = product > 1e-24
    root = np.sqrt(np.where(is_defined, product, 1.0))
    return np.clip(np.where(is_defined, covariance / root, 0.0), -1.0, 1.0)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[groups])


def _root_mean(means: np.ndarray) -> np.ndarray:
    return np.sqrt(means[..., 0])


def _mean(means: np.ndarray) -> np.ndarray:
    return np.asarray(means[..., 0])


def _ratio(means: np.ndarray) -> np.ndarray:
    """The first mean over the second, 0 if that is 0."""
    numerator, denominator = means[..., 0], means[..., 1]
    is_defined = denominator > 0
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=is_defined)


def _mean_f1(means: np.ndarray) -> np.ndarray:
    """The mean F1 of labels from the ``(correct, actual, predicted)`` of each in turn."""
    correct, actual, predicted = np.moveaxis(means.reshape(*means.shape[:-1], -1, 3), -1, 0)
    total = actual + predicted
    f1 = np.divide(2 * correct, total, out=np.zeros(total.shape), where=total > 0)
    return np.asarray(f1.mean(axis=-1))
