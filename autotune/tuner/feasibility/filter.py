"""Skips strategies that would run out of memory, violate a bound on it, or exceed the time limit.

A strategy near a limit is tried as long as the prediction is uncertain. Each trial that runs out of
memory raises the required probability. A failure is not repeated with other settings of levers that
do not matter for it. The result depends only on the trials of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from autotune.domain import (
    TRAINING_PHASES,
    FailureReason,
    Host,
    Infeasible,
    Outcome,
    Phase,
    SearchSpace,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
    WorkloadProfile,
)
from autotune.domain.constraints import constraint_bound
from autotune.domain.search_space import complete, excluded, grid_values
from autotune.levers import profile_key, required_resources, training_key
from autotune.tuner.feasibility.memory import MemoryKind
from autotune.tuner.feasibility.study_model import PEAK_METRICS, StudyModel, memory_kinds

PREDICTIONS = "predicted"
"""Key of the predictions in a trial's environment."""

MIN_FIT_PROBABILITY = (0.4, 0.93, 0.98)
"""Probability of fitting into memory from which a strategy is tried, after no, one, and more
out-of-memory trials."""

RELAX_AFTER, RELAX_FACTOR = 12, 0.93
"""After this many consecutive skips the required probability is multiplied by the factor per skip,
so that the search cannot stall."""

HOST_SHARE = 0.9
DEVICE_SHARE = 0.95
"""Shares of host and GPU memory that trials may use."""

MAX_CHANGED_LEVERS = 3
GRID_POINTS = 5
"""A replacement for a slow strategy differs in at most this many levers, which take values on a
grid of this many points."""


@dataclass(frozen=True)
class MemoryLimit:
    """The memory that one trial may use."""

    kind: MemoryKind
    gib: float
    source: str
    is_hard: bool = True
    """Whether a trial that exceeds it fails. Otherwise it violates a constraint."""


def attach_predictions(outcome: Outcome, predictions: Mapping[str, Any] | None) -> Outcome:
    """``outcome`` with ``predictions`` in its environment, if there are any."""
    if predictions is None:
        return outcome
    result = outcome.result
    environment = {**result.environment, PREDICTIONS: predictions}
    return replace(outcome, result=replace(result, environment=environment))


def _identity(trial: Trial) -> Trial:
    return trial


