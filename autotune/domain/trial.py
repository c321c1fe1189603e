"""A trial: its state, origin, phases and outcome, and the job that runs it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from autotune.domain.host import Resources
from autotune.domain.result import SavedModel, TrialResult
from autotune.domain.strategy import Strategy
from autotune.domain.study import Limits, Study, Task


class State(StrEnum):
    """The state of a trial."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_finished(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)


class Phase(StrEnum):
    """A part of a trial. A metric belongs to the phase that measures it."""

    PROFILE = "profile"
    """Short timed windows of training and inference: speed and memory."""
    TRAIN = "train"
    """The full training run and its evaluation: scores."""
    DEPLOY = "deploy"
    """The trained model as it will serve: its size, latency, throughput and scores."""
    RUN = "run"
    """Profile and train: time, cost and energy of a full training run at the profiled speed."""


PHASES = (Phase.PROFILE, Phase.TRAIN, Phase.DEPLOY)
"""The phases of a trial, in the order in which they run."""

TRAINING_PHASES = (Phase.PROFILE, Phase.TRAIN)
"""The phases of a trial of a study that does not deploy models."""


def study_phases(study: Study) -> tuple[Phase, ...]:
    """The phases of the trials of ``study``."""
    return PHASES if study.deploys else TRAINING_PHASES


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
    CONTINUED = "continued"
    """The rest of a training run that was paused in an earlier trial."""
    REPLICATE = "replicate"
    """A strategy near a bound again, with another seed, evaluated on the validation split."""
    CONFIRMATION = "confirm"
    """A re-run of a finalist with another seed, evaluated on the test split."""
    ISOLATED_RERUN = "isolated"
    """A re-run of a result with nothing else running on the host."""
    IMPORTED = "imported"
    """A result of another study on an equal host."""
    TRANSFERRED = "transferred"
    """A result from another host: a prior for the sampler, not a result of this study."""


class FailureReason(StrEnum):
    """Why a trial has no result."""

    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    NAN_LOSS = "nan_loss"
    UNSUPPORTED = "unsupported"
    """This host or model cannot run the strategy."""
    DEPLOYMENT = "deployment"
    """The trained model cannot be deployed with these settings. Its training has a result."""
    PREDICTED = "predicted"
    """Not run, because it was predicted to exceed memory or time."""
    ERROR = "error"
    """Any other exception."""
    CRASH = "crash"
    """The worker was killed by a signal or exited without a result."""
    INFRASTRUCTURE = "infrastructure"
    """A fault of the machine and not of the strategy, which is run again."""


class PauseReason(str):
    """A reason to stop a trial whose training run may be continued: it leaves a checkpoint."""

    __slots__ = ()


LOG_NOTE = "; log at "
"""Separates what failed from the path of the log in the reason of a failure."""


@dataclass(frozen=True)
class Completed:
    """The trial ran to its end."""

    result: TrialResult
    state: ClassVar[State] = State.COMPLETE


@dataclass(frozen=True)
class Pruned:
    """The trial was stopped early; ``reason`` says why."""

    reason: str
    result: TrialResult = field(default_factory=TrialResult)
    state: ClassVar[State] = State.PRUNED


@dataclass(frozen=True)
class Infeasible:
    """The strategy cannot run here. The sampler learns from it."""

    failure: FailureReason
    reason: str
    result: TrialResult = field(default_factory=TrialResult)
    state: ClassVar[State] = State.INFEASIBLE


@dataclass(frozen=True)
class Failed:
    """The trial ended with an exception, a signal, or a fault of the machine."""

    failure: FailureReason
    reason: str
    result: TrialResult = field(default_factory=TrialResult)
    state: ClassVar[State] = State.FAILED


@dataclass(frozen=True)
class Interrupted:
    """The driver died or was stopped; the strategy is run again on resume."""

    reason: str
    result: TrialResult = field(default_factory=TrialResult)
    state: ClassVar[State] = State.INTERRUPTED


Outcome = Completed | Pruned | Infeasible | Failed | Interrupted


