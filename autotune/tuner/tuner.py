"""The search loop: choose a trial, run it, store its outcome, until the budget is used.

All state is in the store. A killed search continues after its last finished trial, and several
drivers can work on one study: a driver claims a trial by the next free number, which fails where
another driver has added a trial meanwhile.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from autotune.domain import (
    Completed,
    CurvePoint,
    FailureReason,
    Host,
    Job,
    Outcome,
    State,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.domain.clock import utc_now
from autotune.errors import StoreUnavailableError
from autotune.ports import Clock, Evaluate, Executor, Observer, Proposal, Sampler, Store
from autotune.trial.job_files import remove_checkpoints, write_job, write_result
from autotune.trial.model_files import delete_model
from autotune.tuner.early_stopping import EarlyStopper
from autotune.tuner.ending import describe_end
from autotune.tuner.failures import RepeatedFailures, is_resumable
from autotune.tuner.feasibility.filter import FeasibilityFilter
from autotune.tuner.heartbeat import Heartbeat, OutageBackoff
from autotune.tuner.retention import ModelRetention
from autotune.tuner.score_forecast import ScoreUpperBound
from autotune.tuner.sources import (
    Done,
    Imports,
    PausedTrials,
    SampledTrials,
    StartQueued,
    TrialQueue,
    TrialSources,
    Wait,
)
from autotune.tuner.started_trial import (
    StartedTrial,
    finalize,
    is_budget_timeout,
    start_trial,
    trial_folder,
)
from autotune.tuner.turn import Turn, TurnReader
from autotune.tuner.warm_start import SourceStudy

POLL_SECONDS = 1.0
"""How often an idle driver checks whether a trial of another driver has ended."""


@dataclass(frozen=True)
class Idle:
    """Why there was nothing to start at a revision of the study."""

    revision: int
    reason: str


class Tuner:
    """One session of a search. Executors call :meth:`ask`, :meth:`should_stop` and :meth:`tell`.

    Trials write their files below ``directory``. A database outage of more than ``outage_seconds``
    ends the search.
    """

    def __init__(
        self,
        reader: TurnReader,
        executor: Executor,
        sources: TrialSources,
        stopper: EarlyStopper,
        observer: Observer,
        *,
        directory: Path,
        outage_seconds: float = 0.0,
    ) -> None:
        self.study, self.store = reader.study, reader.store
        self._retention = ModelRetention(self.study, self.store, directory)
        self.stop_reason: str | None = None
        """Why this run starts nothing more."""
        self.failure: str | None = None
        """The failure that ended this run, if every trial would fail alike."""
        self.session_end: str | None = None
        """Why this run tries no new strategies; re-runs of the best trials can follow."""
        self.sources, self._reader, self._executor = sources, reader, executor
        self._stopper, self._observer, self._directory = stopper, observer, directory
        self._backoff = OutageBackoff(outage_seconds)
        self._started: dict[int, StartedTrial] = {}
        self._idle: Idle | None = None
        self._failures = RepeatedFailures()

    def run(self, evaluate: Evaluate) -> str:
        """Search until the budget is used; return the reason why it ended."""
        retry = self.sources.queue.retry
        with Heartbeat(self.store, self.study, lambda: tuple(self._started), retry):
            self.enqueue_initial()
            self._executor.run(self.ask, evaluate, self.tell, self.should_stop)
            while self._wait_for_others():
                self._executor.run(self.ask, evaluate, self.tell, self.should_stop)
        return self.stop_reason or (self._idle.reason if self._idle else "stopped")

    def stop(self, reason: str) -> None:
        """Start nothing more. Running trials are finished and stored."""
        self.stop_reason = self.stop_reason or reason
        self._backoff.cancel()

    def enqueue_initial(self) -> None:
        """Queue the default, the strategies of the study file that were not imported, and the
        trials that an earlier driver did not finish."""
        queue, baseline = self.sources.queue, self.study.baseline
        queue.add(baseline, TrialOrigin.DEFAULT)
        turn = self._reader.read()
        while (proposal := self.sources.imports.next(turn)) is not None:
            self._start(proposal, turn)
            turn = self._reader.read()
        for strategy in self.study.start_with:
            queue.add(strategy, TrialOrigin.ENQUEUED)
        turn = self._reader.read()
        queue.retry([t for t in turn.history if not t.is_informative])
        self.sources.sampled.begin(turn)

    def ask(self) -> Job | None:
        """The next job to run; ``None`` while there is nothing to start."""
        self._idle = None
        while self.stop_reason is None:
            try:
                turn = self._reader.read(self.session_end)
                choice = self._choose(turn)
                if isinstance(choice, Idle):
                    self._idle = choice
                    job = None
                else:
                    job = self._start(choice, turn)
            except StoreUnavailableError as error:
                if self._started:
                    return None  # the executor serves these, and asks again when one has ended
                self._backoff.wait(error)
            else:
                self._backoff.reset()
                if job is not None or self._idle is not None:
                    return job
        return None

    def should_stop(self, job: Job, point: CurvePoint) -> str | None:
        """Store the progress of a trial; return a reason to stop it, or ``None``."""
        started = self._started[job.trial]
        self.store.report(job.study, job.trial, point)
        self._observer.progressed(started.trial, point)
        return self._stopper.should_stop(started, point)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Store the outcome of a job."""
        started = self._started.pop(job.trial)
        if is_budget_timeout(outcome, started, self.study.limits):
            self.session_end = "the budget of time or money ended during a trial"
            if started.trial.is_confirmation:
                self.stop("the budget of time or money ended during a confirmation")
        outcome = finalize(outcome, started, self.study.limits)
        trial = self.store.finish(job.study, job.trial, outcome)
        write_result(job, trial)
        if not is_resumable(trial):
            for folder in (job.directory, *job.continues):
                remove_checkpoints(Path(folder))
        if trial.is_confirmation:
            self._discard_paused()
        if trial.result.model is None:  # a worker that was killed can have left one
            delete_model(Path(job.directory))
        if self.study.keeps_models:
            with suppress(StoreUnavailableError):  # the next trial enforces it
                self._retention.enforce(self._reader.history.refresh(), has_ended=False)
        self._observer.finished(trial)
        self._handle_failure(started, trial)

    def keep_models(self) -> str | None:
        """Delete the trained models that are not kept after the search; return what was deleted and
        what is kept, in words."""
        self._retention.enforce(self._reader.history.refresh(), has_ended=True)
        return self._retention.describe(self._reader.history.refresh())

    def _discard_paused(self) -> None:
        """Delete the checkpoints of paused trials: once finalists are confirmed, none goes on."""
        with suppress(StoreUnavailableError):  # the next confirmation does it
            for trial in self._reader.history.refresh():
                if trial.state is State.PRUNED:
                    remove_checkpoints(trial_folder(self._directory, self.study, trial))

    def _handle_failure(self, started: StartedTrial, trial: Trial) -> None:
        """Queue the trial once more after a fault of the machine; stop the search if the default
        failed, or if the last trials failed alike."""
        is_lost = trial.failure == FailureReason.INFRASTRUCTURE
        is_retried = is_lost and not started.is_second_run
        if is_retried:
            with suppress(StoreUnavailableError):  # the next session queues it
                self.sources.queue.retry([trial])
        self.failure = self._failures.add(trial, is_retried=is_retried) or self.failure
        if self.failure is not None:
            self.stop(self.failure)

    def _choose(self, turn: Turn) -> Proposal | StartQueued | Idle:
        """The choice of the first source that has one."""
        for source in self.sources:
            choice = source.next(turn)
            if isinstance(choice, Done):
                self.session_end = choice.reason
                return self._choose(replace(turn, session_end=choice.reason))
            if isinstance(choice, Wait):
                return Idle(turn.revision, choice.reason)
            if choice is not None:
                return choice
        return Idle(turn.revision, describe_end(turn, self.session_end))

    def _start(self, choice: Proposal | StartQueued, turn: Turn) -> Job | None:
        """Claim and start a trial; ``None`` if another driver was faster or nothing has to run."""
        trial = self._claim(choice, turn)
        if trial is None:
            return None
        outcome = choice.outcome if isinstance(choice, Proposal) else None
        if trial.is_imported and outcome is not None:
            self.store.finish(self.study.name, trial.number, outcome)
            return None
        started = start_trial(trial, turn, self._directory)
        self._started[trial.number] = started
        self._observer.started(started.trial)
        write_job(started.job)
        if outcome is None and not started.job.phases:
            outcome = Completed(TrialResult())  # all results are cached
        if outcome is None:
            return started.job
        self.tell(started.job, outcome)
        return None

    def _claim(self, choice: Proposal | StartQueued, turn: Turn) -> Trial | None:
        """Add the trial to the store as running; ``None`` if another driver was faster."""
        if isinstance(choice, StartQueued):
            return self.store.claim_next_queued(self.study.name)
        if choice.origin is TrialOrigin.CONFIRMATION:
            self.session_end = self.session_end or turn.search_end or "the search has ended"
        return self.store.claim(self.study.name, choice, number=len(turn.history))

    def _wait_for_others(self) -> bool:
        """Wait while only other drivers run trials; return whether there can be a trial to start:
        another driver has changed the study, or the database is back after an outage."""
        while self.stop_reason is None:
            try:
                snapshot = self._reader.history.snapshot()
            except StoreUnavailableError as error:
                self._backoff.wait(error)
                continue
            if self._idle is None or self._idle.revision != snapshot.revision:
                return True
            if not any(trial.state is State.RUNNING for trial in snapshot.unfinished):
                return False
            self._backoff.pause(POLL_SECONDS)
        return False


