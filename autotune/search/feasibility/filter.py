"""Which strategies are not worth a try here: they would run out of memory, break a bound on it, or
overrun the time of a trial.

Near a limit, where the prediction may well be wrong, a strategy is tried; a trial that then runs
out of memory makes the search more careful. What failed is not tried again with other settings of
levers that do not matter for it. All of it is a function of the study's trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Any

from autotune.domain import (
    PHASES,
    FailureReason,
    Host,
    Infeasible,
    Outcome,
    Phase,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
    WorkloadProfile,
)
from autotune.domain.constraints import bound
from autotune.levers import profile_key, training_key
from autotune.search.cache import measured_phases
from autotune.search.feasibility.estimate import LogNormalEstimate
from autotune.search.feasibility.faster_neighbour import quicker
from autotune.search.feasibility.memory import MemoryKind, MemoryPhase, memory_phases
from autotune.search.feasibility.memory_model import MemoryModel, Peak
from autotune.search.feasibility.time_model import Timed, TimeModel

PREDICTIONS = "predicted"
"""Kind of the outcome of a strategy that was not tried, and where a trial's environment says what
was predicted of it."""

METRICS: Mapping[MemoryKind, str] = {"host": "peak_memory_gib", "device": "device_memory_gib"}

MIN_FIT_PROBABILITY = (0.4, 0.93, 0.98)
"""How likely a strategy has to fit to be tried, after no, one, and more trials out of memory."""

RELAX_AFTER, IMPATIENCE = 12, 0.93
"""After so many strategies skipped in a row, a little less is asked for with each that follows, so
that no search is stuck before it has learned."""

KNOWN_SPREAD = 0.02
"""How far the logarithm of a peak differs between two trials of the same memory and speed."""

SHARE_OF_HOST = 0.9
SHARE_OF_DEVICE = 0.95
LEARNED_FROM = 400
"""The latest trials that are learned from."""


@dataclass(frozen=True)
class Limit:
    """What one trial may hold, and who says so."""

    where: MemoryKind
    gib: float
    said_by: str
    hard: bool = True
    """Whether a trial beyond it ends; a constraint is only broken."""


def attach_predictions(outcome: Outcome, foretold: Mapping[str, Any] | None) -> Outcome:
    """``outcome`` with what was predicted of it, where something was."""
    if foretold is None:
        return outcome
    own = outcome.result
    environment = {**own.environment, PREDICTIONS: foretold}
    return replace(outcome, result=replace(own, environment=environment))


def _as_listed(trial: Trial) -> Trial:
    return trial


class FeasibilityFilter:
    """Predictions for the strategies of a study on ``host``, learned from its trials.

    ``whole`` reads a trial with all its evidence, which a list of trials does not carry.
    """

    def __init__(
        self,
        study: Study,
        host: Host,
        anatomy: WorkloadProfile,
        load_trial: Callable[[Trial], Trial] = _as_listed,
    ) -> None:
        self._study, self._host, self._anatomy, self._whole = study, host, anatomy, load_trial
        self._held: dict[int, tuple[MemoryKind, float]] = {}
        """What each trial that ran out of memory held at least, and where."""
        self._seen: tuple[int, int] = (-1, -1)
        self._memory: dict[MemoryKind, MemoryModel] = {}
        self._time = TimeModel(anatomy)
        self._known_phases: dict[tuple[str, MemoryKind], tuple[MemoryPhase, ...]] = {}
        self._known_peaks: dict[tuple[str, MemoryKind], float] = {}
        self._failed: dict[str, Trial] = {}
        self._out_of_memory = 0

    def check(
        self, strategy: Strategy, history: Sequence[Trial], parts: Sequence[Phase] = PHASES
    ) -> Infeasible | None:
        """Why ``strategy`` should not be tried, with what is predicted of it; ``None`` where it may
        well work. ``parts`` are those that would have to run."""
        self._learn(history)
        reason = (
            self._repeats(strategy)
            or self._does_not_fit(strategy, history)
            or (self._takes_too_long(strategy) if Phase.TRAIN in parts else None)
        )
        if reason is None:
            return None
        noted = {PREDICTIONS: self.predict(strategy, history)}
        return Infeasible(FailureReason.PREDICTED, reason, TrialResult(environment=noted))

    def retryable(self, history: Sequence[Trial]) -> set[int]:
        """Numbers of trials that did not fit, or were skipped, under an earlier limit, and would be
        tried now."""
        short = [
            trial
            for trial in history
            if trial.failure in (FailureReason.PREDICTED, FailureReason.OUT_OF_MEMORY)
        ]
        return {trial.number for trial in short if self.check(trial.strategy, history) is None}

    def predict(self, strategy: Strategy, history: Sequence[Trial]) -> dict[str, Any]:
        """Peaks in GiB and seconds of a whole trial, with 90% intervals, as plain data for the
        trial's environment; what cannot be predicted yet is absent."""
        self._learn(history)
        found = {METRICS[where]: self._peak(strategy, where) for where in _places(strategy)}
        seconds = self._time.predict(strategy)
        known = {**found, **({"seconds": seconds} if seconds is not None else {})}
        limits = {METRICS[limit.where]: limit.gib for limit in self._limits(strategy, history)}
        return {
            **{name: round(p.value, 4) for name, p in known.items()},
            "intervals": {n: [round(p.low, 4), round(p.high, 4)] for n, p in known.items()},
            "limits": limits,
        }

    def in_time(
        self, strategy: Strategy, history: Sequence[Trial], minutes: float | None
    ) -> Strategy | None:
        """``strategy`` where it takes at most ``minutes`` (``None`` bounds nothing) as far as is
        known, else one like it that does; ``None`` where there is none."""
        self._learn(history)
        if minutes is None or self._seconds(strategy) <= 60 * minutes:
            return strategy
        tried = {trial.strategy.key for trial in history}
        return quicker(self._study.space, strategy, tried, self._seconds, 60 * minutes)

    # ---------------------------------------------------------------------------------- verdicts

    def _repeats(self, strategy: Strategy) -> str | None:
        for key in (profile_key(strategy), training_key(strategy)):
            trial = self._failed.get(key)
            if trial is not None and not self._had_less_room(trial):
                what = "memory and speed" if key == profile_key(strategy) else "training"
                ended = trial.reason or trial.failure
                return f"trial {trial.number}, the same in all that matters for {what}: {ended}"
        return None

    def _had_less_room(self, trial: Trial) -> bool:
        """Whether the limit that the trial ran into has been raised since."""
        if trial.failure != FailureReason.OUT_OF_MEMORY:
            return False
        where, held = self._held_at_least(trial)
        return held < self._limit_now(trial.strategy, where)

    def _does_not_fit(self, strategy: Strategy, history: Sequence[Trial]) -> str | None:
        for limit in self._limits(strategy, history):
            peak = self._peak(strategy, limit.where)
            if peak.below(limit.gib) < self._asked_for(limit, history):
                return (
                    f"predicted to hold {peak.value:.2f} GiB ({peak.low:.2f} to {peak.high:.2f}) "
                    f"of {'host' if limit.where == 'host' else 'device'} memory; "
                    f"{limit.said_by} is {limit.gib:.2f} GiB"
                )
        return None

    def _asked_for(self, limit: Limit, history: Sequence[Trial]) -> float:
        """The probability to keep within ``limit`` from which a strategy is tried."""
        misses = self._out_of_memory if limit.hard else 0
        asked = MIN_FIT_PROBABILITY[min(misses, len(MIN_FIT_PROBABILITY) - 1)]
        skipped = sum(
            1 for _ in takewhile(lambda t: t.failure == FailureReason.PREDICTED, reversed(history))
        )
        return asked * IMPATIENCE ** max(skipped - RELAX_AFTER, 0)

    def _takes_too_long(self, strategy: Strategy) -> str | None:
        minutes = self._study.limits.minutes
        seconds = self._time.predict(strategy)
        if minutes is None or seconds is None or seconds.low <= 60 * minutes:
            return None
        return (
            f"predicted to take {seconds.value:.0f} s ({seconds.low:.0f} to {seconds.high:.0f}); "
            f"the limit is {60 * minutes:.0f} s"
        )

    def _seconds(self, strategy: Strategy) -> float:
        predicted = self._time.predict(strategy)
        return 0.0 if predicted is None else predicted.value

    def _peak(self, strategy: Strategy, where: MemoryKind) -> LogNormalEstimate:
        known = self._known_peaks.get((profile_key(strategy), where))
        if known is not None:
            return LogNormalEstimate(known, KNOWN_SPREAD)
        model = self._memory.get(where) or MemoryModel()
        return model.predict(self._phases(strategy, where))

    # ------------------------------------------------------------------------------------ limits

    def _limits(self, strategy: Strategy, history: Sequence[Trial]) -> Iterator[Limit]:
        yield self._host_limit()
        device = self._host.device(str(strategy["device"]))
        if device is not None and device.kind == "cuda" and device.memory_gib:
            yield Limit("device", SHARE_OF_DEVICE * device.memory_gib, f"{device.id}'s")
        baseline = next((t for t in history if t.origin == TrialOrigin.DEFAULT and t.metrics), None)
        for constraint in self._study.constraints:
            where = next((w for w, metric in METRICS.items() if metric == constraint.metric), None)
            gib = bound(constraint, baseline)
            if where in _places(strategy) and gib is not None and constraint.operator[0] == "<":
                yield Limit(where, gib, f"the bound of {constraint}", hard=False)

    def _host_limit(self) -> Limit:
        own = self._study.limits.memory_gib
        if own is not None:
            return Limit("host", own, "the limit")
        share = SHARE_OF_HOST * self._host.memory_gib / max(self._study.executor.workers, 1)
        return Limit("host", share, "a trial's share of this host")

    def _limit_now(self, strategy: Strategy, where: MemoryKind) -> float:
        """The limit that ends a trial; the host's memory where nothing is known of the device."""
        limits = self._limits(strategy, ())
        hard = [limit.gib for limit in limits if limit.hard and limit.where == where]
        return min(hard, default=self._host.memory_gib)

    # ---------------------------------------------------------------------------------- learning

    def _learn(self, history: Sequence[Trial]) -> None:
        """Fit anew where a trial has ended since."""
        ended = [t for t in history if t.state.finished and t.failure != FailureReason.PREDICTED]
        now = len(ended), max((t.number for t in ended), default=-1)
        if now == self._seen:
            return
        self._seen = now
        own = [t for t in ended if t.origin != TrialOrigin.TRANSFERRED]
        for where in METRICS:
            self._memory[where] = MemoryModel(list(self._peaks(own, where)))
        timed = list(islice(_timed(reversed(own)), LEARNED_FROM))
        self._time = TimeModel(self._anatomy, timed[::-1])
        self._failed = dict(_failures(own))
        self._out_of_memory = sum(
            t.failure == FailureReason.OUT_OF_MEMORY and t.origin == TrialOrigin.SAMPLED
            for t in own
        )

    def _peaks(self, trials: Sequence[Trial], where: MemoryKind) -> Iterator[Peak]:
        """What the latest trials were seen to hold, each strategy's probe once."""
        for trial in trials[-LEARNED_FROM:]:
            if where not in _places(trial.strategy):
                continue
            measured = trial.result.measurements.get(METRICS[where])
            if measured is not None and measured.source is None:
                self._known_peaks[profile_key(trial.strategy), where] = measured.value
                yield Peak(self._phases(trial.strategy, where), measured.value)
            elif trial.failure == FailureReason.OUT_OF_MEMORY:
                place, gib = self._held_at_least(trial)
                if place == where:
                    yield Peak(self._phases(trial.strategy, where), gib, bound=True)

    def _phases(self, strategy: Strategy, where: MemoryKind) -> tuple[MemoryPhase, ...]:
        key = strategy.key, where
        if key not in self._known_phases:
            self._known_phases[key] = memory_phases(self._anatomy, strategy, where)
        return self._known_phases[key]

    def _held_at_least(self, trial: Trial) -> tuple[MemoryKind, float]:
        """The limit in force when it ran out, or what it was seen to hold where that is more. On an
        accelerator it is taken to be the accelerator's memory that ran out."""
        if trial.number not in self._held:
            evidence, place = self._whole(trial).result, _places(trial.strategy)[-1]
            limits = evidence.environment.get(PREDICTIONS, {}).get("limits", {})
            limit = limits.get(METRICS[place], self._limit_now(trial.strategy, place))
            seen = max((gib for _, gib in evidence.memory), default=0.0) if place == "host" else 0.0
            self._held[trial.number] = place, max(float(limit), seen)
        return self._held[trial.number]


def _places(strategy: Strategy) -> tuple[MemoryKind, ...]:
    return ("host", "device") if str(strategy["device"]).startswith("cuda") else ("host",)


def _timed(trials: Iterable[Trial]) -> Iterator[Timed]:
    for trial in trials:
        if trial.seconds is None or trial.imported:
            continue
        if trial.failure == FailureReason.TIMEOUT:
            yield Timed(trial.strategy, trial.seconds, None)
        elif trial.state is State.COMPLETE and len(measured_phases(trial)) > 1:
            yield Timed(trial.strategy, trial.seconds, trial.metric("train_samples_per_second"))


def _failures(trials: Sequence[Trial]) -> Iterator[tuple[str, Trial]]:
    """By what the failure depends on: memory and speed, or the training run."""
    for trial in trials:
        if trial.failure in (FailureReason.OUT_OF_MEMORY, FailureReason.CRASH):
            yield profile_key(trial.strategy), trial
        elif trial.failure == FailureReason.NAN_LOSS:
            yield training_key(trial.strategy), trial
