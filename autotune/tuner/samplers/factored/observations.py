"""The measurements of a study's trials, as training data of the surrogates.

A *quantity* depends on the levers of one phase: a metric that this phase measures, or a component
of a metric of the full run. ``train_seconds`` is composed of ``setup_seconds``, ``train_samples``
and ``train_samples_per_second``; cost and energy of a rate and ``train_seconds``. Other metrics of
the full run are quantities that depend on all levers of training. Strategies that agree on the
levers of a phase are a *group*, which has one observation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median

from autotune.analysis.drift import correct_drift
from autotune.analysis.front import find_baseline
from autotune.domain import (
    CONCURRENT_TRIALS,
    FailureReason,
    Phase,
    Resources,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    Value,
    study_phases,
)
from autotune.domain.metrics import METRICS, MetricKind, get_metric
from autotune.domain.training import sample_basis
from autotune.levers import phase_levers, required_resources
from autotune.tuner.cache import measured_phases
from autotune.tuner.samplers.factored.encoding import GroupKey, group_key

SPEED, SETUP, SAMPLES = "train_samples_per_second", "setup_seconds", "train_samples"
SECONDS = "train_seconds"
POWER = "energy_wh per second"
DEPLOY_SECONDS = "deploy_seconds"

STOPPED_VIOLATION, STOPPED_SAMPLES = 0.05, 100
"""By how much an early-stopped trial is estimated to violate a lower bound on a score, and the
number of samples with whose binomial variance."""

DEFAULT_ORIGINS = (TrialOrigin.DEFAULT, TrialOrigin.ENQUEUED, TrialOrigin.RETRY)
"""Origins among which the trial of the default strategy is looked up."""

INITIAL_OVERHEAD_SECONDS = 1.0
"""Assumed seconds of a profiling run, and of a trial's overhead, before any was measured."""


@dataclass(frozen=True)
class Observation:
    """The values that trial ``number`` measured for its group. ``n`` counts the samples behind a
    score. With several ``runs``, replicates have trained it with other seeds, and scores are means.

    ``is_shared``: other strategies of the group reuse the values. ``is_transferred``: measured on
    another host.
    """

    number: int
    strategy: Strategy
    values: Mapping[str, float]
    n: Mapping[str, int] = field(default_factory=dict)
    is_shared: bool = False
    is_transferred: bool = False
    runs: int = 1

    @property
    def priority(self) -> tuple[bool, bool, int]:
        """Of two observations of one group the one with the lower priority value is kept, so that
        the order of the trials does not matter."""
        return self.is_transferred, not self.is_shared, self.number


FAILED_PHASES: Mapping[FailureReason | None, Phase] = {
    FailureReason.NAN_LOSS: Phase.TRAIN,
    FailureReason.DEPLOYMENT: Phase.DEPLOY,
}
"""The phase whose levers caused a failure; the profile phase for other failures."""


@dataclass(frozen=True)
class Failure:
    """A trial without a result. ``phase`` is the phase whose levers caused it: the train phase for
    a NaN loss, the deploy phase for a model that cannot be deployed, else the profile phase."""

    number: int
    strategy: Strategy
    phase: Phase


