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
from typing import Any, Protocol

from autotune.analysis.budget import Spent
from autotune.analysis.front import ALONE
from autotune.domain import (
    BESIDE,
    Completed,
    CurvePoint,
    Evidence,
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
)
from autotune.errors import StoreUnavailableError
from autotune.levers import hourly_usd, resources
from autotune.ports import Evaluate, Executor, Sampler, Store
from autotune.search import job_files, remeasure
from autotune.search.cache import NOTHING, Knowledge, Known, with_shared
from autotune.search.confirmation import CONFIRM, for_searching, next_confirmation
from autotune.search.early_stopping import Ceiling, Referee
from autotune.search.feasibility.filter import PREDICTED, Feasibility, with_foretold
from autotune.search.heartbeat import Patience, Pulse
from autotune.search.history import History
from autotune.search.no_improvement import on_plateau
from autotune.search.samplers.factored.score_bound import Ceilings
from autotune.search.warm_start import Origin, following, is_due

MEASURED_WHOLE = ("baseline", CONFIRM, ALONE)
"""Origins of trials that take no number from others."""

POLL_SECONDS = 1.0
"""How often a driver with nothing to do looks whether another driver's trial has ended."""


class Observer(Protocol):
    """Watches a search; must not change it."""

    def started(self, trial: Trial) -> None: ...
    def progressed(self, trial: Trial, point: CurvePoint) -> None: ...
    def finished(self, trial: Trial) -> None: ...


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
        ceiling: Ceiling | None = None,
        feasibility: Feasibility | None = None,
        begin_with: Origin | None = None,
    ) -> None:
        self.study, self.store, self.sampler, self.executor = study, store, sampler, executor
        self.host, self.directory, self.observer, self.now = host, directory, observer, now
        self.ended: str | None = None
        self._running: dict[int, Trial] = {}
        self._known: dict[int, Known] = {}
        """Of each running trial, who knows what it does not measure itself."""
        beside = study.executor.kind != "local" or study.executor.workers > 1
        self._knowledge = Knowledge(study, self._had_others_beside_it if beside else None)
        self._feasibility = feasibility
        self._reopened: set[int] = set()
        """Trials of earlier drivers that did not fit within a limit which has been raised since."""
        self._foretold: dict[int, Mapping[str, Any]] = {}
        """What was predicted of each running trial."""
        self._history = History(store, study.name)
        self._referee = Referee(study, store, self._history, ceiling or Ceilings(study))
        self._patience = Patience(outage_seconds)
        self._had_others: dict[int, bool] = {}
        self._begin_with = begin_with
        """The study whose trials are still to be taken over."""
        self._searched: str | None = None
        """Why nothing new is tried any more, though finalists may be run again."""
        self._nothing_left: tuple[int, str] | None = None
        """The revision of the study at which there was nothing to start, and why."""

    def run(self, evaluate: Evaluate) -> str:
        """Search until the budget ends; return why it ended."""
        with Pulse(self.store, self.study, lambda: tuple(self._running), self._run_again):
            self._queue_what_comes_first()
            self.executor.drive(self.ask, evaluate, self.tell, self.advise)
            while self._is_worth_driving_on():
                self.executor.drive(self.ask, evaluate, self.tell, self.advise)
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
                self._patience.rewarded()
                return job
        return None

    def tell(self, job: Job, outcome: Outcome) -> None:
        self._running.pop(job.trial, None)
        outcome = with_shared(outcome, self._known.pop(job.trial, NOTHING), job)
        outcome = self._honest_about_time(job, outcome)
        outcome = with_foretold(outcome, self._foretold.pop(job.trial, None))
        trial = self.store.finish(job.study, job.trial, outcome)
        job_files.write_result(job, trial)
        self.observer.finished(trial)

    def advise(self, job: Job, point: CurvePoint) -> str | None:
        self.store.report(job.study, job.trial, point)
        trial = self._running[job.trial]
        self.observer.progressed(trial, point)
        return self._referee.judge(trial, job, point, self._known.get(job.trial, NOTHING))

    # ---------------------------------------------------------------------------- what is next

    def _ask(self) -> Job | None:
        """Choose and claim, again where another driver was faster."""
        while True:
            self._take_over()
            history = self._history.refresh()
            open_trials = self._history.open()
            if remeasure.runs_alone(open_trials):
                return self._idle("a trial has the host to itself")
            reason, claims = self._exhausted(history)
            if reason is None and any(t.state is State.QUEUED for t in open_trials):
                trial = self.store.claim_next_queued(self.study.name)
            elif reason is None and (strategy := self._next(history)) is not None:
                trial = self._claim(strategy, "sampler", self.study.task.seed, history)
            elif _may_change_the_front(open_trials):
                return self._idle("what runs now may still change the front")
            elif claims := claims or self._affordable_claims(history):
                if any(trial.state is State.RUNNING for trial in open_trials):
                    return self._idle("what runs now ends before a trial has the host to itself")
                trial = self._claim(claims[0].strategy, ALONE, claims[0].seed, history)
            elif (again := self._confirmation(history)) is not None:
                self._searched = self._searched or reason or "the search is over"
                trial = self._claim(again[0], CONFIRM, again[1], history)
            else:
                over = self._spent(history).exhausted(self.study.budget)
                tried = "every strategy of the space has been tried"
                return self._idle(over or reason or self._searched or tried)
            if trial is not None:
                job = self._begin(trial, history)
                if (outcome := self._without_running(job, trial, history)) is None:
                    return job
                self.tell(job, outcome)

    def _next(self, history: Sequence[Trial]) -> Strategy | None:
        """What the sampler proposes, or something like it that fits in the time left."""
        known = history
        if self._reopened:
            known = [trial for trial in history if trial.number not in self._reopened]
        strategy = self.sampler.ask(known)
        if strategy is None or self._feasibility is None:
            return strategy
        if self._knowledge.of(strategy, self.study.task.seed).training is not None:
            return strategy  # seconds, at most for a probe
        minutes = self._spent(history).minutes_left(for_searching(self.study, history), strategy)
        fitting = self._feasibility.in_time(strategy, history, minutes)
        if fitting is None:
            self._searched = "no other strategy is predicted to fit in the budget that is left"
        return fitting

    def _without_running(self, job: Job, trial: Trial, history: Sequence[Trial]) -> Outcome | None:
        """What becomes of a trial of which all is known, or that is predicted not to fit."""
        if not job.measure:
            return Completed(Evidence())
        if self._feasibility is None or trial.origin != "sampler":
            return None
        return self._feasibility.judge(trial.strategy, history, job.measure)

    def _idle(self, why: str) -> Job | None:
        """Note why, as the study is now."""
        self._nothing_left = self._history.revision, why
        return None

    def _begin(self, trial: Trial, history: Sequence[Trial]) -> Job:
        known = NOTHING
        if trial.origin not in MEASURED_WHOLE:
            known = self._knowledge.learn(self._history.news()).of(trial.strategy, trial.seed)
        if self._feasibility is not None:
            foretold = self._feasibility.foretell(trial.strategy, history)
            self._foretold[trial.number] = foretold
            trial = replace(trial, evidence=Evidence(environment={PREDICTED: foretold}))
        self._running[trial.number], self._known[trial.number] = trial, known
        self.observer.started(trial)
        job = replace(self._job(trial, history), measure=known.to_measure)
        job_files.write_job(job)
        return job

    def _claim(
        self, strategy: Strategy, origin: str, seed: int, history: Sequence[Trial], *,
        queue: bool = False,
    ) -> Trial | None:  # fmt: skip
        return self.store.claim(
            self.study.name, strategy, origin=origin, seed=seed, number=len(history), queue=queue
        )

    def _queue_what_comes_first(self) -> None:
        """The default, the user's own strategies, and whatever an earlier driver left undone."""
        seed = self.study.task.seed
        self._queue("baseline", self.study.baseline, seed)
        self._take_over()
        for strategy in self.study.start_with:
            self._queue("start_with", strategy, seed)
        history = self._history.refresh()
        self._run_again([trial for trial in history if _is_undone(trial)])
        if self._feasibility is not None:
            self._reopened = self._feasibility.reopened(history)

    def _run_again(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.origin != CONFIRM and not trial.imported:  # those come again in their turn
                self._queue("rerun", trial.strategy, trial.seed)

    def _queue(self, origin: str, strategy: Strategy, seed: int) -> None:
        """Queue a strategy, unless it is queued, runs, or has been run."""
        if strategy == self.study.baseline:
            origin = "baseline"
        while True:
            history = self._history.refresh()
            known = {(t.strategy.key, t.seed) for t in history if _is_tried(t)}
            if (strategy.key, seed) in known:
                return
            if self._claim(strategy, origin, seed, history, queue=True) is not None:
                return

    def _take_over(self) -> None:
        """Record the trials of the study that this one begins with, as soon as that can be done."""
        while self._begin_with is not None:
            history = self._history.refresh()
            if not is_due(self._begin_with, self.study, history):
                return
            found = following(self._begin_with, self.study, history, self._hourly_usd)
            if found is None:
                self._begin_with = None
                return
            trial = self._claim(found.strategy, found.origin, found.seed, history)
            if trial is not None:
                self.store.finish(self.study.name, trial.number, found.outcome)

    def _is_worth_driving_on(self) -> bool:
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
            test=trial.origin == CONFIRM,
        )

    # ------------------------------------------------------------------------------- the budget

    def _exhausted(self, history: Sequence[Trial]) -> tuple[str | None, Sequence[Trial]]:
        """Why the search starts nothing new, and which trials are to be run again alone, where
        time or money has to be kept for them."""
        used, budget = self._spent(history), for_searching(self.study, history)
        seconds = 0.0 if budget.minutes is None else used.seconds  # each takes a look at all trials
        usd = 0.0 if budget.usd is None else used.usd
        late = remeasure.is_late(budget, seconds, usd)
        claims = self._affordable_claims(history) if late else ()
        reason = used.exhausted(remeasure.without(budget, claims))
        return self._searched or reason or on_plateau(self.study, history), claims

    def _affordable_claims(self, history: Sequence[Trial]) -> Sequence[Trial]:
        """Trials to be run again alone, while there is time and money for it."""
        budget = replace(for_searching(self.study, history), trials=None)
        if self._spent(history).exhausted(budget) is not None:
            return ()
        return remeasure.to_measure_alone(self.study, history, self._had_others_beside_it)

    def _had_others_beside_it(self, number: int) -> bool:
        if number not in self._had_others:
            environment = self.store.trial(self.study.name, number).evidence.environment
            self._had_others[number] = BESIDE in environment
        return self._had_others[number]

    def _confirmation(self, history: Sequence[Trial]) -> tuple[Strategy, int] | None:
        """The finalist to run again next, while there is anything of the budget left."""
        if self._spent(history).exhausted(self.study.budget) is not None:
            return None
        return next_confirmation(self.study, history)

    def _spent(self, history: Sequence[Trial]) -> Spent:
        return Spent(history, self.now(), self._hourly_usd, self._history.counted)

    def _hourly_usd(self, strategy: Strategy) -> float | None:
        return hourly_usd(strategy, self.host, self.study.prices)

    def _limits(self, trial: Trial, history: Sequence[Trial]) -> Limits:
        """A trial may outlast neither the time nor the money of the study, whatever its own limit;
        nor what is set aside for confirming, unless it confirms."""
        budget, used = self.study.budget, self._spent(history)
        if trial.origin != CONFIRM:
            budget = for_searching(self.study, history)
        bounds = [self.study.limits.minutes, used.minutes_left(budget, trial.strategy)]
        known = [minutes for minutes in bounds if minutes is not None]
        return replace(self.study.limits, minutes=min(known) if known else None)

    def _honest_about_time(self, job: Job, outcome: Outcome) -> Outcome:
        """Running out of the study's time or money says nothing against the strategy."""
        cut_short = job.limits.minutes != self.study.limits.minutes
        if isinstance(outcome, Infeasible) and outcome.kind == "timeout" and cut_short:
            if job.test:
                self.stop("the budget of time or money ended while a finalist was confirmed")
            self._searched = "the budget of time or money ended during a trial"
            return Interrupted("the search's budget ended", outcome.evidence)
        return outcome


def _is_tried(trial: Trial) -> bool:
    """Whether nobody has to run a trial's strategy any more, or somebody is about to."""
    return not _is_undone(trial) and trial.origin not in ("confirm", "prior")


def _may_change_the_front(open_trials: Sequence[Trial]) -> bool:
    """Whether a trial runs that is no repetition. Until it ends nobody need look for the front, of
    which a crowd of workers would ask over and over."""
    return any(t.state is State.RUNNING and t.origin != CONFIRM for t in open_trials)


def _is_undone(trial: Trial) -> bool:
    """Whether a trial ended without a verdict on its strategy, which may be run again."""
    return trial.state is State.INTERRUPTED or trial.kind == "infrastructure"
