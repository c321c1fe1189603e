"""Re-runs the default and the Pareto-optimal trials with nothing else running on the host.

Concurrent trials have CPU cores of their own, but share caches and memory bandwidth. That is
accurate enough for the search. The trials that are reported at its end are run again in isolation,
and the analysis uses the isolated runs.

The same holds for trials whose speed is doubtful: strategies that agree on all levers of speed
share one measurement of it, and the time that their training runs take tells whether it is right.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from autotune.analysis.front import find_baseline, pareto_front
from autotune.analysis.intervals import SPEED
from autotune.domain import Budget, State, Study, Trial, TrialOrigin

REMEASURE_BUDGET_SHARE = 0.3
"""The largest share of a study's time and money that is reserved for isolated re-runs."""


MAX_DISAGREEMENT = 0.15
"""Relative difference between the time of training runs and the time that follows from the speed
that they share, from which that speed is doubtful. Machines drift by less within minutes."""


MIN_TRAINING_SECONDS = 2.0
"""Shorter training runs say nothing about a speed: any pause of the machine lengthens them."""


def needs_isolated_rerun(
    study: Study, history: Sequence[Trial], ran_concurrently: Callable[[int], bool]
) -> list[Trial]:
    """The default and the Pareto-optimal trials that ran concurrently with others, or reuse results
    of a trial that did, or whose speed is doubtful, and that have no isolated re-run yet, whatever
    its outcome. Confirmation runs measure doubtful speeds again, if the study has them."""
    default = find_baseline(study, history)
    results = [*([default] if default is not None else []), *pareto_front(study, history)]
    rerun_keys = {
        t.strategy.key
        for t in history
        if t.origin is TrialOrigin.ISOLATED_RERUN and t.is_informative
    }
    doubtful = doubtful_speeds(history) if study.confirm is None else frozenset()
    by_strategy = {t.strategy.key: t for t in results if t.strategy.key not in rerun_keys}
    return [
        t
        for t in by_strategy.values()
        if _has_own_result(t)
        and (_speed_source(t) in doubtful or any(map(ran_concurrently, _source_trials(t))))
    ]


def doubtful_speeds(history: Sequence[Trial]) -> frozenset[int]:
    """The numbers of the trials whose speed others share, and whose training runs take another time
    than follows from it, in the median by more than :data:`MAX_DISAGREEMENT`."""
    ratios: dict[int, list[float]] = defaultdict(list)
    for trial in history:
        ratio = _training_time_ratio(trial)
        if ratio is not None:
            ratios[_speed_source(trial)].append(math.log(ratio))
    limit = math.log(1 + MAX_DISAGREEMENT)
    return frozenset(source for source, logs in ratios.items() if abs(median(logs)) > limit)


def is_isolated_rerun_running(history: Sequence[Trial]) -> bool:
    """Whether a trial is running that must not run concurrently with others."""
    return any(t.state is State.RUNNING and t.origin is TrialOrigin.ISOLATED_RERUN for t in history)


def reserve(budget: Budget, reruns: Sequence[Trial]) -> Budget:
    """``budget`` without the time and money that ``reruns`` need again. The number of trials stays:
    re-runs are no new trials."""
    minutes, usd = budget.minutes, budget.usd
    if minutes is not None:
        needed = sum(trial.seconds or 0.0 for trial in reruns) / 60
        minutes -= min(needed, REMEASURE_BUDGET_SHARE * minutes)
    if usd is not None:
        needed = sum(trial.metric("cost_usd") or 0.0 for trial in reruns)
        usd -= min(needed, REMEASURE_BUDGET_SHARE * usd)
    return replace(budget, minutes=minutes, usd=usd)


def is_reserve_due(budget: Budget, seconds: float, usd: float) -> bool:
    """Whether so much time or money is used that the largest possible reserve would be touched."""
    limits = ((budget.minutes, seconds / 60), (budget.usd, usd))
    return any(
        limit is not None and used >= (1 - REMEASURE_BUDGET_SHARE) * limit for limit, used in limits
    )


def _has_own_result(trial: Trial) -> bool:
    return trial.state is State.COMPLETE and trial.origin is not TrialOrigin.ISOLATED_RERUN


def _training_time_ratio(trial: Trial) -> float | None:
    """The measured time of a training run over the time that follows from a shared speed; ``None``
    of trials that measured their speed themselves, did not train, or only for a moment."""
    measurements = trial.result.measurements
    speed, seconds = measurements.get(SPEED), measurements.get("train_seconds")
    if trial.state is not State.COMPLETE or speed is None or seconds is None:
        return None
    setup, samples = trial.metric("setup_seconds"), trial.metric("train_samples")
    if speed.source is None or seconds.source is not None or setup is None or not samples:
        return None
    if seconds.value - setup <= MIN_TRAINING_SECONDS:
        return None
    return seconds.value / (setup + samples / speed.value)


def _speed_source(trial: Trial) -> int:
    """The number of the trial that measured the speed of ``trial``."""
    speed = trial.result.measurements.get(SPEED)
    return trial.number if speed is None or speed.source is None else speed.source


def _source_trials(trial: Trial) -> set[int]:
    """The numbers of the trials that measured the results of ``trial``."""
    sources = {m.source for m in trial.result.measurements.values() if m.source is not None}
    return {trial.number, *sources}
