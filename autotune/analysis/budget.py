"""How much of a study's budget is spent: a pure function of its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from statistics import median

from autotune.domain import Budget, State, Strategy, Trial

MIN_USEFUL_SHARE = 0.75
"""A trial is started when at least this share of a typical trial's time is left."""


Price = Callable[[Strategy], float | None]
"""US dollars per hour of what a strategy holds, ``None`` where that is unknown."""


def no_price(strategy: Strategy) -> float | None:
    """The price of a strategy where nobody knows prices."""
    del strategy
    return None


class BudgetUsage:
    """What the finished and running trials have used, each figure worked out when first asked for:
    a search asks before every trial, and a long one has tens of thousands."""

    def __init__(
        self,
        trials: Sequence[Trial],
        now: datetime | None,
        price: Price = no_price,
        counted: int | None = None,
    ) -> None:
        self._all, self._counted = trials, counted
        self._now, self._price = now, price

    @cached_property
    def _trials(self) -> Sequence[Trial]:
        return [trial for trial in self._all if not trial.imported]

    @cached_property
    def trials(self) -> int:
        """Trials that count: an interrupted one runs again, and one that is only put together from
        what is known, or known not to fit, costs nothing."""
        if self._counted is not None:
            return self._counted
        return sum(trial.counts_against_budget for trial in self._trials)

    @cached_property
    def seconds(self) -> float:
        """Time in which any trial ran."""
        return busy_seconds(self._trials, self._now)

    @cached_property
    def usd(self) -> float:
        """Money for all that trials hold, as long as they hold it, running ones up to now. An
        unknown price counts as nothing."""
        return sum(self._usd(trial) for trial in self._trials)

    def minutes_left(self, budget: Budget, strategy: Strategy) -> float | None:
        """How long a trial of ``strategy``, beside those that run, lasts within time and money;
        ``None`` where nothing bounds it."""
        bounds = []
        if budget.minutes is not None:
            bounds.append(budget.minutes - self.seconds / 60)
        if budget.usd is not None and (own := self._price(strategy)):
            beside = (self._price(t.strategy) for t in self._trials if t.state is State.RUNNING)
            hourly = own + sum(price or 0.0 for price in beside)
            bounds.append((budget.usd - self.usd) / hourly * 60)
        return max(min(bounds), 0.0) if bounds else None

    def exhausted(self, budget: Budget, total: Budget | None = None) -> str | None:
        """The reason to start no further trial, or ``None``. ``total`` is the budget of the study
        if ``budget`` is the part of it that is not reserved for confirmations."""
        total = total or budget
        if budget.trials is not None and self.trials >= budget.trials:
            if (reserve := (total.trials or 0) - budget.trials) > 0:
                return f"searched {self.trials} of {total.trials} trials, {reserve} kept to confirm"
            return f"all {budget.trials} trials are done"
        if budget.usd is not None and self.usd + self._typical_usd >= budget.usd:
            return _spent(f"{self.usd:.4f}", "USD", budget.usd, total.usd)
        if budget.minutes is not None:
            left = budget.minutes * 60 - self.seconds
            if left <= typical_seconds(self._trials) * MIN_USEFUL_SHARE:
                return _spent(f"{self.seconds / 60:.1f}", "minutes", budget.minutes, total.minutes)
        return None

    def _usd(self, trial: Trial) -> float:
        held, rate = _held_seconds(trial, self._now), self._rate(trial)
        if rate is None:
            return 0.0 if trial.is_fully_cached else trial.metric("cost_usd") or 0.0
        return rate * held

    def _rate(self, trial: Trial) -> float | None:
        """Dollars per second: as the trial itself measured, else by the price of what it holds."""
        cost, seconds = trial.metric("cost_usd"), trial.metric("train_seconds")
        if cost is not None and seconds:
            return cost / seconds
        hourly = self._price(trial.strategy)
        return None if hourly is None else hourly / 3600

    @cached_property
    def _typical_usd(self) -> float:
        """Median price of the completed trials, 0 before the first."""
        prices = [self._usd(trial) for trial in _measured(self._trials)]
        return median(prices) if prices else 0.0


def _spent(used: str, unit: str, limit: float, total: float | None) -> str:
    """``searched 10.0 of 15 minutes, 5 kept to confirm``."""
    total = total or limit
    reserve = f", {total - limit:.2g} kept to confirm" if total > limit else ""
    return f"searched {used} of {total:g} {unit}{reserve}"


def _held_seconds(trial: Trial, now: datetime | None) -> float:
    end = trial.finished_at or now
    if trial.started_at is None or end is None:
        return 0.0
    return max((end - trial.started_at).total_seconds(), 0.0)


def typical_seconds(trials: Sequence[Trial]) -> float:
    """Median time of the completed trials, 0 before the first."""
    times = [t.seconds for t in _measured(trials) if t.seconds is not None]
    return median(times) if times else 0.0


def _measured(trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials that took time."""
    return [
        t for t in trials if t.state is State.COMPLETE and not t.imported and not t.is_fully_cached
    ]


def busy_seconds(trials: Sequence[Trial], now: datetime | None = None) -> float:
    """Seconds in which at least one trial ran; trials side by side count once. Running trials
    count up to ``now``, and not at all without it."""
    spans = sorted(
        (trial.started_at, end)
        for trial in trials
        if not trial.imported
        and trial.started_at is not None
        and (end := trial.finished_at or now) is not None
    )
    total, reached = timedelta(), None
    for start, end in spans:
        begin = start if reached is None else max(start, reached)
        total += max(end - begin, timedelta())
        reached = end if reached is None else max(reached, end)
    return total.total_seconds()
