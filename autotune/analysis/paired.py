"""Two strategies compared by their confirmation runs, paired by seed and by example.

The default is confirmed with the same seeds and on the same test examples as the finalists. An
example that is hard for one strategy is hard for another, and runs of one seed follow each other,
so that differences within a pair are known better than the values.

**Scores** are compared example by example with :mod:`autotune.analysis.crossed_effects`: a score is
the mean of what each example contributes to it, which is 0 or 1 for a share of hits, and follows
from a run's predictions for F1, correlations and others (:mod:`autotune.trial.contributions`).

**Speeds, times, memory, cost.** The estimate is the geometric mean of the ratio within each pair
of runs, with Student's t of the logarithm. Its variance is that of the residuals of all confirmed
strategies after the effects of strategy and seed, where two strategies have several seeds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.crossed_effects import (
    SeedVariance,
    example_difference,
    pooled_seed_variance,
    validated_seed_variance,
)
from autotune.analysis.drift import drift_exponent, has_drifted, relative_ratio
from autotune.analysis.front import value_of
from autotune.analysis.metric_posterior import RANGES
from autotune.analysis.observations import RUN_DEGREES_OF_FREEDOM, RUN_DEVIATIONS
from autotune.analysis.replicates import Z95, Estimate, Replicates, ci95_half_width, is_score
from autotune.analysis.student_t import StudentT
from autotune.domain import Phase, State, Trial
from autotune.domain.metrics import get_metric
from autotune.levers import deployment_key, training_key
from autotune.measure.correctness import HIT_SHARES, count_hits

Floats = NDArray[np.float64]

MIN_VALIDATED_STRATEGIES = 3
"""The fewest strategies from whose test and validation scores a variance is estimated."""


@dataclass(frozen=True)
class ScoreDifference:
    """Strategy minus reference in the unit of the score, on ``examples`` test examples.

    ``is_paired``: whether it was compared example by example. Otherwise, as for scores of a user's
    own and for runs of earlier versions, the errors of both scores are taken as independent, which
    makes the interval too wide rather than too narrow.
    """

    metric: str
    estimate: StudentT
    examples: int
    seeds: int
    is_paired: bool

    @property
    def value(self) -> float:
        return self.estimate.location

    @property
    def ci95(self) -> tuple[float, float]:
        """At most as wide as two scores can differ: Student's t of one pair knows no bounds."""
        low, high = self.estimate.ci95
        least, most = RANGES.get(get_metric(self.metric).kind, (-math.inf, math.inf))
        return max(low, least - most), min(high, most - least)

    def probability_above(self, bound: float) -> float:
        """The probability that the strategy's score exceeds the reference's by more."""
        return self.estimate.probability_above(bound)


@dataclass(frozen=True)
class Ratio:
    """Strategy over reference, from ``pairs`` of runs.

    ``is_relative``: whether it is corrected for the speed of the machine, because the reference
    workload took another time in the one run than in the other.
    """

    metric: str
    logarithm: StudentT
    pairs: int
    is_relative: bool

    @property
    def value(self) -> float:
        return math.exp(self.logarithm.location)

    @property
    def ci95(self) -> tuple[float, float]:
        low, high = self.logarithm.ci95
        return math.exp(low), math.exp(min(high, 700.0))

    def probability_above(self, ratio: float) -> float:
        """The probability of a greater ratio than ``ratio``, which is positive."""
        return self.logarithm.probability_above(math.log(ratio))


