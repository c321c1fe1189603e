"""How much of a study's budget is spent: a pure function of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from statistics import median

from autotune.domain import Budget, State, Trial
from autotune.search.sharing import is_free

USEFUL_SHARE = 0.75
"""A trial is started when at least this share of a typical trial's time is left."""


class Spent:
    """What the finished and running trials have used, each figure worked out when first asked for:
    a search asks before every trial, and a long one has tens of thousands."""

    def __init__(self, trials: Sequence[Trial], now: datetime) -> None:
        self._trials, self._now = trials, now

    @cached_property
    def trials(self) -> int:
        """Trials that count: an interrupted one runs again, and one that is only put together from
        what is known, or known not to fit, costs nothing."""
        return sum(_counts(trial) for trial in self._trials)

    @cached_property
    def seconds(self) -> float:
        """Time in which any trial ran."""
        return busy_seconds(self._trials, self._now)

    @cached_property
    def usd(self) -> float:
        """Money; an unknown price counts as nothing."""
        return sum(t.metric("cost_usd") or 0.0 for t in self._trials)

    def exhausted(self, budget: Budget) -> str | None:
        """Why no further trial may start, or ``None``."""
        if budget.trials is not None and self.trials >= budget.trials:
            return f"all {budget.trials} trials are done"
        if budget.usd is not None and self.usd >= budget.usd:
            return f"{self.usd:.4f} of {budget.usd:g} USD are spent"
        if budget.minutes is not None:
            left = budget.minutes * 60 - self.seconds
            if left <= typical_seconds(self._trials) * USEFUL_SHARE:
                return f"the budget of {budget.minutes:g} minutes is used"
        return None


def _counts(trial: Trial) -> bool:
    if trial.state in (State.QUEUED, State.INTERRUPTED) or trial.kind == "predicted":
        return False
    return trial.state is not State.COMPLETE or not is_free(trial)


def spent(trials: Sequence[Trial], now: datetime) -> Spent:
    """What ``trials`` have used until ``now``."""
    return Spent(trials, now)


def typical_seconds(trials: Sequence[Trial]) -> float:
    """Median time of the completed trials, 0 before the first."""
    complete = [t for t in trials if t.state is State.COMPLETE and not is_free(t)]
    times = [t.seconds for t in complete if t.seconds is not None]
    return median(times) if times else 0.0


def busy_seconds(trials: Sequence[Trial], now: datetime | None = None) -> float:
    """Seconds in which at least one trial ran; trials side by side count once. Running trials
    count up to ``now``, and not at all without it."""
    spans = sorted(
        (trial.started_at, end)
        for trial in trials
        if trial.started_at is not None and (end := trial.finished_at or now) is not None
    )
    total, reached = timedelta(), None
    for start, end in spans:
        begin = start if reached is None else max(start, reached)
        total += max(end - begin, timedelta())
        reached = end if reached is None else max(reached, end)
    return total.total_seconds()
