"""A trial: the job, how it can end, and the record of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from autotune.domain.host import Resources
from autotune.domain.result import Evidence
from autotune.domain.strategy import Strategy
from autotune.domain.study import Limits, Task


@dataclass(frozen=True)
class Completed:
    """The trial ran to its end."""

    evidence: Evidence


@dataclass(frozen=True)
class Pruned:
    """The trial was stopped early because it could no longer matter; ``reason`` says why."""

    reason: str
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Infeasible:
    """The strategy cannot work here: a result with a reason, which teaches the search.

    ``kind`` is one of ``out_of_memory timeout nan_loss unsupported predicted``.
    """

    kind: str
    reason: str
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Failed:
    """Something broke. ``kind`` is ``error`` (an exception), ``crash`` (a signal) or
    ``infrastructure`` (the machine: run again elsewhere, never held against the strategy)."""

    kind: str
    reason: str
    evidence: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class Interrupted:
    """The driver went away or was told to stop; the strategy is run again on resume."""

    reason: str
    evidence: Evidence = field(default_factory=Evidence)


Outcome = Completed | Pruned | Infeasible | Failed | Interrupted


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


STATE_OF: Mapping[type, State] = {
    Completed: State.COMPLETE,
    Pruned: State.PRUNED,
    Infeasible: State.INFEASIBLE,
    Failed: State.FAILED,
    Interrupted: State.INTERRUPTED,
}


@dataclass(frozen=True)
class Trial:
    """One strategy, tried once. ``evidence`` may come without raw samples when many are listed.

    ``origin`` says who asked for it: ``baseline``, ``start_with``, ``sampler``, ``rerun`` (of an
    interrupted trial), ``alone`` (with nothing beside it) or ``confirm``; or where it was run
    before: ``warm`` (another study on a machine like this) or ``prior`` (another machine, so that
    it is a hint for the sampler and no result). ``seed`` drives data order and initialisation.
    """

    number: int
    state: State
    strategy: Strategy
    seed: int = 0
    origin: str = "sampler"
    kind: str | None = None
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def metrics(self) -> dict[str, float]:
        """Values by metric name: those measured."""
        return {name: m.value for name, m in self.evidence.measurements.items()}

    def metric(self, name: str) -> float | None:
        measurement = self.evidence.measurements.get(name)
        return None if measurement is None else measurement.value

    @property
    def imported(self) -> bool:
        """Whether it ran in another study and costs this one nothing."""
        return self.origin in ("warm", "prior")

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
            state=STATE_OF[type(outcome)],
            kind=getattr(outcome, "kind", None),
            reason=getattr(outcome, "reason", None),
            finished_at=at,
            evidence=outcome.evidence,
        )


Part = Literal["speed", "training"]
"""Half of a trial: a speed probe, which takes seconds, or a whole fine-tune and its evaluation."""

PARTS: tuple[Part, ...] = ("speed", "training")


@dataclass(frozen=True)
class Job:
    """All that a worker needs to run one trial, wherever the worker is.

    ``directory`` is the trial's own folder (log, artifacts). ``hourly_usd`` is the price of the
    resources held. ``cores`` are the CPU ids the executor has set aside, empty for any. ``measure``
    says which parts run; the others' numbers are known from trials that agree on what matters.
    ``test`` judges the fine-tuned model on the test split in place of validation.
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
    measure: tuple[Part, ...] = PARTS
    test: bool = False
