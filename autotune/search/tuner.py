"""The one loop: ask, run, record, tell, until the budget ends.

The store is the truth. Whatever the tuner knows it reads from there, so a search that was killed
goes on where its last finished trial was recorded, and several drivers can work on one study: what
is started is claimed by its number, which fails where another driver has started one meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autotune.analysis.budget import BudgetUsage
from autotune.domain import (
    CONCURRENT_TRIALS,
    Completed,
    CurvePoint,
    FailureReason,
    Host,
    Infeasible,
    Interrupted,
    Job,
    Limits,
    Outcome,
    State,
    Strategy,
    Study,
    Trial,
    TrialOrigin,
    TrialResult,
)
from autotune.errors import StoreUnavailableError
from autotune.levers import hourly_usd, resources
from autotune.ports import Evaluate, Executor, Observer, Proposal, Sampler, Store
from autotune.search import job_files, remeasure
from autotune.search.cache import CACHE_MISS, CacheHit, ResultCache, merge_cached
from autotune.search.confirmation import next_confirmation, search_budget
from autotune.search.early_stopping import EarlyStopper, ScoreUpperBound
from autotune.search.feasibility.filter import PREDICTIONS, FeasibilityFilter, attach_predictions
from autotune.search.heartbeat import Heartbeat, OutageBackoff
from autotune.search.history import History
from autotune.search.no_improvement import on_plateau
from autotune.search.samplers.factored.score_bound import GpScoreUpperBound
from autotune.search.warm_start import SourceStudy, is_due, next_import

POLL_SECONDS = 1.0
"""How often a driver with nothing to do looks whether another driver's trial has ended."""


def _now() -> datetime:
    return datetime.now(UTC)