@dataclass(frozen=True)
class Trial:
    """One run of one strategy.

    ``seed`` determines data order and initialisation. ``failure`` classifies why there is no
    result, and ``reason`` describes it. ``result`` has no raw samples when many trials are listed.
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
        """The values of all measured metrics by name."""
        return {name: m.value for name, m in self.result.measurements.items()}

    def metric(self, name: str) -> float | None:
        measurement = self.result.measurements.get(name)
        return None if measurement is None else measurement.value

    @property
    def is_imported(self) -> bool:
        """Whether it ran in another study."""
        return self.origin in (TrialOrigin.IMPORTED, TrialOrigin.TRANSFERRED)

    @property
    def is_result(self) -> bool:
        """Whether it can be on the front. Replicates cannot, because the luckiest of several seeds
        would be; confirmations cannot, because they are evaluated on other samples; transferred
        trials cannot, because they ran on another host."""
        return not self.has_another_seed and self.origin is not TrialOrigin.TRANSFERRED

    @property
    def has_another_seed(self) -> bool:
        """Whether it repeats an earlier trial with a seed that is not the study's."""
        return self.origin in (TrialOrigin.REPLICATE, TrialOrigin.CONFIRMATION)

    @property
    def is_confirmation(self) -> bool:
        return self.origin == TrialOrigin.CONFIRMATION

    @property
    def is_informative(self) -> bool:
        """Whether its outcome says anything about its strategy; if not, the strategy can be run
        again."""
        return self.state is not State.INTERRUPTED and self.failure != FailureReason.INFRASTRUCTURE

    @property
    def counts_against_budget(self) -> bool:
        """Whether it counts as a trial of the budget: it measured something new in this study. A
        trial that was lost with its machine does not count, because it is run again; a retry that
        is lost too does, and so do confirmations and replicates, which are proposed again, so that
        a search on a broken machine ends."""
        if self.state in (State.QUEUED, State.INTERRUPTED):
            return False
        is_repeated = self.origin is TrialOrigin.RETRY or self.has_another_seed
        if self.failure == FailureReason.INFRASTRUCTURE and not is_repeated:
            return False
        if self.failure == FailureReason.PREDICTED or self.is_imported:
            return False
        if self.origin in (TrialOrigin.ISOLATED_RERUN, TrialOrigin.CONTINUED):
            return False
        return not self.is_fully_cached

    @property
    def is_fully_cached(self) -> bool:
        """Whether all its measurements are those of other trials."""
        return self.state is State.COMPLETE and all(
            measurement.source is not None for measurement in self.result.measurements.values()
        )

    @property
    def uses_cache(self) -> bool:
        """Whether it can reuse results of other trials instead of measuring."""
        return self.origin not in (
            TrialOrigin.DEFAULT,
            TrialOrigin.CONTINUED,
            TrialOrigin.CONFIRMATION,
            TrialOrigin.ISOLATED_RERUN,
        )

    @property
    def may_be_stopped(self) -> bool:
        """Whether early stopping applies. Trials that the user requested run to their end."""
        origins = (TrialOrigin.SAMPLED, TrialOrigin.RETRY, TrialOrigin.CONTINUED)
        return self.origin in origins

    @property
    def seconds(self) -> float | None:
        """Wall-clock time from start to finish; ``None`` while it runs."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def is_continuation(self) -> bool:
        """Whether a complete trial that trained ran only the rest of a training run that an earlier
        trial began: it took less time than the whole training."""
        training = self.metric("train_seconds") or 0.0
        return self.origin is TrialOrigin.CONTINUED or (self.seconds or training) < training

    def finish(self, outcome: Outcome, time: datetime) -> Trial:
        """This trial with its outcome."""
        return replace(
            self,
            state=outcome.state,
            failure=getattr(outcome, "failure", None),
            reason=getattr(outcome, "reason", None),
            finished_at=time,
            result=outcome.result,
        )


@dataclass(frozen=True)
class Teacher:
    """The trial whose trained model others learn from: its number, its task, and its model with the
    folder that contains it."""

    trial: int
    task: Task
    model: SavedModel
    folder: str


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to run one trial.

    ``directory`` is the folder of the trial (log, artifacts). ``hourly_usd`` is the price of its
    resources. ``cores`` are the CPU ids that the executor reserved for it; empty for any.
    ``phases`` lists the phases to run; the results of the others are reused from trials with the
    same phase key. ``on_test_split``: evaluate the model on the test split instead of validation.
    ``plugins`` are loaded first (:func:`autotune.plugins.load`). ``continues`` lists the folders of
    earlier runs of this trial, the latest first: training continues at their checkpoint.
    ``keeps_model``: leave the trained model in the folder of the trial. ``model`` is that of an
    earlier trial, in ``model_folder``, which is deployed instead of training. ``serving_usd`` is
    the hourly price of what serves the deployed model. ``teacher`` is the trial whose logits the
    model learns, unless the task names a teacher.
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
    phases: tuple[Phase, ...] = TRAINING_PHASES
    on_test_split: bool = False
    plugins: tuple[str, ...] = ()
    continues: tuple[str, ...] = ()
    keeps_model: bool = False
    model: SavedModel | None = None
    model_folder: str | None = None
    serving_usd: float | None = None
    teacher: Teacher | None = None
