"""The one loop: ask, run, record, tell, until the budget ends.

The store is the truth. Whatever the tuner knows it reads from there, so a search that was killed
goes on where its last finished trial was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from autotune.domain import (
    CurvePoint,
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
from autotune.levers import hourly_usd, resources
from autotune.ports import Evaluate, Executor, Sampler, Store
from autotune.search.budget import spent, typical_seconds


class Observer(Protocol):
    """Watches a search; must not change it."""

    def started(self, trial: Trial) -> None: ...
    def progressed(self, trial: Trial, point: CurvePoint) -> None: ...
    def finished(self, trial: Trial) -> None: ...


def _now() -> datetime:
    return datetime.now(UTC)


class Tuner:
    """One search session over one study. Executors call :meth:`ask` and :meth:`tell`."""

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
    ) -> None:
        self.study, self.store, self.sampler, self.executor = study, store, sampler, executor
        self.host, self.directory, self.observer, self.now = host, directory, observer, now
        self.ended: str | None = None
        self._running: dict[int, Trial] = {}

    def run(self, evaluate: Evaluate) -> str:
        """Search until the budget ends; return why it ended."""
        self._queue_what_comes_first()
        self.executor.drive(self.ask, evaluate, self.tell, self.advise)
        return self.ended or "stopped"

    def stop(self, reason: str) -> None:
        """Start nothing more; what runs is finished and recorded."""
        self.ended = self.ended or reason

    # ------------------------------------------------------------------------- the loop's steps

    def ask(self) -> Job | None:
        history = self.store.trials(self.study.name)
        if self._ended(history):
            return None
        trial = self._next(history)
        if trial is None:
            self.stop("every strategy of the space has been tried")
            return None
        self._running[trial.number] = trial
        self.observer.started(trial)
        return self._job(trial, history)

    def tell(self, job: Job, outcome: Outcome) -> None:
        self._running.pop(job.trial, None)
        outcome = self._honest_about_time(job, outcome)
        self.observer.finished(self.store.finish(job.study, job.trial, outcome))

    def advise(self, job: Job, point: CurvePoint) -> str | None:
        self.store.report(job.study, job.trial, point)
        self.observer.progressed(self._running[job.trial], point)
        return None

    # ---------------------------------------------------------------------------- what is next

    def _queue_what_comes_first(self) -> None:
        """The default, the user's own strategies, and whatever an earlier driver left undone."""
        history = self.store.trials(self.study.name)
        known = {t.strategy.key for t in history if t.state is not State.INTERRUPTED}
        firsts = [("baseline", self.study.baseline)]
        firsts += [("start_with", strategy) for strategy in self.study.start_with]
        firsts += [("rerun", t.strategy) for t in history if t.state is State.INTERRUPTED]
        for origin, strategy in firsts:
            if strategy.key not in known:
                known.add(strategy.key)
                self._queue(strategy, origin)

    def _queue(self, strategy: Strategy, origin: str) -> None:
        if strategy == self.study.baseline:
            origin = "baseline"
        self.store.enqueue(self.study.name, strategy, origin=origin, seed=self.study.task.seed)

    def _next(self, history: Sequence[Trial]) -> Trial | None:
        """A queued trial first, else a new one for what the sampler proposes."""
        queued = next((t for t in history if t.state is State.QUEUED), None)
        if queued is not None:
            return self._start(queued.strategy, queued.origin, queued.seed, queued.number)
        strategy = self.sampler.ask(history)
        if strategy is None:
            return None
        return self._start(strategy, "sampler", self.study.task.seed, None)

    def _start(self, strategy: Strategy, origin: str, seed: int, number: int | None) -> Trial:
        return self.store.start(self.study.name, strategy, origin=origin, seed=seed, number=number)

    def _job(self, trial: Trial, history: Sequence[Trial]) -> Job:
        return Job(
            study=self.study.name,
            trial=trial.number,
            strategy=trial.strategy,
            task=self.study.task,
            seed=trial.seed,
            resources=resources(trial.strategy),
            limits=self._limits(history),
            directory=str(self.directory / self.study.name / f"{trial.number:04d}"),
            hourly_usd=hourly_usd(trial.strategy, self.host, self.study.prices),
            metrics=tuple(objective.metric for objective in self.study.objectives),
        )

    # ------------------------------------------------------------------------------- the budget

    def _ended(self, history: Sequence[Trial]) -> bool:
        used = spent(history, self.now())
        reason = used.exhausted(self.study.budget, typical_seconds(history))
        if reason is not None:
            self.stop(reason)
        return self.ended is not None

    def _minutes_left(self, history: Sequence[Trial]) -> float | None:
        if self.study.budget.minutes is None:
            return None
        return self.study.budget.minutes - spent(history, self.now()).seconds / 60

    def _limits(self, history: Sequence[Trial]) -> Limits:
        """A trial may not outlast the budget, whatever its own limit."""
        own, left = self.study.limits.minutes, self._minutes_left(history)
        bounds = [minutes for minutes in (own, left) if minutes is not None]
        return replace(self.study.limits, minutes=min(bounds) if bounds else None)

    def _honest_about_time(self, job: Job, outcome: Outcome) -> Outcome:
        """Running out of the study's time says nothing against the strategy."""
        cut_short = job.limits.minutes != self.study.limits.minutes
        if isinstance(outcome, Infeasible) and outcome.kind == "timeout" and cut_short:
            self.stop("the time budget ended during a trial")
            return Interrupted("the search's time budget ended", outcome.evidence)
        return outcome
