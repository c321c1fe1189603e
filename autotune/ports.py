"""The interfaces of autotune: `Sampler`, `Executor`, `Store`, `Observer`, `Exporter`.

Each is a Protocol. The first three have a contract suite in ``tests/contracts`` that runs over
every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

from autotune.domain import (
    CurvePoint,
    Job,
    Outcome,
    SearchStatus,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    WorkloadProfile,
)
from autotune.domain.search_status import current_status

P = ParamSpec("P")
T = TypeVar("T")

Clock = Callable[[], datetime]
"""Returns the current time, with a time zone."""

Ask = Callable[[], Job | None]
"""The next job, or ``None`` when there is nothing to start now."""

Report = Callable[[CurvePoint], str | None]
"""Called by a running trial. At a rung (a point with metrics) it can return a reason to stop; a
:class:`~autotune.domain.PauseReason` asks the trial to leave a checkpoint."""

Evaluate = Callable[[Job, Report], Outcome]
"""Runs one job in the calling process. Must be importable by name: workers import it."""

Tell = Callable[[Job, Outcome], None]
"""Takes the outcome of a job. Called in the driver, once per job, never concurrently."""

ShouldStop = Callable[[Job, CurvePoint], str | None]
"""The driver's side of :data:`Report`: a reason to stop the job at this point, or ``None``."""


@dataclass(frozen=True)
class Proposal:
    """A strategy to try, with the reason for it and the seed.

    ``outcome`` is set if it follows without running the trial.
    """

    strategy: Strategy
    origin: TrialOrigin
    seed: int
    outcome: Outcome | None = None


@dataclass(frozen=True)
class StudyOverview:
    """One row of a list of studies.

    ``heartbeat_at`` is the latest heartbeat of a running trial, ``started_at`` the start of the
    first trial, ``revision`` the cursor for :meth:`Store.trials_since`, ``search`` what a driver
    recorded last; see :meth:`status`.
    """

    study: Study
    created_at: datetime
    changed_at: datetime
    revision: int
    counts: Mapping[State, int]
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    search: SearchStatus | None = None

    def status(self, now: datetime) -> SearchStatus | None:
        """Whether the search runs at ``now``, or how its last session ended; ``None`` if it has
        not begun, or ended before that was recorded."""
        last_sign = max(filter(None, (self.changed_at, self.heartbeat_at)))
        seconds = self.study.executor.takeover_seconds
        return current_status(self.search, self.counts, last_sign, now, seconds)

    @property
    def finished_trials(self) -> int:
        """The number of trials that have ended, whatever their outcome."""
        return sum(count for state, count in self.counts.items() if state.is_finished)


@runtime_checkable
class Sampler(Protocol):
    """Proposes strategies. Its state is a pure function of the trials it is given."""

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy to try; ``None`` when the space is exhausted.

        ``history`` holds every trial of the study, running and queued ones too, in order of number.
        A strategy in it is not proposed again unless its trial was transferred from another host.
        The same history gives the same strategy.
        """


@runtime_checkable
class Executor(Protocol):
    """Runs jobs in processes of their own and survives their crashes."""

    @property
    def clock(self) -> Clock | None:
        """The clock of an executor that simulates time; ``None`` in real time."""

    @property
    def workload(self) -> WorkloadProfile | None:
        """The recorded workload of an executor that replays trials and has no model or data;
        ``None`` where model and data are loaded."""

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, should_stop: ShouldStop) -> None:
        """Ask for jobs while workers are idle, run each and tell each outcome. Returns when ``ask``
        returns ``None`` and no job is running. Every job is told exactly once."""

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` once in a worker like those that run trials, and return its result.
        An :class:`~autotune.errors.AutotuneError` raised there is raised here."""

    def stop(self) -> None:
        """End running jobs now as ``Interrupted``. Safe from a signal handler or thread."""

    def close(self) -> None:
        """Leave no process behind. Idempotent."""


@runtime_checkable
class Observer(Protocol):
    """Watches a search. It must not change it."""

    def started(self, trial: Trial) -> None:
        """A trial has started."""

    def progressed(self, trial: Trial, point: CurvePoint) -> None:
        """A running trial has reported progress."""

    def finished(self, trial: Trial) -> None:
        """A trial has ended, whatever its outcome."""