class Observations:
    """A pure function of the trials added, in whatever order they finished.

    Speeds are those at the speed that the machine had in the trial of the ``default``, where both
    have timed the reference workload.
    """

    def __init__(self, study: Study, default: Trial | None = None) -> None:
        self._study, self.default = study, default
        self.phases = study_phases(study)
        """The phases of the study's trials."""
        self.default_groups = {
            phase: group_key(study.baseline, phase_levers(phase)) for phase in self.phases
        }
        """The group of the default in each phase."""
        self._states: dict[int, State] = {}
        self.groups: dict[Phase, dict[GroupKey, Observation]] = {phase: {} for phase in Phase}
        self.cached: dict[Phase, set[GroupKey]] = {phase: set() for phase in Phase}
        """Groups whose values the next strategy of the group reuses."""
        self.models: set[GroupKey] = set()
        """Training groups of which a model is kept: deploying it needs no training."""
        self.failures: list[Failure] = []
        self.successes: dict[int, Strategy] = {}
        self.predicted_infeasible: dict[int, Strategy] = {}
        """Strategies that were not run because they were predicted not to fit in memory."""
        self.early_stopped: dict[int, Strategy] = {}
        """Strategies that could not improve the front; their final scores are unknown."""
        self.complete: dict[int, Trial] = {}
        """Complete trials of this host, which can be on the front."""
        self.tried_keys: set[str] = set()
        self._stop_reasons: dict[int, str] = {}
        self._firsts: dict[GroupKey, Observation] = {}
        self._replicates: dict[GroupKey, dict[int, Mapping[str, float]]] = {}
        self._sorted: dict[Phase, list[tuple[GroupKey, Observation]]] = {}
        self._prices: dict[int, tuple[tuple[Resources, Value], float]] = {}
        self._durations: dict[Phase, dict[int, float]] = {phase: {} for phase in Phase}
        self._training_metrics = _training_metrics(study)

    def update(self, history: Sequence[Trial]) -> Observations:
        """Add the new trials of ``history`` and those whose state has changed, and note which
        models are kept."""
        self.models = {
            group_key(trial.strategy, phase_levers(Phase.TRAIN))
            for trial in history
            if trial.result.model is not None and trial.seed == self._study.task.seed
        }
        for trial in history:
            if self._states.get(trial.number) is not trial.state:
                self._states[trial.number] = trial.state
                if trial.origin != TrialOrigin.TRANSFERRED:
                    self.tried_keys.add(trial.strategy.key)
                if trial.state.is_finished:
                    self._add(trial)
        return self

    def by_number(self, phase: Phase) -> list[tuple[GroupKey, Observation]]:
        """Groups of one phase in the order of the trials that measured them."""
        if phase not in self._sorted:
            groups = self.groups[phase].items()
            self._sorted[phase] = sorted(groups, key=lambda item: item[1].number)
        return self._sorted[phase]

    def with_stopped(self, phase: Phase, metric: str) -> list[tuple[GroupKey, Observation]]:
        """:meth:`by_number`, with an estimate for each group that did not measure a constrained
        score because its trial was stopped for the constraint: it probably violates it. Without
        estimates, a region in which all trials are stopped would look as good as before. A trial
        that was stopped because another is better says nothing about the constraint."""
        measured, constraint = self.by_number(phase), self._lower_bound(metric)
        if phase not in (Phase.TRAIN, Phase.DEPLOY) or constraint is None:
            return measured
        bound, names_constraint = constraint
        values = {metric: max(bound - STOPPED_VIOLATION, 0.0)}
        levers, estimates = phase_levers(phase), {}
        for number, strategy in sorted(self.early_stopped.items()):
            if not names_constraint.search(self._stop_reasons[number]):
                continue
            key = group_key(strategy, levers)
            if key not in self.groups[phase] and key not in estimates:
                estimates[key] = Observation(number, strategy, values, {metric: STOPPED_SAMPLES})
        return sorted([*measured, *estimates.items()], key=lambda item: item[1].number)

    def _lower_bound(self, metric: str) -> tuple[float, re.Pattern[str]] | None:
        """The bound below which a score violates a constraint, and a pattern of the reasons of
        stops for it, whatever the bound was then; ``None`` without one."""
        phase = get_metric(metric).phase
        default = self.groups[phase].get(self.default_groups.get(phase, ()))
        for constraint in self._study.constraints:
            is_lower_bound = constraint.operator in (">", ">=") and constraint.metric == metric
            if is_lower_bound and METRICS[metric].kind is MetricKind.SHARE:
                pattern = re.compile(rf"(?<!\w){metric} {constraint.operator} ")
                if not constraint.relative:
                    return constraint.bound, pattern
                if default is not None and metric in default.values:
                    return default.values[metric] + constraint.bound, pattern
        return None

    @property
    def profile_seconds(self) -> float:
        """Duration of a trial that only profiles."""
        fallback = self.run_overhead_seconds + INITIAL_OVERHEAD_SECONDS
        return self._median_duration(Phase.PROFILE, fallback)

    @property
    def deploy_overhead_seconds(self) -> float:
        """Time besides the deployment of a trial that only deploys."""
        return self._median_duration(Phase.DEPLOY, INITIAL_OVERHEAD_SECONDS)

    @property
    def train_overhead_seconds(self) -> float:
        """Time besides the steps of a trial that only trains: start and evaluation."""
        return self._median_duration(Phase.TRAIN, self.run_overhead_seconds)

    @property
    def run_overhead_seconds(self) -> float:
        """Time besides the steps of a trial that profiles and trains."""
        return self._median_duration(Phase.RUN, INITIAL_OVERHEAD_SECONDS)

    def _median_duration(self, phase: Phase, fallback: float) -> float:
        durations = self._durations[phase]
        return median(durations.values()) if durations else fallback

    def usd_per_second(self, strategies: Sequence[Strategy]) -> list[float] | None:
        """Price of the resources of each strategy: as measured for the same resources, else
        proportional to the number of cores or devices; ``None`` if no trial had a price."""
        if not self._prices:
            return None
        prices = dict(self._prices[number] for number in sorted(self._prices, reverse=True))
        unit_price = median(price / _unit_count(held) for (held, _), price in prices.items())
        return [
            prices.get(key, unit_price * _unit_count(key[0])) for key in map(_price_key, strategies)
        ]

    def sample_basis(self, strategy: Strategy) -> float:
        """The lever value to which the number of training samples is proportional."""
        return sample_basis(self._study.task, strategy)

    def _add(self, trial: Trial) -> None:
        if trial.origin == TrialOrigin.TRANSFERRED and trial.state is not State.COMPLETE:
            return  # a strategy that is infeasible on another host can be feasible on this one
        if trial.failure == FailureReason.PREDICTED:
            self.predicted_infeasible[trial.number] = trial.strategy
        elif (
            trial.state in (State.INFEASIBLE, State.FAILED)
            and trial.failure != FailureReason.INFRASTRUCTURE
        ):
            phase = FAILED_PHASES.get(trial.failure, Phase.PROFILE)
            self.failures.append(Failure(trial.number, trial.strategy, phase))
            self.failures.sort(key=lambda failure: failure.number)
            if phase is Phase.DEPLOY:
                self._add_measurements(trial)  # those of its training
        elif trial.origin is TrialOrigin.REPLICATE:
            self._add_replicate(trial)
        elif trial.state in (State.COMPLETE, State.PRUNED) and not trial.is_confirmation:
            self.successes[trial.number] = trial.strategy
            self._add_measurements(trial)

    def _add_measurements(self, uncorrected: Trial) -> None:
        trial, phases = correct_drift(uncorrected, self.default), measured_phases(uncorrected)
        own = {n: m.value for n, m in trial.result.measurements.items() if m.source is None}
        profile = _profile_quantities(own, trial)
        if profile:
            is_isolated = CONCURRENT_TRIALS not in trial.result.environment
            is_shared = Phase.PROFILE in phases and is_isolated
            self._put(Phase.PROFILE, trial, profile, is_shared=is_shared)
        if trial.state is State.PRUNED:
            self.early_stopped[trial.number] = trial.strategy
            self._stop_reasons[trial.number] = trial.reason or ""
            return
        if trial.origin != TrialOrigin.TRANSFERRED and trial.state is State.COMPLETE:
            self.complete[trial.number] = trial
        training = self._training_quantities(trial, own)
        if training:
            has_study_seed = trial.seed == self._study.task.seed
            is_shared = Phase.TRAIN in phases and has_study_seed
            self._put(Phase.TRAIN, trial, training, is_shared=is_shared)
        deployment = _quantities_of(Phase.DEPLOY, own)
        if deployment:
            is_shared = trial.seed == self._study.task.seed
            is_shared = is_shared and CONCURRENT_TRIALS not in trial.result.environment
            self._put(Phase.DEPLOY, trial, deployment, is_shared=is_shared)
        if (price := _per_second(trial, "cost_usd")) is not None:
            self._prices[trial.number] = _price_key(trial.strategy), price
        finite = {name: value for name, value in trial.metrics.items() if math.isfinite(value)}
        self._put(Phase.RUN, trial, finite, is_shared=False)
        self._add_duration(uncorrected, bool(profile), bool(training), own.get(DEPLOY_SECONDS))

    def _put(
        self, phase: Phase, trial: Trial, values: Mapping[str, float], *, is_shared: bool
    ) -> None:
        key = group_key(trial.strategy, phase_levers(phase))
        is_transferred = trial.origin == TrialOrigin.TRANSFERRED
        is_shared = is_shared and self._study.sharing and not is_transferred
        if is_shared:
            self.cached[phase].add(key)
        counts = {n: m.n for n, m in trial.result.measurements.items() if n in values}
        observation = Observation(
            trial.number, trial.strategy, values, counts, is_shared, is_transferred
        )
        previous = self.groups[phase].get(key)
        if previous is not None and observation.priority >= previous.priority:
            return
        self.groups[phase][key] = observation
        self._sorted.pop(phase, None)
        if phase is Phase.TRAIN:
            self._firsts[key] = observation
            self._average_runs(key)

    def _add_replicate(self, trial: Trial) -> None:
        """Add the scores of another seed to those of the training group."""
        own = {n: m.value for n, m in trial.result.measurements.items() if m.source is None}
        values = self._training_quantities(trial, own)
        if trial.state is State.COMPLETE and values:
            key = group_key(trial.strategy, phase_levers(Phase.TRAIN))
            self._replicates.setdefault(key, {})[trial.number] = values
            self._average_runs(key)

    def _average_runs(self, key: GroupKey) -> None:
        """The means over the first run of a training group and its replicates."""
        first, replicates = self._firsts.get(key), self._replicates.get(key)
        if first is None or not replicates:
            return
        runs = [first.values, *(replicates[number] for number in sorted(replicates))]
        values = {name: fmean(r[name] for r in runs if name in r) for name in first.values}
        self.groups[Phase.TRAIN][key] = replace(first, values=values, runs=len(runs))
        self._sorted.pop(Phase.TRAIN, None)

    def _training_quantities(self, trial: Trial, own: Mapping[str, float]) -> dict[str, float]:
        quantities = {n: own[n] for n in self._training_metrics if n in own}
        if not quantities:
            return {}
        samples = trial.metric(SAMPLES)
        seconds, speed = trial.metric(SECONDS), trial.metric(SPEED)
        if samples is None and seconds is not None and speed is not None:
            samples = (seconds - (trial.metric(SETUP) or 0.0)) * speed
        if samples is not None and samples > 0:
            quantities[SAMPLES] = samples / self.sample_basis(trial.strategy)
        return {name: value for name, value in quantities.items() if math.isfinite(value)}

    def _add_duration(
        self, trial: Trial, has_profile: bool, has_training: bool, deploy_seconds: float | None
    ) -> None:
        is_rest = trial.origin is TrialOrigin.CONTINUED or (has_training and trial.is_continuation)
        if trial.seconds is None or trial.is_imported or is_rest:
            return
        deployed = deploy_seconds or 0.0
        overhead = max(trial.seconds - (trial.metric(SECONDS) or 0.0) - deployed, 0.0)
        if has_training:
            self._durations[Phase.RUN if has_profile else Phase.TRAIN][trial.number] = overhead
        elif has_profile:
            self._durations[Phase.PROFILE][trial.number] = max(trial.seconds - deployed, 0.0)
        elif deploy_seconds is not None:
            self._durations[Phase.DEPLOY][trial.number] = max(trial.seconds - deployed, 0.0)