def make_tuner(
    study: Study,
    store: Store,
    sampler: Sampler,
    executor: Executor,
    host: Host,
    *,
    directory: Path,
    observer: Observer,
    clock: Clock = utc_now,
    outage_seconds: float = 0.0,
    feasibility: FeasibilityFilter | None = None,
    source: SourceStudy | None = None,
    score_bound: ScoreUpperBound | None = None,
    replicates: bool = True,
) -> Tuner:
    """The tuner of a stored study, with its trial sources.

    ``source`` is the study that this one starts from, ``score_bound`` the upper bound of scores
    that early stopping uses (by default a Gaussian process fitted to the trials). ``replicates``:
    whether strategies near a bound are run again with other seeds.
    """
    from autotune.tuner.samplers.factored.score_bound import GpScoreUpperBound

    reader = TurnReader(study, store, host, clock=clock, feasibility=feasibility)
    bound = score_bound or GpScoreUpperBound(study, study.workload)
    stopper = EarlyStopper(study, store, reader.history, bound)
    sources = TrialSources(
        imports=Imports(source),
        queue=TrialQueue(study, store, reader.history),
        paused=PausedTrials(study, store, stopper.outlook),
        sampled=SampledTrials(sampler),
        replicates=replicates,
    )
    return Tuner(
        reader,
        executor,
        sources,
        stopper,
        observer,
        directory=directory,
        outage_seconds=outage_seconds,
    )
