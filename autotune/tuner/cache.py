"""The result cache: reuses results of a phase between trials that agree on what influences it.

Strategies that agree on every lever that influences speed or memory share the results of the
profile phase. Those that agree on every lever that influences accuracy, and on the seed, share
those of the train phase, and the trained model as long as it is kept: another deployment of it
needs no training. What is cached is a pure function of the study's trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from autotune.domain import (
    CONCURRENT_TRIALS,
    PHASES,
    TRAINING_PHASES,
    Completed,
    Event,
    FailureReason,
    Job,
    Measurement,
    Outcome,
    Phase,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    study_phases,
)
from autotune.domain.metrics import METRICS
from autotune.domain.training import sample_basis
from autotune.levers import deployment_key, profile_key, training_key

TRAIN_TIME_METRICS = ("setup_seconds", "train_samples", "train_samples_per_second")
"""The metrics from which the time of a full training run follows."""


SHARED_RESULTS: Mapping[Phase, str] = {
    Phase.PROFILE: "speed and memory",
    Phase.TRAIN: "the training run",
    Phase.DEPLOY: "the deployment",
}
"""What a trial shares of each phase, in words."""


@dataclass(frozen=True)
class CacheHit:
    """The trials whose results a strategy can reuse; ``None`` for a phase that has to run.

    ``model`` is the trial whose trained model is deployed if that phase has to run and training has
    not. ``phases`` are those of the study.
    """

    profile: Trial | None = None
    train: Trial | None = None
    deploy: Trial | None = None
    model: Trial | None = None
    phases: tuple[Phase, ...] = TRAINING_PHASES

    @property
    def phases_to_run(self) -> tuple[Phase, ...]:
        """The phases without a cached result."""
        return tuple(phase for phase in self.phases if self.source(phase) is None)

    def source(self, phase: Phase) -> Trial | None:
        """The trial with the results of ``phase``."""
        sources = {Phase.PROFILE: self.profile, Phase.TRAIN: self.train, Phase.DEPLOY: self.deploy}
        return sources[phase]


CACHE_MISS = CacheHit()


class ResultCache:
    """The trials of a study by the keys of the phases that they ran."""

    def __init__(self, study: Study, ran_concurrently: Callable[[int], bool] | None = None) -> None:
        """``ran_concurrently`` returns whether a trial shared the host with others; by default the
        environment in the trial's result does."""
        self._is_enabled, self._phases = study.sharing, study_phases(study)
        self._ran_concurrently = ran_concurrently
        self._profiles: dict[str, Trial] = {}
        self._trainings: dict[tuple[str, int], Trial] = {}
        self._deployments: dict[tuple[str, int], Trial] = {}
        self._models: dict[tuple[str, int], dict[int, Trial]] = {}
        self._states: dict[int, State] = {}

    def update(self, trials: Sequence[Trial]) -> Self:
        """Add the finished ones of ``trials`` that are new or have another state now, and note
        which models are kept."""
        for trial in trials:
            self._update_model(trial)
            if trial.state.is_finished and self._states.get(trial.number) is not trial.state:
                self._states[trial.number] = trial.state
                self._add(trial)
        return self

    def find(self, strategy: Strategy, seed: int) -> CacheHit:
        """The cached results for ``strategy`` with ``seed``."""
        if not self._is_enabled:
            return CacheHit(phases=self._phases)
        training = training_key(strategy), seed
        hit = CacheHit(
            self._profiles.get(profile_key(strategy)),
            self._trainings.get(training),
            phases=self._phases,
        )
        if Phase.DEPLOY not in self._phases:
            return hit
        deployment = self._deployments.get((deployment_key(strategy), seed))
        if deployment is not None:
            return replace(hit, deploy=deployment)
        # The latest: if the files of an earlier one are lost, a deployment has trained it again.
        model = next(reversed(self._models.get(training, {}).values()), None)
        # Without its model, a training run has to be repeated to be deployed.
        return replace(hit, train=hit.train if model is not None else None, model=model)

    def _add(self, trial: Trial) -> None:
        phases, key = measured_phases(trial), profile_key(trial.strategy)
        if Phase.PROFILE in phases and key not in self._profiles and self._is_isolated(trial):
            self._profiles[key] = trial
        if trial.is_confirmation:
            return
        if Phase.TRAIN in phases:
            self._trainings.setdefault((training_key(trial.strategy), trial.seed), trial)
        if Phase.DEPLOY in phases and self._is_isolated(trial):
            self._deployments.setdefault((deployment_key(trial.strategy), trial.seed), trial)

    def _update_model(self, trial: Trial) -> None:
        models = self._models.setdefault((training_key(trial.strategy), trial.seed), {})
        if trial.result.model is not None and not trial.is_confirmation:
            models[trial.number] = trial
        else:
            models.pop(trial.number, None)

    def _is_isolated(self, trial: Trial) -> bool:
        """Whether the trial's speed was measured on this host, with no other trial running."""
        if trial.origin is TrialOrigin.TRANSFERRED:
            return False
        if self._ran_concurrently is None:
            return CONCURRENT_TRIALS not in trial.result.environment
        return not self._ran_concurrently(trial.number)


