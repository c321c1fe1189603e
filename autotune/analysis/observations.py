"""The runs that measured one metric, as measurements with known noise for the mixed model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.drift import REFERENCE, drift_exponent, log_drift
from autotune.analysis.intervals import WINDOW_KINDS, figure_interval
from autotune.analysis.mixed_model import Measurements
from autotune.analysis.replicates import Z95, ci95_half_width, is_score
from autotune.domain import Trial
from autotune.domain.metrics import MetricKind, get_metric
from autotune.measure.correctness import count_hits

Floats = NDArray[np.float64]

SHARED_SCORE_VARIANCE = 0.5
"""The share of the sampling variance of a score that all strategies have in common, because they
are evaluated on the same samples: some samples are hard for all of them. Used until two strategies
can be compared sample by sample."""

MAX_SHARED_VARIANCE = 0.95
MAX_COMPARED_RUNS = 12

RUN_DEVIATIONS: Mapping[MetricKind, float] = {
    MetricKind.SHARE: 0.008, MetricKind.CORRELATION: 0.01, MetricKind.LOSS: 0.02,
    MetricKind.RATE: 0.03, MetricKind.RELATIVE_RATE: 0.03, MetricKind.TIME: 0.03,
    MetricKind.MONEY: 0.03, MetricKind.ENERGY: 0.03, MetricKind.MEMORY: 0.005,
}  # fmt: skip
"""Standard deviation between runs of one strategy beyond the interval of a run, before any was
repeated: of scores in their unit, of others of the logarithm (docs/measurement.md)."""

RUN_DEGREES_OF_FREEDOM = 3.0
"""How many repeated runs these deviations count for."""

WINDOW_DEVIATION = 0.05
"""Standard deviation within a run of the logarithm of a rate of too few windows for an interval."""

MAX_LOG_DEVIATION = 0.5
"""Limits the standard deviation within a run, which two windows say little about."""


class Observations:
    """The measurements of one metric with the variances of their noise."""

    def __init__(
        self,
        metric: str,
        runs: Sequence[Trial],
        groups: NDArray[np.int64],
        default: Trial | None,
        is_log: bool,
    ) -> None:
        self._metric, self._runs, self._groups = metric, runs, groups
        self._default, self._is_log = default, is_log
        self._measured = [run.result.measurements[metric] for run in runs]
        self._splits = np.array([int(run.is_confirmation) for run in runs], dtype=np.int64)

    def measurements(self) -> Measurements:
        values, within = self._values(), self._within_variances()
        if not is_score(self._metric):
            variances = within + self._run_variance(values, within, self._groups)
            nothing = np.zeros((len(values), 0))
            return Measurements(self._groups, values, variances, nothing, np.zeros(0))
        share = shared_score_variance(self._runs)
        own = within * (1 - share)
        splits = np.unique(self._splits)
        shared = [
            max(share * float(np.median(within[self._splits == split])), 1e-12) for split in splits
        ]
        loadings = (self._splits[:, None] == splits[None, :]).astype(float)
        runs_of_split = 2 * self._groups + self._splits
        variances = own + self._run_variance(values, own, runs_of_split)
        return Measurements(self._groups, values, variances, loadings, np.array(shared))

    def _values(self) -> Floats:
        values = np.array([m.value for m in self._measured], dtype=float)
        if not self._is_log:
            return values
        exponent = drift_exponent(self._metric)
        drifts = [log_drift(run, self._default) or 0.0 for run in self._runs]
        return np.asarray(np.log(values) + exponent * np.array(drifts))

    def _within_variances(self) -> Floats:
        """The variance that the interval of each run states, of a corrected speed with that of its
        reference workload."""
        deviations = [self._deviation(run) for run in self._runs]
        if not drift_exponent(self._metric):
            return np.square(deviations)
        extra = [
            _log_deviation(run, REFERENCE) if REFERENCE in run.result.measurements else 0.0
            for run in self._runs
        ]
        return np.asarray(np.square(deviations) + np.square(extra))

    def _deviation(self, run: Trial) -> float:
        if self._is_log:
            return _log_deviation(run, self._metric)
        measurement = run.result.measurements[self._metric]
        half, share = ci95_half_width(measurement), measurement.value
        if half is not None:
            return half / Z95
        is_share = get_metric(self._metric).kind is MetricKind.SHARE and measurement.n > 1
        return math.sqrt(max(share * (1 - share), 0.0) / measurement.n) if is_share else 0.0

    def _run_variance(self, values: Floats, within: Floats, repeats: NDArray[np.int64]) -> float:
        """The variance between runs of one strategy beyond that within a run, pooled over the
        groups ``repeats`` and with the prior."""
        prior = RUN_DEVIATIONS.get(get_metric(self._metric).kind, 0.0) ** 2
        _, index, counts = np.unique(repeats, return_inverse=True, return_counts=True)
        degrees = float((counts - 1).sum())
        if degrees == 0:
            return prior
        means = np.bincount(index, values) / counts
        is_repeated = counts[index] > 1
        square = float(((values - means[index])[is_repeated] ** 2).sum()) / degrees
        excess = max(square - float(within[is_repeated].mean()), 0.0)
        weight = RUN_DEGREES_OF_FREEDOM + degrees
        return (RUN_DEGREES_OF_FREEDOM * prior + degrees * excess) / weight


def _log_deviation(run: Trial, metric: str) -> float:
    """The standard deviation of the logarithm of a positive value within its run."""
    ends = figure_interval(run, metric).ci95
    if ends is None or ends[0] <= 0:
        return WINDOW_DEVIATION if get_metric(metric).kind in WINDOW_KINDS else 0.0
    return min(math.log(ends[1] / ends[0]) / 2 / Z95, MAX_LOG_DEVIATION)


def shared_score_variance(runs: Sequence[Trial]) -> float:
    """The share of the sampling variance of a score that strategies have in common: the mean
    correlation of the hits of two strategies over the samples of a split."""
    hits: dict[tuple[str, bool, str], Floats] = {}
    for run in runs:
        if (correctness := run.result.correctness) is not None:
            counts, labels = count_hits(correctness)
            # validation and test examples in an order by label have equal labels
            key = correctness.split, run.is_confirmation, run.strategy.key
            hits.setdefault(key, counts / labels)
    correlations = [
        float(np.corrcoef(hits[a], hits[b])[0, 1])
        for a, b in combinations(list(hits)[:MAX_COMPARED_RUNS], 2)
        if a[:2] == b[:2] and hits[a].std() > 0 and hits[b].std() > 0
    ]
    if not correlations:
        return SHARED_SCORE_VARIANCE
    return min(max(fmean(correlations), 0.0), MAX_SHARED_VARIANCE)