class Tuner:
    """One search session over one study. Executors call :meth:`ask` and :meth:`tell`.

    ``outage_seconds`` is how long a database may be away before the search gives up.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        sampler: Sampler,
        executor: Executor,
        host: Host,
        *,
        directory: Path,
        observer: Observer,
        now: Callable[[], datetime] = _now,
        outage_seconds: float = 0.0,
        ceiling: ScoreUpperBound | None = None,
        feasibility: FeasibilityFilter | None = None,
        begin_with: SourceStudy | None = None,
    ) -> None:
        self.study, self.store, self.sampler, self.executor = study, store, sampler, executor
        self.host, self.directory, self.observer, self.now = host, directory, observer, now
        self.ended: str | None = None
        self._running: dict[int, Trial] = {}
        self._known: dict[int, CacheHit] = {}
        """Of each running trial, who knows what it does not measure itself."""
        beside = study.executor.kind != "local" or study.executor.workers > 1
        self._knowledge = ResultCache(study, self._ran_concurrently if beside else None)
        self._feasibility = feasibility
        self._retryable: set[int] = set()
        """Trials of earlier drivers that did not fit within a limit which has been raised since."""
        self._foretold: dict[int, Mapping[str, Any]] = {}
        """What was predicted of each running trial."""
        self._history = History(store, study.name)
        self._referee = EarlyStopper(
            study, store, self._history, ceiling or GpScoreUpperBound(study)
        )
        self._patience = OutageBackoff(outage_seconds)
        self._had_others: dict[int, bool] = {}
        self._begin_with = begin_with
        """The study whose trials are still to be taken over."""
        self._search_end_reason: str | None = None
        """Why nothing new is tried any more, though finalists may be run again."""
        self._nothing_left: tuple[int, str] | None = None
        """The revision of the study at which there was nothing to start, and why."""

    def run(self, evaluate: Evaluate) -> str:
        """Search until the budget ends; return why it ended."""
        with Heartbeat(self.store, self.study, lambda: tuple(self._running), self._run_again):
            self._enqueue_initial()
            self.executor.run(self.ask, evaluate, self.tell, self.advise)
            while self._wait_for_others():
                self.executor.run(self.ask, evaluate, self.tell, self.advise)
        return self.ended or (self._nothing_left or (0, "stopped"))[1]

    def stop(self, reason: str) -> None:
        """Start nothing more; what runs is finished and recorded."""
        self.ended = self.ended or reason
        self._patience.end()

    # ------------------------------------------------------------------------- the loop's steps

    def ask(self) -> Job | None:
        self._nothing_left = None
        while self.ended is None:
            try:
                job = self._ask()
            except StoreUnavailableError as error:
                if self._running:
                    return None  # those are served meanwhile; their end asks again
                self._patience.wait(error)
            else:
                self._patience.reset()
                return job
        return None

    def tell(self, job: Job, outcome: Outcome) -> None:
        self._running.pop(job.trial, None)
        outcome = merge_cached(outcome, self._known.pop(job.trial, CACHE_MISS), job)
        outcome = self._reclassify_budget_timeout(job, outcome)
        outcome = attach_predictions(outcome, self._foretold.pop(job.trial, None))
        trial = self.store.finish(job.study, job.trial, outcome)
        job_files.write_result(job, trial)
        self.observer.finished(trial)

    def advise(self, job: Job, point: CurvePoint) -> str | None:
        self.store.report(job.study, job.trial, point)
        trial = self._running[job.trial]
        self.observer.progressed(trial, point)
        return self._referee.should_stop(trial, job, point, self._known.get(job.trial, CACHE_MISS))

    # ---------------------------------------------------------------------------- what is next

    def _ask(self) -> Job | None:
        """Choose and claim, again where another driver was faster."""
        while True:
            self._import_next()
            history = self._history.refresh()
            open_trials = self._history.unfinished()
            if remeasure.runs_alone(open_trials):
                return self._idle("a trial has the host to itself")
            reason, claims = self._exhausted(history)
            if reason is None and any(t.state is State.QUEUED for t in open_trials):
                trial = self.store.claim_next_queued(self.study.name)
            elif reason is None and (strategy := self._next(history)) is not None:
                trial = self._claim(strategy, TrialOrigin.SAMPLED, self.study.task.seed, history)
            elif _may_change_the_front(open_trials):
                return self._idle("what runs now may still change the front")
            elif claims := claims or self._affordable_claims(history):
                if any(trial.state is State.RUNNING for trial in open_trials):
                    return self._idle("what runs now ends before a trial has the host to itself")
                trial = self._claim(
                    claims[0].strategy, TrialOrigin.ISOLATED_RERUN, claims[0].seed, history
                )
            elif (again := self._confirmation(history)) is not None:
                self._search_end_reason = self._search_end_reason or reason or "the search is over"
                trial = self._claim(again[0], TrialOrigin.CONFIRMATION, again[1], history)
            else:
                over = self._spent(history).exhausted(self.study.budget)
                tried = "every strategy of the space has been tried"
                return self._idle(over or reason or self._search_end_reason or tried)
            if trial is not None:
                job = self._begin(trial, history)
                if (outcome := self._without_running(job, trial, history)) is None:
                    return job
                self.tell(job, outcome)

    def _next(self, history: Sequence[Trial]) -> Strategy | None:
        """What the sampler proposes, or something like it that fits in the time left."""
        known = history
        if self._retryable:
            known = [trial for trial in history if trial.number not in self._retryable]
        strategy = self.sampler.ask(known)
        if strategy is None or self._feasibility is None:
            return strategy
        if self._knowledge.of(strategy, self.study.task.seed).train is not None:
            return strategy  # seconds, at most for a probe
        minutes = self._spent(history).minutes_left(search_budget(self.study, history), strategy)
        fitting = self._feasibility.in_time(strategy, history, minutes)
        if fitting is None:
            self._search_end_reason = (
                "no other strategy is predicted to fit in the budget that is left"
            )
        return fitting

    def _without_running(self, job: Job, trial: Trial, history: Sequence[Trial]) -> Outcome | None:
        """What becomes of a trial of which all is known, or that is predicted not to fit."""
        if not job.phases:
            return Completed(TrialResult())
        if self._feasibility is None or trial.origin != TrialOrigin.SAMPLED:
            return None
        return self._feasibility.check(trial.strategy, history, job.phases)

    def _idle(self, why: str) -> Job | None:
        """Note why, as the study is now."""
        self._nothing_left = self._history.revision, why
        return None

    def _begin(self, trial: Trial, history: Sequence[Trial]) -> Job:
        known = CACHE_MISS
        if trial.uses_cache:
            known = self._knowledge.learn(self._history.drain_changes()).of(
                trial.strategy, trial.seed
            )
        if self._feasibility is not None:
            foretold = self._feasibility.predict(trial.strategy, history)
            self._foretold[trial.number] = foretold
            trial = replace(trial, result=TrialResult(environment={PREDICTIONS: foretold}))
        self._running[trial.number], self._known[trial.number] = trial, known
        self.observer.started(trial)
        job = replace(self._job(trial, history), phases=known.to_measure)
        job_files.write_job(job)
        return job

    def _claim(
        self, strategy: Strategy, origin: TrialOrigin, seed: int, history: Sequence[Trial], *,
        queue: bool = False,
    ) -> Trial | None:  # fmt: skip
        proposal = Proposal(strategy, origin, seed)
        return self.store.claim(self.study.name, proposal, number=len(history), queue=queue)

    def _enqueue_initial(self) -> None:
        """The default, the user's own strategies, and whatever an earlier driver left undone."""
        seed = self.study.task.seed
        self._queue(TrialOrigin.DEFAULT, self.study.baseline, seed)
        self._import_next()
        for strategy in self.study.start_with:
            self._queue(TrialOrigin.ENQUEUED, strategy, seed)
        history = self._history.refresh()
        self._run_again([trial for trial in history if _is_undone(trial)])
        if self._feasibility is not None:
            self._retryable = self._feasibility.retryable(history)

    def _run_again(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if not trial.is_confirmation and not trial.imported:  # those come again in their turn
                self._queue(TrialOrigin.RETRY, trial.strategy, trial.seed)

    def _queue(self, origin: TrialOrigin, strategy: Strategy, seed: int) -> None:
        """Queue a strategy, unless it is queued, runs, or has been run."""
        if strategy == self.study.baseline:
            origin = TrialOrigin.DEFAULT
        while True:
            history = self._history.refresh()
            known = {(t.strategy.key, t.seed) for t in history if _is_tried(t)}
            if (strategy.key, seed) in known:
                return
            if self._claim(strategy, origin, seed, history, queue=True) is not None:
                return

    def _import_next(self) -> None:
        """Record the trials of the study that this one begins with, as soon as that can be done."""
        while self._begin_with is not None:
            history = self._history.refresh()
            if not is_due(self._begin_with, self.study, history):
                return
            found = next_import(self._begin_with, self.study, history, self._hourly_usd)
            if found is None:
                self._begin_with = None
                return
            trial = self._claim(found.strategy, found.origin, found.seed, history)
            if trial is not None:
                self.store.finish(self.study.name, trial.number, found.outcome)

    def _wait_for_others(self) -> bool:
        """Wait while only other drivers run trials; whether their end, or an outage's, may leave
        something to start. Where one of them dies, its trials are run here."""
        while self.ended is None:
            try:
                history = self._history.refresh()
            except StoreUnavailableError as error:
                self._patience.wait(error)
                continue
            if self._nothing_left is None or self._nothing_left[0] != self._history.revision:
                return True
            if not any(trial.state is State.RUNNING for trial in history):
                return False
            self._patience.pause(POLL_SECONDS)
        return False

    def _job(self, trial: Trial, history: Sequence[Trial]) -> Job:
        return Job(
            study=self.study.name,
            trial=trial.number,
            strategy=trial.strategy,
            task=self.study.task,
            seed=trial.seed,
            resources=resources(trial.strategy),
            limits=self._limits(trial, history),
            directory=str(self.directory / self.study.name / f"{trial.number:04d}"),
            hourly_usd=self._hourly_usd(trial.strategy),
            on_test_split=trial.is_confirmation,
        )

    # ------------------------------------------------------------------------------- the budget

    def _exhausted(self, history: Sequence[Trial]) -> tuple[str | None, Sequence[Trial]]:
        """Why the search starts nothing new, and which trials are to be run again alone, where
        time or money has to be kept for them."""
        used, budget = self._spent(history), search_budget(self.study, history)
        seconds = 0.0 if budget.minutes is None else used.seconds  # each takes a look at all trials
        usd = 0.0 if budget.usd is None else used.usd
        late = remeasure.is_late(budget, seconds, usd)
        claims = self._affordable_claims(history) if late else ()
        reason = used.exhausted(remeasure.reserve(budget, claims))
        return self._search_end_reason or reason or on_plateau(self.study, history), claims

    def _affordable_claims(self, history: Sequence[Trial]) -> Sequence[Trial]:
        """Trials to be run again alone, while there is time and money for it."""
        budget = replace(search_budget(self.study, history), trials=None)
        if self._spent(history).exhausted(budget) is not None:
            return ()
        return remeasure.needs_isolated_rerun(self.study, history, self._ran_concurrently)

    def _ran_concurrently(self, number: int) -> bool:
        if number not in self._had_others:
            environment = self.store.trial(self.study.name, number).result.environment
            self._had_others[number] = CONCURRENT_TRIALS in environment
        return self._had_others[number]

    def _confirmation(self, history: Sequence[Trial]) -> tuple[Strategy, int] | None:
        """The finalist to run again next, while there is anything of the budget left."""
        if self._spent(history).exhausted(self.study.budget) is not None:
            return None
        return next_confirmation(self.study, history)

    def _spent(self, history: Sequence[Trial]) -> BudgetUsage:
        return BudgetUsage(history, self.now(), self._hourly_usd, self._history.counted)

    def _hourly_usd(self, strategy: Strategy) -> float | None:
        return hourly_usd(strategy, self.host, self.study.prices)

    def _limits(self, trial: Trial, history: Sequence[Trial]) -> Limits:
        """A trial may outlast neither the time nor the money of the study, whatever its own limit;
        nor what is set aside for confirming, unless it confirms."""
        budget, used = self.study.budget, self._spent(history)
        if not trial.is_confirmation:
            budget = search_budget(self.study, history)
        bounds = [self.study.limits.minutes, used.minutes_left(budget, trial.strategy)]
        known = [minutes for minutes in bounds if minutes is not None]
        return replace(self.study.limits, minutes=min(known) if known else None)

    def _reclassify_budget_timeout(self, job: Job, outcome: Outcome) -> Outcome:
        """Running out of the study's time or money says nothing against the strategy."""
        cut_short = job.limits.minutes != self.study.limits.minutes
        if (
            isinstance(outcome, Infeasible)
            and outcome.failure == FailureReason.TIMEOUT
            and cut_short
        ):
            if job.on_test_split:
                self.stop("the budget of time or money ended while a finalist was confirmed")
            self._search_end_reason = "the budget of time or money ended during a trial"
            return Interrupted("the search's budget ended", outcome.result)
        return outcome


def _is_tried(trial: Trial) -> bool:
    """Whether nobody has to run a trial's strategy any more, or somebody is about to."""
    return trial.is_informative and trial.is_result


def _may_change_the_front(open_trials: Sequence[Trial]) -> bool:
    """Whether a trial runs that is no repetition. Until it ends nobody need look for the front, of
    which a crowd of workers would ask over and over."""
    return any(t.state is State.RUNNING and not t.is_confirmation for t in open_trials)


def _is_undone(trial: Trial) -> bool:
    """Whether a trial ended without a verdict on its strategy, which may be run again."""
    return trial.state is State.INTERRUPTED or trial.failure == FailureReason.INFRASTRUCTURE
