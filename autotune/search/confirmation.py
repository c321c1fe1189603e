"""Confirmation: runs the default and the finalists again with other seeds, on the test split.

The best of many noisy trials look better than they are. When the rest of the budget is used, the
finalists are trained again without cached results, with other seeds, and evaluated on data that no
earlier trial has used. The default runs with the same seeds, so that differences to it are paired,
and before the finalists of each seed, so that speeds are compared close in time. A finalist that
its runs refute leaves its place to the next one. What to run is a pure function of the study and
its trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from statistics import mean, median

from autotune.analysis.front import feasible_trials, find_baseline, knee, pareto_optimal
from autotune.analysis.hypervolume import exclusive_hypervolumes
from autotune.domain import PHASES, Budget, Confirmation, State, Strategy, Study, Trial
from autotune.search.cache import measured_phases
from autotune.search.refutation import Refutations

RESERVE_DIVISOR = 3
"""At most one third of the trials, minutes and dollars is reserved for confirmations. Otherwise a
slow default would leave no time to search for something faster."""

CANDIDATES_PER_PLACE = 3
"""How many finalists are confirmed at most for each place, if runs refute those before."""

MAX_OVERHEAD_TRIALS = 16
"""The number of recent trials from which the overhead of a trial is estimated."""


@dataclass(frozen=True)
class _Plan:
    """The default and the finalists, and the (strategy, seed) pairs that are still to be run, in
    order.

    ``reserved_runs`` can be more than are missing while the front has too few members.
    """

    trials: Sequence[Trial]
    missing: Sequence[tuple[Strategy, int]]
    reserved_runs: int


def next_confirmation(study: Study, history: Sequence[Trial]) -> tuple[Strategy, int] | None:
    """The strategy and seed to run next. ``None`` if nothing is left to confirm, if a running trial
    can change the finalists, or if the host is used by another confirmation."""
    confirmation = _affordable_confirmation(study)
    if confirmation is None:
        return None
    running = [trial for trial in history if trial.state is State.RUNNING]
    if any(not t.is_confirmation for t in running) or len(running) >= _max_concurrent(study):
        return None
    return next(iter(_plan(study, confirmation, history).missing), None)


def finalists(study: Study, trials: Sequence[Trial], count: int) -> list[Trial]:
    """The ``count`` trials to confirm: the knee, then the members of the front by the hypervolume
    that they add. If the front is too small, the front of the remaining trials follows."""
    remaining = list({t.strategy.key: t for t in reversed(feasible_trials(study, trials))}.values())
    ranked: list[Trial] = []
    while remaining and len(ranked) < count:
        front = pareto_optimal(study, remaining)
        middle, volumes = knee(study, front), exclusive_hypervolumes(study, trials, front)
        ranked += sorted(
            front, key=lambda t: (t is not middle, -volumes.get(t.number, 0.0), t.number)
        )
        numbers = {trial.number for trial in front}
        remaining = [trial for trial in remaining if trial.number not in numbers]
    return ranked[:count]


def search_budget(study: Study, history: Sequence[Trial]) -> Budget:
    """The study's budget without what is reserved for confirmations."""
    confirmation, budget = _affordable_confirmation(study), study.budget
    if confirmation is None:
        return budget
    trials, minutes, usd = budget.trials, budget.minutes, budget.usd
    if minutes is None and usd is None and not any(t.is_confirmation for t in history):
        return replace(budget, trials=trials and trials - confirmation.runs)
    plan = _plan(study, confirmation, history)
    if trials is not None:
        trials -= plan.reserved_runs
    if plan.trials and minutes is not None:
        rounds = ceil(plan.reserved_runs / _max_concurrent(study))
        needed = rounds * mean(full_run_seconds(t, history) for t in plan.trials) / 60
        minutes -= min(needed, minutes / RESERVE_DIVISOR)
    if plan.trials and usd is not None:
        needed = plan.reserved_runs * mean(_full_run_usd(t, history) for t in plan.trials)
        usd -= min(needed, usd / RESERVE_DIVISOR)
    return replace(budget, trials=trials, minutes=minutes, usd=usd)


def full_run_seconds(trial: Trial, history: Sequence[Trial]) -> float:
    """The duration of ``trial`` without cached results: measured, or its training time plus the
    median overhead of other trials."""
    if trial.seconds is not None and _ran_all_phases(trial):
        return trial.seconds
    overheads = list(_overhead_seconds(history))
    return (trial.metric("train_seconds") or 0.0) + (median(overheads) if overheads else 0.0)


def _full_run_usd(trial: Trial, history: Sequence[Trial]) -> float:
    """The cost of ``trial`` without cached results, at its own hourly price."""
    cost, seconds = trial.metric("cost_usd") or 0.0, trial.metric("train_seconds")
    return cost * full_run_seconds(trial, history) / seconds if seconds else cost


def _overhead_seconds(history: Sequence[Trial]) -> Iterator[float]:
    """The time outside of training, for the latest trials that ran all phases."""
    full_runs = (trial for trial in reversed(history) if _ran_all_phases(trial))
    for trial in islice(full_runs, MAX_OVERHEAD_TRIALS):
        yield max((trial.seconds or 0.0) - (trial.metric("train_seconds") or 0.0), 0.0)


def _ran_all_phases(trial: Trial) -> bool:
    """Whether ``trial`` ran on this host without cached results."""
    if trial.state is not State.COMPLETE or trial.is_imported:
        return False
    return measured_phases(trial) == PHASES


def _affordable_confirmation(study: Study) -> Confirmation | None:
    """The confirmation of the study, with fewer seeds and finalists if the budget is small, or none
    if it is too small for the default and one finalist."""
    confirmation, trials = study.confirm, study.budget.trials
    if confirmation is None or trials is None:
        return confirmation
    runs = trials // RESERVE_DIVISOR
    seeds = min(confirmation.seeds, runs // 2)
    if seeds == 0:
        return None
    return replace(confirmation, top=min(confirmation.top, runs // seeds - 1), seeds=seeds)


def _max_concurrent(study: Study) -> int:
    """How many confirmations can run concurrently: on one host one, so that speeds are accurate."""
    return max(study.executor.workers, 1) if study.executor.kind == "ray" else 1


def _plan(study: Study, confirmation: Confirmation, history: Sequence[Trial]) -> _Plan:
    trials = _strategies_to_confirm(study, confirmation, history)
    seeds = [(study.task.seed + 1 + n) % 2**32 for n in range(confirmation.seeds)]
    runs = [(trial.strategy, seed) for seed in seeds for trial in trials]
    started = {(t.strategy.key, t.seed) for t in history if t.is_confirmation and t.is_informative}
    missing = [(strategy, seed) for strategy, seed in runs if (strategy.key, seed) not in started]
    finished_runs = len(runs) - len(missing)
    return _Plan(trials, missing, confirmation.runs - finished_runs)


def _strategies_to_confirm(
    study: Study, confirmation: Confirmation, history: Sequence[Trial]
) -> Sequence[Trial]:
    """The default, and the first finalists that no confirmation run refutes. Empty if only the
    default could be confirmed, which would compare nothing."""
    count = confirmation.top * CANDIDATES_PER_PLACE + 1
    candidates = [
        trial for trial in finalists(study, history, count) if trial.strategy != study.baseline
    ]
    if any(trial.is_confirmation for trial in history):
        refutations = Refutations(study, history)
        candidates = [t for t in candidates if not refutations.is_refuted(t, confirmation.seeds)]
    default, places = find_baseline(study, history), candidates[: confirmation.top]
    if default is None or default.state is not State.COMPLETE or not places:
        return places
    return [default, *places]
