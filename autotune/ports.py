"""The four doors of the search: what proposes, what runs, what remembers, what exports.

Each is a Protocol with one contract suite in ``tests/contracts``, run over every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

from autotune.domain import CurvePoint, Job, Outcome, State, Strategy, Study, Trial, TrialOrigin

P = ParamSpec("P")
T = TypeVar("T")

Ask = Callable[[], Job | None]
"""The next job, or ``None`` when there is nothing to start now."""

Report = Callable[[CurvePoint], str | None]
"""Called by a running trial. At a rung (a point with metrics) it may answer a reason to stop."""

Evaluate = Callable[[Job, Report], Outcome]
"""Runs one job where it is called. Must be importable by name: it travels to workers."""

Tell = Callable[[Job, Outcome], None]
"""Takes the outcome of a finished job. Called in the driver, once per job, never concurrently."""

ShouldStop = Callable[[Job, CurvePoint], str | None]
"""The driver's side of :data:`Report`: a reason to stop the job at this point, or ``None``."""


@runtime_checkable
class Sampler(Protocol):
    """Proposes strategies. Its state is a pure function of the trials it is shown."""

    def ask(self, history: Sequence[Trial]) -> Strategy | None:
        """The next strategy to try, never one already in ``history`` unless its origin is ``prior``
        (tried on another machine); ``None`` when the space is exhausted. ``history`` holds every
        trial of the study, running and queued ones too, in order of number. The same history gives
        the same strategy."""


@runtime_checkable
class Executor(Protocol):
    """Runs jobs in processes of their own and survives whatever happens to them."""

    def run(self, ask: Ask, evaluate: Evaluate, tell: Tell, advise: ShouldStop) -> None:
        """Ask for jobs while there is room, run each, tell each outcome; return when ``ask`` has
        nothing and nothing is running. Every job asked for is told exactly once."""

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` once in a worker like the ones that run trials, and return its result.
        An :class:`~autotune.errors.AutotuneError` raised there is raised here."""

    def stop(self) -> None:
        """End running jobs now (told as ``Interrupted``); safe from a signal handler or thread."""

    def close(self) -> None:
        """Leave no process behind. Idempotent."""


@runtime_checkable
class Store(Protocol):
    """The single truth. Every method is one transaction."""

    def create_study(self, study: Study, environment: Mapping[str, Any]) -> None:
        """Record a new study and the environment it runs in. A name is used once."""

    def study(self, name: str) -> Study:
        """The study of this name; :class:`~autotune.errors.NotFoundError` names the nearest."""

    def studies(self) -> Sequence[str]:
        """Names, oldest first."""

    def update_study(self, study: Study) -> None:
        """Replace what may change between sessions (budget, limits, prices, executor...)."""

    def record_environment(self, study: str, environment: Mapping[str, Any]) -> None:
        """Record what the study runs on in a further session."""

    def interrupt_running(
        self, study: str, *, driver: str | None = None, stale_seconds: float | None = None
    ) -> Sequence[Trial]:
        """Mark running trials that nobody runs any more as interrupted, and return them."""

    def enqueue(self, study: str, strategy: Strategy, *, origin: TrialOrigin, seed: int) -> Trial:
        """Add a trial in state ``queued`` with the next free number."""

    def start(
        self,
        study: str,
        strategy: Strategy,
        *,
        origin: TrialOrigin,
        seed: int,
        number: int | None = None,
    ) -> Trial:
        """Add a trial in state ``running`` with the next free number, or start the queued trial
        ``number``. Numbers count from 0 without gaps."""

    def claim(
        self,
        study: str,
        strategy: Strategy,
        *,
        origin: TrialOrigin,
        seed: int,
        number: int,
        queue: bool = False,
    ) -> Trial | None:
        """Add trial ``number``, running or queued; ``None`` where it is not the next free number,
        because another driver has added a trial meanwhile."""

    def claim_next_queued(self, study: str) -> Trial | None:
        """Start the queued trial of lowest number; ``None`` when none is queued."""

    def heartbeat(self, study: str, numbers: Collection[int] | None = None) -> None:
        """Say that the trials that this driver runs are alive: all of them, or ``numbers``."""

    def finish(self, study: str, number: int, outcome: Outcome) -> Trial:
        """Record the outcome of a running trial with all its evidence."""

    def report(self, study: str, number: int, point: CurvePoint) -> None:
        """Add a point to the learning curve of a running trial."""

    def trials(self, study: str, *, states: Sequence[State] | None = None) -> Sequence[Trial]:
        """All trials in order of number, with measurements but without raw samples and curves."""

    def trials_since(self, study: str, cursor: int = 0) -> tuple[Sequence[Trial], int]:
        """Trials added or changed since ``cursor`` in order of number, and the next cursor."""

    def trial(self, study: str, number: int) -> Trial:
        """One trial with everything that is known of it."""

    def curves(self, study: str) -> Mapping[int, Sequence[CurvePoint]]:
        """Learning curves by trial number, of all trials that reported a point."""

    def environment(self, study: str) -> Mapping[str, Any]:
        """The latest environment recorded for the study."""

    def environments(self, study: str) -> Sequence[Mapping[str, Any]]:
        """The environments of all sessions of the study, oldest first."""

    def close(self) -> None:
        """Release connections. Idempotent."""


@runtime_checkable
class Exporter(Protocol):
    """Writes one trial as a folder that a trainer runs."""

    @property
    def name(self) -> str:
        """What the user calls the format."""

    def export(self, study: Study, trial: Trial, directory: Path) -> Sequence[Path]:
        """Write the folder and return its files."""
