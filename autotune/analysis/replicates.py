"""Repeated runs of one strategy: means, confidence intervals, and the variation between runs.

A confirmed finalist has been run again in full with other seeds and evaluated on the test split.
Its speed, memory and cost are means over all its runs. Its scores exist twice: on validation
samples, as the search used them, and on test samples.

Pooled deviations and Student's t are written out, since ``scipy.stats`` takes longer to import
than the reading commands take altogether.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, variance

from autotune.analysis.front import value_of
from autotune.analysis.intervals import EXACT_METRICS, figure_interval
from autotune.domain import Measurement, Phase, State, Trial, TrialOrigin
from autotune.domain.metrics import METRICS
from autotune.levers import deployment_key, training_key
from autotune.measure.statistics import t_quantile

Z95 = 1.959964
"""97.5% quantile of the standard normal distribution."""

SCORE_KEYS = {Phase.TRAIN: training_key, Phase.DEPLOY: deployment_key}
"""Equal for strategies that share the scores of a phase."""


@dataclass(frozen=True)
class Estimate:
    """The mean of a metric over ``runs`` runs of a strategy, and its 95% interval, ``None`` if the
    variation is unknown."""

    value: float
    ci95: tuple[float, float] | None
    runs: int = 1


@dataclass(frozen=True)
class RunVariation:
    """Standard deviation between runs of one strategy, with its degrees of freedom: of a score in
    its own unit, of other metrics that of the logarithm, which approximates a relative deviation.
    """

    deviation: float
    degrees_of_freedom: int

    def half_width(self, runs: int) -> float:
        """Half the 95% interval of the mean of ``runs`` runs, by Student's t."""
        return t_quantile(self.degrees_of_freedom) * self.deviation / math.sqrt(runs)


def is_score(metric: str) -> bool:
    """Whether a metric evaluates predictions, and therefore depends on the split."""
    return metric in METRICS and METRICS[metric].is_score