class StoreReader(Protocol):
    """The part of a store that tables and reports need."""

    def study(self, name: str) -> Study:
        """The study of this name; :class:`~autotune.errors.NotFoundError` names the nearest."""

    def studies(self) -> Sequence[str]:
        """The names of all studies, oldest first."""

    def trials(self, study: str, *, states: Sequence[State] | None = None) -> Sequence[Trial]:
        """All trials in order of number, with measurements but without raw samples and curves."""

    def trial(self, study: str, number: int) -> Trial:
        """One trial with its complete result."""

    def curves(self, study: str) -> Mapping[int, Sequence[CurvePoint]]:
        """Learning curves by trial number, of all trials that reported a point."""

    def environment(self, study: str) -> Mapping[str, Any]:
        """The latest environment recorded for the study."""

    def search_status(self, study: str) -> SearchStatus | None:
        """Whether the study is searched, or how its last session ended; ``None`` if that was not
        recorded."""

    def close(self) -> None:
        """Release connections. Idempotent."""


@runtime_checkable
class Store(Protocol):
    """The single source of truth. Every method is one transaction."""

    def create_study(self, study: Study, environment: Mapping[str, Any]) -> None:
        """Record a new study and the environment it runs in. A name is used once."""

    def study(self, name: str) -> Study:
        """The study of this name; :class:`~autotune.errors.NotFoundError` names the nearest."""

    def studies(self) -> Sequence[str]:
        """The names of all studies, oldest first."""

    def studies_overview(self) -> Sequence[StudyOverview]:
        """All studies, oldest first, with the number of trials in each state."""

    def update_study(self, study: Study) -> None:
        """Replace what may change between sessions (budget, limits, prices, executor...)."""

    def record_search(self, study: str, status: SearchStatus) -> None:
        """Record that the study is searched now, or why the search ended."""

    def record_environment(self, study: str, environment: Mapping[str, Any]) -> None:
        """Record the environment of a further session."""

    @property
    def single_driver(self) -> bool:
        """Whether a study can have one driver at a time only."""

    def acquire_driver(self, study: str) -> AbstractContextManager[str]:
        """Be a driver of the study while the context lasts; yields the driver's name.

        :class:`~autotune.errors.UsageError` where another process drives a study that can have one
        driver only.
        """

    def interrupt_running(
        self, study: str, *, driver: str | None = None, stale_seconds: float | None = None
    ) -> Sequence[Trial]:
        """Mark running trials as interrupted and return them: those of ``driver``, those without a
        heartbeat for ``stale_seconds``, or all."""

    def claim(
        self, study: str, proposal: Proposal, *, number: int, queue: bool = False
    ) -> Trial | None:
        """Add trial ``number``, running or (``queue``) queued; ``None`` where ``number`` is not the
        next free one, because another driver has added a trial meanwhile."""

    def claim_next_queued(self, study: str) -> Trial | None:
        """Start the queued trial with the lowest number; ``None`` if none is queued."""

    def heartbeat(self, study: str, numbers: Collection[int] | None = None) -> None:
        """Record that the trials of this driver are alive: all of them, or ``numbers``."""

    def finish(self, study: str, number: int, outcome: Outcome) -> Trial:
        """Record the outcome of a running trial with its result."""

    def forget_model(self, study: str, number: int) -> None:
        """Record that the trained model of a finished trial is not kept any more. Idempotent."""

    def report(self, study: str, number: int, point: CurvePoint) -> None:
        """Add a point to the learning curve of a running trial."""

    def trials(self, study: str, *, states: Sequence[State] | None = None) -> Sequence[Trial]:
        """All trials in order of number, with measurements but without raw samples and curves.
        Confirmations have their correctness and the samples of their scores too, the first trials
        their correctness, and trials the digest of their saved model."""

    def trials_since(self, study: str, cursor: int = 0) -> tuple[Sequence[Trial], int]:
        """Trials added or changed since ``cursor`` in order of number, and the next cursor."""

    def trial(self, study: str, number: int) -> Trial:
        """One trial with its complete result."""

    def curves(self, study: str) -> Mapping[int, Sequence[CurvePoint]]:
        """Learning curves by trial number, of all trials that reported a point."""

    def progress(self, study: str) -> Mapping[int, CurvePoint]:
        """The latest point of each running trial that reported one, by trial number."""

    def environment(self, study: str) -> Mapping[str, Any]:
        """The latest environment recorded for the study."""

    def environments(self, study: str) -> Sequence[Mapping[str, Any]]:
        """The environments of all sessions of the study, oldest first."""

    def close(self) -> None:
        """Release connections. Idempotent."""


@runtime_checkable
class Exporter(Protocol):
    """Writes one trial as a folder that a trainer can run."""

    @property
    def name(self) -> str:
        """The name of the format."""

    def export(self, study: Study, trial: Trial, directory: Path) -> Sequence[Path]:
        """Write the folder and return the paths of its files."""
