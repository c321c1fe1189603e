"""What the finished trials of a study say about the memory and time of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from autotune.domain import (
    TRAINING_PHASES,
    FailureReason,
    State,
    Strategy,
    Trial,
    TrialOrigin,
    WorkloadProfile,
)
from autotune.levers import profile_key, training_key
from autotune.tuner.cache import measured_phases
from autotune.tuner.feasibility.estimate import LogNormalEstimate
from autotune.tuner.feasibility.memory import MemoryFootprint, MemoryKind, memory_footprints
from autotune.tuner.feasibility.memory_model import MemoryModel, Peak
from autotune.tuner.feasibility.time_model import TimedTrial, TimeModel

PEAK_METRICS: Mapping[MemoryKind, str] = {
    "host": "peak_memory_gib",
    "device": "device_memory_gib",
}

MEASURED_SIGMA = 0.02
"""Standard deviation of the logarithm of the peak between trials with the same profile key."""

MAX_TRIALS = 400
"""The models are fitted to at most this many of the latest trials."""

OutOfMemoryBound = Callable[[Trial], tuple[MemoryKind, float]]
"""Which memory a trial ran out of, and the GiB that it used at least."""


def memory_kinds(strategy: Strategy) -> tuple[MemoryKind, ...]:
    """The memories that the strategy uses."""
    return ("host", "device") if str(strategy["device"]).startswith("cuda") else ("host",)


class StudyModel:
    """Predictions of peak memory and time, fitted to the trials of a study.

    Trials that have not ended, and strategies that were skipped, carry no information.
    """

    def __init__(self, profile: WorkloadProfile) -> None:
        self._profile = profile
        self._fitted_to: tuple[int, ...] | None = None
        self._memory: dict[MemoryKind, MemoryModel] = {}
        self._time = TimeModel(profile)
        self._footprints: dict[tuple[str, MemoryKind], tuple[MemoryFootprint, ...]] = {}
        self._measured_peaks: dict[tuple[str, MemoryKind], float] = {}
        self.failures: Mapping[str, Trial] = {}
        """Failed trials by the key that the failure depends on: profile key or training key."""

        self.out_of_memory_count = 0
        """Sampled trials that ran out of memory."""

    def fit(self, history: Sequence[Trial], bound: OutOfMemoryBound) -> None:
        """Fit to the trials of ``history`` that have ended, if there are new ones."""
        ended = [t for t in history if t.state.is_finished and t.failure != FailureReason.PREDICTED]
        numbers = tuple(t.number for t in ended)
        if numbers == self._fitted_to:
            return
        self._fitted_to = numbers
        trials = [t for t in ended if t.origin != TrialOrigin.TRANSFERRED]
        for kind in PEAK_METRICS:
            self._memory[kind] = MemoryModel(list(self._peaks(trials, kind, bound)))
        latest = list(islice(_timed(reversed(trials)), MAX_TRIALS))
        self._time = TimeModel(self._profile, latest[::-1])
        self.failures = dict(_failures(trials))
        self.out_of_memory_count = sum(
            t.failure == FailureReason.OUT_OF_MEMORY and t.origin == TrialOrigin.SAMPLED
            for t in trials
        )

    def peak(self, strategy: Strategy, kind: MemoryKind) -> LogNormalEstimate:
        """Peak memory in GiB: measured with the same profile key, or predicted."""
        measured = self._measured_peaks.get((profile_key(strategy), kind))
        if measured is not None:
            return LogNormalEstimate(measured, MEASURED_SIGMA)
        model = self._memory.get(kind) or MemoryModel()
        return model.predict(self._footprints_of(strategy, kind))

    def seconds(self, strategy: Strategy) -> LogNormalEstimate | None:
        """Seconds of a full trial; ``None`` before any trial has finished."""
        return self._time.predict(strategy)

    def _peaks(
        self, trials: Sequence[Trial], kind: MemoryKind, bound: OutOfMemoryBound
    ) -> Iterator[Peak]:
        """Peaks of the latest trials. A result that was reused from another trial counts once."""
        for trial in trials[-MAX_TRIALS:]:
            if kind not in memory_kinds(trial.strategy):
                continue
            measurement = trial.result.measurements.get(PEAK_METRICS[kind])
            if measurement is not None and measurement.source is None:
                self._measured_peaks[profile_key(trial.strategy), kind] = measurement.value
                yield Peak(self._footprints_of(trial.strategy, kind), measurement.value)
            elif trial.failure == FailureReason.OUT_OF_MEMORY:
                exhausted, gib = bound(trial)
                if exhausted == kind:
                    footprints = self._footprints_of(trial.strategy, kind)
                    yield Peak(footprints, gib, is_lower_bound=True)

    def _footprints_of(self, strategy: Strategy, kind: MemoryKind) -> tuple[MemoryFootprint, ...]:
        key = strategy.key, kind
        if key not in self._footprints:
            self._footprints[key] = memory_footprints(self._profile, strategy, kind)
        return self._footprints[key]


def _timed(trials: Iterable[Trial]) -> Iterator[TimedTrial]:
    for trial in trials:
        if trial.seconds is None or trial.is_imported or trial.origin is TrialOrigin.CONTINUED:
            continue
        if trial.failure == FailureReason.TIMEOUT:
            yield TimedTrial(trial.strategy, trial.seconds, None)
        elif (
            trial.state is State.COMPLETE
            and {*TRAINING_PHASES} <= {*measured_phases(trial)}
            and not trial.is_continuation
        ):
            yield TimedTrial(
                trial.strategy, trial.seconds, trial.metric("train_samples_per_second")
            )


def _failures(trials: Sequence[Trial]) -> Iterator[tuple[str, Trial]]:
    for trial in trials:
        if trial.failure in (FailureReason.OUT_OF_MEMORY, FailureReason.CRASH):
            yield profile_key(trial.strategy), trial
        elif trial.failure == FailureReason.NAN_LOSS:
            yield training_key(trial.strategy), trial