class PairedRuns:
    """The confirmation runs of a study, by strategy and seed.

    ``trials`` are those of :meth:`~autotune.ports.Store.trials`, in which confirmations have their
    correctness.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials, self._replicates = trials, Replicates(trials)
        self._contributions: dict[tuple[int, str], Floats | None] = {}
        self._seed_variances: dict[str, SeedVariance | None] = {}

    def score_difference(
        self, trial: Trial, reference: Trial, metric: str = "accuracy"
    ) -> ScoreDifference | None:
        """The difference of a score on the test split between the strategies of two trials;
        ``None`` before both are confirmed."""
        pairs = self._pairs(trial.strategy.key, reference.strategy.key, metric)
        if not pairs:
            return None
        matrix = self._matrix([run for side in zip(*pairs, strict=True) for run in side], metric)
        if matrix is None:
            return self._unpaired_difference(trial, reference, metric)
        own, other = np.split(matrix, 2)
        is_same_model = _model_key(trial, metric) == _model_key(reference, metric)
        estimate = example_difference(
            own - other,
            None if is_same_model else self._seed_variance(metric),
            of_hits=(get_metric(metric).base or metric) in HIT_SHARES,
        )
        return ScoreDifference(metric, estimate, own.shape[1], len(pairs), True)

    def ratio(self, trial: Trial, reference: Trial, metric: str) -> Ratio | None:
        """The ratio of a positive metric between the strategies of two trials; ``None`` before both
        are confirmed, for scores, and if nothing is known about the variation between runs."""
        pairs = self._pairs(trial.strategy.key, reference.strategy.key, metric)
        if not pairs or is_score(metric):
            return None
        is_corrected = drift_exponent(metric) != 0 or get_metric(metric).phase is Phase.RUN
        relative = is_corrected and any(has_drifted(*pair) for pair in pairs)
        logarithms = _log_ratios(pairs, metric, relative)
        spread = self._log_ratio_variance(reference, metric, relative)
        if not logarithms or spread is None:
            return None
        deviation, degrees = math.sqrt(spread[0] / len(logarithms)), spread[1]
        estimate = StudentT(fmean(logarithms), deviation, degrees)
        return Ratio(metric, estimate, len(logarithms), relative)

    def _pairs(self, key: str, reference_key: str, metric: str) -> list[tuple[Trial, Trial]]:
        """The runs of two strategies with equal seeds that measured ``metric``, by seed."""
        own, other = (self._runs.get(k, {}) for k in (key, reference_key))
        if key == reference_key:
            return []
        pairs = [(own[seed], other[seed]) for seed in sorted(own.keys() & other.keys())]
        return [p for p in pairs if all(value_of(run, metric) is not None for run in p)]

    @cached_property
    def _runs(self) -> Mapping[str, Mapping[int, Trial]]:
        """Complete confirmation runs by strategy key and seed."""
        runs: dict[str, dict[int, Trial]] = defaultdict(dict)
        for trial in self._trials:
            if trial.is_confirmation and trial.state is State.COMPLETE:
                runs[trial.strategy.key][trial.seed] = trial
        return runs

    @cached_property
    def _searched(self) -> Mapping[str, Trial]:
        """The first complete trial of each confirmed strategy that is no confirmation."""
        return {
            trial.strategy.key: trial
            for trial in reversed(self._trials)
            if trial.state is State.COMPLETE
            and trial.is_result
            and trial.strategy.key in self._runs
        }

    def _contributions_of(self, run: Trial, metric: str) -> Floats | None:
        """The contribution of each example to a score of ``run``, whose mean it is; ``None`` if the
        run has not stored them."""
        key = run.number, metric
        if key not in self._contributions:
            self._contributions[key] = _contributions(run, metric)
        return self._contributions[key]

    def _matrix(self, runs: Sequence[Trial], metric: str) -> Floats | None:
        """The contributions to a score of several runs, (runs, examples); ``None`` if a run has
        none, or if their examples differ. The rows of the test split are a part of the study, but
        the tokens of a split that is evaluated in tokens depend on the strategy."""
        if not runs or (metric in HIT_SHARES and not _have_equal_splits(runs)):
            return None
        rows = [row for run in runs if (row := self._contributions_of(run, metric)) is not None]
        is_complete = len(rows) == len(runs) and len({len(row) for row in rows}) == 1
        return np.array(rows) if is_complete else None

    def _seed_variance(self, metric: str) -> SeedVariance | None:
        """The variance of a score between seeds: until enough strategies have been confirmed, the
        usual one of its kind, if there is one."""
        if metric not in self._seed_variances:
            estimate = self._estimate_seed_variance(metric) or _usual_seed_variance(metric)
            self._seed_variances[metric] = estimate
        return self._seed_variances[metric]

    def _estimate_seed_variance(self, metric: str) -> SeedVariance | None:
        models = {_model_key(next(iter(r.values())), metric): r for r in self._runs.values()}
        groups = [list(runs.values()) for runs in models.values()]
        repeated = [self._matrix(runs, metric) for runs in groups if len(runs) > 1]
        if complete := [matrix for matrix in repeated if matrix is not None]:
            return pooled_seed_variance(complete)
        firsts = [runs[0] for runs in groups if runs[0].strategy.key in self._searched]
        scores = [
            self._searched[run.strategy.key].result.measurements.get(metric) for run in firsts
        ]
        validation = [score for score in scores if score is not None]
        matrix = self._matrix(firsts, metric)
        if matrix is None or len(firsts) < MIN_VALIDATED_STRATEGIES or None in scores:
            return None
        return validated_seed_variance(
            matrix, [score.value for score in validation], fmean(score.n for score in validation)
        )

    def _unpaired_difference(
        self, trial: Trial, reference: Trial, metric: str
    ) -> ScoreDifference | None:
        own, other = (self._test_estimate(t, metric) for t in (trial, reference))
        if own is None or other is None or own.ci95 is None or other.ci95 is None:
            return None
        halves = [(e.ci95[1] - e.ci95[0]) / 2 for e in (own, other) if e.ci95 is not None]
        estimate = StudentT(own.value - other.value, math.hypot(*halves) / Z95)
        run = next(iter(self._runs[trial.strategy.key].values()))
        examples = run.result.measurements[metric].n
        return ScoreDifference(metric, estimate, examples, min(own.runs, other.runs), False)

    def _test_estimate(self, trial: Trial, metric: str) -> Estimate | None:
        searched = self._searched.get(trial.strategy.key)
        return None if searched is None else self._replicates.test_estimate(searched, metric)

    def _log_ratio_variance(
        self, reference: Trial, metric: str, relative: bool
    ) -> tuple[float, float] | None:
        """The variance of the logarithm of the ratio within a pair of runs, and its degrees of
        freedom: from the runs of several strategies with several equal seeds; else twice the
        variance between the runs of one strategy; else twice that within the runs."""
        pairs = [self._pairs(key, reference.strategy.key, metric) for key in self._runs]
        rows: dict[tuple[int, ...], list[list[float]]] = defaultdict(list)
        for group in pairs:
            logarithms = _log_ratios(group, metric, relative)
            if len(logarithms) == len(group) > 1:
                rows[tuple(run.seed for run, _ in group)].append(logarithms)
        crossed = [log_ratio_variance(group) for group in rows.values()]
        if crossed:
            return max(crossed, key=lambda estimate: estimate[1])
        runs = [
            [self._searched[key], *runs.values()]
            for key, runs in self._runs.items()
            if key in self._searched
        ]
        pooled = _pooled_variance(
            [_log_ratios([(run, group[0]) for run in group], metric, relative) for group in runs]
        )
        if pooled is not None:
            return 2 * pooled[0], pooled[1]
        within = [_relative_variance(run, metric) for p in pairs for pair in p for run in pair]
        variances = [value for value in within if value is not None]
        return (2 * fmean(variances), math.inf) if variances else None


def _model_key(trial: Trial, metric: str) -> str:
    """Equal for strategies that give the same model under the same seed, as it is scored."""
    is_deployed = get_metric(metric).base is not None
    return deployment_key(trial.strategy) if is_deployed else training_key(trial.strategy)


def _usual_seed_variance(metric: str) -> SeedVariance | None:
    deviation = RUN_DEVIATIONS.get(get_metric(metric).kind)
    if deviation is None:
        return None
    return SeedVariance(deviation**2, deviation**2, int(RUN_DEGREES_OF_FREEDOM))


def log_ratio_variance(rows: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The variance of the logarithm of a ratio to a reference, and its degrees of freedom, from the
    ``rows`` (one for each strategy) with the same seeds.

    Runs have effects of strategy and of seed; the residuals are the noise of single runs. Dividing
    by the reference changes the effects of the seeds only, so that its own row is zero.
    """
    logarithms = np.array([[0.0] * len(rows[0]), *rows])
    centred = logarithms - logarithms.mean(axis=0)
    residuals = centred - centred.mean(axis=1, keepdims=True)
    degrees = (len(logarithms) - 1) * (logarithms.shape[1] - 1)
    return 2 * float((residuals**2).sum()) / degrees, degrees


