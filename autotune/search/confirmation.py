"""Confirm the front: its finalists run again, whole, with other seeds, on data not seen so far.

The best of many noisy trials look better than they are. So when the search has used its part of the
budget, the finalists share no number, train under other seeds, and are judged on the test split,
which no earlier trial has looked at. All of it is a pure function of the study and its trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from statistics import mean, median

from autotune.analysis.front import feasible_trials, knee, pareto_optimal
from autotune.analysis.hypervolume import exclusive_hypervolumes
from autotune.domain import (
    PHASES,
    Budget,
    Confirmation,
    State,
    Strategy,
    Study,
    Trial,
)
from autotune.search.cache import measured_phases

"""Origin of a trial that repeats a finalist."""

MAX_FRACTION = 3
"""Confirming is kept room for in at most one in so many of the trials, however few they are, of the
minutes and of the dollars: a slow default is no reason to look for nothing faster."""

LATEST = 16
"""Trials from which it is told what takes time beside a fine-tune."""


@dataclass(frozen=True)
class _Plan:
    """The finalists, and which (strategy, seed) of theirs are still to be run, in order."""

    finalists: Sequence[Trial]
    missing: Sequence[tuple[Strategy, int]]
    reserved: int
    """Runs to keep room for; more than are missing while the front has too few members."""


def next_confirmation(study: Study, history: Sequence[Trial]) -> tuple[Strategy, int] | None:
    """The strategy and seed to confirm next, ``None`` where there is nothing to confirm, while a
    trial runs that may still change the finalists, or while one has this host to itself."""
    asked = _asked(study)
    if asked is None:
        return None
    running = [trial for trial in history if trial.state is State.RUNNING]
    if any(not trial.is_confirmation for trial in running) or len(running) >= _at_once(study):
        return None
    return next(iter(_plan(study, asked, history).missing), None)


def finalists(study: Study, trials: Sequence[Trial], count: int) -> list[Trial]:
    """The ``count`` trials to confirm: the knee, then those of the front that carry most of the
    hypervolume alone. Where the front is too small, the best of what is behind it follow."""
    left = list({t.strategy.key: t for t in reversed(feasible_trials(study, trials))}.values())
    found: list[Trial] = []
    while left and len(found) < count:
        front = pareto_optimal(study, left)
        chosen, carried = knee(study, front), exclusive_hypervolumes(study, trials, front)
        found += sorted(
            front, key=lambda t: (t is not chosen, -carried.get(t.number, 0.0), t.number)
        )
        taken = {trial.number for trial in front}
        left = [trial for trial in left if trial.number not in taken]
    return found[:count]


def search_budget(study: Study, history: Sequence[Trial]) -> Budget:
    """What is left of the study's budget when the runs that confirm its front are set aside."""
    asked, budget = _asked(study), study.budget
    if asked is None:
        return budget
    trials, minutes, usd = budget.trials, budget.minutes, budget.usd
    if minutes is None and usd is None and not any(t.is_confirmation for t in history):
        return replace(budget, trials=trials and trials - asked.top * asked.seeds)
    plan = _plan(study, asked, history)
    if trials is not None:
        trials -= plan.reserved
    if plan.finalists and minutes is not None:
        rounds = ceil(plan.reserved / _at_once(study))
        needed = rounds * mean(full_run_seconds(t, history) for t in plan.finalists) / 60
        minutes -= min(needed, minutes / MAX_FRACTION)
    if plan.finalists and usd is not None:
        needed = plan.reserved * mean(_whole_usd(t, history) for t in plan.finalists)
        usd -= min(needed, usd / MAX_FRACTION)
    return replace(budget, trials=trials, minutes=minutes, usd=usd)


def _asked(study: Study) -> Confirmation | None:
    """What the study asks for; of a small budget, fewer finalists or none."""
    asked, trials = study.confirm, study.budget.trials
    if asked is None or trials is None:
        return asked
    top = min(asked.top, trials // MAX_FRACTION // asked.seeds)
    return replace(asked, top=top) if top else None


def _at_once(study: Study) -> int:
    """How many finalists run at once: on one host one, so that their speeds can be believed."""
    return max(study.executor.workers, 1) if study.executor.kind == "ray" else 1


def full_run_seconds(trial: Trial, history: Sequence[Trial]) -> float:
    """How long ``trial`` takes where all of it is measured: known, or its fine-tune and what other
    trials took beside theirs."""
    if trial.seconds is not None and _ran_whole(trial):
        return trial.seconds
    beside = list(_beside(history))
    return (trial.metric("train_seconds") or 0.0) + (median(beside) if beside else 0.0)


def _whole_usd(trial: Trial, history: Sequence[Trial]) -> float:
    """What that time costs, at the trial's price an hour."""
    cost, seconds = trial.metric("cost_usd") or 0.0, trial.metric("train_seconds")
    return cost * full_run_seconds(trial, history) / seconds if seconds else cost


def _beside(history: Sequence[Trial]) -> Iterator[float]:
    """What the latest whole trials took beside their fine-tune."""
    full_run = (trial for trial in reversed(history) if _ran_whole(trial))
    for trial in islice(full_run, LATEST):
        yield max((trial.seconds or 0.0) - (trial.metric("train_seconds") or 0.0), 0.0)


def _ran_whole(trial: Trial) -> bool:
    """Whether its time is that of a whole trial here."""
    if trial.state is not State.COMPLETE or trial.imported:
        return False
    return measured_phases(trial) == PHASES


def _plan(study: Study, asked: Confirmation, history: Sequence[Trial]) -> _Plan:
    chosen = finalists(study, history, asked.top)
    seeds = [(study.task.seed + 1 + n) % 2**32 for n in range(asked.seeds)]
    wanted = [(trial.strategy, seed) for seed in seeds for trial in chosen]
    begun = {(t.strategy.key, t.seed) for t in history if t.is_confirmation and t.is_informative}
    missing = [(strategy, seed) for strategy, seed in wanted if (strategy.key, seed) not in begun]
    done = len(wanted) - len(missing)
    return _Plan(chosen, missing, asked.top * asked.seeds - done)
