"""The used budget of a study, computed from its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from statistics import median

from autotune.domain import Budget, State, Strategy, Trial, TrialOrigin

MIN_USEFUL_SHARE = 0.75
"""A trial is started if the remaining time is at least this share of the median trial's."""

MIN_SHARE_OF_DEFAULT = 0.2
"""The same share of the default's time while no other trial is complete: others are often several
times faster."""

Price = Callable[[Strategy], float | None]
"""US dollars per hour of the resources of a strategy; ``None`` if unknown."""


def no_price(strategy: Strategy) -> float | None:
    """The price function of a study without prices."""
    del strategy
    return None


class BudgetUsage:
    """What the finished and running trials have used at ``now``.

    Each figure is computed on first use: a search needs some of them before every trial, and a long
    search has tens of thousands of trials. ``counted`` is the number of trials that count, if the
    caller knows it.
    """

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
        return [trial for trial in self._all if not trial.is_imported]

    @cached_property
    def trials(self) -> int:
        """The number of trials that count against the budget."""
        if self._counted is not None:
            return self._counted
        return sum(trial.counts_against_budget for trial in self._trials)

    @cached_property
    def seconds(self) -> float:
        """Time in which at least one trial ran."""
        return busy_seconds(self._trials, self._now)

    @cached_property
    def usd(self) -> float:
        """Price of the resources of all trials for as long as they held them, running trials until
        now. Unknown prices count as 0."""
        return sum(self._usd(trial) for trial in self._trials)

    def minutes_left(self, budget: Budget, strategy: Strategy) -> float | None:
        """How long a trial of ``strategy`` can run, concurrently with the running ones, within the
        remaining time and money; ``None`` without a limit."""
        bounds = []
        if budget.minutes is not None:
            bounds.append(budget.minutes - self.seconds / 60)
        if budget.usd is not None and (own_price := self._price(strategy)):
            running = [trial for trial in self._trials if trial.state is State.RUNNING]
            hourly = own_price + sum(self._price(trial.strategy) or 0.0 for trial in running)
            bounds.append((budget.usd - self.usd) / hourly * 60)
        return max(min(bounds), 0.0) if bounds else None

    def exhausted(
        self, budget: Budget, total: Budget | None = None, *, reserved_to: str = "confirm"
    ) -> str | None:
        """The reason to start no further trial, or ``None``. ``total`` is the budget of the study
        if ``budget`` is a part of it, whose rest is ``reserved_to`` confirm or repeat results."""
        total = total or budget
        if budget.trials is not None and self.trials >= budget.trials:
            if (reserve := (total.trials or 0) - budget.trials) > 0:
                kept = f"{reserve} kept to {reserved_to}"
                return f"searched {self.trials} of {total.trials} trials, {kept}"
            return f"all {budget.trials} trials are done"
        if budget.usd is not None and self.usd + self._typical_usd >= budget.usd:
            return _spent(f"{self.usd:.4f}", "USD", budget.usd, total.usd, reserved_to)
        if budget.minutes is not None:
            left = budget.minutes * 60 - self.seconds
            if left <= _useful_seconds(self._trials):
                used = f"{self.seconds / 60:.1f}"
                return _spent(used, "minutes", budget.minutes, total.minutes, reserved_to)
        return None

    def _usd(self, trial: Trial) -> float:
        rate = self._usd_per_second(trial)
        if rate is None:
            return 0.0 if trial.is_fully_cached else trial.metric("cost_usd") or 0.0
        return rate * _elapsed_seconds(trial, self._now)

    def _usd_per_second(self, trial: Trial) -> float | None:
        """The measured price per second, else that of the resources."""
        cost, seconds = trial.metric("cost_usd"), trial.metric("train_seconds")
        if cost is not None and seconds:
            return cost / seconds
        hourly = self._price(trial.strategy)
        return None if hourly is None else hourly / 3600

    @cached_property
    def _typical_usd(self) -> float:
        """Median price of the completed trials; 0 without any."""
        prices = [self._usd(trial) for trial in _executed(self._trials)]
        return median(prices) if prices else 0.0


def _spent(used: str, unit: str, limit: float, total: float | None, reserved_to: str) -> str:
    """``searched 10.0 of 15 minutes, 5 kept to confirm``."""
    total = total or limit
    reserve = total - limit
    amount = f"{reserve:.2g}" if reserve < 100 else f"{reserve:.0f}"
    suffix = f", {amount} kept to {reserved_to}" if reserve > 0 else ""
    return f"searched {used} of {total:g} {unit}{suffix}"


def _elapsed_seconds(trial: Trial, now: datetime | None) -> float:
    end = trial.finished_at or now
    if trial.started_at is None or end is None:
        return 0.0
    return max((end - trial.started_at).total_seconds(), 0.0)


def typical_seconds(trials: Sequence[Trial]) -> float:
    """Median duration of the completed trials; 0 without any."""
    times = [t.seconds for t in _executed(trials) if t.seconds is not None]
    return median(times) if times else 0.0


def _useful_seconds(trials: Sequence[Trial]) -> float:
    """The time in which a further trial can probably end; 0 without complete trials."""
    others = [trial for trial in trials if trial.origin is not TrialOrigin.DEFAULT]
    seconds = MIN_USEFUL_SHARE * typical_seconds(others)
    return seconds or MIN_SHARE_OF_DEFAULT * typical_seconds(trials)


def _executed(trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials that ran at least one phase in this study, from its beginning."""
    return [
        t
        for t in trials
        if t.state is State.COMPLETE
        and not t.is_imported
        and not t.is_fully_cached
        and t.origin is not TrialOrigin.CONTINUED
    ]


def busy_seconds(trials: Sequence[Trial], now: datetime | None = None) -> float:
    """Seconds in which at least one trial ran; concurrent trials count once. Running trials count
    until ``now``; without it they are ignored."""
    spans = sorted(
        (trial.started_at, end)
        for trial in trials
        if not trial.is_imported
        and trial.started_at is not None
        and (end := trial.finished_at or now) is not None
    )
    total, last_end = timedelta(), None
    for start, end in spans:
        begin = start if last_end is None else max(start, last_end)
        total += max(end - begin, timedelta())
        last_end = end if last_end is None else max(last_end, end)
    return total.total_seconds()
