"""What the measurements of a study say about the true values of its strategies.

A single run is noisy, and the best of many single runs are the lucky ones. The posterior of each
metric joins all runs of a strategy, those of strategies that share the phase that measures it, runs
on validation and on test samples, what strategies with similar settings have reached
(:mod:`autotune.analysis.mixed_model`), and what is expected of settings before any is measured
(:mod:`autotune.analysis.prior_scores`). Speeds are at the speed that the machine had in the trial
of the default (:mod:`autotune.analysis.drift`).

Positive quantities are modelled by their logarithm, scores as they are. Time, cost and energy of a
full run follow from the training speed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.analysis.features import lever_features
from autotune.analysis.front import find_baseline, superseded_trials, value_of
from autotune.analysis.intervals import SPEED, speed_dependent_share
from autotune.analysis.metric_posterior import (
    POSTERIOR_SAMPLES,
    Belief,
    Comparison,
    DerivedPosterior,
    GroupedPosterior,
    MetricPosterior,
    Scale,
)
from autotune.analysis.mixed_model import fit_groups
from autotune.analysis.observations import Observations
from autotune.analysis.prior_scores import prior_scores
from autotune.analysis.replicates import SCORE_KEYS, is_score
from autotune.domain import (
    Constraint,
    Phase,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.domain.constraints import constraint_bound
from autotune.domain.metrics import METRICS, MetricKind, get_metric
from autotune.levers import profile_key

Floats = NDArray[np.float64]

PHASE_KEYS: Mapping[Phase, Callable[[Strategy], str]] = {Phase.PROFILE: profile_key, **SCORE_KEYS}
"""Equal for strategies that share the results of a phase."""


class Posterior:
    """The posterior of each metric of ``trials``, computed on first use."""

    def __init__(self, study: Study, trials: Sequence[Trial]) -> None:
        self.study = study
        self.default = find_baseline(study, trials)
        superseded = superseded_trials(trials)
        self._runs = [
            trial
            for trial in trials
            if trial.state in (State.COMPLETE, State.PRUNED)
            and trial.origin != TrialOrigin.TRANSFERRED
            and trial.number not in superseded
        ]
        self._by_number = {trial.number: trial for trial in self._runs}
        self._posteriors: dict[str, MetricPosterior | None] = {}
        self._keys: dict[tuple[Phase, str], str] = {}

    def belief(self, trial: Trial, metric: str) -> Belief | None:
        """What is believed of the strategy of ``trial``; ``None`` if it was not measured."""
        posterior, row = self._locate(trial, metric)
        return None if posterior is None or row is None else posterior.belief(row)

    def mean(self, trial: Trial, metric: str) -> float | None:
        """The posterior mean, of positive quantities the median."""
        belief = self.belief(trial, metric)
        return None if belief is None else belief.value

    def compare(self, trial: Trial, metric: str) -> Comparison | None:
        """The strategy of ``trial`` against the default; ``None`` if one was not measured."""
        posterior, row = self._locate(trial, metric)
        reference = self._default_row(metric)
        if posterior is None or row is None or reference is None:
            return None
        return posterior.compare(row, reference)

    def probability(self, trial: Trial, constraint: Constraint) -> float:
        """The probability that the strategy of ``trial`` satisfies ``constraint``. A bound relative
        to an unmeasured default is satisfied; one on an unmeasured metric is not."""
        limit = constraint_bound(constraint, self.default)
        if limit is None:
            return 1.0
        posterior, row = self._locate(trial, constraint.metric)
        if posterior is None or row is None:
            return 0.0
        if not constraint.relative:
            return posterior.probability(row, constraint)
        reference = self._default_row(constraint.metric)
        return 0.0 if reference is None else posterior.probability(row, constraint, reference)

    def sample(self, metric: str, trials: Sequence[Trial]) -> Floats:
        """Joint samples of the true values, shape (samples, trials). NaN where not measured.
        Strategies that share a measurement have equal values."""
        samples = np.full((POSTERIOR_SAMPLES, len(trials)), np.nan)
        posterior = self._posterior(metric)
        if posterior is not None:
            rows = [posterior.rows.get(self._key(trial, metric), -1) for trial in trials]
            is_measured = np.array([row >= 0 for row in rows], dtype=bool)
            numbers = np.array(rows, dtype=np.int64)
            samples[:, is_measured] = posterior.sample(numbers[is_measured])
        return samples

    def run_variance(self, metric: str) -> float | None:
        """The variance of the error of one more run, without the part that all strategies have in
        common; ``None`` if no phase measured ``metric``."""
        posterior = self._posterior(metric)
        return posterior.run_variance if isinstance(posterior, GroupedPosterior) else None

    def _default_row(self, metric: str) -> int | None:
        return None if self.default is None else self._locate(self.default, metric)[1]

    def _locate(self, trial: Trial, metric: str) -> tuple[MetricPosterior | None, int | None]:
        posterior = self._posterior(metric)
        row = None if posterior is None else posterior.rows.get(self._key(trial, metric))
        return posterior, row

    def _key(self, trial: Trial, metric: str) -> str:
        """Equal for trials whose values are those of one measurement, or of one strategy in the
        phase that measures ``metric``."""
        phase = get_metric(metric).phase
        if phase is not Phase.RUN:  # totals have a source if the speed has, and are still their own
            trial = self._source(trial, metric)
        key = trial.strategy.key
        if (phase, key) not in self._keys:
            compute = PHASE_KEYS.get(phase)
            self._keys[phase, key] = key if compute is None else compute(trial.strategy)
        return self._keys[phase, key]

    def _source(self, trial: Trial, metric: str) -> Trial:
        """The trial that measured ``metric`` for ``trial``."""
        measurement = trial.result.measurements.get(metric)
        if measurement is None or measurement.source is None:
            return trial
        return self._by_number.get(measurement.source, trial)

    def _posterior(self, metric: str) -> MetricPosterior | None:
        if metric not in self._posteriors:
            is_run = get_metric(metric).phase is Phase.RUN
            self._posteriors[metric] = self._follow(metric) if is_run else self._fit(metric)
        return self._posteriors[metric]

    def _fit(self, metric: str) -> MetricPosterior | None:
        """The posterior of a metric that a phase measures."""
        runs = list(self._independent_runs(metric))
        if not runs:
            return None
        rows: dict[str, int] = {}
        strategies: list[Strategy] = []
        for trial in runs:
            if rows.setdefault(self._key(trial, metric), len(rows)) == len(strategies):
                strategies.append(trial.strategy)
        groups = np.array([rows[self._key(trial, metric)] for trial in runs], dtype=np.int64)
        values = [run.result.measurements[metric] for run in runs]
        is_log = _is_positive(metric) and all(m.value > 0 for m in values)
        observations = Observations(metric, runs, groups, self.default, is_log).measurements()
        features = lever_features(self.study.space, metric, strategies)
        sources: dict[int, list[int]] = defaultdict(list)
        for trial, group in zip(runs, groups.tolist(), strict=True):
            sources[group].append(trial.number)
        scale = Scale(metric, is_log)
        level = None if self.default is None else value_of(self.default, metric)
        if level is None:
            level = float(np.median(observations.values))
        expected = prior_scores(self.study, metric, strategies, level)
        fit = fit_groups(features, observations, expected)
        run_variance = float(np.median(observations.variances))
        return GroupedPosterior(scale, rows, fit, sources, run_variance)

    def _independent_runs(self, metric: str) -> Sequence[Trial]:
        """The trials that measured ``metric`` themselves; of trials that train with one seed the
        first, since they train the same model. A value that several trials have from a run that is
        not here, as imported ones do, counts once."""
        runs: dict[object, Trial] = {}
        continued = {
            (trial.strategy.key, trial.seed)
            for trial in self._runs
            if trial.origin is TrialOrigin.CONTINUED
        }
        for trial in self._runs:
            if trial.state is State.PRUNED and (trial.strategy.key, trial.seed) in continued:
                continue  # the run that went on has its measurements
            measurement = trial.result.measurements.get(metric)
            if measurement is None or not math.isfinite(measurement.value):
                continue
            if self._source(trial, metric) is not trial:
                continue
            key, origin = self._key(trial, metric), trial.origin
            if is_score(metric):
                runs.setdefault((key, trial.seed, trial.is_confirmation), trial)
            elif measurement.source is not None or origin is TrialOrigin.IMPORTED:
                runs.setdefault((key, measurement.value), trial)
            else:
                runs[trial.number] = trial
        return list(runs.values())

    def _follow(self, metric: str) -> MetricPosterior | None:
        """The posterior of a metric of the full run, which follows from that of the speed."""
        speed = self._posterior(SPEED)
        logs: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        speed_rows: dict[str, int] = {}
        for trial in self._runs:
            value, own_speed = value_of(trial, metric), value_of(trial, SPEED)
            if value is None or value <= 0:
                continue
            share, row, shift = speed_dependent_share(trial, metric), -1, 0.0
            if speed is not None and own_speed and own_speed > 0:
                row = speed.rows.get(self._key(trial, SPEED), -1)
                shift = share * math.log(own_speed) if row >= 0 else 0.0
            key = self._key(trial, metric)
            logs[key].append((math.log(value) + shift, share if row >= 0 else 0.0, trial.number))
            speed_rows.setdefault(key, row)
        if not logs:
            return None
        return DerivedPosterior(Scale(metric, True), speed, speed_rows, logs)


def _is_positive(metric: str) -> bool:
    """Whether a metric is modelled by its logarithm."""
    kinds = (MetricKind.SHARE, MetricKind.CORRELATION)
    return metric in METRICS and METRICS[metric].kind not in kinds