def _have_equal_splits(runs: Sequence[Trial]) -> bool:
    splits = {run.result.correctness and run.result.correctness.split for run in runs}
    return len(splits) == 1 and None not in splits


def _contributions(run: Trial, metric: str) -> Floats | None:
    correctness = run.result.correctness
    if metric in HIT_SHARES and correctness is not None:
        hits, labels = count_hits(correctness)
        return np.asarray(hits * (len(labels) / labels.sum()))
    score = run.result.measurements.get(metric)
    return np.array(score.samples) if score is not None and score.samples else None


def _log_ratios(pairs: Sequence[tuple[Trial, Trial]], metric: str, relative: bool) -> list[float]:
    """The logarithm of the ratio within each pair whose values are positive."""
    ratios = [_ratio(metric, own, other, relative) for own, other in pairs]
    return [math.log(ratio) for ratio in ratios if ratio is not None and ratio > 0]


def _ratio(metric: str, trial: Trial, other: Trial, relative: bool) -> float | None:
    if relative:
        return relative_ratio(metric, trial, other)
    value, base = value_of(trial, metric), value_of(other, metric)
    return None if value is None or not base else value / base


def _relative_variance(run: Trial, metric: str) -> float | None:
    """The variance of the logarithm of a value within its run."""
    measurement = run.result.measurements[metric]
    half = ci95_half_width(measurement)
    return None if half is None or not measurement.value else (half / Z95 / measurement.value) ** 2


def _pooled_variance(groups: Sequence[Sequence[float]]) -> tuple[float, int] | None:
    """The pooled variance within groups and its degrees of freedom; ``None`` if there are none."""
    repeated = [group for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in repeated)
    if degrees == 0:
        return None
    return sum(variance(group) * (len(group) - 1) for group in repeated) / degrees, degrees
