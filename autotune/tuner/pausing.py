"""Which training runs are paused at a rung, and which of them are continued.

Many are begun and few are finished. Training time is worth what it is expected to gain: the
probability that the trial satisfies the constraints and improves the front, per second that is
left to train. A new strategy is worth the share of the tried ones that did, per second of a whole
trial. A pure function of the trials and their learning curves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autotune.analysis.budget import typical_seconds
from autotune.analysis.front import (
    feasible_trials,
    find_baseline,
    pareto_front,
    signed_objectives,
)
from autotune.domain import Constraint, CurvePoint, State, Study, Trial
from autotune.domain.constraints import constraint_bound
from autotune.tuner.score_forecast import ScoreForecast

MIN_FINISHED_TRIALS = 4
"""Finished trials of the sampler, from which the worth of a new strategy is estimated."""

MAX_PAUSE_PROBABILITY = 0.3
"""A trial with a higher probability is not paused, whatever else could be run."""

MIN_WORTH_RATIO = 0.5
"""A trial is paused if its time is worth less than this share of a new strategy's time. Pausing and
continuing cost a set-up, and both probabilities are uncertain."""

MIN_REMAINING_RESTARTS, MIN_RESTART_SECONDS = 5.0, 1.0
"""A trial is paused only if the rest of its training takes at least as long as this many restarts.
A restart takes the set-up of the model and these seconds."""

MIN_LAST_PROBABILITY = 0.2
"""At the end of a search, paused trials of at least this probability are continued."""


@dataclass(frozen=True)
class Outlook:
    """What the rest of a training run is expected to gain.

    ``probability``: that the trial satisfies the constraints and improves the front.
    ``remaining_seconds``: of training.
    """

    probability: float
    remaining_seconds: float

    @property
    def worth(self) -> float:
        """Expected improvements of the front per second."""
        return self.probability / max(self.remaining_seconds, 1e-9)


def estimate_outlook(
    study: Study,
    point: CurvePoint,
    profile_metrics: Mapping[str, float],
    forecasts: Mapping[str, ScoreForecast],
    history: Sequence[Trial],
) -> Outlook | None:
    """The outlook of a trial at ``point`` of its curve, given its profiled metrics and the
    forecasts of its scores; ``None`` if an objective is neither measured nor forecast.

    The probability is the lowest of those of the constraints and of improving the front: they
    depend on the same score.
    """
    if any(o.metric not in profile_metrics and o.metric not in forecasts for o in study.objectives):
        return None
    default = find_baseline(study, history)
    probabilities = [_improvement(study, profile_metrics, forecasts, history)]
    for constraint in study.constraints:
        limit = constraint_bound(constraint, default)
        if limit is not None and constraint.metric in forecasts:
            probabilities.append(forecasts[constraint.metric].probability(constraint, limit))
    fraction = point.step / point.total_steps
    return Outlook(min(probabilities), point.seconds * (1 - fraction) / fraction)


def _improvement(
    study: Study,
    profile_metrics: Mapping[str, float],
    forecasts: Mapping[str, ScoreForecast],
    history: Sequence[Trial],
) -> float:
    """The probability that no feasible trial is at least as good in every objective."""
    members = feasible_trials(study, history)
    profiled = [i for i, o in enumerate(study.objectives) if o.metric in profile_metrics]
    as_good = [
        row
        for row in (signed_objectives(study, members) if members else ())
        if all(
            row[i] >= study.objectives[i].sign * profile_metrics[study.objectives[i].metric]
            for i in profiled
        )
    ]
    if not as_good:
        return 1.0
    scores = [(i, o) for i, o in enumerate(study.objectives) if o.metric in forecasts]
    return max(
        (
            forecasts[o.metric].probability(
                Constraint(o.metric, ">" if o.sign > 0 else "<", 0.0),
                o.sign * max(row[i] for row in as_good),
            )
            for i, o in scores
        ),
        default=0.0,
    )


def new_trial_worth(study: Study, history: Sequence[Trial]) -> float | None:
    """Improvements of the front per second that a new strategy is expected to bring; ``None``
    while too few trials of the sampler have finished."""
    finished = [
        trial
        for trial in history
        if trial.may_be_stopped and trial.state in (State.COMPLETE, State.PRUNED, State.INFEASIBLE)
    ]
    complete = [trial for trial in finished if trial.state is State.COMPLETE]
    seconds = typical_seconds(history)
    if len(complete) < MIN_FINISHED_TRIALS or seconds == 0:
        return None
    front = {trial.number for trial in pareto_front(study, history)}
    improvements = sum(trial.number in front for trial in complete)
    return (improvements + 1) / (len(finished) + 2) / seconds


def pause_reason(
    study: Study,
    point: CurvePoint,
    outlook: Outlook | None,
    setup_seconds: float,
    history: Sequence[Trial],
) -> str | None:
    """The reason to pause a trial at a rung, or ``None``."""
    worth = new_trial_worth(study, history)
    if outlook is None or worth is None or outlook.probability >= MAX_PAUSE_PROBABILITY:
        return None
    restart_seconds = MIN_RESTART_SECONDS + setup_seconds
    if outlook.remaining_seconds < MIN_REMAINING_RESTARTS * restart_seconds:
        return None
    if outlook.worth >= MIN_WORTH_RATIO * worth:
        return None
    return (
        f"paused at step {point.step} of {point.total_steps}: it will improve the front with a "
        f"probability of {outlook.probability:.0%} in {outlook.remaining_seconds:.0f} s of training"
    )


def choose_continuation(
    study: Study,
    outlooks: Mapping[int, Outlook],
    history: Sequence[Trial],
    *,
    has_ended: bool,
    fits: Callable[[int, float], bool],
) -> int | None:
    """The number of the paused trial to continue now, or ``None``.

    ``outlooks`` are those of the paused trials. While the search goes on, a trial is continued if
    its time is worth more than that of a new strategy; when it ``has_ended``, if it is promising
    and ``fits`` (number, seconds) in the remaining time.
    """
    ranked = sorted(outlooks, key=lambda number: (-outlooks[number].worth, number))
    worth = new_trial_worth(study, history)
    for number in ranked:
        outlook = outlooks[number]
        if has_ended:
            is_worth_it = outlook.probability >= MIN_LAST_PROBABILITY
        else:
            is_worth_it = worth is not None and outlook.worth > worth
        if is_worth_it and fits(number, outlook.remaining_seconds):
            return number
    return None
