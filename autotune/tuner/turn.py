"""A turn: one snapshot of a study, from which a driver chooses the trial to start next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from autotune.analysis.budget import BudgetUsage, Price, no_price
from autotune.domain import CONCURRENT_TRIALS, Budget, Host, State, Strategy, Study, Trial
from autotune.domain.clock import utc_now
from autotune.levers import hourly_usd, serving_usd
from autotune.ports import Clock, Store
from autotune.tuner import remeasure
from autotune.tuner.cache import ResultCache
from autotune.tuner.confirmation import search_budget
from autotune.tuner.feasibility.filter import FeasibilityFilter
from autotune.tuner.history import History
from autotune.tuner.patience import should_end_search


@dataclass(frozen=True)
class Turn:
    """The state of a study when a driver chooses what to start.

    ``unfinished`` are the queued and running trials of ``history``. ``session_end`` is the reason
    why this run tries no new strategies, if there is one already. ``revision`` grows with every
    change of the study.
    """

    study: Study
    history: Sequence[Trial]
    unfinished: Sequence[Trial]
    usage: BudgetUsage
    cache: ResultCache
    ran_concurrently: Callable[[int], bool]
    feasibility: FeasibilityFilter | None = None
    price: Price = no_price
    host: Host | None = None
    session_end: str | None = None
    revision: int = 0

    def serving_price(self, strategy: Strategy) -> float | None:
        """Dollars per hour of what serves the deployed model of ``strategy``."""
        return None if self.host is None else serving_usd(strategy, self.host, self.study.prices)

    @cached_property
    def search_budget(self) -> Budget:
        """The budget without what is reserved for confirmations."""
        return search_budget(self.study, self.history)

    @cached_property
    def isolated_reruns(self) -> Sequence[Trial]:
        """Trials to re-run on an idle host, while there is time and money for it."""
        budget = replace(self.search_budget, trials=None)
        if self.usage.exhausted(budget) is not None:
            return ()
        return remeasure.needs_isolated_rerun(self.study, self.history, self.ran_concurrently)

    @cached_property
    def search_end(self) -> str | None:
        """The reason to try no new strategies, or ``None``. Re-runs can still follow."""
        if self.session_end is not None:
            return self.session_end
        budget = remeasure.reserve(self.search_budget, self._due_reruns)
        purpose = "repeat" if self.study.confirm is None else "confirm"
        reason = self.usage.exhausted(budget, self.study.budget, reserved_to=purpose)
        return reason or should_end_search(self.study, self.history)

    @property
    def budget_end(self) -> str | None:
        """The reason to start nothing at all, or ``None``."""
        return self.usage.exhausted(self.study.budget)

    @property
    def is_running(self) -> bool:
        """Whether any driver runs a trial."""
        return any(trial.state is State.RUNNING for trial in self.unfinished)

    @property
    def can_front_change(self) -> bool:
        """Whether a trial is running that is not a confirmation."""
        return any(t.state is State.RUNNING and not t.is_confirmation for t in self.unfinished)

    def minutes_left(self, strategy: Strategy, *, confirms: bool = False) -> float | None:
        """Minutes that a trial of ``strategy`` can run within the budget; ``None`` if unlimited."""
        budget = self.study.budget if confirms else self.search_budget
        return self.usage.minutes_left(budget, strategy)

    @property
    def _due_reruns(self) -> Sequence[Trial]:
        """The isolated re-runs for which time or money has to be reserved now."""
        usage, budget = self.usage, self.search_budget
        # Each sum goes through all trials, so it is computed only where the budget has a limit.
        seconds = 0.0 if budget.minutes is None else usage.seconds
        usd = 0.0 if budget.usd is None else usage.usd
        return self.isolated_reruns if remeasure.is_reserve_due(budget, seconds, usd) else ()


class TurnReader:
    """Reads turns of one study from its store, incrementally."""

    def __init__(
        self,
        study: Study,
        store: Store,
        host: Host,
        *,
        clock: Clock = utc_now,
        feasibility: FeasibilityFilter | None = None,
    ) -> None:
        self.study, self.store = study, store
        self.history = History(store, study.name, study.space.defaults)
        self._host, self._clock, self._feasibility = host, clock, feasibility
        self._concurrent: dict[int, bool] = {}
        is_concurrent = study.executor.kind != "local" or study.executor.workers > 1
        self._cache = ResultCache(study, self._ran_concurrently if is_concurrent else None)

    def read(self, session_end: str | None = None) -> Turn:
        """The study as it is now.

        :raises StoreUnavailableError: the database is away.
        """
        snapshot = self.history.snapshot()
        usage = BudgetUsage(snapshot.trials, self._clock(), self._price, snapshot.counted_trials)
        return Turn(
            study=self.study,
            history=snapshot.trials,
            unfinished=snapshot.unfinished,
            usage=usage,
            cache=self._cache.update(self.history.drain_changes()),
            ran_concurrently=self._ran_concurrently,
            feasibility=self._feasibility,
            price=self._price,
            host=self._host,
            session_end=session_end,
            revision=snapshot.revision,
        )

    def _price(self, strategy: Strategy) -> float | None:
        return hourly_usd(strategy, self._host, self.study.prices)

    def _ran_concurrently(self, number: int) -> bool:
        if number not in self._concurrent:
            environment = self.store.trial(self.study.name, number).result.environment
            self._concurrent[number] = CONCURRENT_TRIALS in environment
        return self._concurrent[number]
