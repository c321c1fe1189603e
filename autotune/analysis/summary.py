"""A study in figures and words: counts, bests, use of the budget, a trial against the default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from autotune.analysis.budget import BudgetUsage
from autotune.analysis.front import feasible_trials
from autotune.domain import Objective, State, Study, Trial


@dataclass(frozen=True)
class Best:
    """The best feasible value of one objective so far, and the trial that reached it."""

    objective: Objective
    trial: Trial
    value: float


@dataclass(frozen=True)
class BudgetUse:
    """How much of one budget is used: ``name`` is ``trials``, ``minutes`` or ``usd``."""

    name: str
    used: float
    limit: float | None

    @property
    def share(self) -> float | None:
        """Used part, 0..1 or beyond; ``None`` where nothing bounds it."""
        return None if not self.limit else self.used / self.limit


def count_by_state(trials: Sequence[Trial]) -> dict[State, int]:
    """How many trials are in each state, every state named."""
    found = dict.fromkeys(State, 0)
    for trial in trials:
        found[trial.state] += 1
    return found


def best_trials(study: Study, trials: Sequence[Trial]) -> list[Best]:
    """The best feasible trial of each objective; objectives that nobody reached are left out."""
    members = feasible_trials(study, trials)
    if not members:
        return []
    found = []
    for objective in study.objectives:
        top = max(members, key=lambda t, o=objective: o.sign * (t.metric(o.metric) or 0.0))  # type: ignore[misc]
        found.append(Best(objective, top, float(top.metric(objective.metric) or 0.0)))
    return found


def budget_use(
    study: Study, trials: Sequence[Trial], now: datetime | None = None
) -> list[BudgetUse]:
    """Trials, minutes and dollars used so far, running trials included.

    An interrupted trial runs again and is not counted, and one that costs nothing is neither.
    Minutes count the time in which at least one trial ran (running ones up to ``now``), so a pause
    between two sessions costs nothing. Dollars are what trials that know their price held, for as
    long as they held it.
    """
    used, limits = BudgetUsage(trials, now), study.budget
    return [
        BudgetUse("trials", used.trials, limits.trials),
        BudgetUse("minutes", used.seconds / 60, limits.minutes),
        BudgetUse("usd", used.usd, limits.usd),
    ]
