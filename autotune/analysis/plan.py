"""The plan of a budget in minutes: how long the default takes, and how many trials fit beside it.

A profile of a few seconds tells how long the default trains. Others are usually faster, so
the number of trials of its length is a lower bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotune.domain import CurvePoint, Study

MIN_TRIALS = 8
"""With fewer trials of the default's length than this, a search has little to choose from."""

CONFIRMATION_SHARE = 1 / 3
"""The largest share of the minutes that is kept for confirmations."""

MIN_SAMPLES = 100
"""No smaller number of training samples is proposed."""

LIMIT_MARGIN = 1.5
"""A time limit of a trial is proposed this many times as long as the default takes."""

SAMPLES_DIGITS = 2
"""Significant digits of a proposed number of samples or steps."""


@dataclass(frozen=True)
class BudgetPlan:
    """``trials`` of the default's length fit into ``minutes`` after the default, of which
    ``reserve`` minutes are kept to confirm."""

    minutes: float
    default_minutes: float
    reserve: float
    trials: int

    @property
    def is_exceeded(self) -> bool:
        """Whether the default alone takes the budget."""
        return self.default_minutes >= self.minutes

    @property
    def is_short(self) -> bool:
        return self.trials < MIN_TRIALS


def plan_budget(
    study: Study, default_seconds: float, used_seconds: float = 0.0
) -> BudgetPlan | None:
    """The plan of a search whose default takes ``default_seconds``; ``None`` without a limit of
    minutes. ``used_seconds`` of a continued study include the default."""
    minutes = study.budget.minutes
    if minutes is None:
        return None
    default_minutes = default_seconds / 60
    reserve = 0.0
    if study.confirm is not None and default_minutes < minutes:
        runs = study.confirm.runs
        reserve = min(runs * default_minutes, CONFIRMATION_SHARE * minutes)
    left = max(minutes - reserve - max(default_minutes, used_seconds / 60), 0.0)
    trials = int(left / default_minutes * max(study.executor.workers, 1)) if default_seconds else 0
    if study.budget.trials is not None:
        trials = min(trials, study.budget.trials)
    return BudgetPlan(minutes, default_minutes, reserve, trials)


def seconds_at_profile(point: CurvePoint, elapsed: float) -> float | None:
    """The duration of a trial that reports its profile with ``point`` ``elapsed`` seconds after its
    start; ``None`` for other points. The final evaluation is not counted."""
    total = point.metrics.get("train_seconds")
    if total is None:
        return None
    left = total - point.metrics.get("setup_seconds", 0.0) - point.seconds
    return elapsed + max(left, 0.0)


def describe_plan(plan: BudgetPlan, name: str = "the default") -> str:
    """``the default takes about 1.2 of 15 minutes, up to 4.8 are kept to confirm; 7 other trials of
    its length can follow, more if they are faster``."""
    parts = [f"{name} takes about {plan.default_minutes:.1f} of {plan.minutes:g} minutes"]
    if plan.is_exceeded:
        return parts[0]
    if plan.reserve:
        parts.append(f"up to {plan.reserve:.2g} are kept to confirm")
    if plan.trials == 0:
        return f"{', '.join(parts)}; no other trial of its length fits, only faster ones"
    count = f"{plan.trials} other trial{'s' * (plan.trials > 1)} of its length"
    return f"{', '.join(parts)}; {count} can follow, more if they are faster"


def describe_default(study: Study, default_seconds: float, used_seconds: float = 0.0) -> str:
    """The plan in words. Without a limit of minutes, the time of all trials at the default's
    length."""
    plan = plan_budget(study, default_seconds, used_seconds)
    if plan is not None:
        return describe_plan(plan, study.baseline_name)
    minutes, trials = default_seconds / 60, study.budget.trials
    text = f"{study.baseline_name} takes about {minutes:.1f} minutes"
    if trials is None:
        return text
    total = trials * minutes / max(study.executor.workers, 1)
    return f"{text}; {trials} trials of its length take about {total:.0f}, less if they are faster"


def warn_of_plan(
    study: Study, default_seconds: float, train_samples: int | None = None
) -> str | None:
    """What to set where too few trials fit, or where the default exceeds the time limit of a trial;
    ``None`` otherwise. ``train_samples`` is the size of the training split, if it is known."""
    limit = study.limits.minutes
    if limit is not None and default_seconds > 60 * limit:
        return (
            f"{study.baseline_name} takes longer than a trial may and is ended after {limit:g} "
            f"minutes: --set limits.minutes={math.ceil(LIMIT_MARGIN * default_seconds / 60)}"
        )
    plan = plan_budget(study, default_seconds)
    if plan is None or not plan.is_short or study.budget.trials == plan.trials:
        return None
    problem = "few trials fit"
    if plan.is_exceeded:
        problem = f"{study.baseline_name} alone takes the whole budget; it runs to its end"
    needed = _needed_minutes(study, plan)
    ways = [f"--set budget.minutes={needed}"]
    share = plan.minutes / needed
    if study.task.steps is not None:
        ways.append(f"--set task.steps={_round_down(study.task.steps * share)}")
    elif train_samples is not None and train_samples * share >= MIN_SAMPLES:
        ways.append(f"--set task.train_samples={_round_down(train_samples * share)}")
    return f"{problem}: for {MIN_TRIALS} trials, {' or '.join(ways)}"


def affordable_samples(
    study: Study, default_seconds: float, training_seconds: float, train_samples: int
) -> int:
    """The number of training samples with which :data:`MIN_TRIALS` trials of the default's length
    fit into the budget of minutes: at most ``train_samples``, with which the default takes
    ``default_seconds``, ``training_seconds`` of them in its steps; at least :data:`MIN_SAMPLES`."""
    plan = plan_budget(study, default_seconds)
    if plan is None or not plan.is_short or training_seconds <= 0:
        return train_samples
    target = default_seconds * plan.minutes / _needed_minutes(study, plan)
    share = (target - (default_seconds - training_seconds)) / training_seconds
    return min(max(_round_down(train_samples * share), MIN_SAMPLES), train_samples)


def _needed_minutes(study: Study, plan: BudgetPlan) -> int:
    """Minutes in which :data:`MIN_TRIALS` trials of the default's length fit."""
    rounds = 1 + math.ceil(MIN_TRIALS / max(study.executor.workers, 1))
    searching = rounds * plan.default_minutes
    reserve = 0.0
    if study.confirm is not None:
        runs = study.confirm.runs
        share = CONFIRMATION_SHARE / (1 - CONFIRMATION_SHARE)
        reserve = min(runs * plan.default_minutes, share * searching)
    return math.ceil(searching + reserve)


def _round_down(number: float) -> int:
    """``number`` rounded down to :data:`SAMPLES_DIGITS` significant digits, at least 1."""
    if number < 1:
        return 1
    unit = 10 ** max(math.floor(math.log10(number)) + 1 - SAMPLES_DIGITS, 0)
    return int(number // unit * unit)
