"""Trials that are claims, measured with the host to themselves.

With several trials at once, each has cores of its own and shares caches and the memory's bandwidth.
That is good enough to search by. What the search ends with (the front, and the default that all is
read against) is run again alone, with nothing beside it; analysis then goes by the lone run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autotune.analysis.front import find_baseline, pareto_front
from autotune.domain import Budget, FailureReason, State, Study, Trial, TrialOrigin

REMEASURE_BUDGET_SHARE = 0.3
"""The share of a study's time and money that lone runs may have, at most."""

Shared = Callable[[int], bool]
"""Whether the trial of a number had others beside it."""


def needs_isolated_rerun(study: Study, history: Sequence[Trial], shared: Shared) -> list[Trial]:
    """Trials of the front, and of the default, that were measured beside others and have not been
    tried alone, whatever came of it. A trial whose numbers are another's is as that one was."""
    default = find_baseline(study, history)
    claims = [*([default] if default is not None else []), *pareto_front(study, history)]
    tried = {
        t.strategy.key
        for t in history
        if t.origin == TrialOrigin.ISOLATED_RERUN and _has_verdict(t)
    }
    by_strategy = {t.strategy.key: t for t in claims if t.strategy.key not in tried}
    return [t for t in by_strategy.values() if _is_measured(t) and any(map(shared, _sources(t)))]


def is_isolated_rerun_running(history: Sequence[Trial]) -> bool:
    """Whether a trial that must have no other beside it is running."""
    return any(t.state is State.RUNNING and t.origin == TrialOrigin.ISOLATED_RERUN for t in history)


def reserve(budget: Budget, claims: Sequence[Trial]) -> Budget:
    """What is left of ``budget`` for searching when ``claims`` are to be run again. They are no
    new trials, but take their time and money once more."""
    minutes, usd = budget.minutes, budget.usd
    if minutes is not None:
        minutes -= min(sum(t.seconds or 0.0 for t in claims) / 60, REMEASURE_BUDGET_SHARE * minutes)
    if usd is not None:
        usd -= min(sum(t.metric("cost_usd") or 0.0 for t in claims), REMEASURE_BUDGET_SHARE * usd)
    return replace(budget, minutes=minutes, usd=usd)


def is_reserve_due(budget: Budget, seconds: float, usd: float) -> bool:
    """Whether so much is spent that claims may have to be run now."""
    limits = ((budget.minutes, seconds / 60), (budget.usd, usd))
    return any(
        limit is not None and used >= (1 - REMEASURE_BUDGET_SHARE) * limit for limit, used in limits
    )


def _has_verdict(trial: Trial) -> bool:
    return trial.state is not State.INTERRUPTED and trial.failure != FailureReason.INFRASTRUCTURE


def _is_measured(trial: Trial) -> bool:
    return trial.state is State.COMPLETE and trial.origin != TrialOrigin.ISOLATED_RERUN


def _sources(trial: Trial) -> set[int]:
    """The trials in which the numbers of ``trial`` were measured."""
    found = {m.source for m in trial.result.measurements.values() if m.source is not None}
    return {trial.number, *found}