def measured_phases(trial: Trial) -> tuple[Phase, ...]:
    """The phases that ``trial`` ran to their end. An early-stopped trial has ended its profile
    phase, and one that could not be deployed its training."""
    is_trained = trial.failure is FailureReason.DEPLOYMENT
    if trial.state not in (State.COMPLETE, State.PRUNED) and not is_trained:
        return ()
    phases = {phase_of(m) for m in trial.result.measurements.values() if m.source is None}
    return tuple(phase for phase in PHASES if phase in phases)


def shared_profile(study: Study, strategy: Strategy, source: Trial) -> dict[str, float]:
    """The metrics of the profile phase of ``source`` that ``strategy`` shares, with time, cost and
    energy of its own training run, which can have another length."""
    seconds, setup = source.metric("train_seconds"), source.metric("setup_seconds") or 0.0
    factor = 1.0
    if seconds:
        length = sample_basis(study.task, strategy) / sample_basis(study.task, source.strategy)
        factor = (setup + (seconds - setup) * length) / seconds
    factors = {Phase.PROFILE: 1.0, Phase.RUN: factor}
    return {
        name: value * factors[phase]
        for name, value in source.metrics.items()
        if name in METRICS and (phase := METRICS[name].phase) in factors
    }


def phase_of(measurement: Measurement) -> Phase | None:
    """The phase that measures this metric; ``None`` if it needs both."""
    metric = METRICS.get(measurement.name)
    return metric.phase if metric is not None and metric.phase in PHASES else None


def merge_cached(outcome: Outcome, hit: CacheHit, job: Job) -> Outcome:
    """The outcome of ``job`` with the cached results added, if it completed."""
    if not isinstance(outcome, Completed) or hit.phases_to_run == hit.phases:
        return outcome
    result = outcome.result
    measurements = {**dict(_cached_measurements(hit)), **result.measurements}
    measurements = {**dict(_full_run_totals(measurements, hit, job)), **measurements}
    events = (*result.events, *_cache_events(hit))
    return Completed(replace(result, measurements=measurements, events=events))


def _cached_measurements(hit: CacheHit) -> Iterator[tuple[str, Measurement]]:
    for phase in PHASES:
        source = hit.source(phase)
        if source is None:
            continue
        for name, measurement in source.result.measurements.items():
            if phase_of(measurement) is phase:
                yield name, replace(measurement, source=source.number, samples=(), warmup=())


def _full_run_totals(
    measurements: Mapping[str, Measurement], hit: CacheHit, job: Job
) -> Iterator[tuple[str, Measurement]]:
    """Time, cost and energy of a full training run whose speed is cached: the setup time plus the
    number of samples by the samples per second."""
    parts = [measurements[name].value for name in TRAIN_TIME_METRICS if name in measurements]
    if len(parts) < len(TRAIN_TIME_METRICS) or hit.profile is None:
        return
    setup_seconds, samples, samples_per_second = parts
    seconds = setup_seconds + samples / samples_per_second
    yield _derived("train_seconds", seconds, hit.profile)
    if job.hourly_usd is not None:
        yield _derived("cost_usd", job.hourly_usd * seconds / 3600, hit.profile)
    source_seconds = hit.profile.metric("train_seconds")
    source_energy = hit.profile.metric("energy_wh")
    if source_seconds and source_energy is not None:
        yield _derived("energy_wh", source_energy * seconds / source_seconds, hit.profile)


def _derived(name: str, value: float, source: Trial) -> tuple[str, Measurement]:
    return name, Measurement(name, value, METRICS[name].unit, source=source.number)


def _cache_events(hit: CacheHit) -> Iterator[Event]:
    for phase, results in SHARED_RESULTS.items():
        if phase in hit.phases and (source := hit.source(phase)) is not None:
            message = f"{results}: shared from trial {source.number}"
            yield Event(datetime.now(UTC), "shared", message)