class Replicates:
    """The trials of a study grouped by strategy."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = trials
        self._variations: dict[str, RunVariation | None] = {}

    def confirmations(self, trial: Trial) -> Sequence[Trial]:
        """The complete confirmation runs of ``trial``, in order of number."""
        return () if trial.is_confirmation else self._confirmations.get(trial.strategy.key, ())

    def validation_runs(self, trial: Trial) -> Sequence[Trial]:
        """The complete replicates of ``trial`` on the validation split, in order of number."""
        return [
            run
            for run in self._trials
            if run.origin is TrialOrigin.REPLICATE
            and run.state is State.COMPLETE
            and not trial.has_another_seed
            and run.strategy.key == trial.strategy.key
        ]

    def estimate(
        self, trial: Trial, metric: str, *, confirmations_only: bool = False
    ) -> Estimate | None:
        """The mean over all runs; of a score the trial's own value on validation. ``None`` if
        not measured. ``confirmations_only`` leaves out the run by which the trial was chosen."""
        own = trial.result.measurements.get(metric)
        if own is None or not math.isfinite(own.value):
            return None
        if is_score(metric):
            return Estimate(own.value, own.ci95)
        repeated = [
            v for run in self.confirmations(trial) if (v := value_of(run, metric)) is not None
        ]
        variation = self.run_variation(metric)
        if repeated and variation is not None:
            values = repeated if confirmations_only else [own.value, *repeated]
            mean, factor = fmean(values), math.exp(variation.half_width(len(values)))
            low, high = sorted((mean / factor, mean * factor))
            return Estimate(mean, (low, high), len(values))
        return Estimate(own.value, figure_interval(trial, metric).ci95)

    def test_estimate(self, trial: Trial, metric: str) -> Estimate | None:
        """The mean of a score on the test split over the confirmation runs. Its interval covers the
        choice of test samples and of seeds."""
        candidates = [run.result.measurements.get(metric) for run in self.confirmations(trial)]
        measurements = [m for m in candidates if m is not None and math.isfinite(m.value)]
        if not measurements or not is_score(metric) or metric in EXACT_METRICS:
            return None
        mean, variation = fmean(m.value for m in measurements), self.run_variation(metric)
        widths = [width for m in measurements if (width := ci95_half_width(m)) is not None]
        seeds = 0.0 if variation is None else variation.half_width(len(measurements))
        width = math.hypot(fmean(widths), seeds) if widths else seeds
        interval = (mean - width, mean + width) if width else None
        return Estimate(mean, interval, len(measurements))

    def run_variation(self, metric: str) -> RunVariation | None:
        """The variation between runs of one strategy, pooled over all strategies, since each has
        only two or three runs; ``None`` if no strategy was repeated."""
        if metric not in self._variations:
            compute = self._score_variation if is_score(metric) else self._log_variation
            self._variations[metric] = compute(metric)
        return self._variations[metric]

    @cached_property
    def _confirmations(self) -> Mapping[str, Sequence[Trial]]:
        runs: dict[str, list[Trial]] = defaultdict(list)
        for trial in self._trials:
            if trial.is_confirmation and trial.state is State.COMPLETE:
                runs[trial.strategy.key].append(trial)
        return runs

    @cached_property
    def _confirmed_trials(self) -> Sequence[tuple[Trial, Sequence[Trial]]]:
        """The first complete trial of each confirmed strategy, with its confirmation runs."""
        confirmed = {
            trial.strategy.key: trial
            for trial in reversed(self._trials)
            if trial.state is State.COMPLETE
            and not trial.has_another_seed
            and self.confirmations(trial)
        }
        return [(trial, self.confirmations(trial)) for trial in confirmed.values()]

    def _log_variation(self, metric: str) -> RunVariation | None:
        groups = []
        for trial, runs in self._confirmed_trials:
            values = [value_of(run, metric) for run in (trial, *runs)]
            groups.append([math.log(v) for v in values if v is not None and v > 0])
        return _pooled_variation(groups)

    def _score_variation(self, metric: str) -> RunVariation | None:
        """The variation over the seeds of one strategy. If each has one seed only, the variance of
        the differences between test and validation beyond that of the choice of samples."""
        test_scores = [
            [score for run in runs if (score := value_of(run, metric)) is not None]
            for _, runs in self._confirmed_trials
        ]
        pooled = _pooled_variation(test_scores)
        if pooled is not None:
            return pooled
        differences, sampling_variances = [], []
        for (trial, runs), scores in zip(self._confirmed_trials, test_scores, strict=True):
            if scores and (validation := value_of(trial, metric)) is not None:
                differences.append(scores[0] - validation)
                pair = [run.result.measurements[metric] for run in (trial, runs[0])]
                sampling_variances += [((ci95_half_width(m) or 0.0) / Z95) ** 2 for m in pair]
        if len(differences) < 2:
            return None
        excess = (variance(differences) - 2 * fmean(sampling_variances)) / 2
        return RunVariation(math.sqrt(max(excess, 0.0)), len(differences) - 1)


def with_mean_scores(trials: Sequence[Trial]) -> Sequence[Trial]:
    """``trials`` whose scores are means over the seeds with which their models were trained."""
    replicates: dict[tuple[Phase, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.origin is TrialOrigin.REPLICATE and trial.state is State.COMPLETE:
            for phase, key in SCORE_KEYS.items():
                replicates[phase, key(trial.strategy)].append(trial)
    if not replicates:
        return trials
    return [
        trial if trial.has_another_seed else _with_mean_scores(trial, replicates)
        for trial in trials
    ]


def _with_mean_scores(
    trial: Trial, replicates: Mapping[tuple[Phase, str], Sequence[Trial]]
) -> Trial:
    means = {}
    for phase, key in SCORE_KEYS.items():
        runs = replicates.get((phase, key(trial.strategy)), ())
        for name, own in trial.result.measurements.items():
            if runs and is_score(name) and METRICS[name].phase is phase:
                values = [v for run in runs if (v := value_of(run, name)) is not None]
                means[name] = replace(own, value=fmean([own.value, *values]))
    measurements = {**trial.result.measurements, **means}
    return replace(trial, result=replace(trial.result, measurements=measurements))


def confirmed_trial(run: Trial, trials: Sequence[Trial]) -> Trial | None:
    """The trial that the confirmation run ``run`` repeats; ``None`` for any other trial."""
    if run.origin != TrialOrigin.CONFIRMATION:
        return None
    key = run.strategy.key
    return next((t for t in trials if not t.is_confirmation and t.strategy.key == key), None)


def ci95_half_width(measurement: Measurement) -> float | None:
    """Half the 95% interval of a measurement within its run."""
    interval = measurement.ci95
    return None if interval is None else (interval[1] - interval[0]) / 2


def _pooled_variation(groups: Sequence[Sequence[float]]) -> RunVariation | None:
    """The pooled standard deviation within groups."""
    repeated = [group for group in groups if len(group) > 1]
    degrees_of_freedom = sum(len(group) - 1 for group in repeated)
    if degrees_of_freedom == 0:
        return None
    sum_of_squares = sum(variance(group) * (len(group) - 1) for group in repeated)
    return RunVariation(math.sqrt(sum_of_squares / degrees_of_freedom), degrees_of_freedom)
