"""Confirmation: runs the default and the finalists again with other seeds, on the test split.

The best of many noisy trials look better than they are. When the rest of the budget is used, the
finalists are trained again without cached results, with other seeds, and evaluated on data that no
earlier trial has used. The default runs with the same seeds, so that differences to it are paired,
and before the finalists of each seed, so that speeds are compared close in time. A finalist that
its runs refute, or that cannot be recommended after all of them, leaves its place to the next one.
What to run is a pure function of the study and its trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from statistics import mean, median

from autotune.analysis.recommendation import Recommender, Status
from autotune.domain import TRAINING_PHASES, Budget, Confirmation, State, Strategy, Study, Trial
from autotune.levers import training_key
from autotune.tuner.cache import measured_phases
from autotune.tuner.finalists import (
    complete_default,
    expected_finalists,
    finalists,
    recommended_trial,
)

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


def search_budget(study: Study, history: Sequence[Trial]) -> Budget:
    """The study's budget without what is reserved for confirmations."""
    confirmation, budget = _affordable_confirmation(study), study.budget
    if confirmation is None:
        return budget
    trials, minutes, usd = budget.trials, budget.minutes, budget.usd
    if any(trial.is_confirmation for trial in history):
        plan = _plan(study, confirmation, history)
        runs, to_confirm = plan.reserved_runs, plan.trials
    else:
        is_timed = minutes is not None or usd is not None
        runs, to_confirm = confirmation.runs, expected_finalists(study, history) if is_timed else ()
    if trials is not None:
        trials -= runs
    if to_confirm and minutes is not None:
        rounds = ceil(runs / _max_concurrent(study))
        needed = rounds * mean(full_run_seconds(t, history) for t in to_confirm) / 60
        minutes -= min(needed, minutes / RESERVE_DIVISOR)
    if to_confirm and usd is not None:
        needed = runs * mean(_full_run_usd(t, history) for t in to_confirm)
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
    """Whether ``trial`` ran on this host from its beginning and without cached results."""
    if trial.state is not State.COMPLETE or trial.is_imported or trial.is_continuation:
        return False
    return measured_phases(trial)[: len(TRAINING_PHASES)] == TRAINING_PHASES


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
    started = {(t.strategy.key, t.seed) for t in history if t.is_confirmation and t.is_informative}
    seeds = [(study.task.seed + 1 + n) % 2**32 for n in range(confirmation.seeds)]

    def missing(trials: Sequence[Trial]) -> list[tuple[Strategy, int]]:
        runs = [(trial.strategy, seed) for seed in seeds for trial in trials]
        return [(strategy, seed) for strategy, seed in runs if (strategy.key, seed) not in started]

    trials = _strategies_to_confirm(study, confirmation, history)
    planned = missing(trials)
    finished_runs = len(trials) * len(seeds) - len(planned)
    if trials and not planned and len({key for key, _ in started}) <= _max_strategies(confirmation):
        recommended = recommended_trial(Recommender(study, history))
        planned = [] if recommended is None else missing([recommended])
    return _Plan(trials, planned, confirmation.runs - finished_runs)


def _strategies_to_confirm(
    study: Study, confirmation: Confirmation, history: Sequence[Trial]
) -> Sequence[Trial]:
    """The default, and the first finalists that can still be recommended; those that train the same
    model as the default last, since their scores are known. A free place is that of the finalist
    that is recommended after the runs so far. Empty if only the default could be confirmed, which
    would compare nothing."""
    ranked = finalists(study, history, _max_strategies(confirmation))
    candidates = [trial for trial in ranked if trial.strategy != study.baseline]
    default_key = training_key(study.baseline)
    candidates.sort(key=lambda trial: training_key(trial.strategy) == default_key)
    if any(trial.is_confirmation for trial in history):
        recommender = Recommender(study, history)
        candidates = [t for t in candidates if _keeps_place(recommender, t, confirmation.seeds)]
        started = {t.strategy.key for t in history if t.is_confirmation and t.is_informative}
        recommended = recommended_trial(recommender)
        candidates.sort(
            key=lambda trial: (
                trial.strategy.key not in started,
                recommended is None or trial.strategy != recommended.strategy,
            )
        )
    places = candidates[: confirmation.top]
    return [*complete_default(study, history), *places] if places else []


def _keeps_place(recommender: Recommender, trial: Trial, num_seeds: int) -> bool:
    """Whether ``trial`` can still be recommended: its runs do not refute it, nor leave it undecided
    when all of them are done."""
    status = recommender.status(trial)
    is_done = len(recommender.replicates.confirmations(trial)) >= num_seeds
    return status is not Status.REFUTED and not (is_done and status is Status.UNDECIDED)


def _max_strategies(confirmation: Confirmation) -> int:
    """The most strategies that are confirmed, the default included."""
    return confirmation.top * CANDIDATES_PER_PLACE + 1
