"""A trial: the job, how it can end, and the record of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from autotune.domain.host import Resources
from autotune.domain.result import TrialResult
from autotune.domain.strategy import Strategy
from autotune.domain.study import Limits, Task


class State(StrEnum):
    """Where a trial is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def finished(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)


class Phase(StrEnum):
    """What a trial runs, and what has to run for a metric to be known."""

    PROFILE = "profile"
    """Timed windows of training and inference: speed and memory, in seconds."""
    TRAIN = "train"
    """The whole fine-tune and its evaluation: scores."""
    RUN = "run"
    """Both: the time or the money of a whole fine-tune at the profiled speed."""


PHASES = (Phase.PROFILE, Phase.TRAIN)
"""The phases of a trial, in the order in which they run."""


class TrialOrigin(StrEnum):
    """Why a trial exists."""

    DEFAULT = "baseline"
    """The default strategy of the study."""
    ENQUEUED = "start_with"
    """A strategy that the study file names."""
    SAMPLED = "sampler"
    """Proposed by the sampler."""
    RETRY = "rerun"
    """A strategy whose earlier trial was interrupted, or failed through no fault of its own."""
    CONFIRMATION = "confirm"
    """A finalist again with another seed, evaluated on the test split."""
    ISOLATED_RERUN = "isolated"
    """A result again with nothing else running on the host."""
    IMPORTED = "imported"
    """A result of another study on a host like this one."""
    TRANSFERRED = "transferred"
    """A result from another kind of host: prior knowledge for the sampler, no result here."""


class FailureReason(StrEnum):
    """Why a trial has no result."""

    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    NAN_LOSS = "nan_loss"
    UNSUPPORTED = "unsupported"
    """This host or model cannot run the strategy."""
    PREDICTED = "predicted"
    """Predicted not to fit in memory or time, and therefore not run."""
    ERROR = "error"
    """An exception that nothing above explains."""
    CRASH = "crash"
    """The worker ended by a signal or without a result."""
    INFRASTRUCTURE = "infrastructure"
    """The machine, not the strategy: run again elsewhere."""


@dataclass(frozen=True)
class Completed:
    """The trial ran to its end."""

    result: TrialResult
    state: ClassVar[State] = State.COMPLETE


@dataclass(frozen=True)
class Pruned:
    """The trial was stopped early because it could no longer matter; ``reason`` says why."""

    reason: str
    result: TrialResult = field(default_factory=TrialResult)
    state: ClassVar[State] = State.PRUNED


@dataclass(frozen=True)
class Infeasible:
    """The strategy cannot work here: a result with a reason, which teaches the search."""

    failure: FailureReason
    reason: str
    result: TrialResult = field(default_factory=TrialResult)
    state: ClassVar[State] = State.INFEASIBLE


@dataclass(frozen=True)
class Failed:
    """Something broke: an exception, a signal, or the machine."""

    failure: FailureReason
    reason: str
    result: TrialResult = field(default_factory=TrialResult)
    state: ClassVar[State] = State.FAILED


@dataclass(frozen=True)
class Interrupted:
    """The driver went away or was told to stop; the strategy is run again on resume."""

    reason: str
    result: TrialResult = field(default_factory=TrialResult)
    state: ClassVar[State] = State.INTERRUPTED


Outcome = Completed | Pruned | Infeasible | Failed | Interrupted


@dataclass(frozen=True)
class Trial:
    """One strategy, tried once. ``result`` may come without raw samples when many are listed.

    ``seed`` drives data order and initialisation. ``failure`` classifies why there is no result,
    ``reason`` says it in words.
    """

    number: int
    state: State
    strategy: Strategy
    seed: int = 0
    origin: TrialOrigin = TrialOrigin.SAMPLED
    failure: FailureReason | None = None
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: TrialResult = field(default_factory=TrialResult)

    @property
    def metrics(self) -> dict[str, float]:
        """Values by metric name: those measured."""
        return {name: m.value for name, m in self.result.measurements.items()}

    def metric(self, name: str) -> float | None:
        measurement = self.result.measurements.get(name)
        return None if measurement is None else measurement.value

    @property
    def imported(self) -> bool:
        """Whether it ran in another study and costs this one nothing."""
        return self.origin in (TrialOrigin.IMPORTED, TrialOrigin.TRANSFERRED)

    @property
    def is_result(self) -> bool:
        """Whether it can be a point of the front: neither a confirmation, which is evaluated on
        other examples, nor transferred from another host."""
        return self.origin not in (TrialOrigin.CONFIRMATION, TrialOrigin.TRANSFERRED)

    @property
    def is_confirmation(self) -> bool:
        return self.origin == TrialOrigin.CONFIRMATION

    @property
    def is_informative(self) -> bool:
        """Whether it says anything about its strategy; if not, the strategy may be run again."""
        return self.state is not State.INTERRUPTED and self.failure != FailureReason.INFRASTRUCTURE

    @property
    def counts_against_budget(self) -> bool:
        """Whether it uses up one of the study's trials: it ran something new here."""
        if self.state in (State.QUEUED, State.INTERRUPTED):
            return False
        if self.failure == FailureReason.PREDICTED or self.imported:
            return False
        return self.origin != TrialOrigin.ISOLATED_RERUN and not self.is_fully_cached

    @property
    def is_fully_cached(self) -> bool:
        """Whether it measured nothing itself: all its numbers are those of other trials."""
        return self.state is State.COMPLETE and all(
            measurement.source is not None for measurement in self.result.measurements.values()
        )

    @property
    def uses_cache(self) -> bool:
        """Whether it may take numbers from other trials instead of measuring them."""
        return self.origin not in (
            TrialOrigin.DEFAULT,
            TrialOrigin.CONFIRMATION,
            TrialOrigin.ISOLATED_RERUN,
        )

    @property
    def may_be_stopped(self) -> bool:
        """Whether early stopping applies; trials that somebody asked for run to their end."""
        return self.origin in (TrialOrigin.SAMPLED, TrialOrigin.RETRY)

    @property
    def seconds(self) -> float | None:
        """Wall-clock from start to finish; ``None`` while it runs."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def finished(self, outcome: Outcome, at: datetime) -> Trial:
        """This trial, ended with ``outcome``."""
        return replace(
            self,
            state=outcome.state,
            failure=getattr(outcome, "failure", None),
            reason=getattr(outcome, "reason", None),
            finished_at=at,
            result=outcome.result,
        )


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to run one trial.

    ``directory`` is the folder of the trial (log, artifacts). ``hourly_usd`` is the price of its
    resources. ``cores`` are the CPU ids that the executor reserved for it; empty for any.
    ``phases`` lists the phases to run; the results of the others are reused from trials with the
    same phase key. ``on_test_split``: evaluate the model on the test split instead of validation.
    ``plugins`` are loaded first (:func:`autotune.plugins.load`).
    """

    study: str
    trial: int
    strategy: Strategy
    task: Task
    seed: int
    resources: Resources
    limits: Limits
    directory: str
    hourly_usd: float | None = None
    cores: tuple[int, ...] = ()
    phases: tuple[Phase, ...] = PHASES
    on_test_split: bool = False
    plugins: tuple[str, ...] = ()
