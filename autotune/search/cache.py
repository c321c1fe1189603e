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
    BESIDE,
    PARTS,
    Completed,
    Event,
    Job,
    Measurement,
    Outcome,
    Part,
    State,
    Strategy,
    Study,
    Trial,
)
from autotune.domain.metrics import METRICS, Source
from autotune.levers import speed_key, training_key

PART_OF: Mapping[Source, Part] = {Source.SPEED: "speed", Source.TRAINING: "training"}

NEEDED = ("setup_seconds", "train_samples", "train_samples_per_second")
"""What the time of a whole fine-tune is made of."""


@dataclass(frozen=True)
class Known:
    """The trials from which a strategy's numbers can be shared; ``None`` has to be measured."""

    speed: Trial | None = None
    training: Trial | None = None

    @property
    def to_measure(self) -> tuple[Part, ...]:
        """The parts that nobody knows yet."""
        return tuple(part for part in PARTS if self.of(part) is None)

    def of(self, part: str) -> Trial | None:
        """Who knows the numbers of ``part``."""
        return self.speed if part == "speed" else self.training


NOTHING = Known()


class Knowledge:
    """What the trials of a study have measured, by what it depends on. Grown, never rebuilt."""

    def __init__(self, study: Study, was_beside: Callable[[int], bool] | None = None) -> None:
        """``was_beside`` says whether a trial shared the host with others; without it, what trials
        come with says so."""
        self._sharing = study.sharing
        self._was_beside = was_beside
        self._speed: dict[str, Trial] = {}
        self._training: dict[tuple[str, int], Trial] = {}
        self._seen: dict[int, State] = {}

    def learn(self, history: Sequence[Trial]) -> Knowledge:
        """Take in what is new in ``history``, which only ever grows and finishes."""
        for trial in history:
            if trial.state.finished and self._seen.get(trial.number) is not trial.state:
                self._seen[trial.number] = trial.state
                self._add(trial)
        return self

    def of(self, strategy: Strategy, seed: int) -> Known:
        """Who knows what ``strategy`` would measure under ``seed``."""
        if not self._sharing:
            return NOTHING
        return Known(
            self._speed.get(speed_key(strategy)),
            self._training.get((training_key(strategy), seed)),
        )

    def _add(self, trial: Trial) -> None:
        parts = measured_parts(trial)
        key = speed_key(trial.strategy)
        if "speed" in parts and key not in self._speed and self._is_its_own(trial):
            self._speed[key] = trial
        if "training" in parts and trial.origin != "confirm":
            self._training.setdefault((training_key(trial.strategy), trial.seed), trial)

    def _is_its_own(self, trial: Trial) -> bool:
        """Whether the trial's speed is that of its strategy alone, on this host."""
        if trial.origin == "prior":
            return False
        if self._was_beside is None:
            return BESIDE not in trial.evidence.environment
        return not self._was_beside(trial.number)


def measured_parts(trial: Trial) -> tuple[Part, ...]:
    """The parts that ``trial`` ran itself, to their end. One that was stopped has run its probe."""
    if trial.state not in (State.COMPLETE, State.PRUNED):
        return ()
    own = {part_of(m) for m in trial.evidence.measurements.values() if m.source is None}
    return tuple(part for part in PARTS if part in own)


def with_shared(outcome: Outcome, known: Known, job: Job) -> Outcome:
    """``outcome`` of ``job`` with the numbers that others had measured already."""
    if not isinstance(outcome, Completed) or known == NOTHING:
        return outcome
    own = outcome.evidence
    numbers = {**dict(_shared(known)), **own.measurements}
    numbers = {**dict(_whole_run(numbers, known, job)), **numbers}
    return Completed(replace(own, measurements=numbers, events=(*own.events, *_events(known))))


def _shared(known: Known) -> Iterator[tuple[str, Measurement]]:
    for part in PARTS:
        source = known.of(part)
        if source is None:
            continue
        for name, number in source.evidence.measurements.items():
            if part_of(number) == part:
                yield name, replace(number, source=source.number, samples=(), warmup=())


def _whole_run(
    numbers: Mapping[str, Measurement], known: Known, job: Job
) -> Iterator[tuple[str, Measurement]]:
    """Time, money and energy of the whole fine-tune where both halves are known from others: so
    many examples at such a speed, and getting ready."""
    needed = [numbers[name].value for name in NEEDED if name in numbers]
    if len(needed) < len(NEEDED) or known.speed is None:
        return
    setup, samples, speed = needed
    seconds = setup + samples / speed
    yield _number("train_seconds", seconds, known.speed)
    if job.hourly_usd is not None:
        yield _number("cost_usd", job.hourly_usd * seconds / 3600, known.speed)
    before, energy = known.speed.metric("train_seconds"), known.speed.metric("energy_wh")
    if before and energy is not None:
        yield _number("energy_wh", energy * seconds / before, known.speed)


def _number(name: str, value: float, source: Trial) -> tuple[str, Measurement]:
    return name, Measurement(name, value, METRICS[name].unit, source=source.number)


def _events(known: Known) -> Iterator[Event]:
    for part, what in (("speed", "speed and memory"), ("training", "the training run")):
        if (source := known.of(part)) is not None:
            message = f"{what}: shared from trial {source.number}"
            yield Event(datetime.now(UTC), "shared", message)


def part_of(measurement: Measurement) -> Part | None:
    """The part of a trial that measures it; ``None`` where it takes both."""
    metric = METRICS.get(measurement.name)
    return None if metric is None else PART_OF.get(metric.source)


def is_free(trial: Trial) -> bool:
    """Whether the trial measured nothing itself: all its numbers are shared."""
    return trial.state is State.COMPLETE and all(
        number.source is not None for number in trial.evidence.measurements.values()
    )
