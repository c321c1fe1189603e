"""Figures of a study: trials by state, best values, budget used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from autotune.analysis.budget import BudgetUsage
from autotune.analysis.front import feasible_trials
from autotune.analysis.metric_posterior import Belief, Comparison
from autotune.analysis.recommendation import Recommender, Status
from autotune.analysis.refutation import MIN_PROBABILITY
from autotune.domain import Objective, State, Study, Trial


@dataclass(frozen=True)
class Best:
    """The best feasible value of one objective, and its trial."""

    objective: Objective
    trial: Trial
    value: float


@dataclass(frozen=True)
class BelievedBest:
    """What is believed of the strategy that is best in one objective, and its trial.
    ``comparison`` is that with the default; ``None`` if it is the default itself. ``status`` says
    whether the strategy is confirmed."""

    objective: Objective
    trial: Trial
    belief: Belief
    comparison: Comparison | None
    status: Status


@dataclass(frozen=True)
class BudgetUse:
    """How much of one budget is used: ``name`` is ``trials``, ``minutes`` or ``usd``."""

    name: str
    used: float
    limit: float | None

    @property
    def share(self) -> float | None:
        """Used share, 0..1 or more; ``None`` without a limit."""
        return None if not self.limit else self.used / self.limit


def count_by_state(trials: Sequence[Trial]) -> dict[State, int]:
    """The number of trials in each state; every state is a key."""
    counts = dict.fromkeys(State, 0)
    for trial in trials:
        counts[trial.state] += 1
    return counts


def best_trials(study: Study, trials: Sequence[Trial]) -> list[Best]:
    """The best feasible trial of each objective; empty without feasible trials."""
    members = feasible_trials(study, trials)
    if not members:
        return []
    best = []
    for objective in study.objectives:
        top = max(members, key=lambda t, o=objective: o.sign * (t.metric(o.metric) or 0.0))  # type: ignore[misc]
        best.append(Best(objective, top, float(top.metric(objective.metric) or 0.0)))
    return best


def believed_bests(recommender: Recommender) -> list[BelievedBest]:
    """The acceptable strategy with the best posterior mean of each objective; none if not even the
    default satisfies the constraints."""
    study, posterior, bests = recommender.study, recommender.posterior, []
    for objective in study.objectives:
        beliefs = [
            (objective.sign * belief.value, -trial.number, trial, belief)
            for trial in recommender.acceptable
            if recommender.probability(trial) >= MIN_PROBABILITY
            and (belief := posterior.belief(trial, objective.metric)) is not None
        ]
        if beliefs:
            *_, trial, belief = max(beliefs, key=lambda entry: entry[:2])
            is_default = trial.strategy == study.baseline
            comparison = None if is_default else posterior.compare(trial, objective.metric)
            status = recommender.status(trial)
            bests.append(BelievedBest(objective, trial, belief, comparison, status))
    return bests


def budget_use(
    study: Study, trials: Sequence[Trial], now: datetime | None = None
) -> list[BudgetUse]:
    """Trials, minutes and US dollars used, including those of running trials until ``now``.

    Interrupted and fully cached trials are not counted. Minutes are the time in which at least one
    trial ran, so a pause between two sessions costs nothing. Dollars are the price of the resources
    for as long as a trial held them.
    """
    usage, limits = BudgetUsage(trials, now), study.budget
    return [
        BudgetUse("trials", usage.trials, limits.trials),
        BudgetUse("minutes", usage.seconds / 60, limits.minutes),
        BudgetUse("usd", usage.usd, limits.usd),
    ]