def observe(
    study: Study, history: Sequence[Trial], earlier: Observations | None = None
) -> Observations:
    """The observations of ``history``: those of an ``earlier`` state of it with what is new, unless
    there is another trial of the default, whose speed corrects all others."""
    default = find_baseline(study, [trial for trial in history if trial.origin in DEFAULT_ORIGINS])
    if earlier is None or earlier.default is not default:
        earlier = Observations(study, default)
    return earlier.update(history)


def _metric_phase(metric: str) -> Phase | None:
    return METRICS[metric].phase if metric in METRICS else None


def _training_metrics(study: Study) -> tuple[str, ...]:
    """Metrics of the train phase that are modelled: those of the study, samples and accuracy."""
    names = (*study.target_metrics, SAMPLES, "accuracy")
    return tuple(name for name in dict.fromkeys(names) if _metric_phase(name) is Phase.TRAIN)


def _profile_quantities(own: Mapping[str, float], trial: Trial) -> dict[str, float]:
    quantities = _quantities_of(Phase.PROFILE, own)
    power = _per_second(trial, "energy_wh")
    return quantities if power is None or not quantities else {**quantities, POWER: power}


def _quantities_of(phase: Phase, own: Mapping[str, float]) -> dict[str, float]:
    """The positive metrics of ``phase`` that a trial measured itself."""
    return {n: v for n, v in own.items() if _metric_phase(n) is phase and 0 < v < math.inf}


def _per_second(trial: Trial, metric: str) -> float | None:
    """The metric per second of training."""
    seconds, value = trial.metric(SECONDS), trial.metric(metric)
    return value / seconds if seconds and value is not None else None


def _price_key(strategy: Strategy) -> tuple[Resources, Value]:
    """What the price of a strategy depends on."""
    return required_resources(strategy), strategy.get("node_class", "any")


def _unit_count(held: Resources) -> int:
    return len(held.devices) or held.cores