class FeasibilityFilter:
    """Decides which strategies of a study are worth a trial on ``host``.

    ``load_trial`` returns a trial with its full result; a listed trial lacks the memory samples.
    """

    def __init__(
        self,
        study: Study,
        host: Host,
        profile: WorkloadProfile,
        load_trial: Callable[[Trial], Trial] = _identity,
    ) -> None:
        self._study, self._host, self._load_trial = study, host, load_trial
        self._model = StudyModel(profile)
        self._usage_bounds: dict[int, tuple[MemoryKind, float]] = {}

    def check(
        self,
        strategy: Strategy,
        history: Sequence[Trial],
        phases: Sequence[Phase] = TRAINING_PHASES,
    ) -> Infeasible | None:
        """The reason to skip ``strategy``, with its predictions; ``None`` to try it. ``phases``
        lists those that would run; the results of the others are cached."""
        if Phase.PROFILE not in phases and Phase.TRAIN not in phases:
            return None  # a deployment trains nothing
        self._fit(history)
        reason = (
            self._repeated_failure(strategy)
            or self._exceeded_memory(strategy, history)
            or (self._exceeded_time(strategy) if Phase.TRAIN in phases else None)
        )
        if reason is None:
            return None
        environment = {PREDICTIONS: self.predict(strategy, history)}
        return Infeasible(FailureReason.PREDICTED, reason, TrialResult(environment=environment))

    def retryable(self, history: Sequence[Trial]) -> set[int]:
        """Numbers of the trials that were skipped or ran out of memory under an earlier limit, and
        that would be tried under the present one."""
        reasons = (FailureReason.PREDICTED, FailureReason.OUT_OF_MEMORY)
        trials = [trial for trial in history if trial.failure in reasons]
        return {trial.number for trial in trials if self.check(trial.strategy, history) is None}

    def predict(self, strategy: Strategy, history: Sequence[Trial]) -> dict[str, Any]:
        """Peak memory in GiB and seconds of a full trial with 90% intervals, and the limits, as
        JSON for the trial's environment. What cannot be predicted yet is absent."""
        self._fit(history)
        peaks = {PEAK_METRICS[k]: self._model.peak(strategy, k) for k in memory_kinds(strategy)}
        seconds = self._model.seconds(strategy)
        estimates = {**peaks, **({"seconds": seconds} if seconds is not None else {})}
        limits = {PEAK_METRICS[limit.kind]: limit.gib for limit in self._limits(strategy, history)}
        return {
            **{name: round(e.value, 4) for name, e in estimates.items()},
            "intervals": {n: [round(e.low, 4), round(e.high, 4)] for n, e in estimates.items()},
            "limits": limits,
        }

    def find_affordable(
        self, strategy: Strategy, history: Sequence[Trial], minutes: float | None
    ) -> Strategy | None:
        """``strategy`` if it takes at most ``minutes`` according to the current estimate, else a
        similar strategy that does, else ``None``. Without ``minutes``, ``strategy``."""
        self._fit(history)
        if minutes is None or self._seconds(strategy) <= 60 * minutes:
            return strategy
        tried = {trial.strategy.key for trial in history}
        return find_faster(self._study.space, strategy, tried, self._seconds, 60 * minutes)

    # ----------------------------------------------------------------------------------- reasons

    def _repeated_failure(self, strategy: Strategy) -> str | None:
        for key in (profile_key(strategy), training_key(strategy)):
            trial = self._model.failures.get(key)
            if trial is not None and not self._has_raised_limit(trial):
                subject = "memory and speed" if key == profile_key(strategy) else "training"
                reason = trial.reason or trial.failure
                return f"trial {trial.number} has the same settings for {subject}: {reason}"
        return None

    def _has_raised_limit(self, trial: Trial) -> bool:
        """Whether the memory limit of the trial has been raised since."""
        if trial.failure != FailureReason.OUT_OF_MEMORY:
            return False
        kind, gib = self._usage_bound(trial)
        return gib < self._hard_limit(trial.strategy, kind)

    def _exceeded_memory(self, strategy: Strategy, history: Sequence[Trial]) -> str | None:
        for limit in self._limits(strategy, history):
            peak = self._model.peak(strategy, limit.kind)
            if peak.probability_below(limit.gib) < self._required_probability(limit, history):
                memory = "host memory" if limit.kind == "host" else "GPU memory"
                return (
                    f"predicted peak of {memory} is {peak.value:.2f} GiB "
                    f"({peak.low:.2f} to {peak.high:.2f}); {limit.source} is {limit.gib:.2f} GiB"
                )
        return None

    def _required_probability(self, limit: MemoryLimit, history: Sequence[Trial]) -> float:
        failures = self._model.out_of_memory_count if limit.is_hard else 0
        probability = MIN_FIT_PROBABILITY[min(failures, len(MIN_FIT_PROBABILITY) - 1)]
        skips = sum(
            1 for _ in takewhile(lambda t: t.failure == FailureReason.PREDICTED, reversed(history))
        )
        return probability * RELAX_FACTOR ** max(skips - RELAX_AFTER, 0)

    def _exceeded_time(self, strategy: Strategy) -> str | None:
        minutes = self._study.limits.minutes
        seconds = self._model.seconds(strategy)
        if minutes is None or seconds is None or seconds.low <= 60 * minutes:
            return None
        return (
            f"predicted to take {seconds.value:.0f} s ({seconds.low:.0f} to {seconds.high:.0f}); "
            f"the limit is {60 * minutes:.0f} s"
        )

    def _seconds(self, strategy: Strategy) -> float:
        estimate = self._model.seconds(strategy)
        return 0.0 if estimate is None else estimate.value

    # ------------------------------------------------------------------------------------ limits

    def _limits(self, strategy: Strategy, history: Sequence[Trial]) -> Iterator[MemoryLimit]:
        yield self._host_limit()
        yield from self._device_limit(strategy)
        default = next((t for t in history if t.origin == TrialOrigin.DEFAULT and t.metrics), None)
        kinds = {metric: kind for kind, metric in PEAK_METRICS.items()}
        for constraint in self._study.constraints:
            kind = kinds.get(constraint.metric)
            gib = constraint_bound(constraint, default)
            is_upper = constraint.operator[0] == "<"
            if kind in memory_kinds(strategy) and gib is not None and is_upper:
                yield MemoryLimit(kind, gib, f"the bound of {constraint}", is_hard=False)

    def _device_limit(self, strategy: Strategy) -> Iterator[MemoryLimit]:
        """The memory of all GPUs of ``strategy``: a peak is the sum over them. A model that is
        split keeps on the CPU what does not fit."""
        if str(strategy.get("placement", "single")).startswith("split"):
            return
        devices = map(self._host.device, required_resources(strategy).devices)
        gpus = [gpu for gpu in devices if gpu is not None and gpu.kind == "cuda" and gpu.usable_gib]
        if gpus:
            names = " and ".join(gpu.id for gpu in gpus)
            part = names if gpus[0].free_gib is None else f"the free memory of {names}"
            gib = DEVICE_SHARE * sum(gpu.usable_gib or 0.0 for gpu in gpus)
            yield MemoryLimit("device", gib, f"{DEVICE_SHARE:.0%} of {part}")

    def _host_limit(self) -> MemoryLimit:
        limit = self._study.limits.memory_gib
        if limit is not None:
            return MemoryLimit("host", limit, "the limit")
        share = HOST_SHARE * self._host.memory_gib / max(self._study.executor.workers, 1)
        return MemoryLimit("host", share, "the share of one trial in host memory")

    def _hard_limit(self, strategy: Strategy, kind: MemoryKind) -> float:
        """The limit beyond which a trial fails; host memory if the GPU's is unknown."""
        limits = [lim for lim in self._limits(strategy, ()) if lim.is_hard and lim.kind == kind]
        return min((limit.gib for limit in limits), default=self._host.memory_gib)

    def _usage_bound(self, trial: Trial) -> tuple[MemoryKind, float]:
        """Which memory an out-of-memory trial exhausted, and the GiB that it used at least: the
        limit at that time, or more where more was measured. With a GPU, it is the GPU's memory."""
        if trial.number not in self._usage_bounds:
            kind, result = memory_kinds(trial.strategy)[-1], self._load_trial(trial).result
            limits = result.environment.get(PREDICTIONS, {}).get("limits", {})
            limit = limits.get(PEAK_METRICS[kind], self._hard_limit(trial.strategy, kind))
            samples = [gib for _, gib in result.memory] if kind == "host" else []
            self._usage_bounds[trial.number] = kind, max(float(limit), *samples, 0.0)
        return self._usage_bounds[trial.number]

    def _fit(self, history: Sequence[Trial]) -> None:
        self._model.fit(history, self._usage_bound)


