"""Measure each fact once: which trial already knows what a strategy would have to measure.

A trial is a speed probe and a training run. Strategies that agree on every lever that influences
speed or memory share the probe; those that agree on every lever that influences accuracy, and on
the seed, share the training run. All of it is a pure function of the study's trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from autotune.domain import (
    CONCURRENT_TRIALS,
    PHASES,
    Completed,
    Event,
    Job,
    Measurement,
    Outcome,
    Phase,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
)
from autotune.domain.metrics import METRICS
from autotune.levers import profile_key, training_key

NEEDED = ("setup_seconds", "train_samples", "train_samples_per_second")
"""What the time of a whole fine-tune is made of."""


@dataclass(frozen=True)
class CacheHit:
    """The trials from which a strategy's numbers can be shared; ``None`` has to be measured."""

    profile: Trial | None = None
    train: Trial | None = None

    @property
    def phases_to_run(self) -> tuple[Phase, ...]:
        """The parts that nobody knows yet."""
        return tuple(part for part in PHASES if self.source(part) is None)

    def source(self, part: Phase) -> Trial | None:
        """Who knows the numbers of ``part``."""
        return self.profile if part == Phase.PROFILE else self.train


CACHE_MISS = CacheHit()


class ResultCache:
    """What the trials of a study have measured, by what it depends on. Grown, never rebuilt."""

    def __init__(self, study: Study, was_beside: Callable[[int], bool] | None = None) -> None:
        """``was_beside`` says whether a trial shared the host with others; without it, what trials
        come with says so."""
        self._sharing = study.sharing
        self._was_beside = was_beside
        self._speed: dict[str, Trial] = {}
        self._training: dict[tuple[str, int], Trial] = {}
        self._seen: dict[int, State] = {}

    def update(self, history: Sequence[Trial]) -> ResultCache:
        """Take in what is new in ``history``, which only ever grows and finishes."""
        for trial in history:
            if trial.state.finished and self._seen.get(trial.number) is not trial.state:
                self._seen[trial.number] = trial.state
                self._add(trial)
        return self

    def find(self, strategy: Strategy, seed: int) -> CacheHit:
        """Who knows what ``strategy`` would measure under ``seed``."""
        if not self._sharing:
            return CACHE_MISS
        return CacheHit(
            self._speed.get(profile_key(strategy)),
            self._training.get((training_key(strategy), seed)),
        )

    def _add(self, trial: Trial) -> None:
        parts = measured_phases(trial)
        key = profile_key(trial.strategy)
        if Phase.PROFILE in parts and key not in self._speed and self._is_its_own(trial):
            self._speed[key] = trial
        if Phase.TRAIN in parts and not trial.is_confirmation:
            self._training.setdefault((training_key(trial.strategy), trial.seed), trial)

    def _is_its_own(self, trial: Trial) -> bool:
        """Whether the trial's speed is that of its strategy alone, on this host."""
        if trial.origin == TrialOrigin.TRANSFERRED:
            return False
        if self._was_beside is None:
            return CONCURRENT_TRIALS not in trial.result.environment
        return not self._was_beside(trial.number)


def measured_phases(trial: Trial) -> tuple[Phase, ...]:
    """The parts that ``trial`` ran itself, to their end. One that was stopped has run its probe."""
    if trial.state not in (State.COMPLETE, State.PRUNED):
        return ()
    own = {phase_of(m) for m in trial.result.measurements.values() if m.source is None}
    return tuple(part for part in PHASES if part in own)


def merge_cached(outcome: Outcome, known: CacheHit, job: Job) -> Outcome:
    """``outcome`` of ``job`` with the numbers that others had measured already."""
    if not isinstance(outcome, Completed) or known == CACHE_MISS:
        return outcome
    own = outcome.result
    numbers = {**dict(_shared(known)), **own.measurements}
    numbers = {**dict(_whole_run(numbers, known, job)), **numbers}
    return Completed(replace(own, measurements=numbers, events=(*own.events, *_events(known))))


def _shared(known: CacheHit) -> Iterator[tuple[str, Measurement]]:
    for part in PHASES:
        source = known.source(part)
        if source is None:
            continue
        for name, number in source.result.measurements.items():
            if phase_of(number) == part:
                yield name, replace(number, source=source.number, samples=(), warmup=())


def _whole_run(
    numbers: Mapping[str, Measurement], known: CacheHit, job: Job
) -> Iterator[tuple[str, Measurement]]:
    """Time, money and energy of the whole fine-tune where both halves are known from others: so
    many examples at such a speed, and getting ready."""
    needed = [numbers[name].value for name in NEEDED if name in numbers]
    if len(needed) < len(NEEDED) or known.profile is None:
        return
    setup, samples, speed = needed
    seconds = setup + samples / speed
    yield _number("train_seconds", seconds, known.profile)
    if job.hourly_usd is not None:
        yield _number("cost_usd", job.hourly_usd * seconds / 3600, known.profile)
    before, energy = known.profile.metric("train_seconds"), known.profile.metric("energy_wh")
    if before and energy is not None:
        yield _number("energy_wh", energy * seconds / before, known.profile)


def _number(name: str, value: float, source: Trial) -> tuple[str, Measurement]:
    return name, Measurement(name, value, METRICS[name].unit, source=source.number)


def _events(known: CacheHit) -> Iterator[Event]:
    for part, what in ((Phase.PROFILE, "speed and memory"), (Phase.TRAIN, "the training run")):
        if (source := known.source(part)) is not None:
            message = f"{what}: shared from trial {source.number}"
            yield Event(datetime.now(UTC), "shared", message)


def phase_of(measurement: Measurement) -> Phase | None:
    """The part of a trial that measures it; ``None`` where it takes both."""
    metric = METRICS.get(measurement.name)
    return metric.phase if metric is not None and metric.phase in PHASES else None
