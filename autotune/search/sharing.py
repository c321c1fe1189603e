"""Measure each fact once: which trial already knows what a strategy would have to measure.

A trial is a speed probe and a training run. Strategies that agree on every lever that influences
speed or memory share the probe; those that agree on every lever that influences accuracy, and on
the seed, share the training run. All of it is a pure function of the study's trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.domain import PARTS, Measurement, Part, State, Strategy, Study, Trial
from autotune.levers import speed_key, training_key
from autotune.metrics import METRICS, Source

PART_OF: Mapping[Source, Part] = {Source.SPEED: "speed", Source.TRAINING: "training"}

BESIDE = "other_trials_on_host"
"""Key of the environment of a trial that did not have the host to itself: its speed is its own."""


@dataclass(frozen=True)
class Known:
    """The trials from which a strategy's numbers can be shared; ``None`` has to be measured."""

    speed: Trial | None = None
    training: Trial | None = None

    @property
    def to_measure(self) -> tuple[Part, ...]:
        """The parts that nobody knows yet."""
        return tuple(part for part in PARTS if getattr(self, part) is None)


NOTHING = Known()


class Knowledge:
    """What the trials of a study have measured, by what it depends on. Grown, never rebuilt."""

    def __init__(self, study: Study) -> None:
        self._sharing = study.sharing
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
        if "speed" in parts and BESIDE not in trial.evidence.environment:
            self._speed.setdefault(speed_key(trial.strategy), trial)
        if "training" in parts and trial.origin != "confirm":
            self._training.setdefault((training_key(trial.strategy), trial.seed), trial)


def measured_parts(trial: Trial) -> tuple[Part, ...]:
    """The parts that ``trial`` ran itself, to their end."""
    if trial.state is not State.COMPLETE:
        return ()
    own = {part_of(m) for m in trial.evidence.measurements.values() if m.source is None}
    return tuple(part for part in PARTS if part in own)


def part_of(measurement: Measurement) -> Part | None:
    """The part of a trial that measures it; ``None`` where it takes both."""
    metric = METRICS.get(measurement.name)
    return None if metric is None else PART_OF.get(metric.source)