def find_faster(
    space: SearchSpace,
    strategy: Strategy,
    tried: Collection[str],
    seconds: Callable[[Strategy], float],
    limit: float,
) -> Strategy | None:
    """The untried strategy that takes at most ``limit`` seconds and differs in the fewest levers.

    Of several it is the slowest. The search is greedy: it changes one lever at a time, and goes on
    from the fastest neighbour. Returns ``None`` if :data:`MAX_CHANGED_LEVERS` changes do not do.
    """
    for _ in range(MAX_CHANGED_LEVERS):
        times = {neighbour: seconds(neighbour) for neighbour in _neighbours(space, strategy)}
        candidates = [n for n, time in times.items() if time <= limit and n.key not in tried]
        if candidates:
            return max(candidates, key=times.__getitem__)
        if not times:
            return None
        strategy = min(times, key=times.__getitem__)
    return None


def _neighbours(space: SearchSpace, strategy: Strategy) -> Iterator[Strategy]:
    """Strategies that differ in the setting of one lever."""
    settings = {dimension.lever: strategy[dimension.lever] for dimension in space.dimensions}
    for dimension in space.dimensions:
        for value in grid_values(dimension.domain, GRID_POINTS):
            neighbour = complete(space, {**settings, dimension.lever: value})
            if neighbour != strategy and excluded(space, neighbour) is None:
                yield neighbour
